package falcontest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// IngestedEvent is an event that came in through a HEC connector.
type IngestedEvent struct {
	Connector string          // its URL
	Received  time.Time       // by the cloud's clock
	Raw       bool            // it came in as a line of text
	Line      string          // if Raw
	Event     json.RawMessage // if not
	Time      json.Number     // as it was sent; empty: it was not
	Host      string
	Source    string
	Type      string // sourcetype
	Index     string
	Fields    map[string]string
}

// connectors are those of Next-Gen SIEM and what came in through them.
type connectors struct {
	mu       sync.Mutex
	keys     map[string]string // by path, without the endpoint
	ingested []IngestedEvent
}

// ingestHost is where a region's connectors are. Only addresses of us-1, us-2 and
// eu-1 were seen, the others are assumed.
func ingestHost(region string) string {
	if region == "us-1" {
		return "ingest.us-1.crowdstrike.com"
	}
	return "ingest" + strings.TrimPrefix(apiHosts[region], "api")
}

// AddConnector makes a HEC/HTTP connector of Next-Gen SIEM and returns what the
// console shows of it: its URL and, once, its API key.
func (s *Server) AddConnector() (url, key string) {
	c := &s.cloud.connectors
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := sha256.Sum256(fmt.Appendf(nil, "connector %d", len(c.keys)))
	path := "/api/ingest/hec/" + hex.EncodeToString(sum[:16]) + "/v1"
	key = hex.EncodeToString(sum[16:])
	c.keys[path] = key
	return "https://" + ingestHost(s.cloud.cfg.Cloud) + path, key
}

// Ingested returns the events that came in through connectors, oldest first,
// whether or not the answer reached the client.
func (s *Server) Ingested() []IngestedEvent {
	c := &s.cloud.connectors
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.ingested)
	for i := range out {
		out[i].Event, out[i].Fields = slices.Clone(out[i].Event), maps.Clone(out[i].Fields)
	}
	return out
}

// hecSays is the body of every answer of a connector. Only the success is known;
// the other codes and words are those of Splunk's collector, whose protocol it is.
type hecSays struct {
	Text string `json:"text"`
	Code int    `json:"code"`
}

func (q *call) collected(status int, text string, code int) {
	body, _ := json.Marshal(hecSays{text, code})
	q.write(status, body)
}

// serveHEC takes events. That a batch is taken whole or not at all is assumed.
func (c *cloud) serveHEC(q *call) {
	path, raw := strings.CutSuffix(strings.TrimSuffix(q.r.URL.Path, "/"), "/raw")
	connector, ok := strings.CutSuffix(path, "/services/collector")
	scheme, key, _ := strings.Cut(q.r.Header.Get("Authorization"), " ")
	c.connectors.mu.Lock()
	defer c.connectors.mu.Unlock()
	want, known := c.connectors.keys[connector]
	switch {
	case !ok || !known:
		q.collected(http.StatusNotFound, "The requested URL was not found on this server.", http.StatusNotFound)
	case q.r.Method != http.MethodPost:
		q.collected(http.StatusMethodNotAllowed, "Method Not Allowed", http.StatusMethodNotAllowed)
	case key == "":
		q.collected(http.StatusUnauthorized, "Token is required", 2)
	case !strings.EqualFold(scheme, "Bearer"):
		q.collected(http.StatusUnauthorized, "Invalid authorization", 3)
	case key != want:
		q.collected(http.StatusUnauthorized, "Invalid token", 4)
	default:
		c.ingest(q, "https://"+bareHost(q.r.Host)+connector, raw)
	}
}

var errTooMuch = errors.New("too much")

// ingest reads the body of a request with the right key.
func (c *cloud) ingest(q *call, connector string, raw bool) {
	body, err := unzipped(q.r, c.cfg.IngestLimit)
	switch {
	case errors.Is(err, errTooMuch):
		q.collected(http.StatusRequestEntityTooLarge, "Request entity too large", 27)
		return
	case err != nil:
		q.collected(http.StatusBadRequest, "Invalid data format", 6)
		return
	}
	parse := structured
	if raw {
		parse = lines
	}
	events, refused := parse(body)
	if refused != nil {
		q.collected(http.StatusBadRequest, refused.Text, refused.Code)
		return
	}
	for _, e := range events {
		e.Connector, e.Received = connector, q.now
		c.connectors.ingested = append(c.connectors.ingested, e)
	}
	q.collected(http.StatusOK, "Success", 0)
}

// unzipped reads a body of at most limit bytes after decompression.
func unzipped(r *http.Request, limit int) ([]byte, error) {
	from := io.Reader(r.Body)
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "":
	case "gzip":
		zip, err := gzip.NewReader(from)
		if err != nil {
			return nil, err
		}
		from = zip
	default:
		return nil, fmt.Errorf("encoding %q", encoding)
	}
	body, err := io.ReadAll(io.LimitReader(from, int64(limit)+1))
	if len(body) > limit {
		return nil, errTooMuch
	}
	return body, err
}

// structured reads JSON objects, one after another with or without white space.
func structured(body []byte) (out []IngestedEvent, refused *hecSays) {
	d := json.NewDecoder(bytes.NewReader(body))
	for {
		var e struct {
			Event  json.RawMessage   `json:"event"`
			Time   json.Number       `json:"time"`
			Host   string            `json:"host"`
			Source string            `json:"source"`
			Type   string            `json:"sourcetype"`
			Index  string            `json:"index"`
			Fields map[string]string `json:"fields"`
		}
		switch err := d.Decode(&e); {
		case err == io.EOF && len(out) == 0:
			return nil, &hecSays{"No data", 5}
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, &hecSays{"Invalid data format", 6}
		case e.Event == nil:
			return nil, &hecSays{"Event field is required", 12}
		case string(e.Event) == "null" || string(e.Event) == `""`:
			return nil, &hecSays{"Event field cannot be blank", 13}
		}
		out = append(out, IngestedEvent{
			Event: e.Event, Time: e.Time, Host: e.Host, Source: e.Source, Type: e.Type, Index: e.Index, Fields: e.Fields,
		})
	}
}

// lines makes an event of every line that is not empty.
func lines(body []byte) (out []IngestedEvent, refused *hecSays) {
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			out = append(out, IngestedEvent{Raw: true, Line: line})
		}
	}
	if len(out) == 0 {
		return nil, &hecSays{"No data", 5}
	}
	return out, nil
}
