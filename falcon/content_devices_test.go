package falcon_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

func idOfDevice(d falcon.DeviceContent) string { return d.ID }

const (
	statesQuery = "/device-content/queries/states/v1"
	statesGet   = "/device-content/entities/states/v1"
)

// The day of a bad update: at once, after a delay, paused in time and too late, and
// a host that died with it.
func TestWhoTookTheContent(t *testing.T) {
	cfg := rings()
	for i, group := range []string{"g-prod", "g-1", "g-late", "g-none"} {
		cfg.Hosts = append(cfg.Hosts, falcontest.Host{DeviceID: fmt.Sprintf("%032x", i+1), Hostname: group, Groups: []string{group}})
	}
	cfg.ContentPolicies = append(cfg.ContentPolicies, falcontest.ContentPolicy{ID: "late", Name: "late", Groups: []string{"g-late"}})
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		begin := time.Now()
		took := func(category falcon.ContentCategory) string {
			t.Helper()
			var s []string
			for d, err := range c.Content.Devices(falcon.DeviceContentQuery{Sort: "device_id.asc"}).All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				s = append(s, fmt.Sprint(d.Hostname, d.Categories[category].LastUpdate.Sub(begin)))
			}
			return strings.Join(s, " ")
		}
		pause := func(id string) {
			t.Helper()
			if _, err := c.Content.Pause(t.Context(), id, falcon.ContentOverride{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		pause("late")
		release := func(category string) {
			t.Helper()
			if err := srv.ReleaseContent(category, "291"); err != nil {
				t.Fatal(err)
			}
		}
		release("system_critical")
		release("vulnerability_management")
		time.Sleep(time.Hour)
		if got, want := took(falcon.VulnerabilityManagement), "g-prod1h0m0s g-11h0m0s g-late0s g-none1h0m0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		// system_critical cannot be paused; a delay holds it.
		if got, want := took(falcon.SystemCritical), "g-prod1h0m0s g-10s g-late1h0m0s g-none1h0m0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if _, err := c.Content.Revert(t.Context(), "late", falcon.ContentOverride{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if got, want := took(falcon.VulnerabilityManagement), "g-prod1h0m0s g-11h0m0s g-late2h0m0s g-none1h0m0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := took(falcon.SystemCritical), "g-prod1h0m0s g-125h0m0s g-late1h0m0s g-none1h0m0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if _, err := c.Content.Pin(t.Context(), prodPolicy, map[falcon.ContentCategory]string{falcon.SystemCritical: "291"}); err != nil {
			t.Fatal(err)
		}
		dead := time.Now()
		srv.AddHost(falcontest.Host{DeviceID: fmt.Sprintf("%032x", 4), Hostname: "g-none", FirstSeen: begin, LastSeen: dead})
		time.Sleep(time.Hour)
		release("system_critical")
		if got, want := took(falcon.SystemCritical), "g-prod1h0m0s g-125h0m0s g-late27h0m0s g-none1h0m0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		d, errs := gather(t, c.Content.DevicesByID(first), func(d falcon.DeviceContent) string {
			x := d.Categories[falcon.RapidResponse]
			return fmt.Sprint(d.PolicyID, d.Platform, d.Groups, d.LastSeen.IsZero(), d.PolicyApplied.IsZero(), d.CID != "", len(d.Categories), x.PolicySetting, x.Override, len(d.Raw) > 100)
		})
		if want := prodPolicy + "Windows[g-prod] false false true 4gatrue"; len(errs) > 0 || !slices.Equal(d, []string{want}) {
			t.Errorf("got %q, %v, want %q", d, errs, want)
		}
		// The host record names the same policy.
		h, err := c.Hosts.Get(t.Context(), first)
		if err != nil || !strings.Contains(string(h.Raw), prodPolicy) {
			t.Errorf("%s, %v", h.Raw, err)
		}
	})
}

func TestDevicesArePagedAndFiltered(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(250)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		l := c.Content.Devices(falcon.DeviceContentQuery{})
		got, errs := gather(t, l, idOfDevice)
		slices.Sort(got)
		if len(slices.Compact(got)) != 250 || len(errs) > 0 || l.Total() != 250 || count(srv, statesQuery) != 3 || count(srv, statesGet) != 3 {
			t.Errorf("%d hosts, %v, %d and %d calls", len(got), errs, count(srv, statesQuery), count(srv, statesGet))
		}
		if got, errs := gather(t, c.Content.Devices(falcon.DeviceContentQuery{Filter: falcon.Equals("hostname", "ws-007"), Limit: 100}), idOfDevice); len(got) != 1 || len(errs) > 0 {
			t.Errorf("%v, %v", got, errs)
		}
	})
}

// The offset of the answer is the next one, or that which was asked for, or a token;
// the total may be missing. In no case is a host lost or seen twice.
func TestEveryOffsetOfDevices(t *testing.T) {
	for name, pages := range map[string][3]string{
		"next":          {`"offset":2,"total":5`, `"offset":4,"total":5`, `"offset":5,"total":5`},
		"same":          {`"offset":0,"total":5`, `"offset":2,"total":5`, `"offset":4,"total":5`},
		"no total":      {`"offset":2`, `"offset":4`, ``},
		"total, none":   {`"total":5`, `"total":5`, `"total":5`},
		"null":          {`"offset":2,"total":0`, `"offset":4,"total":null`, `"offset":null`},
		"no total, end": {`"offset":2`, `"offset":4`, `"offset":4`},
		"token":         {`"offset":17`, `"offset":99`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, falcontest.Config{Hosts: fleet(5)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				at := []int{0, 2, 4}
				if name == "token" {
					at = []int{0, 17, 99}
				}
				for i, p := range pages {
					var ids []string
					for j := 2 * i; j < min(2*i+2, 5); j++ {
						ids = append(ids, fmt.Sprintf(`"%032x"`, j+1))
					}
					srv.Faults().Add(fault.Rule{
						Kind: fault.Status, Status: 200, Path: statesQuery, Query: fmt.Sprint("offset=", at[i]),
						Body: `{"meta":{"pagination":{` + p + `}},"resources":[` + strings.Join(ids, ",") + `]}`,
					})
				}
				got, errs := gather(t, c.Content.Devices(falcon.DeviceContentQuery{Limit: 2}), idOfDevice)
				var asked []string
				for _, r := range srv.Requests() {
					if r.Path == statesQuery {
						asked = append(asked, r.Query.Get("offset"))
					}
				}
				if fmt.Sprint(asked) != fmt.Sprint(at) {
					t.Errorf("asked for %v, want %v", asked, at)
				}
				if len(got) != 5 || !slices.IsSorted(got) || len(slices.Compact(got)) != 5 || len(errs) > 0 || count(srv, statesQuery) != 3 {
					t.Errorf("%v, %v, %d calls", got, errs, count(srv, statesQuery))
				}
			})
		})
	}
}

// A host that is not known is an error of its own, and so is one whose state cannot
// be read.
func TestDevicesOneByOne(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(150)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for i := range 150 {
			ids = append(ids, fmt.Sprintf("%032x", i+1))
		}
		got, errs := gather(t, c.Content.DevicesByID(slices.Insert(slices.Clone(ids), 70, "unknown")...), idOfDevice)
		if !slices.Equal(got, ids) || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrNotFound) || count(srv, statesGet) != 2 {
			t.Errorf("%d hosts, %v, %d calls", len(got), errs, count(srv, statesGet))
		}
		body := `{"meta":{},"resources":[{"device_id":"a","system_critical":null,"rapid_response_content":{"last_update":"2024-07-19T04:09:00Z","override":7},"sensor_operations":{"last_update":"soon"},"new":{}},
			{"device_id":7},{"hostname":"x"}],"errors":[{"code":500,"message":"broken","id":"b"}]}`
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: statesGet, Body: body})
		got, errs = gather(t, c.Content.DevicesByID("a", "b", "7"), func(d falcon.DeviceContent) string {
			_, critical := d.Categories[falcon.SystemCritical]
			return fmt.Sprint(d.ID, critical, d.Categories[falcon.RapidResponse], d.Categories[falcon.SensorOperations].LastUpdate.IsZero(), len(d.Categories))
		})
		if want := []string{"afalse {2024-07-19 04:09:00 +0000 UTC  7} true 2", "7false {0001-01-01 00:00:00 +0000 UTC  } true 0"}; !slices.Equal(got, want) || len(errs) != 2 {
			t.Errorf("got %q, %v", got, errs)
		}
	})
}
