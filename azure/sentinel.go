package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Sentinel is Microsoft Sentinel: incidents by way of Azure Resource Manager, and
// the upload of threat intelligence, which is an API of its own with its own
// breaker. The app needs an Azure role on the workspace: Microsoft Sentinel Reader to
// read, Responder to change incidents, Contributor to upload.
type Sentinel struct {
	*service
	intel *service
}

// The versions of Sentinel's API (facts/microsoft.md 2.4).
const (
	sentinelVersion = "2025-09-01"
	intelVersion    = "2024-02-01-preview"
)

// The operations, as they appear in errors, spans and metrics.
const (
	opIncidents        = "sentinel.incidents.list"
	opIncident         = "sentinel.incidents.get"
	opIncidentCreate   = "sentinel.incidents.create"
	opIncidentUpdate   = "sentinel.incidents.update"
	opIncidentClose    = "sentinel.incidents.close"
	opIncidentDelete   = "sentinel.incidents.delete"
	opIncidentAlerts   = "sentinel.incidents.alerts"
	opIncidentEntities = "sentinel.incidents.entities"
	opComments         = "sentinel.comments.list"
	opCommentAdd       = "sentinel.comments.add"
	opUpload           = "sentinel.stix.upload"
)

// uploadQuota is known from memory (facts/microsoft.md 2.4); Config.Policy.Quota
// takes its place.
var uploadQuota = resilience.Window{Calls: 100, Per: time.Minute}

func newSentinel(c *Client) (*Sentinel, error) {
	intel, err := c.newService("threatintel", c.place.threatIntel, uploadQuota)
	if err != nil {
		return nil, err
	}
	return &Sentinel{c.management.versioned(sentinelVersion), intel.versioned(intelVersion)}, nil
}

// Policy is the policy that guards Azure Resource Manager, which Sentinel shares with
// Azure's other resource providers.
func (s *Sentinel) Policy() *resilience.Policy { return s.policy }

// UploadPolicy is the policy that guards the upload of threat intelligence.
func (s *Sentinel) UploadPolicy() *resilience.Policy { return s.intel.policy }

// Workspace says which Log Analytics workspace a Sentinel is.
type Workspace struct {
	SubscriptionID string
	ResourceGroup  string
	Name           string
	// ID is the workspace's own GUID, also called customer id. Only UploadSTIX needs it.
	ID string
}

// SentinelWorkspace is the Sentinel of one workspace. It is safe for concurrent use.
type SentinelWorkspace struct {
	s  *Sentinel
	at Workspace
}

// In is the Sentinel of a workspace. It does no I/O; what is missing in w is told by
// the calls that need it.
func (s *Sentinel) In(w Workspace) *SentinelWorkspace { return &SentinelWorkspace{s, w} }

// path is the address of something of the workspace.
func (w *SentinelWorkspace) path(op string, segments ...string) (string, error) {
	for field, value := range map[string]string{
		"SubscriptionID": w.at.SubscriptionID, "ResourceGroup": w.at.ResourceGroup, "Name": w.at.Name,
	} {
		if value == "" {
			return "", resilience.Misusef("azure %s: Workspace.%s is empty", op, field)
		}
	}
	return armPath(op, append([]string{
		"subscriptions", w.at.SubscriptionID, "resourceGroups", w.at.ResourceGroup,
		"providers", "Microsoft.OperationalInsights", "workspaces", w.at.Name,
		"providers", "Microsoft.SecurityInsights",
	}, segments...)...)
}

// IncidentQuery selects incidents. The zero query is all of them.
type IncidentQuery struct {
	Filter   OData  // such as Equals("properties/status", "New")
	OrderBy  string // such as "properties/createdTimeUtc desc"
	PageSize int    // rows an answer; 0 leaves it to Sentinel
	Cursor   string // of an earlier List of the same query
}

// Incidents lists incidents.
func (w *SentinelWorkspace) Incidents(q IncidentQuery) *List[SentinelIncident] {
	path, err := w.path(opIncidents, "incidents")
	if err == nil && q.PageSize < 0 {
		err = resilience.Misusef("azure %s: IncidentQuery.PageSize is %d: want rows an answer, or 0", opIncidents, q.PageSize)
	}
	if err != nil {
		return failed[SentinelIncident](opIncidents, err)
	}
	query := url.Values{}
	if q.Filter != "" {
		query.Set("$filter", string(q.Filter))
	}
	if q.OrderBy != "" {
		query.Set("$orderby", q.OrderBy)
	}
	if q.PageSize > 0 {
		query.Set("$top", strconv.Itoa(q.PageSize))
	}
	return armList(w.s.service, opIncidents, path, query, q.Cursor, parseSentinelIncident)
}

// failed is the list of a query that makes no sense.
func failed[T any](op string, err error) *List[T] {
	return paging.New("azure "+op, "", func(context.Context, string) (paging.Page[T], error) { return paging.Page[T]{}, err })
}

// Incident returns one incident, or an error that matches ErrNotFound.
func (w *SentinelWorkspace) Incident(ctx context.Context, id string) (SentinelIncident, error) {
	path, err := w.path(opIncident, "incidents", id)
	if err != nil {
		return SentinelIncident{}, err
	}
	return get(ctx, w.s.service, opIncident, path, parseSentinelIncident)
}

// NewIncident is an incident to create.
type NewIncident struct {
	// ID is a GUID of the caller's choice, required: StableGUID of what the incident
	// is about makes one incident of it, however often it is created.
	ID            string
	Title         string           // required
	Severity      SentinelSeverity // default SentinelMedium
	Description   string
	Status        SentinelStatus // default SentinelNew; SentinelClosed is for CloseIncident
	Owner         Owner
	Labels        []string
	FirstActivity time.Time
	LastActivity  time.Time
}

// CreatedIncident is the result of CreateIncident.
type CreatedIncident struct {
	Incident SentinelIncident
	// Already: an incident of this id was there before. It is as it was: nothing was
	// sent.
	Already bool
}

// CreateIncident creates an incident under the id that the caller chose.
//
// It reads first, because Sentinel's PUT replaces what is there: an event that comes
// twice must not open again what an analyst has closed in the meantime. The PUT of an
// id of our own leaves one incident however often it is sent, so it is tried again;
// after a failure that may have been sent, CreateIncident again tells.
func (w *SentinelWorkspace) CreateIncident(ctx context.Context, n NewIncident) (CreatedIncident, error) {
	const op = opIncidentCreate
	if !isGUID(n.ID) {
		return CreatedIncident{}, resilience.Misusef("azure %s: NewIncident.ID %q is no GUID: make one with StableGUID", op, n.ID)
	}
	path, err := w.path(op, "incidents", n.ID)
	if err != nil {
		return CreatedIncident{}, err
	}
	if n.Title == "" {
		return CreatedIncident{}, resilience.Misusef("azure %s: NewIncident.Title is empty: Sentinel wants one", op)
	}
	in := SentinelIncident{
		Title: n.Title, Severity: n.Severity, Description: n.Description, Status: n.Status, Owner: n.Owner,
		Labels: n.Labels, FirstActivity: n.FirstActivity, LastActivity: n.LastActivity,
	}
	if in.Severity == "" {
		in.Severity = SentinelMedium
	}
	if in.Status == "" {
		in.Status = SentinelNew
	}
	body, err := in.changes(op, SentinelIncident{})
	if err != nil {
		return CreatedIncident{}, err
	}
	if err := w.s.c.check(resilience.Idempotent); err != nil {
		return CreatedIncident{}, fmt.Errorf("azure %s: %w", op, err)
	}
	switch there, err := get(ctx, w.s.service, opIncident, path, parseSentinelIncident); {
	case err == nil:
		return CreatedIncident{there, true}, nil
	case !errors.Is(err, ErrNotFound):
		return CreatedIncident{}, resilience.BeforeSending(err)
	}
	made, err := w.put(ctx, op, path, "", body)
	return CreatedIncident{Incident: made}, err
}

// DeleteIncident deletes an incident; one that is gone already is no error.
func (w *SentinelWorkspace) DeleteIncident(ctx context.Context, id string) error {
	path, err := w.path(opIncidentDelete, "incidents", id)
	if err != nil {
		return err
	}
	// A 404 is of the workspace: an incident that is gone is a 204.
	_, err = send(ctx, w.s.service, request{
		call: w.s.call(opIncidentDelete, resilience.Idempotent), method: http.MethodDelete, url: w.s.url(path, nil),
	}, nothing)
	return err
}

// put writes all of an incident. It can be sent twice: with an etag, what the first
// did makes the second fail; without one, the second does the same again.
func (w *SentinelWorkspace) put(ctx context.Context, op, path, etag string, properties lenient.Object) (SentinelIncident, error) {
	body := map[string]any{"properties": properties}
	if etag != "" {
		body["etag"] = etag
	}
	return send(ctx, w.s.service, request{
		call: w.s.call(op, resilience.Idempotent), method: http.MethodPut, url: w.s.url(path, nil), body: body,
	}, row(op, parseSentinelIncident))
}
