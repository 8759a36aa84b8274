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
	contentPath  = "/policy/combined/content-update/v1"
	contentGet   = "/policy/entities/content-update/v1"
	contentActs  = "/policy/entities/content-update-actions/v1"
	prodPolicy   = "0000000000000000000000000000000a"
	stagedPolicy = "0000000000000000000000000000000b"
)

// rings is a cloud with a production policy at once and a staged one.
func rings() falcontest.Config {
	return falcontest.Config{
		ContentPolicies: []falcontest.ContentPolicy{
			{ID: prodPolicy, Name: "production", Groups: []string{"g-prod"}},
			{ID: stagedPolicy, Name: "staged", Groups: []string{"g-1", "g-2"}, Rings: []falcontest.ContentRing{
				{Category: "sensor_operations", Ring: "pause"},
				{Category: "system_critical", DelayHours: 24},
				{Category: "vulnerability_management", Ring: "ea"},
				{Category: "rapid_response_al_bl_listing", DelayHours: 72, Pinned: "v0"},
			}},
		},
	}
}

func idOfContent(p falcon.ContentPolicy) string { return p.ID }

// "Which groups take system_critical at once?"
func TestWhichGroupsTakeSystemCriticalAtOnce(t *testing.T) {
	cloud(t, rings(), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var at, all []string
		for p, err := range c.Content.Policies(falcon.PolicyQuery{}).All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p.Name)
			r, ok := p.Ring(falcon.SystemCritical)
			if ok && p.Enabled && r.Ring == falcon.GeneralAvailability && r.DelayKnown && r.Delay == 0 {
				at = append(at, fmt.Sprint(p.Name, p.Default(), p.HasGroup("g-prod"), p.Groups))
			}
		}
		want := []string{"productionfalse true [{g-prod group g-prod}]", "platform_defaulttrue false []"}
		if len(all) != 3 || !slices.Equal(at, want) {
			t.Errorf("got %q of %v, want %q", at, all, want)
		}
		got, errs := gather(t, c.Content.Get(stagedPolicy), func(p falcon.ContentPolicy) string {
			var s []string
			for _, r := range p.Rings {
				s = append(s, fmt.Sprint(r.Category, " ", r.Ring, " ", r.Delay, r.DelayKnown, " ", r.PinnedVersion, r.Override, len(r.Raw) > 50))
			}
			return fmt.Sprint(p.Platform, p.CID != "", p.CreatedBy, p.Created.IsZero(), p.Modified.IsZero(), len(p.Raw) > 200, strings.Join(s, ","))
		})
		shown := "alltrueadmin@example.comfalse false true" +
			"sensor_operations pause 0s true true,system_critical ga 24h0m0s true true," +
			"vulnerability_management ea 0s true true,rapid_response_al_bl_listing ga 72h0m0s true v0true"
		if len(errs) > 0 || !slices.Equal(got, []string{shown}) {
			t.Errorf("got %q, %v\nwant %q", got, errs, shown)
		}
	})
}

// Policies answer with the next offset, other services with the one asked for. A
// client that adds what came to it skips every other page.
func TestTheNextOffsetLosesAndRepeatsNothing(t *testing.T) {
	var cfg falcontest.Config
	var want []string
	for i := range 10 {
		id := fmt.Sprintf("%032x", i+1)
		want = append(want, id)
		cfg.ContentPolicies = append(cfg.ContentPolicies, falcontest.ContentPolicy{ID: id, Name: fmt.Sprint("p", i)})
		cfg.SensorUpdatePolicies = append(cfg.SensorUpdatePolicies, falcontest.SensorUpdatePolicy{ID: id, Name: fmt.Sprint("p", i)})
	}
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for _, limit := range []int{1, 3, 5, 11, 12} {
			srv.ResetRequests()
			l := c.Content.Policies(falcon.PolicyQuery{Limit: limit})
			got, errs := gather(t, l, idOfContent)
			if len(got) != 11 || !slices.Equal(got[:10], want) || len(errs) > 0 || l.Total() != 11 {
				t.Errorf("limit %d: %v, %v", limit, got, errs)
			}
			if n := count(srv, contentPath); n != (11+limit-1)/limit {
				t.Errorf("limit %d: %d calls", limit, n)
			}
			if got, errs := gather(t, c.SensorUpdate.Policies(falcon.PolicyQuery{Limit: limit}), idOfSensor); len(got) != 13 || !slices.Equal(got[:10], want) || len(errs) > 0 {
				t.Errorf("sensors, limit %d: %v, %v", limit, got, errs)
			}
		}
		q := falcon.PolicyQuery{Limit: 3, Sort: "name.desc"}
		var resumed []string
		for range 11 { // a new list for every policy
			l := c.Content.Policies(q)
			for p, err := range l.All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				resumed = append(resumed, p.Name)
				break
			}
			q.Cursor = l.Cursor()
		}
		if !slices.IsSortedFunc(resumed, func(a, b string) int { return strings.Compare(b, a) }) || len(slices.Compact(resumed)) != 11 {
			t.Errorf("resumed: %v", resumed)
		}
	})
}

// delay_hours is a string. What is none must neither lose the policy nor look like
// no delay at all.
func TestOddContentPolicies(t *testing.T) {
	ring := func(fields string) string { return `{"id":"a","ring_assignment":"ga",` + fields + `}` }
	for name, test := range map[string]struct{ settings, want string }{
		"string":        {ring(`"delay_hours":"24"`), "a ga 24h0m0s true"},
		"number":        {ring(`"delay_hours":24`), "a ga 24h0m0s true"},
		"none":          {ring(`"delay_hours":"0"`), "a ga 0s true"},
		"garbage":       {ring(`"delay_hours":"soon"`), "a ga 0s false"},
		"empty":         {ring(`"delay_hours":""`), "a ga 0s false"},
		"null":          {ring(`"delay_hours":null,"override":null,"pinned_content_version":null`), "a ga 0s false"},
		"missing":       {`{"id":"a","ring_assignment":"ga"}`, "a ga 0s false"},
		"negative":      {ring(`"delay_hours":"-1"`), "a ga 0s false"},
		"half":          {ring(`"delay_hours":0.5`), "a ga 0s false"},
		"overflowing":   {ring(`"delay_hours":"9223372036854775807"`), "a ga 0s false"},
		"object":        {ring(`"delay_hours":{},"override":"pause"`), "a ga 0s false"},
		"unknown":       {`{"id":"new_category","ring_assignment":"canary","delay_hours":"1","override":{"value":"later"}}`, "new_category canary 1h0m0s true later"},
		"not an object": {`7,{"id":"b"}`, "  0s false|b  0s false"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				body := `{"meta":{"pagination":{"total":1}},"resources":[{"id":"p","settings":{"ring_assignment_settings":[` + test.settings + `]}}]}`
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: contentPath, Body: body})
				got, errs := gather(t, c.Content.Policies(falcon.PolicyQuery{}), func(p falcon.ContentPolicy) string {
					var s []string
					for _, r := range p.Rings {
						s = append(s, strings.TrimRight(fmt.Sprint(r.Category, " ", r.Ring, " ", r.Delay, " ", r.DelayKnown, " ", r.Override), " "))
					}
					return strings.Join(s, "|")
				})
				if len(errs) > 0 || !slices.Equal(got, []string{test.want}) {
					t.Errorf("got %q, %v, want %q", got, errs, test.want)
				}
			})
		})
	}
}

// Null settings, settings of another shape, and one row that is no policy: the
// others are there.
func TestPoliciesWithoutSettings(t *testing.T) {
	body := `{"meta":{"pagination":{"total":6}},"resources":[{"id":"a","settings":null,"groups":null},{"id":"b","settings":{"ring_assignment_settings":null}},
		{"id":"c","settings":[1],"enabled":"true","groups":["g",{"id":"h"},7]},{"id":"d"},{"name":"no id"},7]}`
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/policy/combined/", Body: body})
		got, errs := gather(t, c.Content.Policies(falcon.PolicyQuery{}), func(p falcon.ContentPolicy) string {
			return fmt.Sprint(p.ID, len(p.Rings), p.Enabled, p.Groups)
		})
		if want := []string{"a0 false []", "b0 false []", "c0 true [{h }]", "d0 false []"}; !slices.Equal(got, want) || len(errs) != 2 {
			t.Errorf("%q, %v", got, errs)
		}
		got, errs = gather(t, c.SensorUpdate.Policies(falcon.PolicyQuery{}), func(p falcon.SensorUpdatePolicy) string {
			return fmt.Sprint(p.ID, p.Settings == nil)
		})
		if want := []string{"atrue", "bfalse", "ctrue", "dtrue"}; !slices.Equal(got, want) || len(errs) != 2 {
			t.Errorf("%q, %v", got, errs)
		}
	})
}

// Falcon answers 404 to some ids when one of them is not known; the others must not
// be reported as unknown with it.
func TestOneUnknownPolicyDoesNotHideTheOthers(t *testing.T) {
	cloud(t, rings(), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		got, errs := gather(t, c.Content.Get(prodPolicy, "unknown", stagedPolicy), idOfContent)
		if !slices.Equal(got, []string{prodPolicy, stagedPolicy}) || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrNotFound) {
			t.Errorf("%v, %v", got, errs)
		}
		if row, ok := errors.AsType[*falcon.RowError](errs[0]); !ok || row.ID != "unknown" {
			t.Errorf("got %v", errs)
		}
		srv.ResetRequests()
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 403, Path: contentGet})
		if got, errs := gather(t, c.Content.Get(prodPolicy, stagedPolicy), idOfContent); len(got) != 0 || len(errs) != 1 || count(srv, contentGet) != 1 {
			t.Errorf("forbidden: %v, %v, %d calls", got, errs, count(srv, contentGet))
		}
	})
	cloud(t, rings(), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 404, Path: contentGet, Count: 1})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 403, Path: contentGet, Query: "ids=" + stagedPolicy})
		got, errs := gather(t, c.Content.Get(prodPolicy, "unknown", stagedPolicy), idOfContent)
		if len(got) != 0 || len(errs) != 1 || errors.Is(errs[0], falcon.ErrNotFound) {
			t.Errorf("half of it forbidden: %v, %v", got, errs)
		}
	})
}

// What cannot be right is said before anything is sent.
func TestContentMisuse(t *testing.T) {
	cloud(t, rings(), func(c *falcon.Config) { c.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx, s := t.Context(), c.Content
		policies := func(q falcon.PolicyQuery) error {
			_, errs := gather(t, s.Policies(q), idOfContent)
			_, more := gather(t, c.SensorUpdate.Policies(q), idOfSensor)
			if len(more) != len(errs) {
				t.Errorf("%v, %v", errs, more)
			}
			return errors.Join(errs...)
		}
		for want, err := range map[string]error{
			"the policy's id is empty":       second(s.Pause(ctx, " ", falcon.ContentOverride{})),
			"ContentOverride.Categories":     second(s.Pause(ctx, "p", falcon.ContentOverride{Categories: []falcon.ContentCategory{""}})),
			"both must be set":               second(s.Pin(ctx, "p", map[falcon.ContentCategory]string{"a": ""})),
			"no category has a version":      second(s.Pin(ctx, "p", nil)),
			"one of the categories is empty": second(s.Unpin(ctx, "p")),
			"the host group's id is empty":   second(s.AddHostGroup(ctx, "p", "")),
			"the category is empty":          second(s.PinVersions(ctx, "")),
			"the client is read-on":          second(s.Pause(ctx, "p", falcon.ContentOverride{})),
			`PolicyQuery.Sort "name|asc"`:    policies(falcon.PolicyQuery{Sort: "name|asc"}),
			"PolicyQuery.Sort \"platform_na": policies(falcon.PolicyQuery{Sort: "platform_name.asc"}),
			"at least one value":             policies(falcon.PolicyQuery{Filter: falcon.In("enabled")}),
			"one of the ids is empty":        errorOf(gather(t, s.Get(""), idOfContent)),
			"a filter on x needs":            errorOf(gather(t, s.Devices(falcon.DeviceContentQuery{Filter: falcon.In("x")}), idOfDevice)),
		} {
			if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Errorf("sent: %v", srv.Requests())
		}
	})
}

func TestPinVersions(t *testing.T) {
	cloud(t, rings(), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		if got, err := c.Content.PinVersions(t.Context(), falcon.RapidResponse); len(got) != 0 || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		for _, v := range []string{"v1", "v3", "v2"} {
			if err := srv.ReleaseContent("system_critical", v); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		got, err := c.Content.PinVersions(t.Context(), falcon.SystemCritical)
		if err != nil || !slices.Equal(got, []string{"v2", "v3", "v1"}) {
			t.Errorf("%v, %v", got, err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/policy/queries/", Body: `{"meta":{},"resources":["v1",7,null]}`})
		if got, err := c.Content.PinVersions(t.Context(), falcon.SystemCritical); !slices.Equal(got, []string{"v1"}) || err == nil {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// Reading does not need, or give, the right to change.
func TestContentScopes(t *testing.T) {
	cfg := rings()
	cfg.Scopes = []string{"content-update-policies:read"}
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		if _, errs := gather(t, c.Content.Policies(falcon.PolicyQuery{}), idOfContent); len(errs) > 0 {
			t.Error(errs)
		}
		for what, err := range map[string]error{
			"pause":   second(c.Content.Pause(t.Context(), prodPolicy, falcon.ContentOverride{})),
			"devices": errorOf(gather(t, c.Content.Devices(falcon.DeviceContentQuery{}), idOfDevice)),
			"sensors": errorOf(gather(t, c.SensorUpdate.Policies(falcon.PolicyQuery{}), idOfSensor)),
			"builds":  second(c.SensorUpdate.Builds(t.Context(), "")),
		} {
			if api, ok := errors.AsType[*falcon.APIError](err); !ok || api.Status != http.StatusForbidden {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got := overrides(srv, prodPolicy); !slices.Equal(got, []string{"/", "/", "/", "/"}) {
			t.Errorf("%q", got)
		}
	})
}
