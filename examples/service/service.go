package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

// service is the HTTP side of a fleet.
type service struct {
	fleet    *edr.Fleet
	policies map[string]*resilience.Policy // by provider
	log      *slog.Logger
}

func (s *service) routes(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hosts/{name}/contain", s.act("contain", s.fleet.Contain))
	mux.HandleFunc("POST /hosts/{name}/release", s.act("release", s.fleet.Release))
	mux.HandleFunc("GET /hosts/{name}", s.show)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /vendors", s.vendors)
	mux.Handle("GET /metrics", metrics)
	return s.logged(mux)
}

// query is the host that a request means: the one named in its path or, where
// that was ambiguous, the candidate named by ?provider=...&id=...
func query(r *http.Request) edr.Query {
	if q := r.URL.Query(); q.Has("provider") || q.Has("id") {
		return edr.Native(q.Get("provider"), q.Get("id"))
	}
	return edr.Hostname(r.PathValue("name"))
}

// effect is the body of a contain or release that worked.
type effect struct {
	Host       string           `json:"host"`
	Outcome    failover.Outcome `json:"outcome"`
	Actions    []action         `json:"actions"` // what each vendor that was asked to act did
	FailedOver bool             `json:"failed_over"`
	Holding    []string         `json:"holding,omitempty"` // two, if an answer was lost: release undoes both
	Missing    []gap            `json:"missing,omitempty"`
}

type action struct {
	Provider string           `json:"provider"`
	HostID   string           `json:"host_id"`
	Outcome  failover.Outcome `json:"outcome"`
}

type operation func(context.Context, edr.Query, edr.Intent) (failover.Result[edr.Effect], error)

// act answers 202 if a vendor will do it, 200 if it was so already, and a problem
// otherwise. Asking again with the same body is safe.
func (s *service) act(verb string, do operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct{ ID, Actor, Reason string }
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&body); err != nil {
			(&problem{status: http.StatusBadRequest, Error: "bad_request", Message: "body: " + err.Error(), Effect: "none"}).write(w)
			return
		}
		// A client that hangs up does not leave a containment half way: the fleet
		// bounds the time.
		ctx := context.WithoutCancel(r.Context())
		begin := time.Now()
		res, err := do(ctx, query(r), edr.Intent(body))
		log := s.log.With("host", r.PathValue("name"), "intent", body.ID, "actor", body.Actor, "reason", body.Reason,
			"outcome", res.Value.Outcome.String(), "took_ms", time.Since(begin).Milliseconds())
		if err != nil {
			p := problemOf(err, res)
			log.ErrorContext(ctx, verb, "error", p.Error, "effect", p.Effect, "message", p.Message)
			p.write(w)
			return
		}
		log.InfoContext(ctx, verb, "holding", res.Value.Holding(), "missing", len(res.Gaps))
		status := http.StatusOK
		if res.Value.Outcome == failover.Accepted {
			status = http.StatusAccepted
		}
		done := effect{
			Host: res.Value.Host.Name, Outcome: res.Value.Outcome,
			FailedOver: len(res.Served) > 0 && res.Served[0].FellOver,
			Holding:    res.Value.Holding(), Missing: gapsOf(res.Gaps),
		}
		for _, a := range res.Value.Actions {
			done.Actions = append(done.Actions, action{a.Provider, a.HostID, a.Outcome})
		}
		writeJSON(w, status, done)
	}
}

// host is the body of a host that was found.
type host struct {
	Host    string      `json:"host"`
	State   edr.State   `json:"state"` // contained if anybody holds it; not_contained only if all say so
	Records []record    `json:"records"`
	Ledger  []edr.Entry `json:"ledger,omitempty"` // what is known to hold it, or did until just now
	Missing []gap       `json:"missing,omitempty"`
}

type record struct {
	Provider string    `json:"provider"`
	ID       string    `json:"id"`
	Hostname string    `json:"hostname"`
	State    edr.State `json:"state"`
	LastSeen time.Time `json:"last_seen"`
	AsOf     time.Time `json:"as_of"`
}

func (s *service) show(w http.ResponseWriter, r *http.Request) {
	q := query(r)
	res, err := s.fleet.Find(r.Context(), q)
	if err != nil {
		problemOf(err, failover.Result[edr.Effect]{Gaps: res.Gaps}).write(w)
		return
	}
	gaps := res.Gaps
	found := res.Value
	body := host{Host: found.Name, State: found.State()}
	if len(gaps) > 0 && !body.State.Holds() {
		body.State = edr.StateUnknown // who did not answer may hold it
	}
	for _, rec := range found.Records {
		body.Records = append(body.Records, record{rec.Provider, rec.ID, rec.Hostname, rec.State, rec.LastSeen, rec.AsOf})
	}
	for e, err := range s.fleet.Ledger(r.Context()) {
		if err != nil {
			gaps = append(gaps, failover.Gap{Provider: "ledger", Err: err})
		} else if q.Matches(edr.Record{Provider: e.Provider, ID: e.HostID, Hostname: e.Name}) {
			body.Ledger = append(body.Ledger, e)
		}
	}
	body.Missing = gapsOf(gaps)
	writeJSON(w, http.StatusOK, body)
}

// health answers 200 while this service can do its work. Vendors that are down do
// not make it unhealthy: they are what it is for, and a restart does not heal them.
func (s *service) health(w http.ResponseWriter, r *http.Request) {
	body := struct {
		Status  string            `json:"status"`
		Vendors map[string]string `json:"vendors"` // state of the breaker
		Held    int               `json:"held"`    // containments in the ledger
		Debts   int               `json:"debts"`   // releases that have not worked yet
	}{Status: "ok", Vendors: map[string]string{}}
	for provider, p := range s.policies {
		body.Vendors[provider] = p.State().String()
	}
	status := http.StatusOK
	for e, err := range s.fleet.Ledger(r.Context()) {
		switch {
		case err != nil:
			status, body.Status = http.StatusInternalServerError, err.Error()
		case e.Debt():
			body.Debts++
		case e.Owed():
			body.Held++
		}
	}
	writeJSON(w, status, body)
}

// logged writes a line for every request.
func (s *service) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, rec := time.Now(), &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		s.log.InfoContext(r.Context(), "request", "route", r.Pattern, "path", r.URL.Path, "status", rec.status, "took_ms", time.Since(begin).Milliseconds())
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// vendors tells with whom calls begin and why, and what each vendor's policy is doing:
// state, next probe, the last failures with their request ids.
func (s *service) vendors(w http.ResponseWriter, _ *http.Request) {
	body := struct {
		Fleet    failover.Explanation              `json:"fleet"`
		Policies map[string]resilience.Explanation `json:"policies"`
	}{s.fleet.Explain(), map[string]resilience.Explanation{}}
	for provider, p := range s.policies {
		body.Policies[provider] = p.Explain()
	}
	writeJSON(w, http.StatusOK, body)
}
