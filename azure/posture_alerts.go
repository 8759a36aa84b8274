package azure

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// CloudAlertStatus is where the handling of an alert stands.
type CloudAlertStatus string

// Defender for Cloud's alert states.
const (
	CloudAlertActive     CloudAlertStatus = "Active"
	CloudAlertInProgress CloudAlertStatus = "InProgress"
	CloudAlertResolved   CloudAlertStatus = "Resolved"
	CloudAlertDismissed  CloudAlertStatus = "Dismissed"
)

// CloudSeverity is how bad an alert is.
type CloudSeverity string

// Defender for Cloud's severities.
const (
	CloudInformational CloudSeverity = "Informational"
	CloudLow           CloudSeverity = "Low"
	CloudMedium        CloudSeverity = "Medium"
	CloudHigh          CloudSeverity = "High"
)

var (
	cloudSeverities  = []CloudSeverity{CloudInformational, CloudLow, CloudMedium, CloudHigh}
	cloudAlertStates = []CloudAlertStatus{CloudAlertActive, CloudAlertInProgress, CloudAlertResolved, CloudAlertDismissed}
)

// CloudAlert is an alert of Defender for Cloud. Fields that were left out, or filled
// with something unexpected, are zero; Raw has everything.
type CloudAlert struct {
	ID                 string // ARM id, what Alert and SetAlertStatus take
	Name               string
	SystemAlertID      string
	Type               string // of the detection, such as VM_EICAR
	DisplayName        string
	Description        string
	Severity           CloudSeverity
	Status             CloudAlertStatus
	Intent             string // of the kill chain
	Techniques         []string
	CompromisedEntity  string // a display name: join by Resources
	Product            string
	URI                string // of the alert in the portal
	CorrelationKey     string // alerts with the same belong together
	Incident           bool   // several alerts in one
	Start, End         time.Time
	Generated          time.Time
	RemediationSteps   []string
	Resources          []AlertResource
	Entities           []json.RawMessage // free form
	ExtendedProperties map[string]string
	AsOf               time.Time // when it was read
	Raw                json.RawMessage
}

// AlertResource says what an alert is about, in one of several ways.
type AlertResource struct {
	Type string // AzureResource, LogAnalytics ...
	// ResourceID is the ARM id, if Type is AzureResource. It is what other sources know
	// the thing by: compare ResourceKey of it.
	ResourceID string
	Raw        json.RawMessage
}

// azureResource is the type of identifier that other sources share.
const azureResource = "AzureResource"

func parseCloudAlert(o lenient.Object) (CloudAlert, error) {
	p := o.Object("properties")
	a := CloudAlert{
		ID: o.Str("id"), Name: o.Str("name"), SystemAlertID: p.Str("systemAlertId"), Type: p.Str("alertType"),
		DisplayName: p.Str("alertDisplayName"), Description: p.Str("description"),
		Severity: known(p.Str("severity"), cloudSeverities),
		Status:   known(p.Str("status"), cloudAlertStates),
		Intent:   p.Str("intent"), Techniques: p.Strs("techniques"), CompromisedEntity: p.Str("compromisedEntity"),
		Product: p.Str("productName"), URI: p.Str("alertUri"), CorrelationKey: p.Str("correlationKey"),
		Incident: strings.EqualFold(p.Str("isIncident"), "true"), Start: p.Time("startTimeUtc"), End: p.Time("endTimeUtc"),
		Generated: p.Time("timeGeneratedUtc"), RemediationSteps: p.Strs("remediationSteps"),
		AsOf: time.Now().UTC(), Raw: rawOf(o),
	}
	if a.ID == "" {
		return CloudAlert{}, errors.New("no id")
	}
	a.Entities, _ = lenient.List(p["entities"])
	identifiers, _ := lenient.List(p["resourceIdentifiers"])
	for _, raw := range identifiers {
		r := AlertResource{Raw: raw}
		var id lenient.Object
		if json.Unmarshal(raw, &id) == nil {
			r.Type = id.Str("type")
		}
		if strings.EqualFold(r.Type, azureResource) {
			r.ResourceID = id.Str("azureResourceId")
		}
		a.Resources = append(a.Resources, r)
	}
	extended := p.Object("extendedProperties")
	for name := range extended {
		if a.ExtendedProperties == nil {
			a.ExtendedProperties = make(map[string]string, len(extended))
		}
		a.ExtendedProperties[name] = extended.Str(name)
	}
	return a, nil
}
