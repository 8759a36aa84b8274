package falcontest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const searchesPath = "/humio/api/v1/repositories/{repository}/queryjobs"

// Search is what a query job of Next-Gen SIEM was asked for. The simulator does
// not know the query language: Config.Search answers.
type Search struct {
	Repository string
	Query      string
	Arguments  map[string]string
	Start, End string // as they were sent
}

// SearchResult is what Config.Search answers. The zero value is a search that is
// done at once and found nothing.
type SearchResult struct {
	Events    []json.RawMessage
	Aggregate bool
	// Limit is how many of the events are shown; default 200, and 1,500 rows of an
	// aggregate (LogScale's documentation).
	Limit    int
	Warnings []SearchWarning
	// Takes is how long it takes; the events come in over that time.
	Takes time.Duration
	// PollAfter is what clients are asked to wait; default one second.
	PollAfter time.Duration
	// Cancelled: it ends half way.
	Cancelled bool
}

// SearchWarning is one entry of a search's "warnings".
type SearchWarning struct {
	Category       string `json:"category"`
	Classification string `json:"classification"`
	Code           string `json:"code"`
	Message        string `json:"message"`
}

// SearchJob is a query job as the cloud has it.
type SearchJob struct {
	ID string
	Search
	Started time.Time
	Polls   int
	Stopped bool // by a DELETE
}

type searches struct {
	mu   sync.Mutex
	jobs []*searchJob // in the order they were started
}

type searchJob struct {
	SearchJob
	result SearchResult
	polled time.Time
}

// alive reports whether the job can be polled. By LogScale's documentation one
// that is not polled for a while is deleted; that this goes for finished ones too
// is assumed.
func (j *searchJob) alive(now time.Time, idle time.Duration) bool {
	return !j.Stopped && now.Sub(j.polled) < idle
}

func (s *searches) all() (out []SearchJob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		out = append(out, j.SearchJob)
	}
	return out
}

// searchTimes are the forms of start and end that are taken: milliseconds, now,
// and spans such as 1d or 24hours.
var searchTimes = regexp.MustCompile(`^([0-9]+|now|[0-9]+ ?[a-z]+)?$`)

// startSearch makes a query job. That it takes repositories of any name, and the
// wording of its refusals, is assumed.
func (c *cloud) startSearch(q *call) {
	var body struct {
		Query     string            `json:"queryString"`
		Arguments map[string]string `json:"arguments"`
		Start     string            `json:"start"`
		End       string            `json:"end"`
		Live      bool              `json:"isLive"`
	}
	err := json.NewDecoder(q.r.Body).Decode(&body)
	switch {
	case err != nil || strings.TrimSpace(body.Query) == "":
		q.reject(http.StatusBadRequest, "queryString is required")
		return
	case !searchTimes.MatchString(body.Start) || !searchTimes.MatchString(body.End):
		q.reject(http.StatusBadRequest, "start or end is not a time")
		return
	case body.Live:
		q.reject(http.StatusBadRequest, "falcontest: live searches are not simulated")
		return
	}
	search := Search{Repository: q.parts[0], Query: body.Query, Arguments: body.Arguments, Start: body.Start, End: body.End}
	job := &searchJob{SearchJob: SearchJob{Search: search, Started: q.now}, polled: q.now}
	if c.cfg.Search != nil {
		job.result = c.cfg.Search(search)
	}
	for i, e := range job.result.Events {
		if !json.Valid(e) {
			q.reject(http.StatusInternalServerError, fmt.Sprintf("falcontest: event %d of Config.Search is not JSON", i))
			return
		}
	}
	orDefault(&job.result.PollAfter, time.Second)
	if job.result.Aggregate {
		orDefault(&job.result.Limit, 1500)
	}
	orDefault(&job.result.Limit, 200)
	c.searches.mu.Lock()
	defer c.searches.mu.Unlock()
	sum := sha256.Sum256(fmt.Appendf(nil, "search %d %s", len(c.searches.jobs), body.Query))
	job.ID = "P" + hex.EncodeToString(sum[:12])
	c.searches.jobs = append(c.searches.jobs, job)
	q.send(http.StatusOK, object{{"id", job.ID}, {"hashedQueryOnView", hex.EncodeToString(sum[16:])}})
}

// asked is the live job of a request; the mutex must be held.
func (s *searches) asked(q *call, idle time.Duration) (*searchJob, bool) {
	i := slices.IndexFunc(s.jobs, func(j *searchJob) bool { return j.ID == q.parts[1] && j.Repository == q.parts[0] })
	if i < 0 || !s.jobs[i].alive(q.now, idle) {
		return nil, false
	}
	return s.jobs[i], true
}

// pollSearch answers with what was found so far. The swagger gives its 404 no body.
func (c *cloud) pollSearch(q *call) {
	c.searches.mu.Lock()
	defer c.searches.mu.Unlock()
	job, ok := c.searches.asked(q, c.cfg.SearchIdle)
	if !ok {
		q.w.WriteHeader(http.StatusNotFound)
		return
	}
	job.polled = q.now
	job.Polls++
	q.send(http.StatusOK, job.answer(q.now))
}

// stopSearch answers 200 whether or not the job was known: the swagger has no 404.
func (c *cloud) stopSearch(q *call) {
	c.searches.mu.Lock()
	defer c.searches.mu.Unlock()
	if job, ok := c.searches.asked(q, c.cfg.SearchIdle); ok {
		job.Stopped = true
	}
	q.w.WriteHeader(http.StatusOK)
}

// answer is the state of the job: the events so far, at most Limit of them. That
// eventCount counts also those that are not shown is assumed.
func (j *searchJob) answer(now time.Time) object {
	const work = 100
	r, done := &j.result, work
	if r.Takes > 0 {
		done = int(min(work*now.Sub(j.Started)/r.Takes, work))
	}
	cancelled := r.Cancelled && done >= work/2
	if cancelled {
		done = work / 2
	}
	found := len(r.Events) * done / work
	return object{
		{"cancelled", cancelled},
		{"done", done == work},
		{"events", append([]json.RawMessage{}, r.Events[:min(found, r.Limit)]...)},
		{"filesUsed", []string{}},
		{"filterMatches", []string{}},
		{"metaData", append(object{
			{"eventCount", found},
			{"extraData", object{{"hasMoreEvents", fmt.Sprint(found > r.Limit)}}},
			{"isAggregate", r.Aggregate},
			{"pollAfter", int(r.PollAfter.Milliseconds())},
			{"processedEvents", found},
			{"queryStart", int(j.Started.UnixMilli())},
			{"timeMillis", int(now.Sub(j.Started).Milliseconds())},
			{"totalWork", work},
			{"warnings", []string{}},
			{"workDone", done},
		}, j.measured(now)...)},
		{"queryEventDistribution", nil},
		{"warnings", append([]SearchWarning{}, r.Warnings...)},
	}
}

// measured is what LogScale documents beside, and gofalcon's models require. Nothing
// is measured here.
func (j *searchJob) measured(now time.Time) object {
	spent := object{{"liveCost", 0}, {"queryCount", 0}, {"staticCost", 0}}
	each := object{{"day", spent}, {"hour", spent}, {"oneMinute", spent}, {"tenMinutes", spent}}
	return object{
		{"costs", object{{"liveCost", 0}, {"liveCostRate", 0}, {"staticCost", 0}, {"staticCostRate", 0}}},
		{"digestFlow", object{{"ingestTimeKnownGood", 0}, {"maxIngestLatency", 0}, {"minIngestTimeIncluded", 0}}},
		{"fieldOrder", []string{}},
		{"filterQuery", object{{"queryString", j.Query}, {"start", j.Start}, {"end", j.End}, {"isLive", false}}},
		{"processedBytes", 0},
		{"queryEnd", int(now.UnixMilli())},
		{"querySpent", each},
		{"queuedMillis", 0},
		{"quotaTotalSpent", each},
		{"responderVHost", 1},
		{"resultBufferSize", 0},
		{"warning", ""},
	}
}

// Searches returns the query jobs that were started, oldest first.
func (s *Server) Searches() []SearchJob { return s.cloud.searches.all() }
