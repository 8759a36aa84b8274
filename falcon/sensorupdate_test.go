package falcon_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

func idOfSensor(p falcon.SensorUpdatePolicy) string { return p.ID }

func TestSensorUpdatePolicies(t *testing.T) {
	cfg := falcontest.Config{SensorUpdatePolicies: []falcontest.SensorUpdatePolicy{
		{
			ID: "a", Name: "servers", Platform: "Linux", Groups: []string{"g-1"}, Build: "18607|n-1|tagged|2", SensorVersion: "7.17.18607", LTS: true,
			ShowEarlyAdopter: true, Variants: []falcontest.SensorBuild{{Build: "18607|n-1|tagged|9", Platform: "LinuxArm64"}},
			QuietTimezone: "Etc/UTC", QuietTimes: []falcontest.SensorQuietTime{{Days: []int{0, 6}, Start: "22:00", End: "23:00"}},
		},
		{ID: "b", Name: "off", Disabled: true, UninstallProtection: "DISABLED", Stage: "early_adopter"},
	}}
	cloud(t, cfg, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
		show := func(p falcon.SensorUpdatePolicy) string {
			s := p.Settings
			return fmt.Sprint(p.Name, p.Platform, p.Enabled, p.HasGroup("g-1"), " ", s.Build, s.SensorVersion, s.Stage, s.LTS, s.ShowEarlyAdopterBuilds, s.UninstallProtection, len(s.Raw) > 50, len(p.Raw) > 50,
				" ", len(s.Variants), *s.Scheduler)
		}
		got, errs := gather(t, c.SensorUpdate.Get("a", "unknown", "b"), show)
		want := []string{
			"serversLinuxtrue true 18607|n-1|tagged|27.17.18607prodtrue trueENABLEDtrue true 1 {true Etc/UTC [{[0 6] 22:00 23:00}]}",
			"offWindowsfalse false early_adopterfalse falseDISABLEDtrue true 0 {false  []}",
		}
		if !slices.Equal(got, want) || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrNotFound) {
			t.Errorf("got %q, %v\nwant %q", got, errs, want)
		}
		linux, errs := gather(t, c.SensorUpdate.Policies(falcon.PolicyQuery{Filter: falcon.Equals("platform_name", "Linux")}), func(p falcon.SensorUpdatePolicy) string { return p.Name })
		if !slices.Equal(linux, []string{"servers", "platform_default"}) || len(errs) > 0 {
			t.Errorf("%v, %v", linux, errs)
		}
		v, _ := gather(t, c.SensorUpdate.Get("a"), func(p falcon.SensorUpdatePolicy) string { v := p.Settings.Variants[0]; return v.Build + v.Platform })
		if !slices.Equal(v, []string{"18607|n-1|tagged|9LinuxArm64"}) {
			t.Errorf("%q", v)
		}
	})
}

// One field of another type costs the field and not the policy.
func TestOddSensorUpdateSettings(t *testing.T) {
	body := `{"meta":{"pagination":{"total":2}},"resources":[
		{"id":"a","settings":{"build":18110,"is_lts_build":"true","variants":[7,{"build":"x"}],"scheduler":{"enabled":1,"schedules":[null,{"days":"all","start":"22:00"}]}}},
		{"id":"b","settings":{"build":null,"variants":null,"scheduler":null}}]}`
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/policy/combined/sensor-update/v2", Body: body})
		got, errs := gather(t, c.SensorUpdate.Policies(falcon.PolicyQuery{}), func(p falcon.SensorUpdatePolicy) string {
			s := p.Settings
			if s.Scheduler == nil {
				return fmt.Sprint(p.ID, s.Build, len(s.Variants))
			}
			return fmt.Sprint(p.ID, s.Build, s.LTS, len(s.Variants), s.Variants[1].Build, string(s.Variants[0].Raw), *s.Scheduler)
		})
		if want := []string{"a18110true 2x7{false  [{[]  } {[] 22:00 }]}", "b0"}; !slices.Equal(got, want) || len(errs) > 0 {
			t.Errorf("got %q, %v", got, errs)
		}
	})
}

func TestSensorBuilds(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for _, test := range []struct {
			platform string
			stages   []string
			want     int
		}{{"", nil, 8}, {"windows", nil, 4}, {"windows", []string{"prod"}, 3}, {"windows", []string{"prod", "early_adopter"}, 4}, {"mac", []string{"early_adopter"}, 0}} {
			got, err := c.SensorUpdate.Builds(t.Context(), test.platform, test.stages...)
			if err != nil || len(got) != test.want {
				t.Errorf("%+v: %d builds, %v", test, len(got), err)
			}
			for _, b := range got {
				if b.Build == "" || b.SensorVersion == "" || b.Platform == "" || b.Stage == "" || len(b.Raw) == 0 {
					t.Errorf("%+v", b)
				}
			}
		}
		if _, err := c.SensorUpdate.Builds(t.Context(), "beos"); !isStatus(err, 400) {
			t.Errorf("got %v", err)
		}
		if _, err := c.SensorUpdate.Builds(t.Context(), "mac", "beta"); !isStatus(err, 400) {
			t.Errorf("got %v", err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/policy/combined/sensor-update-builds", Body: `{"meta":{},"resources":[{"build":"1"},{},7]}`})
		got, err := c.SensorUpdate.Builds(t.Context(), "")
		if _, ok := errors.AsType[*falcon.RowError](err); len(got) != 1 || !ok {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func isStatus(err error, status int) bool {
	api, ok := errors.AsType[*falcon.APIError](err)
	return ok && api.Status == status
}
