package azuretest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

// Collection is a data collection rule behind a data collection endpoint.
type Collection struct {
	Host    string              // of the endpoint; default [IngestHost]
	RuleID  string              // immutable id; default [RuleID]
	Region  string              // of the rule; default that of Host
	Streams map[string][]Column // what it declares, by the stream's name

	// RoleAfter is how long after the start of the server the app's role on the rule
	// is known; until then it is refused with 403.
	RoleAfter time.Duration
	// RequestsPerMinute that the rule takes. Default 12,000; negative means no limit.
	RequestsPerMinute int
	// StrictUncompressedLimit holds the documented limit of 1 MB against the
	// uncompressed body too. The service has only been seen to look at Content-Length.
	StrictUncompressedLimit bool
	// Auxiliary is the plan that refuses nested JSON in columns that are not dynamic.
	Auxiliary bool
}

// Column is a column of a stream. Types are string, int, long, real, boolean,
// datetime, guid and dynamic.
type Column struct{ Name, Type string }

// The endpoint and the rule of a [Collection] that names no other.
const (
	IngestHost = "azuretest-a1b2.westeurope-1.ingest.monitor.azure.com"
	RuleID     = "dcr-00000000000000000000000000000000"
)

// maxIngest is the limit of a request.
const maxIngest = 1_048_576

// collection is a Collection and what it has received.
type collection struct {
	Collection
	quota *sim.Window
	rows  map[string][]json.RawMessage // by stream
}

func newCollections(cfg []Collection) (out []*collection, err error) {
	for i, c := range cfg {
		setDefault(&c.Host, IngestHost)
		setDefault(&c.RuleID, RuleID)
		setDefault(&c.Region, regionOf(c.Host))
		setDefault(&c.RequestsPerMinute, 12_000)
		if len(c.Streams) == 0 {
			return nil, fmt.Errorf("azuretest: Config.Collections[%d] declares no stream", i)
		}
		if slices.ContainsFunc(out, func(o *collection) bool { return o.RuleID == c.RuleID }) {
			return nil, fmt.Errorf("azuretest: Config.Collections[%d] repeats a RuleID", i)
		}
		c.Host = strings.ToLower(c.Host)
		out = append(out, &collection{c, window(c.RequestsPerMinute, time.Minute), map[string][]json.RawMessage{}})
	}
	return out, nil
}

// regionOf is in an endpoint's name: name-xxxx.region-1.ingest.monitor.azure.com.
func regionOf(host string) string {
	_, rest, _ := strings.Cut(host, ".")
	region, _, _ := strings.Cut(rest, "-")
	return region
}

// Rows are those that a stream of a rule has stored, in order, with the columns that
// it declares.
func (s *Server) Rows(ruleID, stream string) []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.collections {
		if c.RuleID == ruleID {
			return slices.Clone(c.rows[stream])
		}
	}
	return nil
}

// ingestion is the Logs Ingestion API of all data collection endpoints.
func (s *Server) ingestion() *product {
	p := &product{
		name: "ingestion", prefixes: []string{"/dataCollectionRules/"},
		audiences: []string{"https://monitor.azure.com"},
		refuse:    refuseLogs, mux: http.NewServeMux(),
	}
	for _, c := range s.collections {
		if !p.serves(c.Host) {
			p.hosts = append(p.hosts, c.Host)
		}
	}
	s.handle(p, "POST /dataCollectionRules/{rule}/streams/{stream}", operation{"Ingest", nil, http.StatusNoContent, s.ingest, nil})
	s.notServed(p)
	return p
}

// refuseLogs is the envelope of the Logs Ingestion API and of Log Analytics. That they
// send x-ms-request-id is assumed.
func refuseLogs(w http.ResponseWriter, e *apiError, id string) {
	for k, v := range e.header {
		w.Header()[k] = v
	}
	w.Header().Set("X-Ms-Request-Id", id)
	inner := map[string]any{"code": e.code, "message": e.message}
	if e.inner != nil {
		inner["innererror"] = e.inner
	}
	if e.status == http.StatusUnauthorized {
		inner["code"] = "AuthenticationFailed"
	}
	writeJSON(w, e.status, "application/json; charset=utf-8", map[string]any{"error": inner})
}

func (s *Server) ingest(r *http.Request) (any, error) {
	c, err := s.collection(r)
	if err != nil {
		return nil, err
	}
	stream := r.PathValue("stream")
	columns, ok := c.Streams[stream]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidStream", "The stream %s was not configured in the data collection rule.", stream) // text assumed
	}
	if r.ContentLength > maxIngest {
		return nil, tooLong(r.ContentLength)
	}
	body, err := ingestBody(r)
	if err != nil {
		return nil, err
	}
	if c.StrictUncompressedLimit && len(body) > maxIngest {
		return nil, tooLong(int64(len(body)))
	}
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(body, &rows); err != nil || slices.ContainsFunc(rows, func(m map[string]json.RawMessage) bool { return m == nil }) {
		// Code and text are assumed; the status is documented.
		return nil, refuse(http.StatusBadRequest, "InvalidPayload", "The request body is not a JSON array of objects.")
	}
	received := s.cfg.Now()
	stored := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		if stored[i], err = store(row, columns, c.Auxiliary, received); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.rows[stream] = append(c.rows[stream], stored...)
	return nil, nil
}

// collection finds the rule and checks what does not depend on the rows.
func (s *Server) collection(r *http.Request) (*collection, error) {
	id, host := r.PathValue("rule"), strings.ToLower(hostname(r.Host))
	i := slices.IndexFunc(s.collections, func(c *collection) bool { return c.RuleID == id })
	if i < 0 {
		return nil, refuse(http.StatusNotFound, "NotFound", "Data collection rule with immutable Id '%s' not found.", id)
	}
	c := s.collections[i]
	// By base URL any rule is found; an endpoint serves the rules of its region. Which
	// of 400 and 404 it is, is not documented.
	known := slices.ContainsFunc(s.collections, func(c *collection) bool { return c.Host == host })
	if known && regionOf(host) != c.Region {
		return nil, refuse(http.StatusNotFound, "InvalidDcrImmutableId", "The data collection rule with immutable Id '%s' and the endpoint are in different regions.", id) // text assumed
	}
	if r.URL.Query().Get("api-version") != "2023-01-01" {
		return nil, refuse(http.StatusBadRequest, "InvalidApiVersion", "The api-version is missing or not known.") // assumed
	}
	if s.cfg.Now().Sub(s.began) < c.RoleAfter {
		return nil, refuse(http.StatusForbidden, "OperationFailed",
			"The authentication token provided does not have access to ingest data for the data collection rule with immutable Id '%s' PipelineAccessResult: AccessGranted: False, IsRbacPresent: False, IsDcrDceBindingValid: , DcrArmId: ", id)
	}
	if c.RequestsPerMinute < 0 {
		return c, nil
	}
	if _, wait, ok := c.quota.Take(id, s.cfg.Now()); !ok {
		e := refuse(http.StatusTooManyRequests, "TooManyRequests", "The rule takes %d requests a minute.", c.RequestsPerMinute) // code and text assumed
		e.header = http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(wait.Seconds())))}}
		return nil, e
	}
	return c, nil
}

func tooLong(n int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "ContentLengthLimitExceeded",
		"Maximum allowed content length: %d bytes (1 MB). Provided content length: %d bytes.", maxIngest, n)
}

// maxInflated bounds what a compressed body may become here.
const maxInflated = 256 << 20

func ingestBody(r *http.Request) ([]byte, error) {
	body, err := readBody(r, maxIngest)
	if err != nil {
		return nil, err
	}
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "":
		return body, nil
	case "gzip":
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content encoding %s is not supported.", encoding) // assumed
	}
	zip, err := gzip.NewReader(bytes.NewReader(body))
	if err == nil {
		if body, err = io.ReadAll(io.LimitReader(zip, maxInflated+1)); err == nil && len(body) > maxInflated {
			err = errors.New("too large")
		}
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "InvalidPayload", "The request body could not be decompressed.") // assumed
	}
	return body, nil
}

// errNested is what the Auxiliary plan refuses; code and text are assumed.
func errNested(column string) error {
	return refuse(http.StatusBadRequest, "InvalidPayload", "Column %s holds nested JSON and is not dynamic.", column)
}
