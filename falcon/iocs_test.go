package falcon_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	iocsPath     = "/iocs/entities/indicators/v1"
	iocsCombined = "/iocs/combined/indicator/v1"
)

// listed is a cloud's n custom indicators, ten a second.
func listed(n int) falcontest.Config {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var cfg falcontest.Config
	for i := range n {
		cfg.IOCs = append(cfg.IOCs, falcontest.IOC{
			ID: iocID(i), Type: "domain", Value: fmt.Sprintf("%05d.example", i), Action: "detect", Severity: "high",
			AppliedGlobally: true, Tags: []string{"feed"}, Created: begin.Add(time.Duration(i/10) * time.Second),
		})
	}
	return cfg
}

func iocID(i int) string { return fmt.Sprintf("%064x", i) }

func idOfIOC(i falcon.IOC) string { return i.ID }

// iocRequests is the requests of a method that reached the indicators.
func iocRequests(srv *falcontest.Server, method string) (out []falcontest.Request) {
	for _, r := range srv.Requests() {
		if r.Method == method && r.Path == iocsPath {
			out = append(out, r)
		}
	}
	return out
}

// Offsets end at 10,000 indicators; after goes on. The last page has a token, too:
// the end is the empty page behind it.
func TestIOCsBeyondTenThousand(t *testing.T) {
	const n = 10_500
	cloud(t, listed(n), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		l := c.IOCs.Query(falcon.IOCQuery{})
		ids, errs := gather(t, l, idOfIOC)
		if len(ids) != n || len(errs) != 0 || !slices.IsSorted(ids) || l.Total() != n {
			t.Errorf("%d indicators of %d, %v", len(ids), l.Total(), errs)
		}
		if calls := count(srv, iocsCombined); calls != 7 {
			t.Errorf("%d calls", calls)
		}
		for _, r := range srv.Requests() {
			if r.Path == iocsCombined && (r.Query.Has("offset") || r.Query.Get("sort") != "created_on") {
				t.Fatalf("asked for %v", r.Query)
			}
		}
	})
}

func TestIOCsAreFilteredAndResumed(t *testing.T) {
	cloud(t, listed(95), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		q := falcon.IOCQuery{Filter: falcon.Equals("type", "domain"), Limit: 7}
		all, errs := gather(t, c.IOCs.Query(q), idOfIOC)
		if len(all) != 95 || len(errs) != 0 {
			t.Fatalf("%d indicators, %v", len(all), errs)
		}
		var got []string
		for len(got) < 95 { // a new list for every five
			l := c.IOCs.Query(q)
			got = append(got, some(t, l, 5, idOfIOC)...)
			q.Cursor = l.Cursor()
		}
		if !slices.Equal(got, all) {
			t.Error("resumed, the list is another")
		}
		none, errs := gather(t, c.IOCs.Query(falcon.IOCQuery{Filter: falcon.Equals("value", "nobody")}), idOfIOC)
		if len(none) != 0 || len(errs) != 0 {
			t.Errorf("none: %v, %v", none, errs)
		}
	})
}

// A recorded answer, of August 2021: no error is null, and the page that is the
// last has a token.
func TestIOCFields(t *testing.T) {
	body := `{"meta":{"query_time":0.01,"pagination":{"total":1,"limit":100,"after":"WzE2MzAyMTQzMzY2NDFd","offset":1},"powered_by":"ioc-manager"},
		"errors":null,"resources":[{"from_parent":false,"modified_by":"732a","severity":"","applied_globally":true,"platforms":["windows","mac"],
		"deleted":false,"expired":true,"tags":["t"],"value":"af62","source":"feed","created_on":"2021-08-29T05:18:56.641401326Z","action":"allow",
		"expiration":"2021-09-01T00:00:00Z","metadata":{"av_hits":-1,"filename":"foo.exe"},"type":"sha256","id":"9b89","description":"d"},
		{"id":"x","severity":7,"platforms":"linux"},{"value":"without id"}]}`
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: iocsCombined, Body: body, Count: 1})
		var got []falcon.IOC
		var errs []error
		for i, err := range c.IOCs.Query(falcon.IOCQuery{}).All(t.Context()) {
			if err != nil {
				errs = append(errs, err)
				break // the token is not this cloud's
			}
			got = append(got, i)
		}
		if len(got) != 2 || len(errs) != 1 {
			t.Fatalf("%+v, %v", got, errs)
		}
		i := got[0]
		s := fmt.Sprint(i.ID, i.Type, i.Value, i.Action, i.Severity, i.Platforms, i.AppliedGlobally, i.Source, i.Description, i.Filename, i.Tags,
			i.Expired, i.Deleted, i.FromParent, i.Created.Year(), i.Expiration.Month(), i.ModifiedBy, len(i.Raw) > 100)
		if want := "9b89 sha256 af62 allow  [windows mac] true feed d foo.exe [t] true false false 2021 September 732a true"; strings.ReplaceAll(s, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("got %s", s)
		}
		if _, ok := errors.AsType[*falcon.RowError](errs[0]); !ok {
			t.Error(errs[0])
		}
	})
}

// The index lags: a list whose rows were just deleted has a total, a token, and no
// rows. That is its end, not a page to be asked for again and again.
func TestAnIndexThatLagsEndsTheList(t *testing.T) {
	page := func(after string) fault.Rule {
		return fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: iocsCombined, Count: 1, Body: `{"meta":{"pagination":{"limit":100,
			"total":1,"offset":1,"after":"` + after + `"}},"errors":null,"resources":[]}`}
	}
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(page("one"))
		srv.Faults().Add(page("two"))
		if got, errs := gather(t, c.IOCs.Query(falcon.IOCQuery{}), idOfIOC); len(got) != 0 || len(errs) != 0 || count(srv, iocsCombined) != 2 {
			t.Errorf("%v, %v, %d calls", got, errs, count(srv, iocsCombined))
		}
	})
}

func TestIOCsByID(t *testing.T) {
	cloud(t, listed(250), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for i := range 250 {
			ids = append(ids, iocID(i))
		}
		got, errs := gather(t, c.IOCs.Get(append(ids, iocID(1000))...), idOfIOC)
		if !slices.Equal(got, ids) || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrNotFound) {
			t.Errorf("%d indicators, %v", len(got), errs)
		}
		asked := iocRequests(srv, http.MethodGet)
		for _, r := range asked {
			if n := len(r.Query.Encode()); n > 7500 {
				t.Errorf("a query of %d bytes", n)
			}
		}
		if len(asked) != 3 {
			t.Errorf("%d calls", len(asked))
		}
		if got, errs := gather(t, c.IOCs.Get("unknown"), idOfIOC); len(got) != 0 || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrNotFound) {
			t.Errorf("one that is unknown: %v, %v", got, errs)
		}
	})
}

func TestIOCsAreDeleted(t *testing.T) {
	cloud(t, listed(260), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for i := range 250 {
			ids = append(ids, iocID(i))
		}
		deleted, err := c.IOCs.Delete(t.Context(), strings.Repeat("ö", 100), append([]string{"unknown"}, ids...)...)
		row, ok := errors.AsType[*falcon.RowError](err)
		if !slices.Equal(deleted, ids) || !ok || row.ID != "unknown" || !errors.Is(err, falcon.ErrNotFound) || len(srv.IOCs()) != 10 {
			t.Errorf("%d deleted, %d left, %v", len(deleted), len(srv.IOCs()), err)
		}
		for _, r := range iocRequests(srv, http.MethodDelete) {
			// A filter wins over the ids, so there must be none, not even an empty one.
			if n := len(r.Query.Encode()); r.Query.Has("filter") || n > 7500 || r.Query.Get("comment") == "" {
				t.Errorf("%d bytes: %v", n, r.Query)
			}
		}
		// A hundred that are gone already do not keep one from being deleted.
		deleted, err = c.IOCs.Delete(t.Context(), "", append(ids[:100:100], iocID(255))...)
		if !slices.Equal(deleted, []string{iocID(255)}) || strings.Count(err.Error(), "row ") != 100 || !strings.Contains(err.Error(), "indicator "+ids[99]+" not found") || !errors.Is(err, falcon.ErrNotFound) {
			t.Errorf("again: %v, %v", deleted, err)
		}
	})
}

// The answer to the first try is lost: the second finds nothing, and says so.
func TestADeletionWhoseAnswerWasLost(t *testing.T) {
	cloud(t, listed(3), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodDelete, Count: 1})
		deleted, err := c.IOCs.Delete(t.Context(), "", iocID(0), iocID(1))
		if len(deleted) != 0 || !errors.Is(err, falcon.ErrNotFound) || len(srv.IOCs()) != 1 {
			t.Errorf("%v, %v, %d left", deleted, err, len(srv.IOCs()))
		}
	})
}

// What Falcon does not say it deleted may still be there.
func TestADeletionThatSaysNothing(t *testing.T) {
	cloud(t, listed(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Method: http.MethodDelete, Body: `{"meta":{},"resources":["b"],"errors":null}`})
		deleted, err := c.IOCs.Delete(t.Context(), "", "a", "b")
		if !slices.Equal(deleted, []string{"b"}) || errors.Is(err, falcon.ErrNotFound) || resilience.Of(err).Sent != resilience.MaybeSent {
			t.Errorf("%v, %v", deleted, err)
		}
		srv.Faults().Heal()
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusForbidden, Method: http.MethodDelete})
		deleted, err = c.IOCs.Delete(t.Context(), "", "a", "b")
		if len(deleted) != 0 || resilience.Of(err).Class != resilience.Denied {
			t.Errorf("%v, %v", deleted, err)
		}
	})
}
