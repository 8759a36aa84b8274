package azure

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// SentinelComment is a comment on an incident.
type SentinelComment struct {
	ID           string // a GUID
	Message      string
	Author       string // a name, or an address if there is no name
	Created      time.Time
	LastModified time.Time
	Raw          json.RawMessage
}

func parseSentinelComment(o lenient.Object) (SentinelComment, error) {
	p := o.Object("properties")
	author := p.Object("author")
	c := SentinelComment{
		ID: o.Str("name"), Message: p.Str("message"), Author: author.Str("name"),
		Created: p.Time("createdTimeUtc"), LastModified: p.Time("lastModifiedTimeUtc"), Raw: rawOf(o),
	}
	if c.Author == "" {
		c.Author = author.Str("email")
	}
	if c.ID == "" {
		return SentinelComment{}, errors.New("no name")
	}
	return c, nil
}

// NewComment is a comment to add.
type NewComment struct {
	Message string // required
	// ID is a GUID of the caller's choice: a comment of the same id takes the place of
	// the one before. Default: StableGUID of the incident and the message, so that the
	// same words on the same incident are one comment.
	ID string
}

// Comment adds a comment to an incident. Because its id is chosen here, it is one
// comment however often it is sent.
func (w *SentinelWorkspace) Comment(ctx context.Context, incidentID string, n NewComment) (SentinelComment, error) {
	if n.Message == "" {
		return SentinelComment{}, resilience.Misusef("azure %s: NewComment.Message is empty", opCommentAdd)
	}
	if n.ID == "" {
		n.ID = StableGUID(incidentID + " " + n.Message)
	}
	if !isGUID(n.ID) {
		return SentinelComment{}, resilience.Misusef("azure %s: NewComment.ID %q is no GUID: make one with StableGUID, or leave it empty", opCommentAdd, n.ID)
	}
	path, err := w.path(opCommentAdd, "incidents", incidentID, "comments", n.ID)
	if err != nil {
		return SentinelComment{}, err
	}
	return send(ctx, w.s.service, request{
		call: w.s.call(opCommentAdd, resilience.Idempotent), method: http.MethodPut, url: w.s.url(path, nil),
		body: map[string]any{"properties": map[string]string{"message": n.Message}},
	}, row(opCommentAdd, parseSentinelComment))
}

// Comments lists the comments on an incident; cursor is empty, or that of an earlier
// list of them.
func (w *SentinelWorkspace) Comments(incidentID, cursor string) *List[SentinelComment] {
	path, err := w.path(opComments, "incidents", incidentID, "comments")
	if err != nil {
		return failed[SentinelComment](opComments, err)
	}
	return armList(w.s.service, opComments, path, nil, cursor, parseSentinelComment)
}

// SentinelAlert is an alert that an incident was made of.
type SentinelAlert struct {
	ID          string // a GUID
	SystemID    string // systemAlertId: its key in the SecurityAlert table
	ProviderID  string // providerAlertId
	DisplayName string
	Type        string
	Severity    SentinelSeverity
	Status      string // New, InProgress, Resolved, Dismissed ...
	Product     string
	Vendor      string
	Compromised string // compromisedEntity
	Tactics     []string
	Start       time.Time
	End         time.Time
	Generated   time.Time
	Raw         json.RawMessage
}

func parseSentinelAlert(o lenient.Object) (SentinelAlert, error) {
	p := o.Object("properties")
	a := SentinelAlert{
		ID: o.Str("name"), SystemID: p.Str("systemAlertId"), ProviderID: p.Str("providerAlertId"),
		DisplayName: p.Str("alertDisplayName"), Type: p.Str("alertType"), Severity: known(p.Str("severity"), severities),
		Status: p.Str("status"), Product: p.Str("productName"), Vendor: p.Str("vendorName"), Compromised: p.Str("compromisedEntity"),
		Tactics: p.Strs("tactics"), Start: p.Time("startTimeUtc"), End: p.Time("endTimeUtc"), Generated: p.Time("timeGenerated"),
		Raw: rawOf(o),
	}
	if a.ID == "" {
		return SentinelAlert{}, errors.New("no name")
	}
	return a, nil
}

// SentinelEntity is something an incident is about: an account, a host, an address.
type SentinelEntity struct {
	ID           string // a GUID
	Kind         string // Account, Host, Ip, File, Process ...
	FriendlyName string
	// Properties are those of the kind, as they came.
	Properties json.RawMessage
	Raw        json.RawMessage
}

func parseSentinelEntity(o lenient.Object) (SentinelEntity, error) {
	e := SentinelEntity{
		ID: o.Str("name"), Kind: o.Str("kind"), FriendlyName: o.Object("properties").Str("friendlyName"),
		Properties: o["properties"], Raw: rawOf(o),
	}
	if e.ID == "" {
		return SentinelEntity{}, errors.New("no name")
	}
	return e, nil
}

// Alerts lists the alerts of an incident.
func (w *SentinelWorkspace) Alerts(incidentID string) *List[SentinelAlert] {
	return related(w, opIncidentAlerts, incidentID, "alerts", "value", parseSentinelAlert)
}

// Entities lists the entities of an incident.
func (w *SentinelWorkspace) Entities(incidentID string) *List[SentinelEntity] {
	return related(w, opIncidentEntities, incidentID, "entities", "entities", parseSentinelEntity)
}

// related lists what belongs to an incident. It is a POST without a body that only
// reads. The shape of the answer is from memory, and so is that it has no pages; a
// link would be followed all the same.
func related[T any](w *SentinelWorkspace, op, incidentID, kind, field string, parse func(lenient.Object) (T, error)) *List[T] {
	path, err := w.path(op, "incidents", incidentID, kind)
	if err != nil {
		return failed[T](op, err)
	}
	return paging.New("azure "+op, "", func(ctx context.Context, link string) (paging.Page[T], error) {
		if link == "" {
			link = w.s.url(path, nil)
		}
		r := request{call: w.s.call(op, resilience.Read), method: http.MethodPost, url: link}
		return send(ctx, w.s.service, r, func(rep *reply) (paging.Page[T], error) {
			env, err := into[lenient.Object](op)(rep)
			if err != nil {
				return paging.Page[T]{}, err
			}
			var rows []json.RawMessage
			if err := json.Unmarshal(env[field], &rows); err != nil {
				return paging.Page[T]{}, rep.malformed(op, err)
			}
			p := paging.Page[T]{Next: env.Str("nextLink")}
			for _, raw := range rows {
				p.Rows = append(p.Rows, readRow(op, raw, parse))
			}
			return p, nil
		})
	})
}
