package falcon_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

const scrollPath = "/devices/queries/devices-scroll/v1"

// allOf says of ids whether they are those of fleet(n), every one once.
func allOf(n int, ids []string) error {
	var want []string
	for _, h := range fleet(n) {
		want = append(want, h.DeviceID)
	}
	got := slices.Sorted(slices.Values(ids))
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d ids (%d different), want %d", len(ids), len(slices.Compact(got)), n)
	}
	return nil
}

func itself(id string) string { return id }

func TestScroll(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(1050)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		l := c.Hosts.Scroll(falcon.HostScroll{Limit: 100, Sort: "hostname.desc"})
		ids, errs := gather(t, l, itself)
		if err := allOf(1050, ids); err != nil || errs != nil || l.Total() != 1050 || ids[0] < ids[1] {
			t.Error(err, errs, l.Total())
		}
		if n := count(srv, scrollPath); n != 12 { // the last is empty, and the end
			t.Errorf("%d calls", n)
		}
		some, errs := gather(t, c.Hosts.Scroll(falcon.HostScroll{Filter: falcon.Like("hostname", "ws-00*")}), itself)
		if len(some) != 10 || errs != nil {
			t.Errorf("%d hosts, %v", len(some), errs)
		}
		none, errs := gather(t, c.Hosts.Scroll(falcon.HostScroll{Filter: falcon.Equals("hostname", "nobody")}), itself)
		if len(none) != 0 || errs != nil {
			t.Errorf("%v, %v", none, errs)
		}
	})
}

// Falcon forgets the place of a scroll after two minutes and then answers as if the
// end were reached.
func TestAnExpiredScrollLosesAndRepeatsNothing(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(250)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for id, err := range c.Hosts.Scroll(falcon.HostScroll{Limit: 50}).All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
			if len(ids)%45 == 10 { // five times
				time.Sleep(3 * time.Minute)
			}
		}
		if err := allOf(250, ids); err != nil {
			t.Error(err)
		}
	})
}

// The place moves with every call, so that a page whose answer is lost does not
// come again when the call is repeated.
func TestALostScrollPageIsFetchedAgain(t *testing.T) {
	for _, after := range []int{0, 50, 200, 250} { // ids given out; 250: the answer that says it is the end
		t.Run(fmt.Sprint(after, " ids"), func(t *testing.T) {
			cloud(t, falcontest.Config{Hosts: fleet(250)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				lose := func() { srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: scrollPath, Count: 1}) }
				if after == 0 {
					lose()
				}
				var ids []string
				for id, err := range c.Hosts.Scroll(falcon.HostScroll{Limit: 50}).All(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					if ids = append(ids, id); len(ids) == after {
						lose()
					}
				}
				if err := allOf(250, ids); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// That Falcon refuses a place that it does not know any more is no end either.
func TestAScrollIsBegunAnewWhenItsPlaceIsRefused(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(250)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for id, err := range c.Hosts.Scroll(falcon.HostScroll{Limit: 50}).All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if ids = append(ids, id); len(ids) == 100 {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: scrollPath, Count: 1, Status: http.StatusBadRequest})
			}
		}
		if err := allOf(250, ids); err != nil {
			t.Error(err)
		}
	})
}

// A failure ends an iteration; the next one goes on, also within a page.
func TestAScrollGoesOnAfterAFailure(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(250)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		l := c.Hosts.Scroll(falcon.HostScroll{Limit: 50})
		var ids []string
		for id, err := range l.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if ids = append(ids, id); len(ids) == 70 {
				break
			}
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: scrollPath, Count: 1, Status: http.StatusForbidden})
		more, errs := gather(t, l, itself)
		if len(more) != 30 || len(errs) != 1 {
			t.Fatalf("%d ids, %v", len(more), errs)
		}
		rest, errs := gather(t, l, itself)
		if err := allOf(250, append(append(ids, more...), rest...)); err != nil || errs != nil {
			t.Error(err, errs)
		}
	})
}

// Hosts that Falcon counts and never shows are an error, not the end.
func TestAScrollThatStaysShortIsAnError(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(50)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		scrolls(srv, `{"meta":{"pagination":{"total":3,"offset":""}},"resources":["a","b"],"errors":[]}`)
		ids, errs := gather(t, c.Hosts.Scroll(falcon.HostScroll{}), itself)
		if len(ids) != 2 || len(errs) != 1 || !strings.Contains(errs[0].Error(), "1 hosts are missing") {
			t.Errorf("%v, %v", ids, errs)
		}
	})
}

// A scroll that turns in a circle has an end.
func TestAScrollInACircleEnds(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		scrolls(srv, `{"meta":{"pagination":{"total":2,"offset":"same"}},"resources":["a","b"],"errors":[]}`)
		ids, errs := gather(t, c.Hosts.Scroll(falcon.HostScroll{}), itself)
		if !slices.Equal(ids, []string{"a", "b"}) || errs != nil {
			t.Errorf("%v, %v", ids, errs)
		}
	})
}

// scrolls makes the cloud answer every call of a scroll so.
func scrolls(srv *falcontest.Server, body string) {
	srv.Faults().Add(fault.Rule{
		Kind: fault.Status, Path: scrollPath, Status: http.StatusOK, Body: body, Header: http.Header{"Content-Type": {"application/json"}},
	})
}
