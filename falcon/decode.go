package falcon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// answer is what came back, read whole.
type answer struct {
	status     int
	header     http.Header
	body       []byte
	redirected bool // the gateway named another host, and it is worth going there
	at         time.Time
}

// envelope is what every Falcon answer is wrapped in. Everything in it may be
// missing or null.
type envelope struct {
	Meta *struct {
		TraceID    string     `json:"trace_id"`
		Pagination pagination `json:"pagination"`
		Writes     struct {
			Affected int `json:"resources_affected"`
		} `json:"writes"`
	} `json:"meta"`
	Resources []json.RawMessage `json:"-"` // most of the answer, read in one pass
	Errors    []apiMessage      `json:"errors"`
}

func readEnvelope(body []byte) (*envelope, error) {
	o, err := lenient.Read(body)
	if err != nil {
		return nil, err
	}
	var env envelope
	for name, into := range map[string]any{"meta": &env.Meta, "errors": &env.Errors} {
		if raw := o[name]; raw != nil {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if raw := o["resources"]; raw != nil && string(raw) != "null" {
		ok := false
		if env.Resources, ok = lenient.List(raw); !ok {
			return nil, errors.New("resources is not a list")
		}
	}
	return &env, nil
}

// pagination holds the fields of all of Falcon's paging families; offset is a
// number in one and an opaque string in another.
type pagination struct {
	Offset json.RawMessage `json:"offset"`
	Next   string          `json:"next"`
	After  string          `json:"after"`
	Total  int64           `json:"total"`

	NextPage string `json:"-"` // the header of that name
}

type apiMessage struct {
	Code    any    `json:"code"`
	Message string `json:"message"`
	ID      string `json:"id"`
}

func (m apiMessage) public() Message {
	out := Message{Message: m.Message, ID: m.ID}
	switch code := m.Code.(type) {
	case float64:
		out.Code = int(code)
	case string:
		out.Code, _ = strconv.Atoi(code)
	}
	return out
}

func (a *answer) traceID() string { return a.header.Get("X-Cs-Traceid") }

// apiError makes the error of an answer with a bad status, whatever its body is:
// Falcon's envelope, HTML of a gateway, or nothing (hazards C3, C4).
func (a *answer) apiError(operation string) *APIError {
	e := &APIError{Operation: operation, Status: a.status, TraceID: a.traceID(), RetryAfter: retryAfter(a.header, a.at)}
	if env, err := readEnvelope(a.body); err == nil {
		for _, m := range env.Errors {
			e.Messages = append(e.Messages, m.public())
		}
		if e.TraceID == "" && env.Meta != nil {
			e.TraceID = env.Meta.TraceID
		}
		if a.status == http.StatusBadRequest {
			e.rows = env.Resources
			for _, raw := range e.rows {
				var row lenient.Object
				if _ = json.Unmarshal(raw, &row); row.Str("message") != "" {
					e.Messages = append(e.Messages, Message{Code: a.status, Message: row.Str("message"), ID: row.Str("id") + row.Str("value")})
				}
			}
		}
	}
	if a.status == http.StatusForbidden {
		e.Hint = "the API client lacks the scope of this operation, or this machine's address is not on its IP allow-list"
	}
	return e
}

// malformed is the error of a 2xx answer that cannot be understood. What was
// asked may well have been done.
func (a *answer) malformed(operation string, cause error) *APIError {
	return &APIError{
		Operation: operation, Status: a.status, TraceID: a.traceID(), err: fmt.Errorf("the answer cannot be read: %w", cause),
		class: resilience.Malformed, sent: resilience.MaybeSent,
	}
}

// pagination is what the envelope says of further pages, zero if nothing.
func (e *envelope) pagination() pagination {
	if e.Meta == nil {
		return pagination{}
	}
	return e.Meta.Pagination
}

// changed is how many rows the envelope says were changed.
func (e *envelope) changed() int {
	if e.Meta == nil {
		return 0
	}
	return e.Meta.Writes.Affected
}

// open reads the envelope of a 2xx. Errors with no resource or change beside
// them are the answer (hazard C1); errors beside some are left to the caller.
func (a *answer) open(operation string) (*envelope, error) {
	if len(bytes.TrimSpace(a.body)) == 0 {
		return nil, a.malformed(operation, errors.New("it is empty"))
	}
	env, err := readEnvelope(a.body)
	if err != nil {
		return nil, a.malformed(operation, err)
	}
	if env.Meta == nil && env.Resources == nil && len(env.Errors) == 0 {
		return nil, a.malformed(operation, errors.New("it has neither meta nor resources nor errors"))
	}
	if len(env.Resources) == 0 && env.changed() == 0 && len(env.Errors) > 0 {
		e := &APIError{Operation: operation, Status: a.status, TraceID: a.traceID()}
		for _, m := range env.Errors {
			e.Messages = append(e.Messages, m.public())
		}
		code := e.Messages[0].Code
		if code >= 40_000 && code < 60_000 { // RTR's have two digits more: 40401
			code /= 100
		}
		if code >= 400 && code < 600 {
			e.Status = code
		} else {
			e.class, e.sent = resilience.Malformed, resilience.MaybeSent
		}
		return nil, e
	}
	return env, nil
}
