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
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// silent takes the Next-Page header out of answers.
type silent struct{ http.RoundTripper }

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Next-Page")
	}
	return resp, err
}

// withoutNextPage is a client that is named no next page.
func withoutNextPage(c *falcon.Config) {
	c.HTTPClient = &http.Client{Transport: silent{c.HTTPClient.Transport}}
}

// Offsets end at 10,000 indicators; the Next-Page header and the _marker go on, every
// indicator once, in either direction.
func TestIndicatorsBeyondTenThousand(t *testing.T) {
	const n = 10_500
	for name, change := range map[string]func(*falcon.Config){"Next-Page": nil, "_marker": withoutNextPage} {
		for _, newest := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " newest first ", newest), func(t *testing.T) {
				cloud(t, known(n), change, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
					var last time.Time
					l := c.Intel.Indicators(falcon.IndicatorQuery{NewestFirst: newest, Filter: falcon.Equals("type", "domain")})
					ids, errs := gather(t, l, func(i falcon.Indicator) string {
						if !last.IsZero() && (newest && i.Updated.After(last) || !newest && i.Updated.Before(last)) {
							t.Errorf("%s is out of order", i.ID)
						}
						last = i.Updated
						return i.ID
					})
					if !once(ids, n) || len(errs) != 0 || l.Total() != n {
						t.Errorf("%d indicators of %d, %v", len(ids), l.Total(), errs)
					}
					calls := asked(srv, indicatorsPath)
					if len(calls) < 11 || len(calls) > 12 { // a twelfth makes sure that there are no more
						t.Errorf("%d calls", len(calls))
					}
					for i, q := range calls {
						marked := strings.Contains(q.Get("filter"), "_marker:")
						if wantNext := name == "Next-Page" && i > 0 && i < 11; q.Has("next_page") != wantNext || q.Has("offset") {
							t.Errorf("call %d asked for %v", i, q)
						}
						if wantMarker := i > 0 && (name == "_marker" || i == 11); marked != wantMarker {
							t.Errorf("call %d asked for %v", i, q)
						}
						if want := map[bool]string{false: "_marker.asc", true: "_marker.desc"}[newest]; q.Get("sort") != want {
							t.Errorf("call %d is sorted by %v", i, q)
						}
					}
				})
			})
		}
	}
}

// An indicator that is added, or changes, between two pages neither repeats nor
// loses others. By an offset the newest first would repeat one.
func TestIndicatorsAddedWhileTheyAreRead(t *testing.T) {
	for name, change := range map[string]func(*falcon.Config){"Next-Page": nil, "_marker": withoutNextPage} {
		for _, newest := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " newest first ", newest), func(t *testing.T) {
				cloud(t, known(100), change, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
					var got []string
					for i, err := range c.Intel.Indicators(falcon.IndicatorQuery{NewestFirst: newest, Limit: 10}).All(t.Context()) {
						if err != nil {
							t.Fatal(err)
						}
						if got = append(got, i.ID); len(got) == 20 || len(got) == 55 {
							n := indicator(1000 + len(got))
							srv.AddIndicator(n)
						}
					}
					want := 102
					if newest {
						want = 100 // they came to the front
					}
					if !once(got, want) {
						t.Errorf("%d indicators, want %d", len(got), want)
					}
				})
			})
		}
	}
}

// A cursor is the indicator it stands behind, wherever the list was stopped, even if
// that page has changed since; and at the end of a list it gives what is new.
func TestIndicatorsResume(t *testing.T) {
	cloud(t, known(60), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		q := falcon.IndicatorQuery{Limit: 7}
		all, _ := gather(t, c.Intel.Indicators(q), idOfIndicator)
		var got []string
		for len(got) < 60 { // a new list for every five
			l := c.Intel.Indicators(q)
			got = append(got, some(t, l, 5, idOfIndicator)...)
			q.Cursor = l.Cursor()
			// What is behind moves to the end, and the page that was stopped in shrinks.
			moved := indicator(slices.IndexFunc(srv.Indicators(), func(i falcontest.Indicator) bool { return i.ID == got[len(got)-2] }))
			if len(got) < 60 {
				moved.Updated = year26.Add(time.Hour).Add(time.Duration(len(got)) * time.Second)
				srv.AddIndicator(moved)
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("resumed, the list is another:\n%v\n%v", got, all)
		}
		// To its end, which is what changed.
		l := c.Intel.Indicators(q)
		ids, errs := gather(t, l, idOfIndicator)
		if !once(ids, 11) || len(errs) != 0 {
			t.Errorf("%v, %v", ids, errs)
		}
		if ids, errs := gather(t, c.Intel.Indicators(falcon.IndicatorQuery{Cursor: l.Cursor()}), idOfIndicator); len(ids) != 0 || len(errs) != 0 {
			t.Errorf("nothing is new: %v, %v", ids, errs)
		}
		srv.AddIndicator(falcontest.Indicator{Value: "new.com", Updated: year26.Add(2 * time.Hour)})
		if ids, _ := gather(t, c.Intel.Indicators(falcon.IndicatorQuery{Cursor: l.Cursor()}), idOfIndicator); !slices.Equal(ids, []string{"domain_new.com"}) {
			t.Errorf("new: %v", ids)
		}
	})
}

// A Next-Page that names anything but the next page of this list, on this host, is
// an error: it is not called, and the token goes nowhere.
func TestAForeignNextPageIsNotFollowed(t *testing.T) {
	body := `{"meta":{"trace_id":"t","pagination":{"total":2}},"errors":[],"resources":[{"id":"domain_a","_marker":"17a"}]}`
	for _, header := range []string{
		"https://evil.example/intel/combined/indicators/v1?next_page=x",
		"//evil.example/intel/combined/indicators/v1?next_page=x",
		"https://api.crowdstrike.com@evil.example/intel/combined/indicators/v1?next_page=x",
		"https://user@api.crowdstrike.com/intel/combined/indicators/v1?next_page=x",
		"http://api.crowdstrike.com/intel/combined/indicators/v1?next_page=x",
		"https://api.us-2.crowdstrike.com/intel/combined/indicators/v1?next_page=x",
		"/oauth2/revoke?token=x",
		"/intel/combined/indicators/v1/../../../devices/entities/devices-actions/v2?action_name=contain",
		"/intel/combined/actors/v1?next_page=x",
		"/intel/combined/indicators/v1",
		"/intel/combined/indicators/v1?a=%zz",
		"https://api.crowdstrike.com",
		":",
	} {
		t.Run(header, func(t *testing.T) {
			cloud(t, known(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: indicatorsPath, Body: body, Header: http.Header{"Next-Page": {header}}})
				ids, errs := gather(t, c.Intel.Indicators(falcon.IndicatorQuery{}), idOfIndicator)
				if len(ids) != 0 || len(errs) != 1 || resilience.Of(errs[0]).Class != resilience.Malformed || !strings.Contains(errs[0].Error(), "Next-Page") {
					t.Errorf("%v, %v", ids, errs)
				}
				if r := srv.Requests(); len(r) != 2 || r[0].Path != tokenPath || r[1].Path != indicatorsPath {
					t.Errorf("sent: %v", r)
				}
			})
		})
	}
}

// The whole address of this host, and one without the first slash, are the same page.
func TestANextPageOfThisHostIsFollowed(t *testing.T) {
	for _, header := range []string{
		"https://API.crowdstrike.com/intel/combined/indicators/v1?limit=5&sort=_marker.asc",
		"intel/combined/indicators/v1?limit=5&sort=_marker.asc",
	} {
		cloud(t, known(3), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			body := `{"meta":{"pagination":{"total":2}},"resources":[{"id":"domain_a","_marker":"17a"}]}`
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: indicatorsPath, Body: body, Header: http.Header{"Next-Page": {header}}, Count: 1})
			ids, errs := gather(t, c.Intel.Indicators(falcon.IndicatorQuery{}), idOfIndicator)
			if len(ids) != 4 || len(errs) != 0 {
				t.Errorf("%s: %v, %v", header, ids, errs)
			}
		})
	}
}

// A list that does not move on, or cannot, is an error and not its end.
func TestIndicatorsThatDoNotMoveOn(t *testing.T) {
	page := func(row string) string {
		return `{"meta":{"pagination":{"total":2}},"errors":[],"resources":[` + row + `]}`
	}
	for want, rule := range map[string]fault.Rule{
		"is this page":  {Body: page(`{"id":"domain_a","_marker":"17a"}`)},
		"is this page ": {Body: page(`{"id":"domain_a","_marker":"17a"}`), Header: http.Header{"Next-Page": {indicatorsPath + "?a=b"}}},
		"no Next-Page":  {Body: page(`{"id":"domain_a"}`)},
		"it has none":   {Body: page("")},
	} {
		cloud(t, known(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			rule.Kind, rule.Status, rule.Path = fault.Status, http.StatusOK, indicatorsPath
			srv.Faults().Add(rule)
			ids, errs := gather(t, c.Intel.Indicators(falcon.IndicatorQuery{}), idOfIndicator)
			if len(errs) != 1 || len(ids) > 1 || !strings.Contains(errs[0].Error(), strings.TrimSpace(want)) {
				t.Errorf("%s: %v, %v", want, ids, errs)
			}
		})
	}
}
