package falcon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

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
		change.ExpectedVersion = 9007199254740993 // no float64 has it
		_, err = c.Cases.Update(t.Context(), caseID(0), change)
		if !errors.Is(err, falcon.ErrVersion) || !slices.ContainsFunc(srv.Requests(), func(r falcontest.Request) bool { return strings.Contains(string(r.Body), "9007199254740993") }) {
			t.Errorf("got %v", err)
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

// What was asked for and is not there was somebody else's change.
func TestAChangeThatIsNotInTheCaseIsSomebodyElses(t *testing.T) {
	for _, change := range []falcon.CaseChange{
		{Name: "n"},
		{Description: "d"},
		{Status: falcon.CaseClosed},
		{Severity: 5},
		{AssignTo: "me"},
		{Unassign: true},
		{Fields: map[string][]string{"f": {"v"}}},
	} {
		change.ExpectedVersion = 1
		between := &afterFirst{method: http.MethodPatch}
		cloud(t, opened(1), between.in, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			warm(t, c)
			srv.Faults().Add(fault.Rule{Kind: fault.Reset, Method: "PATCH", Path: casesPath, Count: 1})
			between.do = func() {
				srv.AddCase(falcontest.Case{ID: caseID(0), Name: "other", AssignedTo: "other", Version: 2})
			}
			if one, err := c.Cases.Update(t.Context(), caseID(0), change); !errors.Is(err, falcon.ErrVersion) {
				t.Errorf("%+v: %+v, %v", change, one, err)
			}
		})
	}
}

// What is read back must be the case, and must have been read.
func TestNothingIsProvenByAnotherCaseOrNone(t *testing.T) {
	another := `{"meta":{},"errors":[],"resources":[{"id":"another","version":2,"status":"closed"}]}`
	for _, read := range []fault.Rule{{Status: http.StatusOK, Body: another}, {Status: http.StatusForbidden}} {
		cloud(t, opened(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			warm(t, c)
			read.Kind, read.Method, read.Path = fault.Status, "POST", casesPath
			srv.Faults().Add(read)
			lost(srv, "PATCH", casesPath)
			one, err := c.Cases.Update(t.Context(), caseID(0), falcon.CaseChange{Status: falcon.CaseClosed, ExpectedVersion: 1})
			if f := resilience.Of(err); !errors.Is(err, falcon.ErrVersion) || f.Sent != resilience.MaybeSent {
				t.Errorf("%+v, %v", one, err)
			}
			lost(srv, "DELETE", "/cases")
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusBadRequest, Method: "DELETE", Path: "/cases"})
			if one, err := c.Cases.RemoveTags(t.Context(), caseID(0), "t"); err == nil {
				t.Errorf("%+v", one)
			}
		})
	}
}

// Without a refusal there is nothing to explain: an outage is not asked for more.
func TestAnOutageIsNotReadBack(t *testing.T) {
	cloud(t, opened(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		warm(t, c)
		before := sent(srv, "POST", casesPath)
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: evidencePath})
		_, err := c.Cases.AddAlerts(t.Context(), caseID(0), alertID(0))
		if f := resilience.Of(err); err == nil || f.Sent != resilience.MaybeSent || sent(srv, "POST", casesPath) != before {
			t.Errorf("%v, read back %d times", err, sent(srv, "POST", casesPath)-before)
		}
	})
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
