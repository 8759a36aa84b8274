package azure

import (
	"strings"
	"sync"
)

// GraphStatus is where an alert or an incident stands.
type GraphStatus string

// The states that Graph documents.
const (
	GraphNew            GraphStatus = "new"        // of alerts
	GraphActive         GraphStatus = "active"     // of incidents
	GraphInProgress     GraphStatus = "inProgress" // of both
	GraphResolved       GraphStatus = "resolved"   // of both
	GraphRedirected     GraphStatus = "redirected" // of incidents that were merged with others
	GraphAwaitingAction GraphStatus = "awaitingAction"
)

// GraphSeverity is how bad it may be.
type GraphSeverity string

// The severities that Graph documents.
const (
	GraphUnknownSeverity GraphSeverity = "unknown"
	GraphInformational   GraphSeverity = "informational"
	GraphLow             GraphSeverity = "low"
	GraphMedium          GraphSeverity = "medium"
	GraphHigh            GraphSeverity = "high"
)

// GraphClassification is whether an alert or an incident was a true one.
type GraphClassification string

// The classifications that Graph documents.
const (
	GraphUnclassified     GraphClassification = "unknown"
	GraphFalsePositive    GraphClassification = "falsePositive"
	GraphTruePositive     GraphClassification = "truePositive"
	GraphExpectedActivity GraphClassification = "informationalExpectedActivity"
)

// graphWords are the members of Graph's enumerations as its pages on resources
// spell them. Its samples write "TruePositive" as well. They are made when they are
// needed: a program that does not use Graph does not carry them.
func graphWords() map[string]string {
	words := map[string]string{}
	for w := range strings.FieldsSeq(`
		unknown unknownFutureValue other
		new active inProgress resolved redirected awaitingAction
		informational low medium high
		falsePositive truePositive informationalExpectedActivity
		apt malware securityPersonnel securityTesting unwantedSoftware multiStagedAttack compromisedUser compromisedAccount
		phishing maliciousUserActivity clean notMalicious insufficientData notEnoughDataToValidate confirmedUserActivity
		confirmedActivity lineOfBusinessApplication
		microsoftDefenderForEndpoint microsoftDefenderForIdentity microsoftDefenderForCloudApps microsoftDefenderForOffice365
		microsoft365Defender azureAdIdentityProtection microsoftAppGovernance dataLossPrevention microsoftDefenderForCloud
		antivirus smartScreen customTi automatedInvestigation microsoftThreatExperts customDetection cloudAppSecurity manual
		microsoftDataLossPrevention appGovernancePolicy appGovernanceDetection microsoftDefenderForIoT
		microsoftDefenderForServers microsoftDefenderForStorage microsoftDefenderForDNS microsoftDefenderForDatabases
		microsoftDefenderForContainers microsoftDefenderForNetwork microsoftDefenderForAppService
		microsoftDefenderForKeyVault microsoftDefenderForResourceManager microsoftDefenderForApiManagement`) {
		words[strings.ToLower(w)] = w
	}
	return words
}

var graphSpelling struct {
	once  sync.Once
	words map[string]string
}

// graphWord spells a member of an enumeration as the vendor documents it; one that
// is not known here stays as it is.
func graphWord(s string) string {
	graphSpelling.once.Do(func() { graphSpelling.words = graphWords() })
	if w, ok := graphSpelling.words[strings.ToLower(s)]; ok {
		return w
	}
	return s
}
