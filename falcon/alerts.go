package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/alerts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Alerts is Falcon's alerts service, which took the place of detections on
// 30 September 2025. Scopes: Alerts read; Alerts write to change them.
type Alerts struct{ c *Client }

// Alert is what Falcon raised. Fields that Falcon left out, or filled with
// something unexpected, are zero; Raw has everything.
type Alert struct {
	ID           string // composite id
	CID          string
	AgentID      string // of the host, as Host.ID
	AggregateID  string
	Product      string // epp, idp, mobile, xdr, overwatch, ...
	Type         string
	Name         string
	DisplayName  string
	Description  string
	Severity     int64 // 0 to 100
	SeverityName string
	Confidence   int64
	Status       AlertStatus
	Tactic       string
	TacticID     string
	Technique    string
	TechniqueID  string
	Hostname     string
	UserName     string
	Filename     string
	Filepath     string
	CommandLine  string
	SHA256       string
	MD5          string
	AssignedTo   string // the uuid of a user of the console
	Tags         []string
	ShowInUI     bool
	Link         string // to the console
	Timestamp    time.Time
	Created      time.Time
	Updated      time.Time
	Raw          json.RawMessage
}

// AlertStatus is where an alert stands.
type AlertStatus string

// The states of an alert.
const (
	AlertNew        AlertStatus = "new"
	AlertInProgress AlertStatus = "in_progress"
	AlertReopened   AlertStatus = "reopened"
	AlertClosed     AlertStatus = "closed"
)

func parseAlert(o lenient.Object, raw json.RawMessage) (Alert, error) {
	a := Alert{
		ID: o.Str("composite_id"), CID: o.Str("cid"), AgentID: o.Str("agent_id"), AggregateID: o.Str("aggregate_id"),
		Product: o.Str("product"), Type: o.Str("type"), Name: o.Str("name"), DisplayName: o.Str("display_name"),
		Description: o.Str("description"), Severity: o.Int("severity"), SeverityName: o.Str("severity_name"),
		Confidence: o.Int("confidence"), Status: AlertStatus(o.Str("status")), Tactic: o.Str("tactic"), TacticID: o.Str("tactic_id"),
		Technique: o.Str("technique"), TechniqueID: o.Str("technique_id"), Hostname: o.Object("device").Str("hostname"),
		UserName: o.Str("user_name"), Filename: o.Str("filename"), Filepath: o.Str("filepath"), CommandLine: o.Str("cmdline"),
		SHA256: o.Str("sha256"), MD5: o.Str("md5"), AssignedTo: o.Str("assigned_to_uuid"), Tags: o.Strs("tags"),
		ShowInUI: o.Str("show_in_ui") == "true", Link: o.Str("falcon_host_link"),
		Timestamp: o.Time("timestamp"), Created: o.Time("created_timestamp"), Updated: o.Time("updated_timestamp"), Raw: raw,
	}
	if a.ID == "" {
		return Alert{}, errors.New("no composite_id")
	}
	return a, nil
}

// AlertQuery selects alerts. The zero query is all of them.
type AlertQuery struct {
	Filter FQL
	Sort   string // such as "created_timestamp|asc", which is the default
	Limit  int    // rows a page, at most 1,000; default 1,000
	Cursor string // of an earlier List of the same query
}

// Query lists full alerts, also beyond the first 10,000. Falcon forgets a page's
// token after a while; the error of that page then matches ErrNotFound, and a
// query from the last alert's Created goes on.
func (s *Alerts) Query(q AlertQuery) *List[Alert] {
	const name = "alerts.query"
	limit, bad := pageSize(name, "AlertQuery.Limit", q.Limit, 1000, 1000)
	if q.Sort == "" {
		q.Sort = "created_timestamp|asc"
	}
	return paging.New("falcon "+name, q.Cursor, func(ctx context.Context, token string) (paging.Page[Alert], error) {
		if err := errors.Join(bad, q.Filter.Err()); err != nil {
			return paging.Page[Alert]{}, err
		}
		p := alerts.NewPostCombinedAlertsV1ParamsWithContext(ctx)
		p.Body = &models.DetectsapiPostCombinedAlertsV1RequestSwagger{
			Filter: q.Filter.String(), Sort: q.Sort, Limit: int32(limit), After: token,
		}
		var op capture
		_, _ = alerts.New(&op, nil).PostCombinedAlertsV1(p)
		return page(ctx, s.c, name, &op, alertRows, token == "", func(more pagination, _ int) string { return more.After })
	})
}

var alertRows = rows[Alert]{id: "composite_id", parse: object(parseAlert)}

// alertIDs is how many alerts one call reads or changes.
const alertIDs = 1000

// Get lists the alerts of the given composite ids, a thousand a call. An id that
// Falcon does not know is a *RowError.
func (s *Alerts) Get(ids ...string) *List[Alert] {
	const name = "alerts.get"
	return byIDs(name, ids, alertIDs, func(ctx context.Context, chunk []string) (paging.Page[Alert], error) {
		p := alerts.NewGetV2ParamsWithContext(ctx)
		p.Body = &models.DetectsapiPostEntitiesAlertsV2Request{CompositeIds: chunk}
		var op capture
		_, _ = alerts.New(&op, nil).GetV2(p)
		return page(ctx, s.c, name, &op, alertRows, false, nil)
	}, func(a Alert) string { return a.ID })
}

// AlertChange is what to change of alerts. Fields left zero stay as they are.
type AlertChange struct {
	Status     AlertStatus
	AssignTo   string // the uuid of a user of the console
	Unassign   bool
	AddTags    []string
	RemoveTags []string // done before AddTags
	Comment    string   // added to those that are there
	ShowInUI   *bool
}

func (c AlertChange) parameters() (out []*models.MsaspecActionParameter, err error) {
	add := func(name, value string) {
		out = append(out, &models.MsaspecActionParameter{Name: &name, Value: &value})
	}
	known := []AlertStatus{"", AlertNew, AlertInProgress, AlertReopened, AlertClosed}
	switch {
	case !slices.Contains(known, c.Status):
		return nil, fmt.Errorf("AlertChange.Status %q: want new, in_progress, reopened or closed", c.Status)
	case c.AssignTo != "" && c.Unassign:
		return nil, errors.New("AlertChange.AssignTo and Unassign exclude each other")
	}
	if c.Status != "" {
		add("update_status", string(c.Status))
	}
	if c.AssignTo != "" {
		add("assign_to_uuid", c.AssignTo)
	}
	if c.Unassign {
		add("unassign", "")
	}
	for _, t := range c.RemoveTags {
		add("remove_tag", t)
	}
	for _, t := range c.AddTags {
		add("add_tag", t)
	}
	if c.Comment != "" {
		add("append_comment", c.Comment)
	}
	if c.ShowInUI != nil {
		add("show_in_ui", strconv.FormatBool(*c.ShowInUI))
	}
	if len(out) == 0 {
		return nil, errors.New("AlertChange is empty: set what to change")
	}
	return out, nil
}

// Update changes the alerts of the given composite ids, a thousand a call, and
// returns how many Falcon says it changed. A change with a Comment is an effect
// and never sent twice; the others may be repeated. What Falcon refused of single
// alerts is joined in the error as *RowErrors, and the others are changed all the
// same; a call that fails ends the update, and the error says after how many ids.
// Scope: Alerts write.
func (s *Alerts) Update(ctx context.Context, change AlertChange, ids ...string) (count int, err error) {
	const name = "alerts.update"
	parameters, err := change.parameters()
	if err != nil {
		return 0, resilience.Misusef("falcon %s: %w", name, err)
	}
	call := resilience.Call{Name: name, Kind: resilience.Idempotent}
	if change.Comment != "" {
		call.Kind = resilience.Effect
	}
	return changeAll(ctx, s.c, call, ids, alertIDs, func(chunk []string) *capture {
		p := alerts.NewUpdateV3ParamsWithContext(ctx)
		p.Body = &models.DetectsapiPatchEntitiesAlertsV3Request{CompositeIds: chunk, ActionParameters: parameters}
		op := &capture{}
		_, _ = alerts.New(op, nil).UpdateV3(p)
		return op
	}, func(a *answer) (changed, error) { return a.writes(name) })
}
