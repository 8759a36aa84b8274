package azure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// Refused for its etag, a change was not made, even if somebody else has made the
// same: it is applied to theirs.
func TestAnotherWritersSameWordsAreNotTakenForOurs(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		calls := 0
		i, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
			if calls++; calls == 1 {
				srv.SetSentinelProperty(id, "description", json.RawMessage(`"seen. "`))
			}
			i.Description += "seen. "
			return nil
		})
		if err != nil || i.Description != "seen. seen. " {
			t.Errorf("%q, %v", i.Description, err)
		}
	})
}

// A label that is changed in its place is a change.
func TestALabelChangedInPlace(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{Properties: map[string]json.RawMessage{"labels": json.RawMessage(`[{"labelName":"a"}]`)}})
		i, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error { i.Labels[0] = "b"; return nil })
		if err != nil || !slices.Equal(i.Labels, []string{"b"}) || property(incidents(srv)[0], "labels") != `[{"labelName":"b"}]` {
			t.Errorf("%v, %v, %s", i.Labels, err, property(incidents(srv)[0], "labels"))
		}
	})
}

func TestAChangeThatMakesNoSenseOrFailsIsNotSent(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		mine := errors.New("mine")
		for name, change := range map[string]func(*azure.SentinelIncident) error{
			"title":          func(i *azure.SentinelIncident) error { i.Title = ""; return nil },
			"severity":       func(i *azure.SentinelIncident) error { i.Severity = "high"; return nil },
			"status":         func(i *azure.SentinelIncident) error { i.Status = ""; return nil },
			"classification": func(i *azure.SentinelIncident) error { i.Status = azure.SentinelClosed; return nil },
			"own":            func(*azure.SentinelIncident) error { return mine },
		} {
			_, err := w.UpdateIncident(t.Context(), id, change)
			if name == "own" && err != mine || name != "own" && resilience.Of(err).Class != resilience.Misuse {
				t.Errorf("%s: %v", name, err)
			}
		}
		// What is not changed may be what it likes.
		srv.SetSentinelProperty(id, "severity", json.RawMessage(`"Critical"`))
		srv.SetSentinelProperty(id, "title", json.RawMessage(`""`))
		srv.SetSentinelProperty(id, "status", json.RawMessage(`"Closed"`)) // without a classification
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 400, Method: http.MethodPut, Path: "/subscriptions"})
		if _, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error { i.Description = "x"; return nil }); resilience.Of(err).Status != 400 {
			t.Errorf("got %v", err)
		}
		if n := sent(srv, http.MethodPut, id); n != 1 {
			t.Errorf("%d PUTs", n)
		}
	})
}

// Without an etag a PUT would put back what others have changed since.
func TestAnIncidentWithoutAnETagIsNotChanged(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 200, Method: http.MethodGet, Path: "/subscriptions",
			Body: `{"name":"` + alert.ID + `","properties":{"title":"x","severity":"High","status":"New"}}`,
		})
		_, err := w.UpdateIncident(t.Context(), alert.ID, func(i *azure.SentinelIncident) error { i.Title = "y"; return nil })
		if err == nil || resilience.Of(err).Sent != resilience.NotSent || sent(srv, http.MethodPut, "") != 0 {
			t.Errorf("got %v", err)
		}
	})
}

func TestAReadThatFailsBeforeAChangeMeansNothingWasSent(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Method: http.MethodGet, Path: "/subscriptions"})
		_, err1 := w.CreateIncident(t.Context(), alert)
		_, err2 := w.UpdateIncident(t.Context(), alert.ID, func(*azure.SentinelIncident) error { return nil })
		for _, err := range []error{err1, err2} {
			if f := resilience.Of(err); err == nil || f.Sent != resilience.NotSent {
				t.Errorf("%v: %v", f.Sent, err)
			}
		}
	})
}

// The pause before a change is applied again ends with the caller's context; that the
// last PUT was refused is not forgotten.
func TestAWaitingWriterLeavesAtOnce(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begin := time.Now()
		_, err := w.UpdateIncident(ctx, id, func(i *azure.SentinelIncident) error {
			srv.SetSentinelProperty(id, "description", json.RawMessage(`"theirs"`))
			time.AfterFunc(time.Microsecond, cancel)
			i.Title = "ours"
			return nil
		})
		if !errors.Is(err, context.Canceled) || resilience.Of(err).Status != http.StatusPreconditionFailed || time.Since(begin) > time.Millisecond {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

func TestARowThatIsNoIncidentCostsThatRow(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 200, Path: "/subscriptions",
			Body: `{"value":[{"name":"a"},{"properties":{}},7,{"name":"b","properties":{"title":3,"owner":"x","labels":[1],"severity":["High"]}}]}`,
		})
		var got, odd int
		for i, err := range w.Incidents(azure.IncidentQuery{}).All(t.Context()) {
			if _, ok := errors.AsType[*azure.RowError](err); ok {
				odd++
			} else if got++; err != nil || i.ID != "b" || i.Title != "3" || i.Labels != nil {
				t.Errorf("%+v, %v", i, err)
			}
		}
		if got != 1 || odd != 3 {
			t.Errorf("%d, %d odd", got, odd)
		}
	})
}

// No pages are known of what belongs to an incident: a link is followed all the same,
// and an answer without the list is not an empty one.
func TestWhatBelongsToAnIncidentIsReadWhole(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{Alerts: []json.RawMessage{json.RawMessage(`{"name":"a2"}`)}})
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 200, Method: http.MethodPost, Path: "/subscriptions", Count: 1,
			Body: `{"value":[{"name":"a1"}],"nextLink":"https://management.azure.com/subscriptions/` + azuretest.SubscriptionID + `/resourceGroups/` + azuretest.ResourceGroup +
				`/providers/Microsoft.OperationalInsights/workspaces/` + azuretest.WorkspaceName + `/providers/Microsoft.SecurityInsights/incidents/` + id + `/alerts?api-version=2025-09-01&x=1"}`,
		})
		var got []string
		for a, err := range w.Alerts(id).All(t.Context()) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, a.ID)
		}
		if !slices.Equal(got, []string{"a1", "a2"}) {
			t.Error(got)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Method: http.MethodPost, Path: "/subscriptions", Body: `{"values":[]}`})
		n := 0
		for _, err := range w.Alerts(id).All(t.Context()) {
			if n++; resilience.Of(err).Class != resilience.Malformed {
				t.Errorf("got %v", err)
			}
		}
		if n != 1 {
			t.Error("an answer without a list was taken for an empty one")
		}
	})
}

func TestTwoWritersDoNotLoseEachOthersChange(t *testing.T) {
	for _, stale := range []int{http.StatusPreconditionFailed, http.StatusConflict} {
		soc(t, azuretest.Config{Sentinel: azuretest.Sentinel{StaleETag: stale}}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
			id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
			var all sync.WaitGroup
			for n := range 4 {
				all.Go(func() {
					if _, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
						i.Labels = append(i.Labels, fmt.Sprint(n))
						return nil
					}); err != nil {
						t.Errorf("%d: %v", stale, err)
					}
				})
			}
			all.Wait()
			i, err := w.Incident(t.Context(), id)
			slices.Sort(i.Labels)
			if err != nil || !slices.Equal(i.Labels, []string{"0", "1", "2", "3"}) {
				t.Errorf("%d: %v, %v", stale, i.Labels, err)
			}
			if n := sent(srv, http.MethodPut, id); n < 5 {
				t.Errorf("%d PUTs: the writers did not meet", n)
			}
		})
	}
}

func TestAWriterThatIsAlwaysOvertakenGivesUp(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		calls := 0
		_, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
			calls++
			if _, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
				i.Description = fmt.Sprint(calls)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			i.Severity = azure.SentinelLow
			return nil
		})
		if f := resilience.Of(err); !errors.Is(err, azure.ErrConflict) || calls != 5 || f.Class != resilience.Conflict || f.Sent != resilience.Answered {
			t.Errorf("%d calls, %v", calls, err)
		}
		if i := incidents(srv)[0]; property(i, "severity") != `"Medium"` || property(i, "description") != `"5"` {
			t.Errorf("%s", i.Properties)
		}
	})
}

// The first PUT was carried out, its answer lost, and the second is refused for its
// etag: taking that for somebody else's change would apply the change twice.
func TestALostAnswerOfAnUpdateIsNotAppliedTwice(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPut, Path: "/subscriptions", Count: 1})
		i, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
			i.Description += "seen by tier 1. "
			return nil
		})
		if err != nil || i.Description != "seen by tier 1. " || i.ETag != incidents(srv)[0].ETag {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

// ... but if somebody has changed the same field since, the change is applied to it.
func TestALostAnswerThenAnotherWriter(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Method: http.MethodPut, Path: "/subscriptions", Count: 1})
		calls := 0
		i, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
			if calls++; calls == 1 {
				srv.SetSentinelProperty(id, "severity", json.RawMessage(`"High"`))
			}
			i.Status = azure.SentinelActive
			return nil
		})
		if err != nil || calls != 2 || i.Status != azure.SentinelActive || i.Severity != azure.SentinelHigh {
			t.Errorf("%d calls, %+v, %v", calls, i, err)
		}
	})
}

func TestWhatAnUpdateDoesNotTouchGoesBackAsItCame(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		was := map[string]json.RawMessage{
			"title": json.RawMessage(`"Before"`), "teamInformation": json.RawMessage(`{"teamId":9007199254740993}`),
			"firstActivityTimeUtc": json.RawMessage(`"2026-11-20T09:30:00.1234567Z"`), "severity": json.RawMessage(`"High"`),
			"owner":  json.RawMessage(`{"objectId":"o","ownerType":"User"}`),
			"labels": json.RawMessage(`[{"labelName":"a","labelType":"AutoAssigned"},{"labelName":"b","labelType":"User"}]`),
		}
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{Properties: was})
		if _, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
			i.Title, i.Labels = "After", []string{"c", "a"}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		is := incidents(srv)[0].Properties
		was["title"], was["labels"] = json.RawMessage(`"After"`), json.RawMessage(`[{"labelName":"c"},{"labelName":"a","labelType":"AutoAssigned"}]`)
		for name, want := range was {
			if string(is[name]) != string(want) {
				t.Errorf("%s: %s, want %s", name, is[name], want)
			}
		}
	})
}

func TestAConflictThatIsNoRaceIsReportedAsItIs(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 409, Method: http.MethodPut, Path: "/subscriptions",
			Body: `{"error":{"code":"Locked","message":"a lock"}}`, Header: http.Header{"Content-Type": {"application/json"}},
		})
		_, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error { i.Title = "x"; return nil })
		if api, ok := errors.AsType[*azure.APIError](err); !ok || api.Code != "Locked" || errors.Is(err, azure.ErrConflict) || sent(srv, http.MethodPut, id) != 1 {
			t.Errorf("%v after %d PUTs", err, sent(srv, http.MethodPut, id))
		}
	})
	soc(t, azuretest.Config{ARM: azuretest.ARM{Unregistered: []string{"Microsoft.SecurityInsights"}}}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		_, err := w.CreateIncident(t.Context(), alert)
		if api, ok := errors.AsType[*azure.APIError](err); !ok || !strings.Contains(api.Hint, "register") || sent(srv, http.MethodPut, "") != 0 {
			t.Errorf("got %v", err)
		}
		srv.RegisterProvider("microsoft.securityinsights")
		if _, err := w.CreateIncident(t.Context(), alert); err != nil {
			t.Error(err)
		}
	})
}

// Who gives up after the last round says that nothing was changed: it must be so.
func TestALostAnswerOfTheLastRound(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		calls := 0
		i, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
			if calls++; calls < 5 {
				srv.SetSentinelProperty(id, "description", json.RawMessage(fmt.Sprint(calls)))
			} else {
				srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPut, Path: "/subscriptions", Count: 1})
			}
			i.Status = azure.SentinelActive
			return nil
		})
		if err != nil || calls != 5 || i.Status != azure.SentinelActive {
			t.Errorf("%d calls, %+v, %v", calls, i, err)
		}
	})
	// Nothing came of it: an error like any other.
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		calls := 0
		_, err := w.UpdateIncident(t.Context(), id, func(i *azure.SentinelIncident) error {
			calls++
			srv.SetSentinelProperty(id, "description", json.RawMessage(fmt.Sprint(calls)))
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Method: http.MethodPut, Path: "/subscriptions", Count: 1})
			i.Status = azure.SentinelActive
			return nil
		})
		if !errors.Is(err, azure.ErrConflict) || calls != 5 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}
