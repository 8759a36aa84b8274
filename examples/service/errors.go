package main

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/resilience"
)

// problem is the body of every answer that is not a success.
type problem struct {
	Error   string `json:"error"` // a word to branch on
	Message string `json:"message"`
	// Effect says what is known of what was asked: none (proven not done), unknown
	// (it may have been done), partial (done at some vendors, not at all).
	Effect     string      `json:"effect"`
	Holding    []string    `json:"holding,omitempty"` // vendors that hold the host, or may
	Missing    []gap       `json:"missing,omitempty"`
	Candidates []candidate `json:"candidates,omitempty"`

	status int
	after  time.Duration
}

// gap is a vendor that did not do its part, and why.
type gap struct {
	Provider  string `json:"provider"`
	Class     string `json:"class"`
	Sent      string `json:"sent"`
	Fault     string `json:"fault"`
	Status    int    `json:"status,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// candidate is a machine that may have been meant: name it in the query of the
// next request, as ?provider=...&id=...
type candidate struct {
	Provider string    `json:"provider"`
	ID       string    `json:"id"`
	Hostname string    `json:"hostname"`
	LastSeen time.Time `json:"last_seen"`
}

// problemOf is what each error means to an HTTP client, and above all whether it
// may simply ask again: after a 503 it may, after Retry-After.
func problemOf(err error, res failover.Result[edr.Effect]) *problem {
	p := &problem{Message: err.Error(), Effect: known(res.Value.Actions), Missing: gapsOf(res.Gaps)}
	is := func(status int, word string) *problem {
		p.status, p.Error = status, word
		return p
	}
	if debt, ok := errors.AsType[*edr.DebtError](err); ok {
		for _, d := range debt.Debts {
			p.Holding = append(p.Holding, d.Provider)
		}
		return is(http.StatusBadGateway, "release_debt") // kept in the ledger: release again when the vendor is back
	}
	if ambiguous, ok := errors.AsType[*edr.AmbiguousHostError](err); ok {
		for _, r := range ambiguous.Candidates {
			p.Candidates = append(p.Candidates, candidate{r.Provider, r.ID, r.Hostname, r.LastSeen})
		}
		p.Message = ambiguous.Why + ": name one of the candidates in the query, as ?provider=...&id=..."
		return is(http.StatusConflict, "ambiguous_host")
	}
	if _, ok := errors.AsType[*kv.CorruptError](err); ok {
		return is(http.StatusInternalServerError, "ledger_damaged")
	}
	class := resilience.Of(err).Class
	switch {
	case errors.Is(err, edr.ErrUnknownOutcome):
		p.Holding = res.Value.Holding()
		return is(http.StatusBadGateway, "unknown_outcome") // look at the host before anything else
	case errors.Is(err, edr.ErrGuard):
		return is(http.StatusForbidden, "guarded") // protected, too many at once, or not approved
	case errors.Is(err, edr.ErrWeakIdentity):
		return is(http.StatusConflict, "weak_identity") // name a vendor's own id in the query
	case errors.Is(err, resilience.ErrReadOnly):
		return is(http.StatusForbidden, "read_only")
	case errors.Is(err, edr.ErrHostNotFound) && len(res.Gaps) == 0:
		return is(http.StatusNotFound, "host_not_found")
	case errors.Is(err, resilience.ErrClosed):
		return is(http.StatusServiceUnavailable, "shutting_down")
	case class == resilience.Misuse:
		return is(http.StatusBadRequest, "bad_request")
	case class == resilience.Denied, class == resilience.Rejected:
		return is(http.StatusBadGateway, "vendor_refused") // it answered: asking again does not help
	case class == resilience.Conflict: // another action on the host is under way
		p.after = longestWait(res.Gaps)
		return is(http.StatusServiceUnavailable, "host_busy")
	}
	// A host that the vendors that answered do not know is here too: another may.
	p.after = longestWait(res.Gaps)
	return is(http.StatusServiceUnavailable, "vendors_down")
}

// known is what is known of the effect from what was done at each vendor.
func known(actions []edr.Action) string {
	effect := "none"
	for _, a := range actions {
		switch {
		case a.Outcome == failover.Unknown:
			return "unknown"
		case a.Outcome.OK() && a.Outcome != failover.Already:
			effect = "partial"
		}
	}
	return effect
}

func gapsOf(gaps []failover.Gap) []gap {
	out := make([]gap, 0, len(gaps))
	for _, g := range gaps {
		f := resilience.Of(g.Err)
		out = append(out, gap{g.Provider, f.Class.String(), f.Sent.String(), f.Class.Fault().String(), f.Status, f.RequestID})
	}
	return out
}

// longestWait is how long the vendors, or their breakers, asked to be left alone.
func longestWait(gaps []failover.Gap) time.Duration {
	wait := time.Second
	for _, g := range gaps {
		wait = max(wait, resilience.Of(g.Err).RetryAfter)
	}
	return wait
}

func (p *problem) write(w http.ResponseWriter) {
	if p.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.after.Seconds()))))
	}
	writeJSON(w, p.status, p)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // the client may have left
}
