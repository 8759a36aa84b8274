package azure

import (
	"cmp"
	"encoding/json"
	"errors"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// GraphAlert is an alert of Microsoft Defender XDR, whichever product raised it.
// Fields that Graph left out, or filled with something unexpected, are zero; Raw
// has everything. Members of enumerations are spelled as the vendor documents them,
// whatever their case in the answer; those not known here stay as they came.
type GraphAlert struct {
	ID                 string
	ProviderAlertID    string // in the product that raised it
	IncidentID         string
	Status             GraphStatus // GraphNew, GraphInProgress or GraphResolved
	Severity           GraphSeverity
	Classification     GraphClassification
	Determination      string // malware, phishing, multiStagedAttack ...
	ServiceSource      string // microsoftDefenderForEndpoint ...
	DetectionSource    string // antivirus, customDetection ...
	DetectorID         string
	TenantID           string
	Title              string
	Description        string
	RecommendedActions string
	Category           string // of the kill chain: DefenseEvasion ...
	AssignedTo         string
	WebURL             string
	IncidentWebURL     string
	ActorDisplayName   string
	ThreatDisplayName  string
	ThreatFamilyName   string
	MITRETechniques    []string
	SystemTags         []string
	Created            time.Time
	Updated            time.Time
	Resolved           time.Time
	FirstActivity      time.Time
	LastActivity       time.Time
	Comments           []GraphComment
	Evidence           []GraphEvidence
	Raw                json.RawMessage
}

// GraphComment is a comment on an alert or an incident.
type GraphComment struct {
	Text    string
	By      string
	Created time.Time
}

func parseGraphAlert(o lenient.Object) (GraphAlert, error) {
	a := GraphAlert{
		ID: o.Str("id"), ProviderAlertID: o.Str("providerAlertId"), IncidentID: o.Str("incidentId"),
		Status: GraphStatus(graphWord(o.Str("status"))), Severity: GraphSeverity(graphWord(o.Str("severity"))),
		Classification: GraphClassification(graphWord(o.Str("classification"))), Determination: graphWord(o.Str("determination")),
		ServiceSource: graphWord(o.Str("serviceSource")), DetectionSource: graphWord(o.Str("detectionSource")),
		DetectorID: o.Str("detectorId"), TenantID: o.Str("tenantId"), Title: o.Str("title"), Description: o.Str("description"),
		RecommendedActions: o.Str("recommendedActions"), Category: o.Str("category"), AssignedTo: o.Str("assignedTo"),
		WebURL: o.Str("alertWebUrl"), IncidentWebURL: o.Str("incidentWebUrl"), ActorDisplayName: o.Str("actorDisplayName"),
		ThreatDisplayName: o.Str("threatDisplayName"), ThreatFamilyName: o.Str("threatFamilyName"),
		MITRETechniques: o.Strs("mitreTechniques"), SystemTags: o.Strs("systemTags"),
		Created: o.Time("createdDateTime"), Updated: o.Time("lastUpdateDateTime"), Resolved: o.Time("resolvedDateTime"),
		FirstActivity: o.Time("firstActivityDateTime"), LastActivity: o.Time("lastActivityDateTime"),
		Comments: parseGraphComments(o, "comments"), Evidence: parseGraphEvidence(o), Raw: rawOf(o),
	}
	if a.ID == "" {
		return GraphAlert{}, errors.New("no id")
	}
	return a, nil
}

// parseGraphComments knows the names that the resource documents and those that
// the samples of incidents have.
func parseGraphComments(o lenient.Object, name string) (out []GraphComment) {
	for _, c := range o.Objects(name) {
		out = append(out, GraphComment{
			Text: c.Str("comment"), By: cmp.Or(c.Str("createdByDisplayName"), c.Str("createdBy")),
			Created: cmp.Or(c.Time("createdDateTime"), c.Time("createdTime")),
		})
	}
	return out
}
