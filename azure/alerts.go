package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// DefenderAlert is an alert as Defender for Endpoint has it. Fields that Defender left
// out, or filled with something unexpected, are zero; Raw has everything.
type DefenderAlert struct {
	ID              string
	IncidentID      int64
	InvestigationID int64
	AssignedTo      string
	Severity        string // Informational, Low, Medium, High
	Status          string // New, InProgress, Resolved ...
	Classification  string
	Determination   string
	DetectionSource string
	Category        string
	Title           string
	Description     string
	MachineID       string
	ComputerDNSName string
	UserName        string // of the related user
	UserDomain      string
	Techniques      []string // of MITRE
	Created         time.Time
	FirstEvent      time.Time
	LastEvent       time.Time
	Updated         time.Time
	Resolved        time.Time
	Comments        []AlertComment
	Evidence        []DefenderEvidence // only with DefenderAlertQuery.Evidence
	Raw             json.RawMessage
}

// AlertComment is a comment on a DefenderAlert.
type AlertComment struct {
	Comment string
	By      string
	At      time.Time
}

// DefenderEvidence is something that an alert is about. Which fields are set depends
// on EntityType; Raw has everything.
type DefenderEvidence struct {
	EntityType        string // User, Process, File, Ip, Url ...
	Created           time.Time
	DetectionStatus   string
	SHA1              string
	SHA256            string
	FileName          string
	FilePath          string
	ProcessID         int64
	CommandLine       string
	ProcessCreated    time.Time
	ParentProcessID   int64
	ParentFileName    string
	ParentFilePath    string
	IPAddress         string
	URL               string
	RegistryHive      string
	RegistryKey       string
	RegistryValue     string
	AccountName       string
	DomainName        string
	UserSID           string
	AADUserID         string
	UserPrincipalName string
	Raw               json.RawMessage
}

func parseDefenderAlert(o lenient.Object) (DefenderAlert, error) {
	user := o.Object("relatedUser")
	a := DefenderAlert{
		ID: o.Str("id"), IncidentID: o.Int("incidentId"), InvestigationID: o.Int("investigationId"), AssignedTo: o.Str("assignedTo"),
		Severity: o.Str("severity"), Status: o.Str("status"), Classification: o.Str("classification"), Determination: o.Str("determination"),
		DetectionSource: o.Str("detectionSource"), Category: o.Str("category"), Title: o.Str("title"), Description: o.Str("description"),
		MachineID: o.Str("machineId"), ComputerDNSName: o.Str("computerDnsName"), UserName: user.Str("userName"), UserDomain: user.Str("domainName"),
		Techniques: o.Strs("mitreTechniques"), Created: o.Time("alertCreationTime"), FirstEvent: o.Time("firstEventTime"),
		LastEvent: o.Time("lastEventTime"), Updated: o.Time("lastUpdateTime"), Resolved: o.Time("resolvedTime"), Raw: rawOf(o),
	}
	if a.ID == "" {
		return DefenderAlert{}, errors.New("no id")
	}
	for _, c := range o.Objects("comments") {
		a.Comments = append(a.Comments, AlertComment{c.Str("comment"), c.Str("createdBy"), c.Time("createdTime")})
	}
	for _, e := range o.Objects("evidence") {
		a.Evidence = append(a.Evidence, DefenderEvidence{
			EntityType: e.Str("entityType"), Created: e.Time("evidenceCreationTime"), DetectionStatus: e.Str("detectionStatus"),
			SHA1: e.Str("sha1"), SHA256: e.Str("sha256"), FileName: e.Str("fileName"), FilePath: e.Str("filePath"),
			ProcessID: e.Int("processId"), CommandLine: e.Str("processCommandLine"), ProcessCreated: e.Time("processCreationTime"),
			ParentProcessID: e.Int("parentProcessId"), ParentFileName: e.Str("parentProcessFileName"), ParentFilePath: e.Str("parentProcessFilePath"),
			IPAddress: e.Str("ipAddress"), URL: e.Str("url"), RegistryHive: e.Str("registryHive"), RegistryKey: e.Str("registryKey"),
			RegistryValue: e.Str("registryValue"), AccountName: e.Str("accountName"), DomainName: e.Str("domainName"), UserSID: e.Str("userSid"),
			AADUserID: e.Str("aadUserId"), UserPrincipalName: e.Str("userPrincipalName"), Raw: rawOf(e),
		})
	}
	return a, nil
}

// DefenderAlertQuery selects alerts. The zero query is all of them.
type DefenderAlertQuery struct {
	Query
	Evidence bool // also what each alert is about
}

// Alerts lists alerts. Microsoft takes these operations out of service on
// 2027-02-01; the error then matches [ErrSunset], and Config.RefuseRetiring has it so
// at once. App permission: Alert.Read.All.
func (d *Defender) Alerts(q DefenderAlertQuery) *List[DefenderAlert] {
	values := q.values()
	if q.Evidence {
		values.Set("$expand", "evidence")
	}
	return pages(d.service, opAlerts, d.url("/api/alerts", values), q.Cursor, q.Top, parseDefenderAlert)
}

// DefenderAlertChange is what to change of alerts. Fields left zero stay as they are.
// The values are Defender's, such as Status "Resolved"; they are not checked here.
type DefenderAlertChange struct {
	Status         string
	AssignedTo     string
	Classification string
	Determination  string
	Comment        string // is added to the others
	// Chunk is how many alerts go in one call; default 100. How many Defender takes is
	// not documented.
	Chunk int
}

type alertBody struct {
	IDs            []string `json:"alertIds,omitempty"`
	Status         string   `json:"status,omitempty"`
	AssignedTo     string   `json:"assignedTo,omitempty"`
	Classification string   `json:"classification,omitempty"`
	Determination  string   `json:"determination,omitempty"`
	Comment        string   `json:"comment,omitempty"`
}

// UpdateAlerts changes alerts, and returns the ids of those that Defender said it
// changed. A call that fails is the last; its ids and those after it are not among
// them. A change without a comment may safely be repeated. One with a comment is
// never sent twice: if the error says that it may have been sent, the alerts' comments
// tell. Defender allows 10 calls for several alerts a minute and 500 an hour. For its
// end see [Defender.Alerts]. App permission: Alert.ReadWrite.All.
func (d *Defender) UpdateAlerts(ctx context.Context, change DefenderAlertChange, ids ...string) (updated []string, err error) {
	op := opAlertsUpdate
	if len(ids) == 1 {
		op = opAlertUpdate
	}
	body := alertBody{nil, change.Status, change.AssignedTo, change.Classification, change.Determination, change.Comment}
	switch {
	case len(ids) == 0 || slices.Contains(ids, ""):
		return nil, resilience.Misusef("azure %s: one of the ids is empty, or there are none", op)
	case body.Status+body.AssignedTo+body.Classification+body.Determination+body.Comment == "":
		return nil, resilience.Misusef("azure %s: DefenderAlertChange: nothing is set that would change", op)
	case change.Chunk < 0:
		return nil, resilience.Misusef("azure %s: DefenderAlertChange.Chunk is %d: want at least 1, or 0 for 100", op, change.Chunk)
	case change.Chunk == 0:
		change.Chunk = 100
	}
	kind := resilience.Idempotent
	if change.Comment != "" {
		kind = resilience.Effect // a second time it would be there twice
	}
	r := request{call: d.call(op, kind), method: http.MethodPost, url: d.url("/api/alerts/batchUpdate", nil)}
	for chunk := range slices.Chunk(ids, change.Chunk) {
		if body.IDs = chunk; op == opAlertUpdate {
			path, err := idPath(op, "/api/alerts/", ids[0])
			if err != nil {
				return nil, err
			}
			r.method, r.url, body.IDs = http.MethodPatch, d.url(path, nil), nil
		}
		r.body = body
		if _, err := send(ctx, d.service, r, nothing); err != nil {
			if len(updated) > 0 {
				err = fmt.Errorf("after the first %d of %d alerts: %w", len(updated), len(ids), err)
			}
			return updated, err
		}
		updated = append(updated, chunk...)
	}
	return updated, nil
}
