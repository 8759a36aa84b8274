package falcon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/cases"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	casesPath    = "/cases/entities/cases/v2"
	evidencePath = "/cases/entities/alert-evidence/v1"
)

// opened is a cloud's n cases, one a second, and three alerts.
func opened(n int) falcontest.Config {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	cfg := raised(3)
	for i := range n {
		cfg.Cases = append(cfg.Cases, falcontest.Case{
			ID: caseID(i), Name: fmt.Sprintf("case %d", i), Severity: 1 + i%100, Created: begin.Add(time.Duration(i) * time.Second),
		})
	}
	return cfg
}

func caseID(i int) string { return fmt.Sprintf("case-%05d", i) }

func idOfCase(c falcon.Case) string { return c.ID }

// sent is how many requests with this method reached a path.
func sent(s *falcontest.Server, method, path string) (n int) {
	for _, r := range s.Requests() {
		if r.Method == method && r.Path == path {
			n++
		}
	}
	return n
}

// lost loses the answer to the next request of this kind, which is carried out.
func lost(s *falcontest.Server, method, path string) {
	s.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: method, Path: path, Count: 1})
}

func TestCasesArePagedAndResumed(t *testing.T) {
	cloud(t, opened(1100), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		l := c.Cases.Query(falcon.CaseQuery{})
		all, errs := gather(t, l, idOfCase)
		if len(all) != 1100 || len(errs) != 0 || !slices.IsSorted(all) || l.Total() != 1100 {
			t.Errorf("%d cases of %d, %v", len(all), l.Total(), errs)
		}
		if ids, rest := count(srv, "/cases/queries/cases/v1"), sent(srv, "POST", casesPath); ids != 3 || rest != 3 {
			t.Errorf("%d calls for ids, %d for the rest", ids, rest)
		}
		q := falcon.CaseQuery{Filter: falcon.AtLeast("severity", 99), Limit: 3}
		want, _ := gather(t, c.Cases.Query(q), idOfCase)
		var got []string
		for range 2 * len(want) { // a new list for every case
			l := c.Cases.Query(q)
			for one, err := range l.All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, one.ID)
				break
			}
			if q.Cursor = l.Cursor(); len(got) == len(want) {
				break
			}
		}
		if len(want) != 22 || !slices.Equal(got, want) {
			t.Errorf("resumed %v, at once %v", got, want)
		}
		found, errs := gather(t, c.Cases.Query(falcon.CaseQuery{Text: "CASE 1099"}), idOfCase)
		if !slices.Equal(found, []string{caseID(1099)}) || len(errs) != 0 {
			t.Errorf("by text: %v, %v", found, errs)
		}
	})
}

func TestCasesByID(t *testing.T) {
	cloud(t, opened(600), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for i := range 600 {
			ids = append(ids, caseID(i))
		}
		got, errs := gather(t, c.Cases.Get(append(ids, "unknown")...), idOfCase)
		if !slices.Equal(got, ids) || len(errs) != 1 || sent(srv, "POST", casesPath) != 2 {
			t.Errorf("%d cases, %v", len(got), errs)
		}
		if row, ok := errors.AsType[*falcon.RowError](errs[0]); !ok || row.ID != "unknown" || !errors.Is(errs[0], falcon.ErrNotFound) {
			t.Errorf("got %v", errs)
		}
	})
}

// gofalcon C5, for cases: what one of them has in odd places costs no more than that.
func TestOneOddCaseDoesNotLoseThePage(t *testing.T) {
	body := `{"meta":{"trace_id":"t"},"errors":[],"resources":[
		{"id":"a","version":"7","severity":"50","assigned_to":null,"evidence":{"alerts":{"records":[{"id":"x"},7,{"id":"r","selector":{"id":"y"}}]},"events":[]},
		 "fields":[{"id":"f","values":["v"]},null],"template":{"id":"t"},"tags":null},
		{"name":"no id"},
		{"id":"b","evidence":"none","assigned_to":{"uuid":"u"},"tags":["p"]}]}`
	cloud(t, opened(0), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: casesPath, Body: body})
		got, errs := gather(t, c.Cases.Get("a", "b"), func(c falcon.Case) string {
			return fmt.Sprintf("%s %d %d %q %v %v %v %q %v %t", c.ID, c.Version, c.Severity, c.AssignedTo, c.Alerts, c.Events, c.Fields, c.TemplateID, c.Tags, len(c.Raw) > 0)
		})
		if want := []string{`a 7 50 "" [x y] [] map[f:[v]] "t" [] true`, `b 0 0 "u" [] [] map[] "" [p] true`}; !slices.Equal(got, want) || len(errs) != 1 {
			t.Errorf("got %q, %v", got, errs)
		}
	})
}

// gofalcon B1, worst where a case is created: an answer that is lost must not make
// two of it. The tag finds the one there is.
func TestB1ACaseIsNeverCreatedTwice(t *testing.T) {
	cloud(t, opened(2), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		warm(t, c)
		lost(srv, "PUT", casesPath)
		_, err := c.Cases.Create(t.Context(), falcon.NewCase{Name: "n", Severity: 60, Tags: []string{"run-17"}})
		if f := resilience.Of(err); err == nil || f.Sent != resilience.MaybeSent || sent(srv, "PUT", casesPath) != 1 {
			t.Fatalf("got %v", err)
		}
		found, errs := gather(t, c.Cases.Query(falcon.CaseQuery{Filter: falcon.Equals("tags", "run-17")}), func(c falcon.Case) string { return c.Name })
		if !slices.Equal(found, []string{"n"}) || len(errs) != 0 {
			t.Errorf("found %v, %v", found, errs)
		}
		// gofalcon's own service creates with a PUT, which elsewhere is idempotent.
		name, severity := "through gofalcon", int64(20)
		p := cases.NewEntitiesCasesPutV2ParamsWithContext(t.Context())
		p.Body = &models.OperationsCreateCaseRequest{Name: &name, Severity: &severity}
		lost(srv, "PUT", casesPath)
		if _, err := cases.New(c.Transport(), nil).EntitiesCasesPutV2(p); err == nil || len(srv.Cases()) != 4 {
			t.Errorf("%v, %d cases", err, len(srv.Cases()))
		}
	})
}

// warm fetches the token, so that what follows is about the call alone.
func warm(t *testing.T, c *falcon.Client) {
	t.Helper()
	if _, errs := gather(t, c.Cases.Get(caseID(0)), idOfCase); len(errs) != 0 {
		t.Fatal(errs)
	}
}

// gofalcon's models write null for what is not set.
func TestOnlyWhatIsSetOfACaseGoesOut(t *testing.T) {
	cloud(t, opened(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx := t.Context()
		update := func(change falcon.CaseChange) error {
			_, err := c.Cases.Update(ctx, caseID(0), change)
			return err
		}
		create := func(n falcon.NewCase) error {
			_, err := c.Cases.Create(ctx, n)
			return err
		}
		for _, tc := range []struct {
			err  error
			body string
		}{
			{update(falcon.CaseChange{Status: falcon.CaseClosed}), `{"fields":{"status":"closed"},"id":"case-00000"}`},
			{update(falcon.CaseChange{Severity: 7, ExpectedVersion: 2}), `{"expected_version":2,"fields":{"severity":7},"id":"case-00000"}`},
			{update(falcon.CaseChange{Unassign: true}), `{"fields":{"remove_user_assignment":true},"id":"case-00000"}`},
			{
				update(falcon.CaseChange{Name: "n", Description: "d", AssignTo: "u", Fields: map[string][]string{"b": nil, "a": {"1"}}}),
				`{"fields":{"assigned_to_user_uuid":"u","custom_fields":[{"id":"a","values":["1"]},{"id":"b","values":[]}],"description":"d","name":"n"},"id":"case-00000"}`,
			},
			{create(falcon.NewCase{Name: "n", Severity: 1}), `{"name":"n","severity":1}`},
			{create(falcon.NewCase{Name: "n", Severity: 1, Alerts: []string{alertID(0)}}), `{"evidence":{"alerts":[{"id":"` + alertID(0) + `"}]},"name":"n","severity":1}`},
			{
				create(falcon.NewCase{Name: "n", Severity: 100, Description: "d", Status: falcon.CaseInProgress, AssignTo: "u", Tags: []string{"t"}, Events: []string{"e"}, TemplateID: "x"}),
				`{"assigned_to_user_uuid":"u","description":"d","evidence":{"events":[{"id":"e"}]},"name":"n","severity":100,"status":"in_progress","tags":["t"],"template":{"id":"x"}}`,
			},
		} {
			if requests := srv.Requests(); tc.err != nil || !slices.ContainsFunc(requests, func(r falcontest.Request) bool { return strings.TrimSpace(string(r.Body)) == tc.body }) {
				t.Errorf("%v, not sent: %s", tc.err, tc.body)
			}
		}
		got := srv.Cases() // those that were created have shorter ids
		if one := got[len(got)-1]; one.Status != "closed" || one.Severity != 7 || one.Name != "n" || one.Description != "d" || one.AssignedTo != "u" || one.Version != 5 || !slices.Equal(one.Fields["a"], []string{"1"}) {
			t.Errorf("%+v", one)
		}
	})
}

// Who comes second is told so.
func TestOfTwoChangesToOneVersionOneIsRefused(t *testing.T) {
	cloud(t, opened(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		change := falcon.CaseChange{Status: falcon.CaseInProgress, ExpectedVersion: 1}
		one, err := c.Cases.Update(t.Context(), caseID(0), change)
		if err != nil || one.Version != 2 || one.Status != falcon.CaseInProgress {
			t.Fatalf("%+v, %v", one, err)
		}
		// The very same again is a conflict too: nothing says that it was this caller.
		_, err = c.Cases.Update(t.Context(), caseID(0), change)
		if f := resilience.Of(err); !errors.Is(err, falcon.ErrVersion) || f.Class != resilience.Conflict || f.Sent != resilience.Answered || !strings.Contains(err.Error(), "2 and not 1") {
			t.Errorf("got %v", err)
		}
		if srv.Cases()[0].Version != 2 || sent(srv, "PATCH", casesPath) != 2 {
			t.Error("changed or sent again")
		}
		if _, err = c.Cases.Update(t.Context(), "unknown", change); !errors.Is(err, falcon.ErrNotFound) || errors.Is(err, falcon.ErrVersion) {
			t.Errorf("got %v", err)
		}
	})
}

// A change whose answer was lost is sent again if it has a version. What the second
// try meets is told apart by reading the case back.
func TestALockedChangeIsSentAgain(t *testing.T) {
	change := falcon.CaseChange{Status: falcon.CaseClosed, AssignTo: "me", ExpectedVersion: 1}
	for _, tc := range []struct {
		name  string
		fault fault.Kind
		other falcontest.Case // what somebody else makes of it between the tries
		ok    bool
	}{
		{"done, answer lost", fault.LoseResponse, falcontest.Case{}, true},
		{"never arrived", fault.Reset, falcontest.Case{}, true},
		{"somebody else was first", fault.Reset, falcontest.Case{ID: caseID(0), Status: "closed", AssignedTo: "other", Version: 2}, false},
		{"somebody else came after", fault.LoseResponse, falcontest.Case{ID: caseID(0), Status: "closed", AssignedTo: "me", Version: 3}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			between := &afterFirst{method: http.MethodPatch}
			cloud(t, opened(1), between.in, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				warm(t, c)
				srv.Faults().Add(fault.Rule{Kind: tc.fault, Method: "PATCH", Path: casesPath, Count: 1})
				if !tc.ok {
					between.do = func() { srv.AddCase(tc.other) }
				}
				one, err := c.Cases.Update(t.Context(), caseID(0), change)
				if n := sent(srv, "PATCH", casesPath); n != 2 {
					t.Errorf("%d tries", n)
				}
				if tc.ok {
					if err != nil || one.Version != 2 || one.AssignedTo != "me" || srv.Cases()[0].Version != 2 {
						t.Errorf("%+v, %v", one, err)
					}
					return
				}
				if f := resilience.Of(err); !errors.Is(err, falcon.ErrVersion) || f.Sent != resilience.MaybeSent {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// afterFirst does something when the first request of a method is over.
type afterFirst struct {
	http.RoundTripper
	method string
	do     func()
}

func (a *afterFirst) in(cfg *falcon.Config) {
	a.RoundTripper = cfg.HTTPClient.Transport
	cfg.HTTPClient = &http.Client{Transport: a}
}

func (a *afterFirst) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(req)
	if do := a.do; do != nil && req.Method == a.method {
		a.do = nil
		do()
	}
	return resp, err
}

// With which status Falcon refuses another version is not known: it may be 400.
func TestAVersionRefusedWithAnotherStatus(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusPreconditionFailed} {
		cloud(t, opened(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.AddCase(falcontest.Case{ID: caseID(0), Version: 4})
			over := srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: status, Method: "PATCH", Path: casesPath})
			_, err := c.Cases.Update(t.Context(), caseID(0), falcon.CaseChange{Status: falcon.CaseClosed, ExpectedVersion: 3})
			if !errors.Is(err, falcon.ErrVersion) {
				t.Errorf("%d to another version: %v", status, err)
			}
			_, err = c.Cases.Update(t.Context(), caseID(0), falcon.CaseChange{Status: falcon.CaseClosed, ExpectedVersion: 4})
			if conflict := status != http.StatusBadRequest; err == nil || errors.Is(err, falcon.ErrVersion) != conflict {
				t.Errorf("%d to the same version: %v", status, err)
			}
			over()
			// A read that fails too is in the error.
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: status, Method: "PATCH", Path: casesPath})
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusForbidden, Method: "POST", Path: casesPath})
			_, err = c.Cases.Update(t.Context(), caseID(0), falcon.CaseChange{Status: falcon.CaseClosed, ExpectedVersion: 3})
			if !strings.Contains(err.Error(), "403") || resilience.Of(err).Status != status {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A second try could undo what somebody did in between.
func TestAnUnlockedChangeIsSentOnce(t *testing.T) {
	cloud(t, opened(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		warm(t, c)
		lost(srv, "PATCH", casesPath)
		_, err := c.Cases.Update(t.Context(), caseID(0), falcon.CaseChange{Status: falcon.CaseClosed})
		if f := resilience.Of(err); err == nil || f.Sent != resilience.MaybeSent || sent(srv, "PATCH", casesPath) != 1 {
			t.Errorf("got %v", err)
		}
	})
}

func TestEvidenceAndTags(t *testing.T) {
	cloud(t, opened(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx, id := t.Context(), caseID(0)
		warm(t, c)
		lost(srv, "POST", evidencePath) // sent again: it is there once
		one, err := c.Cases.AddAlerts(ctx, id, alertID(0), "unknown", alertID(1))
		row, ok := errors.AsType[*falcon.RowError](err)
		if !ok || row.ID != "unknown" || !errors.Is(err, falcon.ErrNotFound) || !slices.Equal(one.Alerts, []string{alertID(0), alertID(1)}) || sent(srv, "POST", evidencePath) != 2 {
			t.Errorf("%+v, %v", one, err)
		}
		if one, err = c.Cases.AddEvents(ctx, id, "e1", "e2"); err != nil || !slices.Equal(one.Events, []string{"e1", "e2"}) {
			t.Errorf("%+v, %v", one, err)
		}
		if one, err = c.Cases.AddTags(ctx, id, "a", "b", "c"); err != nil || !slices.Equal(one.Tags, []string{"a", "b", "c"}) {
			t.Errorf("%+v, %v", one, err)
		}
		if one, err = c.Cases.RemoveTags(ctx, id, "a", "c"); err != nil || !slices.Equal(one.Tags, []string{"b"}) {
			t.Errorf("%+v, %v", one, err)
		}
		if _, err = c.Cases.AddTags(ctx, "unknown", "a"); !errors.Is(err, falcon.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// Should Falcon refuse to add what is there, the second try of an addition whose
// answer was lost is refused for its own success.
func TestAnAdditionThatIsRefusedForBeingThere(t *testing.T) {
	again := fault.Rule{Kind: fault.Status, Status: http.StatusBadRequest}
	for _, tc := range []struct {
		name, method, path string
		call               func(context.Context, *falcon.Cases) (falcon.Case, error)
	}{
		{"alerts", "POST", evidencePath, func(ctx context.Context, s *falcon.Cases) (falcon.Case, error) {
			return s.AddAlerts(ctx, caseID(0), alertID(0))
		}},
		{"events", "POST", "/cases/entities/event-evidence/v1", func(ctx context.Context, s *falcon.Cases) (falcon.Case, error) {
			return s.AddEvents(ctx, caseID(0), "e")
		}},
		{"tags", "POST", "/cases/entities/case-tags/v1", func(ctx context.Context, s *falcon.Cases) (falcon.Case, error) {
			return s.AddTags(ctx, caseID(0), "t")
		}},
		{"tags taken off", "DELETE", "/cases/entities/case-tags/v1", func(ctx context.Context, s *falcon.Cases) (falcon.Case, error) {
			return s.RemoveTags(ctx, caseID(0), "old")
		}},
	} {
		for _, done := range []bool{true, false} {
			t.Run(fmt.Sprint(tc.name, ", done: ", done), func(t *testing.T) {
				cfg := opened(1)
				cfg.Cases[0].Tags = []string{"old"}
				cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
					warm(t, c)
					first := fault.Rule{Kind: fault.Reset, Method: tc.method, Path: tc.path, Count: 1}
					if done {
						first.Kind = fault.LoseResponse
					}
					srv.Faults().Add(first)
					again.Method, again.Path = tc.method, tc.path
					srv.Faults().Add(again)
					one, err := tc.call(t.Context(), c.Cases)
					if done && (err != nil || one.ID == "") || !done && resilience.Of(err).Class != resilience.Rejected {
						t.Errorf("%+v, %v", one, err)
					}
					if n := sent(srv, tc.method, tc.path); n != 2 {
						t.Errorf("%d tries", n)
					}
				})
			})
		}
	}
}

func TestACaseIsCreatedWithEvidence(t *testing.T) {
	cloud(t, opened(0), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		one, err := c.Cases.Create(t.Context(), falcon.NewCase{Name: "n", Severity: 80, Alerts: []string{alertID(1), "unknown"}, Events: []string{"e"}})
		row, ok := errors.AsType[*falcon.RowError](err)
		if !ok || row.ID != "unknown" || one.ID == "" || one.ReferenceID == "" || one.Status != falcon.CaseNew || one.Created.IsZero() ||
			!slices.Equal(one.Alerts, []string{alertID(1)}) || !slices.Equal(one.Events, []string{"e"}) {
			t.Errorf("%+v, %v", one, err)
		}
	})
}

func TestCaseMisuse(t *testing.T) {
	cloud(t, opened(1), func(c *falcon.Config) { c.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx := t.Context()
		update := func(id string, change falcon.CaseChange) error {
			_, err := c.Cases.Update(ctx, id, change)
			return err
		}
		create := func(n falcon.NewCase) error {
			_, err := c.Cases.Create(ctx, n)
			return err
		}
		second := func(_ falcon.Case, err error) error { return err }
		query := func(q falcon.CaseQuery) error {
			_, errs := gather(t, c.Cases.Query(q), idOfCase)
			return errors.Join(errs...)
		}
		closed := falcon.CaseChange{Status: falcon.CaseClosed}
		for want, err := range map[string]error{
			"CaseChange is empty":         update("a", falcon.CaseChange{ExpectedVersion: 3}),
			"CaseChange.Status":           update("a", falcon.CaseChange{Status: "done"}),
			"CaseChange.Severity 101":     update("a", falcon.CaseChange{Severity: 101}),
			"CaseChange.Severity -1":      update("a", falcon.CaseChange{Severity: -1}),
			"CaseChange.ExpectedVersion":  update("a", falcon.CaseChange{Status: falcon.CaseNew, ExpectedVersion: -1}),
			"exclude each other":          update("a", falcon.CaseChange{AssignTo: "u", Unassign: true}),
			"update: the case's id is":    update("", closed),
			"update: the client is read-": update("a", closed),
			"NewCase.Name is empty":       create(falcon.NewCase{Severity: 1, Name: " "}),
			"NewCase.Severity 0":          create(falcon.NewCase{Name: "n"}),
			"NewCase.Status":              create(falcon.NewCase{Name: "n", Severity: 1, Status: "open"}),
			"one of NewCase.Tags, Alerts": create(falcon.NewCase{Name: "n", Severity: 1, Events: []string{""}}),
			"create: the client is read-": create(falcon.NewCase{Name: "n", Severity: 1}),
			"tags: the case's id is":      second(c.Cases.AddTags(ctx, "", "a")),
			"add_tags: one of the ids or": second(c.Cases.AddTags(ctx, "a")),
			"remove_tags: one of the ids": second(c.Cases.RemoveTags(ctx, "a", "b", "")),
			"add_alerts: one of the ids":  second(c.Cases.AddAlerts(ctx, "a", "")),
			"add_events: one of the ids":  second(c.Cases.AddEvents(ctx, "a")),
			"add_events: the client is r": second(c.Cases.AddEvents(ctx, "a", "b")),
			"CaseQuery.Limit -1":          query(falcon.CaseQuery{Limit: -1}),
			"at least one value":          query(falcon.CaseQuery{Filter: falcon.In("tags")}),
		} {
			if resilience.Of(err).Class != resilience.Misuse || resilience.Of(err).Sent != resilience.NotSent || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Errorf("sent: %v", srv.Requests())
		}
	})
}

func TestCaseScopes(t *testing.T) {
	cfg := opened(1)
	cfg.Scopes = []string{"cases:read", "alerts:read", "alerts:write"}
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx, id := t.Context(), caseID(0)
		if ids, errs := gather(t, c.Cases.Query(falcon.CaseQuery{}), idOfCase); len(ids) != 1 || len(errs) != 0 {
			t.Errorf("%v, %v", ids, errs)
		}
		for name, call := range map[string]func() (falcon.Case, error){
			"create": func() (falcon.Case, error) { return c.Cases.Create(ctx, falcon.NewCase{Name: "n", Severity: 1}) },
			"update": func() (falcon.Case, error) {
				return c.Cases.Update(ctx, id, falcon.CaseChange{Status: falcon.CaseClosed, ExpectedVersion: 1})
			},
			"alerts": func() (falcon.Case, error) { return c.Cases.AddAlerts(ctx, id, alertID(0)) },
			"events": func() (falcon.Case, error) { return c.Cases.AddEvents(ctx, id, "e") },
			"tags":   func() (falcon.Case, error) { return c.Cases.AddTags(ctx, id, "t") },
			"untag":  func() (falcon.Case, error) { return c.Cases.RemoveTags(ctx, id, "t") },
		} {
			if _, err := call(); resilience.Of(err).Class != resilience.Denied {
				t.Errorf("%s: %v", name, err)
			}
		}
		if srv.Cases()[0].Version != 1 {
			t.Error("changed")
		}
	})
}
