package falcontest

import (
	"iter"
	"strconv"
	"strings"
	"time"
)

// Actor is an adversary of the simulated cloud. Only ID is required.
type Actor struct {
	ID              int
	Name            string // default ACTOR and the ID
	Type            string // default targeted
	KnownAs         string
	Description     string // only shown in full
	Motivations     []string
	Origins         []string
	TargetCountries []string
	Created         time.Time // default now
	Modified        time.Time // default Created
	FirstActivity   time.Time // default: not known
	LastActivity    time.Time // default: not known
}

// Report is a report of the simulated cloud. Only ID is required.
type Report struct {
	ID          int
	Name        string // default Report and the ID
	Type        string // default Intelligence Report
	Description string // only shown in full
	Actors      []string
	Tags        []string
	Created     time.Time // default now
	Modified    time.Time // default Created
	PDF         []byte    // default: there is none
}

func (s *intel) addActor(a Actor, now time.Time) {
	orDefault(&a.Name, "ACTOR "+strconv.Itoa(a.ID))
	orDefault(&a.Type, "targeted")
	orDefault(&a.Created, now)
	orDefault(&a.Modified, a.Created)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.actors[a.ID] = a
}

func (s *intel) addReport(r Report, now time.Time) {
	orDefault(&r.Name, "Report "+strconv.Itoa(r.ID))
	orDefault(&r.Type, "Intelligence Report")
	orDefault(&r.Created, now)
	orDefault(&r.Modified, r.Created)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports[r.ID] = r
}

// entities are names as documents have them, with a made up number each.
func entities(names []string, label string) []object {
	out := []object{}
	for i, n := range names {
		out = append(out, object{{"id", i + 1}, {"slug", slug(n)}, {label, n}})
	}
	return out
}

func slug(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "-") }

// object is the actor as the API shows it. The last members are required by the
// specification, and empty.
func (a *Actor) object() object {
	return object{
		{"id", a.ID},
		{"name", a.Name},
		{"slug", slug(a.Name)},
		{"actor_type", a.Type},
		{"active", true},
		{"status", "Active"},
		{"known_as", a.KnownAs},
		{"short_description", "About " + a.Name},
		{"description", a.Description},
		{"motivations", entities(a.Motivations, "value")},
		{"origins", entities(a.Origins, "value")},
		{"target_countries", entities(a.TargetCountries, "value")},
		{"url", "https://falcon.crowdstrike.com/intelligence/actors/" + slug(a.Name) + "/"},
		{"first_activity_date", seconds(a.FirstActivity)},
		{"last_activity_date", seconds(a.LastActivity)},
		{"created_date", seconds(a.Created)},
		{"last_modified_date", seconds(a.Modified)},
		{"notify_users", false},
		{"capabilities", []object{}},
		{"objectives", []object{}},
		{"target_industries", []object{}},
		{"target_regions", []object{}},
	}
}

// object is the report as the API shows it, its last members as those of actors.
func (r *Report) object() object {
	return object{
		{"id", r.ID},
		{"name", r.Name},
		{"slug", slug(r.Name)},
		{"type", object{{"id", 1}, {"slug", slug(r.Type)}, {"name", r.Type}}},
		{"sub_type", nil},
		{"short_description", "About " + r.Name},
		{"description", r.Description},
		{"actors", entities(r.Actors, "name")},
		{"tags", entities(r.Tags, "value")},
		{"url", "https://falcon.crowdstrike.com/intelligence/reports/" + slug(r.Name)},
		{"created_date", seconds(r.Created)},
		{"last_modified_date", seconds(r.Modified)},
		{"motivations", []object{}},
		{"target_countries", []object{}},
		{"target_industries", []object{}},
		{"thumbnail", object{{"url", ""}}},
	}
}

const (
	maxDocuments   = 5000
	newestDocument = "created_date|desc" // assumed
)

func (c *cloud) combinedActors(q *call)  { q.documents(documents(c.intel, c.intel.actors)) }
func (c *cloud) combinedReports(q *call) { q.documents(documents(c.intel, c.intel.reports)) }

// documents gives the objects of a map.
func documents[T any, P interface {
	*T
	object() object
}](s *intel, all map[int]T) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, d := range all {
			if !yield(strconv.Itoa(id), P(&d).object()) {
				return
			}
		}
	}
}

// documents answers with a page. What __full__ has more than __basic__, which is the
// default, is more than the description; single fields are understood too.
func (q *call) documents(all iter.Seq2[string, object]) {
	l, ok := q.windowed(1, maxDocuments)
	if !ok {
		return
	}
	query, ok := q.query(l, newestDocument, nil)
	if !ok {
		return
	}
	params := q.r.URL.Query()
	matching := func(yield func(string, object) bool) {
		for id, o := range all {
			if o.mentions(params.Get("q")) && !yield(id, o) {
				return
			}
		}
	}
	page, paging := l.byOffset(query.of(matching, q.now))
	shown := objects(page)
	for i, o := range shown {
		shown[i] = o.fields(params["fields"])
	}
	q.list(paging, shown)
}

// fields is the object with the fields, or collections of them, that were asked for.
func (o object) fields(asked []string) object {
	if len(asked) == 0 {
		asked = []string{"__basic__"}
	}
	out := object{}
	for _, m := range o {
		for _, f := range asked {
			if f == m.key || f == "__full__" || f == "__basic__" && m.key != "description" {
				out = append(out, m)
				break
			}
		}
	}
	return out
}

// Actors returns the current state of every actor, by ID.
func (s *Server) Actors() []Actor {
	s.cloud.intel.mu.Lock()
	defer s.cloud.intel.mu.Unlock()
	return sorted(s.cloud.intel.actors)
}

// AddActor adds an actor, or replaces the one with the same ID.
func (s *Server) AddActor(a Actor) { s.cloud.intel.addActor(a, s.cloud.cfg.Now()) }

// Reports returns the current state of every report, by ID.
func (s *Server) Reports() []Report {
	s.cloud.intel.mu.Lock()
	defer s.cloud.intel.mu.Unlock()
	return sorted(s.cloud.intel.reports)
}

// AddReport adds a report, or replaces the one with the same ID.
func (s *Server) AddReport(r Report) { s.cloud.intel.addReport(r, s.cloud.cfg.Now()) }
