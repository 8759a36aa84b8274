package falcon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/cases"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Cases is Falcon's cases service, which took the place of incidents on 9 March
// 2026. Scopes: Cases read; Cases write to create and change them.
type Cases struct{ c *Client }

// Case is an investigation. Fields that Falcon left out, or filled with something
// unexpected, are zero; Raw has everything.
type Case struct {
	ID          string
	CID         string
	ReferenceID string // the short one that people use
	Name        string
	Description string
	Status      CaseStatus
	Severity    int64  // 1 to 100; low from 20, medium from 40, high from 60, critical from 80
	Version     int64  // of this state, for CaseChange.ExpectedVersion
	AssignedTo  string // the uuid of a user of the console
	Tags        []string
	Alerts      []string            // the evidence: ids as Alert.ID
	Events      []string            // the evidence: ids of events
	Fields      map[string][]string // the values of custom fields, by their ids
	TemplateID  string
	Created     time.Time
	Updated     time.Time
	Raw         json.RawMessage
}

// CaseStatus is where a case stands.
type CaseStatus string

// The states of a case.
const (
	CaseNew        CaseStatus = "new"
	CaseInProgress CaseStatus = "in_progress"
	CaseClosed     CaseStatus = "closed"
	CaseReopened   CaseStatus = "reopened"
)

// check names the field and what it may be; none is fine.
func (s CaseStatus) check(field string) error {
	if !slices.Contains([]CaseStatus{"", CaseNew, CaseInProgress, CaseClosed, CaseReopened}, s) {
		return fmt.Errorf("%s %q: want new, in_progress, closed or reopened", field, s)
	}
	return nil
}

func parseCase(o lenient.Object, raw json.RawMessage) (Case, error) {
	evidence := o.Object("evidence")
	c := Case{
		ID: o.Str("id"), CID: o.Str("cid"), ReferenceID: o.Str("reference_id"), Name: o.Str("name"),
		Description: o.Str("description"), Status: CaseStatus(o.Str("status")), Severity: o.Int("severity"),
		Version: o.Int("version"), AssignedTo: o.Object("assigned_to").Str("uuid"), Tags: o.Strs("tags"),
		Alerts: records(evidence.Object("alerts")), Events: records(evidence.Object("events")),
		TemplateID: o.Object("template").Str("id"),
		Created:    o.Time("created_timestamp"), Updated: o.Time("updated_timestamp"), Raw: raw,
	}
	for _, f := range o.Objects("fields") {
		if c.Fields == nil {
			c.Fields = map[string][]string{}
		}
		c.Fields[f.Str("id")] = f.Strs("values")
	}
	if c.ID == "" {
		return Case{}, errors.New("no id")
	}
	return c, nil
}

// records are the ids of one kind of evidence: those that were asked for, where
// Falcon says which.
func records(evidence lenient.Object) (ids []string) {
	for _, r := range evidence.Objects("records") {
		if id := cmp.Or(r.Object("selector").Str("id"), r.Str("id")); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

var caseRows = rows[Case]{id: "id", parse: object(parseCase)}

// caseIDs is how many cases one call reads. Falcon documents no limit of its own.
const caseIDs = 500

// CaseQuery selects cases. The zero query is all of them.
type CaseQuery struct {
	Filter FQL
	Text   string // to be found anywhere in a case
	Sort   string // such as "created_timestamp|asc", which is the default
	Limit  int    // rows a page, at most 10,000; default 500
	Cursor string // of an earlier List of the same query
}

// Query lists full cases: two calls a page, one for the ids and one for the rest.
// Falcon shows the first 10,000 alone; after them comes ErrWindow.
func (s *Cases) Query(q CaseQuery) *List[Case] {
	const name = "cases.query"
	limit, bad := pageSize(name, "CaseQuery.Limit", q.Limit, caseIDs, window)
	if q.Sort == "" {
		q.Sort = "created_timestamp|asc" // new ones come last and shift no page
	}
	list := byOffset(s.c, name, q.Cursor, limit, ids, func(ctx context.Context, offset, limit int64) (*capture, error) {
		if err := errors.Join(bad, q.Filter.Err()); err != nil {
			return nil, err
		}
		p := cases.NewQueriesCasesGetV1ParamsWithContext(ctx)
		p.Offset, p.Limit, p.Sort = &offset, &limit, &q.Sort
		setIf(&p.Filter, q.Filter.String())
		setIf(&p.Q, q.Text)
		op := &capture{}
		_, _ = cases.New(op, nil).QueriesCasesGetV1(p)
		return op, nil
	})
	return detailed(list, s.getter(name), idOfCase)
}

// Get lists the cases of the given ids, 500 a call. An id that Falcon does not
// know is a *RowError.
func (s *Cases) Get(ids ...string) *List[Case] {
	const name = "cases.get"
	return byIDs(name, ids, caseIDs, s.getter(name), idOfCase)
}

func (s *Cases) getter(name string) getter[Case] {
	return func(ctx context.Context, ids []string) (paging.Page[Case], error) {
		p := cases.NewEntitiesCasesPostV2ParamsWithContext(ctx)
		p.Body = &models.OperationsGetCasesByIDsRequest{Ids: ids}
		var op capture
		_, _ = cases.New(&op, nil).EntitiesCasesPostV2(p)
		return page(ctx, s.c, name, &op, caseRows, false, nil)
	}
}

func idOfCase(c Case) string { return c.ID }

// NewCase is a case to create. Name and Severity are required; what is left zero
// is not sent, and Falcon's default.
type NewCase struct {
	Name        string
	Severity    int64 // 1 to 100, as Case.Severity
	Description string
	Status      CaseStatus
	AssignTo    string   // the uuid of a user of the console
	Tags        []string // one of your own finds the case again, see Create
	Alerts      []string // evidence: ids as Alert.ID
	Events      []string // evidence: ids of events
	TemplateID  string
}

// Create opens a case. Falcon takes no key that would make it safe to send twice,
// so it is an effect: a failure whose Sent is MaybeSent may have created the case.
// To be able to tell, give every case a tag that no other has, and look:
//
//	s.Query(CaseQuery{Filter: Equals("tags", tag)})
//
// The case that is found is yours. That none is found proves little for as long as
// Falcon's search may lag behind.
//
// What Falcon refused of the evidence is joined in the error as *RowErrors, beside
// the case, which is there all the same. Scope: Cases write.
func (s *Cases) Create(ctx context.Context, n NewCase) (Case, error) {
	const name = "cases.create"
	if err := n.check(); err != nil {
		return Case{}, resilience.Misusef("falcon %s: %w", name, err)
	}
	p := cases.NewEntitiesCasesPutV2ParamsWithContext(ctx)
	p.Body = &models.OperationsCreateCaseRequest{
		Name: &n.Name, Severity: &n.Severity, Tags: n.Tags,
		Description: ifSet(n.Description), Status: ifSet(string(n.Status)), AssignedToUserUUID: ifSet(n.AssignTo),
	}
	if len(n.Alerts)+len(n.Events) > 0 {
		p.Body.Evidence = &models.OperationsCreateCaseRequestEvidence{Alerts: alertSelectors(n.Alerts), Events: eventSelectors(n.Events)}
	}
	if n.TemplateID != "" {
		p.Body.Template = &models.SdkTemplateSelector{ID: &n.TemplateID}
	}
	var op capture
	_, _ = cases.New(&op, nil).EntitiesCasesPutV2(p)
	return single(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Effect}, op.onlySet(), caseRows)
}

func (n *NewCase) check() error {
	switch {
	case strings.TrimSpace(n.Name) == "":
		return errors.New("NewCase.Name is empty")
	case n.Severity < 1 || n.Severity > 100:
		return fmt.Errorf("NewCase.Severity %d: want 1 to 100", n.Severity)
	case slices.Contains(slices.Concat(n.Tags, n.Alerts, n.Events), ""):
		return errors.New("one of NewCase.Tags, Alerts or Events is empty")
	}
	return n.Status.check("NewCase.Status")
}

// ifSet is nil for nothing.
func ifSet(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

func alertSelectors(ids []string) (out []*models.SdkAlertEvidenceSelector) {
	for _, id := range ids {
		out = append(out, &models.SdkAlertEvidenceSelector{ID: &id})
	}
	return out
}

func eventSelectors(ids []string) (out []*models.SdkEventEvidenceSelector) {
	for _, id := range ids {
		out = append(out, &models.SdkEventEvidenceSelector{ID: &id})
	}
	return out
}
