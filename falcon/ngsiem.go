package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/ngsiem"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// NGSIEM searches Falcon Next-Gen SIEM. Scopes: NGSIEM read and NGSIEM write,
// without which no search can be started. Sending events there is [HEC]'s.
type NGSIEM struct{ c *Client }

// NGSIEMQuery is a search. Query is required.
type NGSIEMQuery struct {
	// Repository is the repository or view to search, such as "third-party".
	// Default "search-all".
	Repository string
	// Query is in CrowdStrike Query Language. A search for events shows only so
	// many of them (200 by LogScale's documentation, see ErrTruncated): end it with
	// tail(n) or an aggregate.
	Query string
	// Arguments are the values of the ?parameters in Query: the way to search for
	// what a user has typed without it becoming part of the query.
	Arguments map[string]string
	// Start and End bound the events by their time, to the millisecond. Defaults:
	// now, and 24 hours before End.
	Start, End time.Time
}

// NGSIEMResult is what a search found.
type NGSIEMResult struct {
	// Events are the rows, one JSON object each.
	Events []json.RawMessage
	// EventCount is how many rows Falcon says there are.
	EventCount int64
	// Aggregate: the rows are those of an aggregate, not events.
	Aggregate bool
	// ProcessedEvents is how many events were looked at.
	ProcessedEvents int64
	// WorkDone of TotalWork, in units of Falcon's own.
	WorkDone, TotalWork int64
	// Warnings are Falcon's. Some say that not everything was searched: read them.
	Warnings []NGSIEMWarning
}

// NGSIEMWarning is one of Falcon's warnings about a search.
type NGSIEMWarning struct {
	Category string
	Code     string
	Message  string
}

// Searches that show less than there is. The rows that came are in the result.
var (
	// ErrTruncated: there are more rows than Falcon shows of a search.
	ErrTruncated = errors.New("there are more rows than Falcon shows: narrow the search, or end the query with tail(n) or an aggregate")
	// ErrSearchCancelled: somebody else, or Falcon itself, ended the search.
	ErrSearchCancelled = errors.New("the search was cancelled before it was done")
)

// How often a search is polled, whatever Falcon asks for. A search that is not
// polled is forgotten, by LogScale's documentation after 30 or 90 seconds.
const (
	minPoll  = 200 * time.Millisecond
	maxPoll  = 10 * time.Second
	usedPoll = time.Second // if Falcon does not say
)

// stopTime is how long stopping a search may outlast the caller's context.
const stopTime = 2 * time.Second

// Query starts a search, waits until it is done, and returns its rows. ctx bounds
// the whole, each request is one call of the policy. A search that is left before
// it is done, because ctx ended or a request failed, is stopped, which takes two
// seconds at the most; one that Falcon has forgotten is started again, once.
//
// A result that is not whole comes with an error that says why: ErrTruncated or
// ErrSearchCancelled. Scopes: NGSIEM read and NGSIEM write; a read-only client
// may search, because nothing of the customer's changes.
func (s *NGSIEM) Query(ctx context.Context, q NGSIEMQuery) (NGSIEMResult, error) {
	const name = "ngsiem.query"
	body, err := q.body()
	if err != nil {
		return NGSIEMResult{}, resilience.Misusef("falcon %s: %w", name, err)
	}
	repository := q.Repository
	if repository == "" {
		repository = "search-all"
	}
	r, err := s.search(ctx, repository, body)
	if errors.Is(err, errForgotten) && ctx.Err() == nil {
		r, err = s.search(ctx, repository, body)
	}
	if err != nil {
		return NGSIEMResult{}, err
	}
	var partial []error
	if r.cancelled {
		partial = append(partial, fmt.Errorf("falcon %s: %w", name, ErrSearchCancelled))
	}
	if r.more || r.EventCount > int64(len(r.Events)) {
		partial = append(partial, fmt.Errorf("falcon %s: %w (%d came, of %d)", name, ErrTruncated, len(r.Events), r.EventCount))
	}
	return r.NGSIEMResult, errors.Join(partial...)
}

func (q NGSIEMQuery) body() (*models.APIQueryJobInput, error) {
	switch {
	case strings.TrimSpace(q.Query) == "":
		return nil, errors.New("NGSIEMQuery.Query is empty: * is everything")
	case strings.ContainsAny(q.Repository, `/\?#%`) || q.Repository == "." || q.Repository == "..":
		return nil, fmt.Errorf("NGSIEMQuery.Repository %q: want the name of a repository or view, such as search-all", q.Repository)
	case !q.Start.IsZero() && !q.End.IsZero() && !q.Start.Before(q.End):
		return nil, errors.New("NGSIEMQuery.Start must be before End")
	}
	b := &models.APIQueryJobInput{QueryString: &q.Query, Start: "1d"}
	// The swagger calls the times strings; in them are milliseconds since 1970.
	ms := func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	if !q.End.IsZero() {
		b.Start, b.End = ms(q.End.Add(-24*time.Hour)), ms(q.End)
	}
	if !q.Start.IsZero() {
		b.Start = ms(q.Start)
	}
	if len(q.Arguments) > 0 {
		b.Arguments = q.Arguments
	}
	return b, nil
}

// errForgotten: Falcon knows the search no more, because it was not polled, for
// instance while this machine was asleep.
var errForgotten = errors.New("forgotten by Falcon")

// search runs one search to its end, and leaves none behind.
func (s *NGSIEM) search(ctx context.Context, repository string, body *models.APIQueryJobInput) (searched, error) {
	id, err := s.start(ctx, repository, body)
	if err != nil {
		return searched{}, err
	}
	over := false
	defer func() {
		if !over {
			s.stop(ctx, repository, id)
		}
	}()
	for {
		r, err := s.poll(ctx, repository, id)
		if errors.Is(err, ErrNotFound) {
			over = true
			return r, fmt.Errorf("falcon ngsiem.query: %w: %w", errForgotten, err)
		}
		if err != nil {
			return r, err
		}
		if r.done || r.cancelled {
			over = true
			return r, nil
		}
		timer := time.NewTimer(r.pollAfter)
		select {
		case <-ctx.Done(): // the next poll says so
			timer.Stop()
		case <-timer.C:
		}
	}
}

// start starts a search. That is a read: a second one, started because the answer
// to the first was lost, costs the cloud some work and dies because nobody polls it.
func (s *NGSIEM) start(ctx context.Context, repository string, body *models.APIQueryJobInput) (string, error) {
	const name = "ngsiem.start"
	p := ngsiem.NewStartSearchV1ParamsWithContext(ctx)
	p.Repository, p.Body = repository, body
	var op capture
	_, _ = ngsiem.New(&op, nil).StartSearchV1(p)
	return exchanged(ctx, s.c, name, &op, func(a *answer) (string, error) {
		var o lenient.Object
		if json.Unmarshal(a.body, &o) == nil && o.Str("id") != "" {
			return o.Str("id"), nil
		}
		return "", a.notASearch(name, "id")
	})
}

// stop ends a search that nobody waits for any more; ctx may have ended. That it
// is called a read lets a read-only client clean up after itself: what is deleted
// is its own search. Should it fail, the search dies because nobody polls it.
func (s *NGSIEM) stop(ctx context.Context, repository, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	p := ngsiem.NewStopSearchV1ParamsWithContext(ctx)
	p.Repository, p.ID = repository, id
	var op capture
	_, _ = ngsiem.New(&op, nil).StopSearchV1(p)
	if _, err := exchanged(ctx, s.c, "ngsiem.stop", &op, func(*answer) (struct{}, error) { return struct{}{}, nil }); err != nil {
		s.c.cfg.Logger.Info("falcon search not stopped: it ends by itself, because nobody polls it", "id", id, "error", err)
	}
}

// searched is the answer to a poll.
type searched struct {
	NGSIEMResult
	done, cancelled bool
	more            bool // rows than are shown
	pollAfter       time.Duration
}

func (s *NGSIEM) poll(ctx context.Context, repository, id string) (searched, error) {
	const name = "ngsiem.poll"
	p := ngsiem.NewGetSearchStatusV1ParamsWithContext(ctx)
	p.Repository, p.ID = repository, id
	var op capture
	_, _ = ngsiem.New(&op, nil).GetSearchStatusV1(p)
	return exchanged(ctx, s.c, name, &op, func(a *answer) (searched, error) { return a.searched(name) })
}

func (a *answer) searched(name string) (searched, error) {
	var o lenient.Object
	if err := json.Unmarshal(a.body, &o); err != nil || o.Str("done") == "" {
		return searched{}, a.notASearch(name, "done")
	}
	meta := o.Object("metaData")
	r := searched{
		NGSIEMResult: NGSIEMResult{
			EventCount: meta.Int("eventCount"), Aggregate: meta.Str("isAggregate") == "true",
			ProcessedEvents: meta.Int("processedEvents"), WorkDone: meta.Int("workDone"), TotalWork: meta.Int("totalWork"),
		},
		done: o.Str("done") == "true", cancelled: o.Str("cancelled") == "true",
		more:      meta.Object("extraData").Str("hasMoreEvents") == "true", // in LogScale's documentation a string
		pollAfter: usedPoll,
	}
	if ms := meta.Int("pollAfter"); ms > 0 {
		r.pollAfter = min(max(time.Duration(min(ms, maxPoll.Milliseconds()))*time.Millisecond, minPoll), maxPoll)
	}
	if err := json.Unmarshal(o["events"], &r.Events); err != nil && (r.done || r.cancelled) {
		return searched{}, a.malformed(name, errors.New("it has no events, not even none"))
	}
	var warnings []json.RawMessage
	_ = json.Unmarshal(o["warnings"], &warnings)
	for _, raw := range warnings {
		r.Warnings = append(r.Warnings, parseWarning(raw))
	}
	return r, nil
}

// parseWarning makes a warning of whatever it is: none is lost.
func parseWarning(raw json.RawMessage) NGSIEMWarning {
	var o lenient.Object
	_ = json.Unmarshal(raw, &o)
	w := NGSIEMWarning{Category: o.Str("category"), Code: o.Str("code"), Message: o.Str("message")}
	if w.Message == "" {
		w.Message = string(raw)
	}
	return w
}

// exchanged sends an operation of the search, all of which are reads.
func exchanged[T any](ctx context.Context, c *Client, name string, op *capture, read func(*answer) (T, error)) (T, error) {
	w, err := c.write(op.op)
	if err != nil {
		var zero T
		return zero, err
	}
	return send(ctx, c, resilience.Call{Name: name, Kind: resilience.Read}, w, read)
}

// notASearch is the error of a 2xx that is not of the search: the answers of these
// operations have no envelope, but the gateway's own have.
func (a *answer) notASearch(name, missing string) error {
	if _, err := a.open(name); err != nil {
		return err
	}
	return a.malformed(name, fmt.Errorf("it has no %s", missing))
}
