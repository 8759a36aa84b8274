package falcontest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RuleFile is the latest set of rules of a type. Only Type is required.
type RuleFile struct {
	Type     string    // such as yara-master
	Zip      []byte    // default: some bytes that begin like an archive
	Gzip     []byte    // default: some bytes that begin like an archive
	Modified time.Time // default now
}

func (s *intel) addRules(f RuleFile, now time.Time) {
	if f.Zip == nil {
		f.Zip = []byte("PK\x03\x04" + f.Type)
	}
	if f.Gzip == nil {
		f.Gzip = []byte("\x1f\x8b\x08" + f.Type)
	}
	orDefault(&f.Modified, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules[f.Type] = f
}

// latestRules sends the file, or 304 without a body if the caller has it. gofalcon,
// which has an example of it, cannot read the types that the specification names
// before octet-stream. The ETag, which is the same for both formats, is assumed;
// that it counts more than the time if both are sent is HTTP's rule.
func (c *cloud) latestRules(q *call) {
	params := q.r.URL.Query()
	c.intel.mu.Lock()
	f, known := c.intel.rules[params.Get("type")]
	c.intel.mu.Unlock()
	content := f.Zip
	switch params.Get("format") {
	case "", "zip":
	case "gzip":
		content = f.Gzip
	default:
		q.reject(http.StatusBadRequest, "invalid format")
		return
	}
	switch {
	case params.Get("type") == "":
		q.reject(http.StatusBadRequest, "type is required")
		return
	case !known:
		q.reject(http.StatusNotFound, fmt.Sprintf("rule set %s not found", params.Get("type")))
		return
	}
	modified := f.Modified.UTC().Truncate(time.Second)
	etag := strconv.Quote(hexDigits(fmt.Sprint(f.Type, modified.Unix())))
	h := q.w.Header()
	h.Set("Last-Modified", modified.Format(http.TimeFormat))
	h.Set("ETag", etag)
	same := false
	if tags := q.r.Header.Get("If-None-Match"); tags != "" {
		same = tags == "*" || slices.Contains(strings.Split(strings.ReplaceAll(tags, " ", ""), ","), etag)
	} else if since, err := http.ParseTime(q.r.Header.Get("If-Modified-Since")); err == nil {
		same = !modified.After(since)
	}
	if same {
		q.w.WriteHeader(http.StatusNotModified)
		return
	}
	q.file("application/octet-stream", content)
}

// reportPDF sends the file of a report. That one which is not there is 404 is assumed.
func (c *cloud) reportPDF(q *call) {
	params := q.r.URL.Query()
	asked := params.Get("id")
	orDefault(&asked, params.Get("ids"))
	id, err := strconv.Atoi(asked)
	if err != nil {
		q.reject(http.StatusBadRequest, "id is required")
		return
	}
	c.intel.mu.Lock()
	pdf := c.intel.reports[id].PDF
	c.intel.mu.Unlock()
	if pdf == nil {
		q.reject(http.StatusNotFound, fmt.Sprintf("report %d not found", id))
		return
	}
	q.file("application/pdf", pdf)
}

func (q *call) file(kind string, content []byte) {
	q.w.Header().Set("Content-Type", kind)
	q.w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = q.w.Write(content)
}

// RuleFiles returns the current rule files, by Type.
func (s *Server) RuleFiles() []RuleFile {
	s.cloud.intel.mu.Lock()
	defer s.cloud.intel.mu.Unlock()
	return sorted(s.cloud.intel.rules)
}

// AddRuleFile adds a rule file, whose Type must not be empty, or replaces the one of
// the same Type.
func (s *Server) AddRuleFile(f RuleFile) { s.cloud.intel.addRules(f, s.cloud.cfg.Now()) }
