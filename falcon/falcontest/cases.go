package falcontest

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Case is a case of the simulated cloud. Only ID is required of one that is added.
type Case struct {
	ID          string
	CID         string // default: the server's
	ReferenceID string // default made of how many there were before
	Name        string
	Description string
	Status      string // default new
	Severity    int
	Version     int    // default 1; every change adds one (both assumed)
	AssignedTo  string // uuid
	Tags        []string
	Alerts      []string // evidence: composite ids
	Events      []string // evidence
	Fields      map[string][]string
	TemplateID  string
	Created     time.Time
	Updated     time.Time
}

const (
	maxCaseQuery = 10000
	maxCaseIDs   = 1000 // assumed: none is documented
)

type caseFiles struct {
	mu    sync.Mutex
	byID  map[string]*Case
	count int
}

func (s *caseFiles) add(c Case, cid string, now time.Time) *Case {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	orDefault(&c.ID, fmt.Sprintf("%032x", s.count)) // of one that is created
	orDefault(&c.CID, cid)
	orDefault(&c.ReferenceID, fmt.Sprintf("CASE-%d", s.count)) // assumed
	orDefault(&c.Status, "new")
	orDefault(&c.Version, 1)
	orDefault(&c.Created, now)
	orDefault(&c.Updated, c.Created)
	c = c.clone() // what the caller keeps is the caller's
	s.byID[c.ID] = &c
	return &c
}

func (s *caseFiles) all() []Case {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Case
	for _, c := range s.byID {
		out = append(out, c.clone())
	}
	slices.SortFunc(out, func(a, b Case) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (c *Case) clone() Case {
	out := *c
	out.Tags, out.Alerts, out.Events = slices.Clone(c.Tags), slices.Clone(c.Alerts), slices.Clone(c.Events)
	out.Fields = maps.Clone(c.Fields)
	return out
}

// object is the case as the API shows it. How a case without somebody it is
// assigned to shows that is assumed.
func (c *Case) object() object {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	var assigned any
	if c.AssignedTo != "" {
		assigned = user(c.AssignedTo)
	}
	o := object{
		{"id", c.ID},
		{"cid", c.CID},
		{"reference_id", c.ReferenceID},
		{"name", c.Name},
		{"description", c.Description},
		{"status", c.Status},
		{"severity", c.Severity},
		{"version", c.Version},
		{"assigned_to", assigned},
		{"tags", list(c.Tags)},
		{"evidence", object{
			{"alerts", evidence(c.Alerts)},
			{"events", evidence(c.Events)},
			{"leads", evidence(nil)},
			{"users", evidence(nil)},
			{"custom_evidence", evidence(nil)},
		}},
		{"created_timestamp", stamp(c.Created)},
		{"updated_timestamp", stamp(c.Updated)},
	}
	fields := []object{}
	for _, id := range slices.Sorted(maps.Keys(c.Fields)) {
		fields = append(fields, object{{"id", id}, {"values", list(c.Fields[id])}, {"name", "field " + id}, {"required", false}, {"snapshot_id", id}})
	}
	o = append(o, member{"fields", fields})
	if c.TemplateID != "" {
		o = append(o, member{"template", object{{"id", c.TemplateID}, {"name", "template " + c.TemplateID}, {"snapshot_id", c.TemplateID}, {"version", 1}}})
	}
	return append(o, c.unseen()...)
}

// unseen is what gofalcon's models require beside. What it says is assumed.
func (c *Case) unseen() object {
	analysis := object{{"data_domains", []string{}}}
	for _, of := range []string{"alerts", "cloud_assets", "events", "files", "hosts", "leads", "users"} {
		analysis = append(analysis, member{of, evidence(nil)})
	}
	who := user("5eed0000-0000-4000-8000-000000000000")
	actor := object{{"type", "user"}, {"user", who}, {"workflow", nil}}
	return object{
		{"analysis_results", analysis},
		{"consistency", object{{"consistent", true}, {"version", c.Version}}},
		{"created_by", who},
		{"creation_actor", actor},
		{"last_updated_by", who},
		{"update_actor", actor},
		{"read_only", object{{"is_read_only", false}}},
		{"severity_info", object{{"level", strings.ToLower(severityNames[min(max(c.Severity, 0)/20, 4)])}}},
		{"start_timestamp", c.Created.UTC().Format(time.RFC3339Nano)},
		{"end_timestamp", nil},
	}
}

func user(uuid string) object { return object{{"uuid", uuid}, {"email", ""}, {"full_name", ""}} }

func evidence(ids []string) object {
	records := []object{}
	for _, id := range ids {
		records = append(records, object{{"id", id}, {"selector", object{{"id", id}}}})
	}
	return object{{"records", records}}
}

// each gives the cases that a token may see and that have a text somewhere in their
// name, description or tags. Where the real service looks for it is assumed.
func (s *caseFiles) each(t token, text string) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, c := range s.byID {
			all := strings.Join(append([]string{c.Name, c.Description}, c.Tags...), "\n")
			if t.sees(c.CID) && strings.Contains(strings.ToLower(all), strings.ToLower(text)) && !yield(id, c.object()) {
				return
			}
		}
	}
}

func (c *cloud) queryCases(q *call) {
	l, ok := q.windowed(0, maxCaseQuery)
	if !ok {
		return
	}
	// The newest are first: offset 0 is documented as the latest case.
	if query, ok := q.query(l, "created_timestamp|desc", nil); ok {
		page, paging := l.byOffset(query.of(c.cases.each(q.token, q.r.URL.Query().Get("q")), q.now))
		q.list(paging, ids(page))
	}
}

// getCases answers for ids that are not known as the other services do (assumed).
func (c *cloud) getCases(q *call) {
	asked, ok := q.body(maxCaseIDs)
	if !ok {
		return
	}
	found, missing := []object{}, []apiError{}
	c.cases.mu.Lock()
	for _, id := range asked {
		if one := c.cases.byID[id]; one != nil && q.token.sees(one.CID) {
			found = append(found, one.object())
		} else {
			missing = append(missing, unknownCase(id))
		}
	}
	c.cases.mu.Unlock()
	q.send(http.StatusOK, envelope{q.meta(q.by), found, missing})
}

func unknownCase(id string) apiError {
	return apiError{Code: http.StatusNotFound, Message: fmt.Sprintf("case %s not found", id), ID: id}
}

// Cases returns the current state of every case, by ID.
func (s *Server) Cases() []Case { return s.cloud.cases.all() }

// AddCase opens a case, or replaces the one with the same ID, as an analyst does in
// the console. Without an ID it is given one.
func (s *Server) AddCase(c Case) { s.cloud.cases.add(c, s.cloud.cfg.CID, s.cloud.cfg.Now()) }
