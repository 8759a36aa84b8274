package azure

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// SentinelSeverity is how bad an incident is.
type SentinelSeverity string

// Sentinel's severities.
const (
	SentinelHigh          SentinelSeverity = "High"
	SentinelMedium        SentinelSeverity = "Medium"
	SentinelLow           SentinelSeverity = "Low"
	SentinelInformational SentinelSeverity = "Informational"
)

// SentinelStatus is where an incident stands.
type SentinelStatus string

// Sentinel's incident states.
const (
	SentinelNew    SentinelStatus = "New"
	SentinelActive SentinelStatus = "Active"
	SentinelClosed SentinelStatus = "Closed"
)

// SentinelClassification is what a closed incident turned out to be.
type SentinelClassification string

// Sentinel's classifications.
const (
	SentinelTruePositive   SentinelClassification = "TruePositive"
	SentinelBenignPositive SentinelClassification = "BenignPositive"
	SentinelFalsePositive  SentinelClassification = "FalsePositive"
	SentinelUndetermined   SentinelClassification = "Undetermined"
)

// SentinelReason says more about a classification.
type SentinelReason string

// Sentinel's reasons.
const (
	SentinelSuspiciousActivity    SentinelReason = "SuspiciousActivity"
	SentinelSuspiciousButExpected SentinelReason = "SuspiciousButExpected"
	SentinelIncorrectAlertLogic   SentinelReason = "IncorrectAlertLogic"
	SentinelInaccurateData        SentinelReason = "InaccurateData"
)

var (
	severities      = []SentinelSeverity{SentinelHigh, SentinelMedium, SentinelLow, SentinelInformational}
	states          = []SentinelStatus{SentinelNew, SentinelActive, SentinelClosed}
	classifications = []SentinelClassification{SentinelTruePositive, SentinelBenignPositive, SentinelFalsePositive, SentinelUndetermined}
	reasons         = []SentinelReason{SentinelSuspiciousActivity, SentinelSuspiciousButExpected, SentinelIncorrectAlertLogic, SentinelInaccurateData}
)

// Owner is who works on an incident. One of the names is enough to set it.
type Owner struct {
	ObjectID          string `json:"objectId,omitempty"`
	Email             string `json:"email,omitempty"`
	AssignedTo        string `json:"assignedTo,omitempty"`
	UserPrincipalName string `json:"userPrincipalName,omitempty"`
}

// SentinelIncident is an incident. Fields that Sentinel left out, or filled with
// something unexpected, are zero; Raw has everything.
type SentinelIncident struct {
	ID   string // a GUID
	ETag string // changes with every change

	// These can be changed: see UpdateIncident.
	Title                 string
	Description           string
	Severity              SentinelSeverity
	Status                SentinelStatus
	Classification        SentinelClassification // of a closed one
	ClassificationReason  SentinelReason
	ClassificationComment string
	Owner                 Owner
	Labels                []string
	FirstActivity         time.Time
	LastActivity          time.Time

	// These are Sentinel's.
	Number            int64
	URL               string // in the portal
	ProviderName      string
	Created           time.Time
	LastModified      time.Time
	AlertsCount       int64
	BookmarksCount    int64
	CommentsCount     int64
	AlertProductNames []string
	Tactics           []string
	Raw               json.RawMessage
}

func parseSentinelIncident(o lenient.Object) (SentinelIncident, error) {
	p := o.Object("properties")
	owner, more := p.Object("owner"), p.Object("additionalData")
	i := SentinelIncident{
		ID: o.Str("name"), ETag: o.Str("etag"),
		Title: p.Str("title"), Description: p.Str("description"),
		Severity: known(p.Str("severity"), severities), Status: known(p.Str("status"), states),
		Classification:        known(p.Str("classification"), classifications),
		ClassificationReason:  known(p.Str("classificationReason"), reasons),
		ClassificationComment: p.Str("classificationComment"),
		Owner: Owner{
			ObjectID: owner.Str("objectId"), Email: owner.Str("email"),
			AssignedTo: owner.Str("assignedTo"), UserPrincipalName: owner.Str("userPrincipalName"),
		},
		FirstActivity: p.Time("firstActivityTimeUtc"), LastActivity: p.Time("lastActivityTimeUtc"),
		Number: p.Int("incidentNumber"), URL: p.Str("incidentUrl"), ProviderName: p.Str("providerName"),
		Created: p.Time("createdTimeUtc"), LastModified: p.Time("lastModifiedTimeUtc"),
		AlertsCount: more.Int("alertsCount"), BookmarksCount: more.Int("bookmarksCount"), CommentsCount: more.Int("commentsCount"),
		AlertProductNames: more.Strs("alertProductNames"), Tactics: more.Strs("tactics"),
		Raw: rawOf(o),
	}
	for _, l := range p.Objects("labels") {
		i.Labels = append(i.Labels, l.Str("labelName"))
	}
	switch {
	case i.ID == "":
		return SentinelIncident{}, errors.New("no name")
	case p == nil:
		return SentinelIncident{}, errors.New("no properties")
	}
	return i, nil
}

// known is a value in the case that its constant has; one that is not known stays as
// it is.
func known[T ~string](s string, values []T) T {
	for _, v := range values {
		if strings.EqualFold(s, string(v)) {
			return v
		}
	}
	return T(s)
}

// label is Sentinel's word for a tag.
type label struct {
	Name string `json:"labelName"`
}

// writable is the fields that can be changed, as the wire has them; what is not set
// is not in it.
func (i SentinelIncident) writable() lenient.Object {
	out := lenient.Object{}
	for name, value := range map[string]string{
		"title": i.Title, "description": i.Description, "severity": string(i.Severity), "status": string(i.Status),
		"classification": string(i.Classification), "classificationReason": string(i.ClassificationReason),
		"classificationComment": i.ClassificationComment,
	} {
		if value != "" {
			out[name], _ = json.Marshal(value)
		}
	}
	for name, at := range map[string]time.Time{"firstActivityTimeUtc": i.FirstActivity, "lastActivityTimeUtc": i.LastActivity} {
		if !at.IsZero() {
			out[name], _ = json.Marshal(at.UTC().Format(time.RFC3339Nano))
		}
	}
	if i.Owner != (Owner{}) {
		out["owner"], _ = json.Marshal(i.Owner)
	}
	var labels []label
	for _, name := range i.Labels {
		labels = append(labels, label{name})
	}
	if labels != nil {
		out["labels"], _ = json.Marshal(labels)
	}
	return out
}

// changes is the fields in which an incident differs from what it was, with null for
// those that were taken away, or the error of one that makes no sense.
func (i SentinelIncident) changes(op string, was SentinelIncident) (lenient.Object, error) {
	before, after := was.writable(), i.writable()
	out := lenient.Object{}
	for name, value := range after {
		if !bytes.Equal(value, before[name]) {
			out[name] = value
		}
	}
	for name := range before {
		if after[name] == nil {
			out[name] = json.RawMessage("null")
		}
	}
	if out["labels"] != nil {
		out["labels"] = i.labels(was)
	}
	return out, i.check(op, out)
}

// labels are those that are wanted, the ones that were there before with all that
// Sentinel says of them.
func (i SentinelIncident) labels(was SentinelIncident) json.RawMessage {
	var o lenient.Object
	_ = json.Unmarshal(was.Raw, &o)
	there := o.Object("properties").Objects("labels")
	out := []any{}
	for _, name := range i.Labels {
		at := slices.IndexFunc(there, func(l lenient.Object) bool { return l.Str("labelName") == name })
		if at < 0 {
			out = append(out, label{name})
		} else {
			out = append(out, there[at])
		}
	}
	raw, _ := json.Marshal(out)
	return raw
}

// reasonsOf is which reasons go with a classification, as the portal offers them
// (from memory; the facts have the two lists alone).
func reasonsOf(c SentinelClassification) (reasons []SentinelReason, ok bool) {
	reasons, ok = map[SentinelClassification][]SentinelReason{
		SentinelTruePositive:   {SentinelSuspiciousActivity},
		SentinelBenignPositive: {SentinelSuspiciousButExpected},
		SentinelFalsePositive:  {SentinelIncorrectAlertLogic, SentinelInaccurateData},
		SentinelUndetermined:   nil,
	}[c]
	return reasons, ok
}

// check refuses changes that make no sense. What is not changed is not looked at:
// it is Sentinel's own, and may be newer than this list.
func (i SentinelIncident) check(op string, changed lenient.Object) error {
	switch {
	case changed["title"] != nil && i.Title == "":
		return resilience.Misusef("azure %s: Title is empty: Sentinel wants one", op)
	case changed["severity"] != nil && !slices.Contains(severities, i.Severity):
		return resilience.Misusef("azure %s: Severity %q: want one of %q", op, i.Severity, severities)
	case changed["status"] != nil && !slices.Contains(states, i.Status):
		return resilience.Misusef("azure %s: Status %q: want one of %q", op, i.Status, states)
	case i.Status != SentinelClosed || changed["status"] == nil && changed["classification"] == nil && changed["classificationReason"] == nil:
		return nil
	}
	may, ok := reasonsOf(i.Classification)
	switch {
	case !ok:
		return resilience.Misusef("azure %s: Classification %q of a closed incident: want one of %q", op, i.Classification, classifications)
	case i.ClassificationReason != "" && !slices.Contains(may, i.ClassificationReason):
		return resilience.Misusef("azure %s: ClassificationReason %q does not go with Classification %q: want one of %q, or none", op, i.ClassificationReason, i.Classification, may)
	}
	return nil
}
