package falcontest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Intel is the intelligence of the simulated cloud, the same for all customers.
type Intel struct {
	Indicators []Indicator
	Actors     []Actor
	Reports    []Report
	RuleFiles  []RuleFile
}

type intel struct {
	mu         sync.Mutex
	indicators map[string]Indicator
	actors     map[int]Actor
	reports    map[int]Report
	rules      map[string]RuleFile
}

func newIntel(cfg Intel, now time.Time) (*intel, error) {
	s := &intel{
		indicators: map[string]Indicator{}, actors: map[int]Actor{},
		reports: map[int]Report{}, rules: map[string]RuleFile{},
	}
	for _, i := range cfg.Indicators {
		if i.Value == "" {
			return nil, fmt.Errorf("falcontest: an indicator without a Value")
		}
		s.addIndicator(i, now)
	}
	for _, a := range cfg.Actors {
		s.addActor(a, now)
	}
	for _, r := range cfg.Reports {
		s.addReport(r, now)
	}
	for _, f := range cfg.RuleFiles {
		if f.Type == "" {
			return nil, fmt.Errorf("falcontest: a rule file without a Type")
		}
		s.addRules(f, now)
	}
	return s, nil
}

// Indicator is an indicator of the simulated cloud. Only Value is required.
type Indicator struct {
	ID              string // default: Type, _ and Value
	Value           string
	Type            string // default domain
	Confidence      string // default high
	Deleted         bool
	Labels          []string
	Related         []string // values of related domains
	Actors          []string
	Reports         []string
	MalwareFamilies []string
	KillChains      []string
	ThreatTypes     []string
	Targets         []string
	Vulnerabilities []string
	Published       time.Time // default now
	Updated         time.Time // default Published
}

func (s *intel) addIndicator(i Indicator, now time.Time) {
	orDefault(&i.Type, "domain")
	orDefault(&i.ID, i.Type+"_"+i.Value)
	orDefault(&i.Confidence, "high")
	orDefault(&i.Published, now)
	orDefault(&i.Updated, i.Published)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indicators[i.ID] = i
}

// marker is, as in recordings, the time of the change and 32 hex digits; what those
// are is assumed. An f in front keeps them from looking like a number.
func (i *Indicator) marker() string {
	return fmt.Sprintf("%d%s", i.Updated.Unix(), "f"+hexDigits("marker " + i.ID)[1:])
}

// object is the indicator as the API shows it.
func (i *Indicator) object() object {
	labels, relations := []object{}, []object{}
	for _, name := range i.Labels {
		labels = append(labels, object{{"name", name}, {"created_on", seconds(i.Published)}, {"last_valid_on", seconds(i.Updated)}})
	}
	for _, value := range i.Related {
		relations = append(relations, object{
			{"id", "domain_" + value},
			{"indicator", value},
			{"type", "domain"},
			{"created_date", seconds(i.Published)},
			{"last_valid_date", seconds(i.Updated)},
		})
	}
	return object{
		{"id", i.ID},
		{"indicator", i.Value},
		{"type", i.Type},
		{"deleted", i.Deleted},
		{"published_date", seconds(i.Published)},
		{"last_updated", seconds(i.Updated)},
		{"reports", list(i.Reports)},
		{"actors", list(i.Actors)},
		{"malware_families", list(i.MalwareFamilies)},
		{"kill_chains", list(i.KillChains)},
		{"ip_address_types", []string{}},
		{"domain_types", []string{}},
		{"malicious_confidence", i.Confidence},
		{"_marker", i.marker()},
		{"labels", labels},
		{"relations", relations},
		{"targets", list(i.Targets)},
		{"threat_types", list(i.ThreatTypes)},
		{"vulnerabilities", list(i.Vulnerabilities)},
	}
}

// without is the object without a member.
func (o object) without(key string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m member) bool { return m.key == key })
}

// seconds is a date as intelligence has them; 0 is none.
func seconds(t time.Time) int {
	if t.IsZero() {
		return 0
	}
	return int(t.Unix())
}

const (
	maxIndicators   = 10000
	maxIndicatorIDs = 5000           // assumed
	newestIndicator = "_marker.desc" // that _marker is the default order is documented, which way is assumed
)

// combinedIndicators pages by an offset, and names the next page in a header if the
// order is that of _marker. What the address asks for is assumed: all that this
// request asked for, and a parameter that stands for the last row. It keeps
// nothing in the cloud and does not expire. The total is that of all pages.
func (c *cloud) combinedIndicators(q *call) {
	l, ok := q.windowed(1, maxIndicators)
	if !ok {
		return
	}
	params := q.r.URL.Query()
	query, ok := q.query(l, newestIndicator, nil)
	if !ok {
		return
	}
	rows := query.of(c.intel.listed(params.Get("include_deleted") == "true", params.Get("include_relations") != "false", params.Get("q")), q.now)
	total := len(rows)
	if token := params.Get("next_page"); token != "" {
		var from place
		if !from.decode(token) {
			q.reject(http.StatusBadRequest, "Bad request")
			return
		}
		rows = query.order.beyond(rows, from.After)
	}
	page, _ := l.byOffset(rows)
	if query.order.field == "_marker" && l.Offset+len(page) < len(rows) {
		at := place{After: page[len(page)-1].key}
		params.Del("offset")
		params.Set("next_page", at.encode())
		q.w.Header().Set("Next-Page", q.r.URL.Path+"?"+params.Encode())
	}
	q.list(object{{"offset", l.Offset}, {"limit", l.Limit}, {"total", total}}, objects(page))
}

// listed gives the indicators that a query sees, before its filter.
func (s *intel) listed(deleted, relations bool, search string) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, i := range s.indicators {
			if i.Deleted && !deleted {
				continue
			}
			o := i.object()
			if !relations {
				o = o.without("relations")
			}
			if o.mentions(search) && !yield(id, o) {
				return
			}
		}
	}
}

// mentions reports whether the text is anywhere in the object.
func (o object) mentions(text string) bool {
	if text == "" {
		return true
	}
	b, _ := json.Marshal(o)
	return strings.Contains(strings.ToLower(string(b)), strings.ToLower(text))
}

func (c *cloud) getIndicators(q *call) {
	ids, ok := q.body(maxIndicatorIDs)
	if !ok {
		return
	}
	found, missing := []object{}, []apiError{}
	c.intel.mu.Lock()
	for _, id := range ids {
		if i, ok := c.intel.indicators[id]; ok {
			found = append(found, i.object())
		} else {
			missing = append(missing, apiError{Code: http.StatusNotFound, Message: fmt.Sprintf("indicator %s not found", id), ID: id})
		}
	}
	c.intel.mu.Unlock()
	q.send(http.StatusOK, envelope{q.meta(q.by), found, missing})
}

// sorted copies the values of a map in an order.
func sorted[K cmp.Ordered, V any](all map[K]V) []V {
	out := make([]V, 0, len(all))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[k])
	}
	return out
}

// Indicators returns the current state of every indicator, by ID.
func (s *Server) Indicators() []Indicator {
	s.cloud.intel.mu.Lock()
	defer s.cloud.intel.mu.Unlock()
	return sorted(s.cloud.intel.indicators)
}

// AddIndicator adds an indicator, whose Value must not be empty, or replaces the one
// with the same ID: Updated says where it stands in the lists.
func (s *Server) AddIndicator(i Indicator) { s.cloud.intel.addIndicator(i, s.cloud.cfg.Now()) }
