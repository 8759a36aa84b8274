package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// uploadChunk is how many objects Sentinel takes in one request (facts/microsoft.md 2.4).
const uploadChunk = 100

// STIXUpload is threat intelligence for Sentinel.
type STIXUpload struct {
	// Source is the product it comes from, as analysts see it. Required, and not
	// "Microsoft Sentinel".
	Source string
	// Objects are STIX 2.1 objects as JSON: indicator, attack-pattern, threat-actor,
	// identity or relationship. See STIXIndicator.
	Objects []json.RawMessage
}

// STIXResult is what became of one object of an upload. If Err is nil, Sentinel has
// it. Otherwise resilience.Of(Err).Sent says how it stands: Answered, Sentinel
// refused it; MaybeSent, it may have it or not; NotSent, it never left.
type STIXResult struct {
	ID  string // of the object
	Err error
}

// STIXError is what Sentinel says against an object.
type STIXError struct{ Messages []string }

// Error gives Sentinel's words.
func (e *STIXError) Error() string { return "refused: " + strings.Join(e.Messages, "; ") }

// Failure makes STIXError Classified.
func (e *STIXError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Rejected, Sent: resilience.Answered}
}

// UploadSTIX stores STIX objects, 100 a request. An object of an id that Sentinel has
// already takes its place, so repeating an upload does no harm, and lost answers are
// asked for again.
//
// The results are those of Objects, index by index. Sentinel answers 200 also where it
// refused objects; the error joins those of all results, each a [*RowError] with a
// [*STIXError] in it. An object without what Sentinel requires is not sent; the others
// are. A request that fails is the last: what comes behind it is not sent.
func (w *SentinelWorkspace) UploadSTIX(ctx context.Context, u STIXUpload) ([]STIXResult, error) {
	const op = opUpload
	switch {
	case !isGUID(w.at.ID):
		return nil, resilience.Misusef("azure %s: Workspace.ID %q is no GUID: the upload wants the workspace's own id", op, w.at.ID)
	case strings.TrimSpace(u.Source) == "":
		return nil, resilience.Misusef("azure %s: STIXUpload.Source is empty: name the product that the objects come from", op)
	case strings.EqualFold(strings.TrimSpace(u.Source), "Microsoft Sentinel"):
		return nil, resilience.Misusef("azure %s: STIXUpload.Source is %q: Sentinel keeps that name to itself", op, u.Source)
	}
	if err := w.s.c.check(resilience.Idempotent); err != nil {
		return nil, fmt.Errorf("azure %s: %w", op, err)
	}
	results := make([]STIXResult, len(u.Objects))
	var good []int // the indexes of what can be sent
	for i, raw := range u.Objects {
		var err error
		if results[i].ID, err = checkSTIX(raw); err == nil {
			good = append(good, i)
			continue
		}
		results[i].Err = &RowError{Operation: "azure " + op, ID: results[i].ID, Raw: raw, Err: resilience.Misusef("Objects[%d]: %w", i, err)}
	}
	var failed error
	for chunk := range slices.Chunk(good, uploadChunk) {
		if failed != nil {
			for _, i := range chunk {
				results[i].Err = resilience.BeforeSending(failed)
			}
			continue
		}
		refused, err := w.upload(ctx, u, chunk)
		for n, i := range chunk {
			switch {
			case err != nil:
				results[i].Err = err
			case refused[n] != nil:
				results[i].Err = &RowError{Operation: "azure " + op, ID: results[i].ID, Raw: u.Objects[i], Err: refused[n]}
			}
		}
		failed = err
	}
	return results, joined(results, failed)
}

// joined is the errors of the results, that of a failed request once.
func joined(results []STIXResult, failed error) error {
	var all []error
	unsure := 0
	for _, r := range results {
		if _, ok := errors.AsType[*RowError](r.Err); ok {
			all = append(all, r.Err)
		} else if r.Err != nil {
			unsure++
		}
	}
	if failed != nil {
		all = append(all, fmt.Errorf("%d of %d objects: %w", unsure, len(results), failed))
	}
	return errors.Join(all...)
}

// upload sends one request, and returns what Sentinel refused, by position in chunk.
func (w *SentinelWorkspace) upload(ctx context.Context, u STIXUpload, chunk []int) (map[int]*STIXError, error) {
	objects := make([]json.RawMessage, len(chunk))
	for n, i := range chunk {
		objects[n] = u.Objects[i]
	}
	return send(ctx, w.s.intel, request{
		call: w.s.intel.call(opUpload, resilience.Idempotent), method: http.MethodPost,
		url:  w.s.intel.url("/workspaces/"+url.PathEscape(w.at.ID)+"/threat-intelligence-stix-objects:upload", nil),
		body: map[string]any{"sourcesystem": u.Source, "stixobjects": objects},
	}, func(rep *reply) (map[int]*STIXError, error) { return refusedSTIX(rep, len(chunk)) })
}

// refusedSTIX reads a 200: without a body all is well.
func refusedSTIX(rep *reply, sent int) (map[int]*STIXError, error) {
	if len(rep.body) == 0 {
		return nil, nil
	}
	var env struct {
		Errors []struct {
			RecordIndex   *int     `json:"recordIndex"`
			ErrorMessages []string `json:"errorMessages"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(rep.body, &env); err != nil {
		return nil, rep.malformed(opUpload, err)
	}
	out := map[int]*STIXError{}
	for _, e := range env.Errors {
		if e.RecordIndex == nil || *e.RecordIndex < 0 || *e.RecordIndex >= sent {
			return nil, rep.malformed(opUpload, errors.New("it refuses an object without saying which of those that were sent"))
		}
		n := *e.RecordIndex
		if out[n] == nil {
			out[n] = &STIXError{}
		}
		out[n].Messages = append(out[n].Messages, e.ErrorMessages...)
	}
	return out, nil
}

// requiredSTIX is what objects of a type must have.
func requiredSTIX(kind string) (required []string, ok bool) {
	required, ok = map[string][]string{
		"indicator":      {"id", "created", "modified", "pattern", "pattern_type", "valid_from"},
		"attack-pattern": {"id", "created", "modified"},
		"threat-actor":   {"id", "created", "modified"},
		"identity":       {"id", "created", "modified"},
		"relationship":   {"id", "created", "modified"},
	}[kind]
	return required, ok
}

func checkSTIX(raw json.RawMessage) (id string, err error) {
	o, err := lenient.Read(raw)
	if err != nil {
		return "", fmt.Errorf("it is no JSON object: %w", err)
	}
	required, ok := requiredSTIX(o.Str("type"))
	if !ok {
		return o.Str("id"), fmt.Errorf("type %q: Sentinel takes indicator, attack-pattern, threat-actor, identity and relationship", o.Str("type"))
	}
	for _, name := range required {
		if o.Str(name) == "" {
			return o.Str("id"), fmt.Errorf("%s %q: %s is missing, which Sentinel requires", o.Str("type"), o.Str("id"), name)
		}
	}
	return o.Str("id"), nil
}

// STIXIndicator is an indicator of a pattern, to be uploaded.
type STIXIndicator struct {
	// Key says which indicator it is, such as "domain:evil.example"; the id is made of
	// it. Default: the pattern.
	Key         string
	Pattern     string // required, in STIX patterning: [domain-name:value = 'evil.example']
	Name        string
	Description string
	Labels      []string
	Confidence  int       // 0 to 100; 0 is not sent
	ValidFrom   time.Time // required
	ValidUntil  time.Time // default: for ever
	Created     time.Time // default ValidFrom
	Modified    time.Time // default Created
	Revoked     bool
}

// Object is the indicator as UploadSTIX takes it, which tells what is missing in it.
func (i STIXIndicator) Object() json.RawMessage {
	first := func(times ...time.Time) string {
		for _, t := range times {
			if !t.IsZero() {
				return t.UTC().Format("2006-01-02T15:04:05.000Z")
			}
		}
		return ""
	}
	key := i.Key
	if key == "" {
		key = i.Pattern
	}
	raw, _ := json.Marshal(struct { // strings, numbers and lists of them: cannot fail
		Type        string   `json:"type"`
		SpecVersion string   `json:"spec_version"`
		ID          string   `json:"id"`
		Created     string   `json:"created"`
		Modified    string   `json:"modified"`
		Name        string   `json:"name,omitempty"`
		Description string   `json:"description,omitempty"`
		Pattern     string   `json:"pattern"`
		PatternType string   `json:"pattern_type"`
		ValidFrom   string   `json:"valid_from"`
		ValidUntil  string   `json:"valid_until,omitempty"`
		Labels      []string `json:"labels,omitempty"`
		Confidence  int      `json:"confidence,omitempty"`
		Revoked     bool     `json:"revoked"`
	}{
		"indicator", "2.1", "indicator--" + StableGUID(key), first(i.Created, i.ValidFrom), first(i.Modified, i.Created, i.ValidFrom),
		i.Name, i.Description, i.Pattern, "stix", first(i.ValidFrom), first(i.ValidUntil), i.Labels, i.Confidence, i.Revoked,
	})
	return raw
}
