package falcontest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Which backend says it answered, before an operation does.
const (
	byGateway = "crowdstrike-api-gateway"
	byTokens  = "csam"
)

// meta is the "meta" of every answer but a token.
type meta struct {
	QueryTime  float64 `json:"query_time"`
	Pagination any     `json:"pagination,omitempty"`
	PoweredBy  string  `json:"powered_by,omitempty"`
	TraceID    string  `json:"trace_id"`
	Writes     *writes `json:"writes,omitempty"`
}

type writes struct {
	ResourcesAffected int `json:"resources_affected"`
}

// apiError is one entry of "errors". Clients have been seen to look for the id
// in the message (Ansible's host_contain), so entity errors carry it in both.
type apiError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	ID      string `json:"id,omitempty"`
}

// envelope is an answer of a backend; its lists are never null.
type envelope struct {
	Meta      meta       `json:"meta"`
	Resources any        `json:"resources"`
	Errors    []apiError `json:"errors"`
}

// refusal is an answer of the gateway: it has no resources at all.
type refusal struct {
	Meta   meta       `json:"meta"`
	Errors []apiError `json:"errors"`
}

func (q *call) meta(by string) meta {
	m := meta{QueryTime: 0.008847483, PoweredBy: by, TraceID: q.trace}
	if by == byGateway {
		m.QueryTime = 1.27e-07
	}
	return m
}

// gatewayHeaders sets what every answer has, whatever becomes of it.
func (q *call) gatewayHeaders(region string) {
	h := q.w.Header()
	h.Set("Date", q.now.UTC().Format(http.TimeFormat)) // the simulated clock, not the process's
	h.Set("Server", "nginx")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("X-Cs-Region", region)
	h.Set("X-Cs-Traceid", q.trace)
}

// fail refuses the request without resources. Only these answers were recorded
// with a newline at the end.
func (q *call) fail(status int, by, message string) {
	q.write(status, append(indented(refusal{q.meta(by), []apiError{{Code: status, Message: message}}}), '\n'))
}

// reject is a backend's own refusal; it has the empty list of resources that all
// its answers have.
func (q *call) reject(status int, message string) {
	q.send(status, envelope{q.meta(q.by), []string{}, []apiError{{Code: status, Message: message}}})
}

// list answers a query with one page.
func (q *call) list(pagination, resources any) {
	m := q.meta(q.by)
	m.Pagination = pagination
	q.send(http.StatusOK, envelope{m, resources, []apiError{}})
}

func (q *call) send(status int, v any) { q.write(status, indented(v)) }

// indented is JSON indented by one space, as the real backends write it: a
// stream reader that expects one line per document must not survive its tests.
func indented(v any) []byte {
	body, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic("falcontest: " + err.Error()) // only a bug in this package can get here
	}
	return body
}

func (q *call) write(status int, body []byte) {
	q.w.Header().Set("Content-Type", "application/json")
	q.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	q.w.WriteHeader(status)
	_, _ = q.w.Write(body)
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote(m.key))
		b.WriteByte(':')
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// values returns what is found at a dotted path, as filters and sorts see it:
// lists are spread, objects and absent members have no value.
func (o object) values(path string) []string {
	head, rest, nested := strings.Cut(path, ".")
	for _, m := range o {
		if m.key != head {
			continue
		}
		switch v := m.value.(type) {
		case object:
			if nested {
				return v.values(rest)
			}
		case []object:
			var all []string
			for _, e := range v {
				all = append(all, e.values(rest)...)
			}
			return all
		case []string:
			return v
		case string:
			return []string{v}
		case bool:
			return []string{strconv.FormatBool(v)}
		case int:
			return []string{strconv.Itoa(v)}
		}
		return nil
	}
	return nil
}
