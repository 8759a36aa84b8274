package falcon_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// overrides are the overrides of the server's policy.
func overrides(srv *falcontest.Server, id string) (out []string) {
	for _, p := range srv.ContentPolicies() {
		for _, r := range p.Rings {
			if p.ID == id {
				out = append(out, r.Override+"/"+r.Pinned)
			}
		}
	}
	return out
}

// last is the last action on the wire.
func last(srv *falcontest.Server) string {
	for _, r := range slices.Backward(srv.Requests()) {
		if r.Path == contentActs {
			return r.Query.Get("action_name") + " " + strings.TrimSpace(string(r.Body))
		}
	}
	return ""
}

func TestContentActions(t *testing.T) {
	cloud(t, rings(), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for _, v := range []string{"v1", "v2"} {
			for _, category := range []falcon.ContentCategory{falcon.SystemCritical, falcon.RapidResponse} {
				if err := srv.ReleaseContent(string(category), v); err != nil {
					t.Fatal(err)
				}
			}
		}
		type none = falcon.ContentOverride
		two := none{Categories: []falcon.ContentCategory{falcon.VulnerabilityManagement, falcon.RapidResponse}}
		ctx, s := t.Context(), c.Content
		for i, test := range []struct {
			act  func() (falcon.ContentPolicy, error)
			wire string
			want []string // of the server
		}{
			{func() (falcon.ContentPolicy, error) { return s.Pause(ctx, prodPolicy, none{}) }, `override-pause {"action_parameters":[],"ids":["` + prodPolicy + `"]}`, []string{"pause/", "/", "pause/", "pause/"}},
			{func() (falcon.ContentPolicy, error) { return s.Pause(ctx, prodPolicy, none{}) }, `override-pause {"action_parameters":[],"ids":["` + prodPolicy + `"]}`, []string{"pause/", "/", "pause/", "pause/"}},
			{func() (falcon.ContentPolicy, error) { return s.Allow(ctx, prodPolicy, none{}) }, `override-allow {"action_parameters":[],"ids":["` + prodPolicy + `"]}`, []string{"allow/", "allow/", "allow/", "allow/"}},
			{func() (falcon.ContentPolicy, error) { return s.Revert(ctx, prodPolicy, none{}) }, `override-revert {"action_parameters":[],"ids":["` + prodPolicy + `"]}`, []string{"/", "/", "/", "/"}},
			{func() (falcon.ContentPolicy, error) { return s.Pause(ctx, prodPolicy, two) }, `override-pause {"action_parameters":[{"name":"rapid_response_al_bl_listing","value":"rapid_response_al_bl_listing"},` +
				`{"name":"vulnerability_management","value":"vulnerability_management"}],"ids":["` + prodPolicy + `"]}`, []string{"/", "/", "pause/", "pause/"}},
			{func() (falcon.ContentPolicy, error) {
				return s.Revert(ctx, prodPolicy, none{Categories: two.Categories[:1], Parameters: map[string]string{"vulnerability_management": "x"}})
			}, `override-revert {"action_parameters":[{"name":"vulnerability_management","value":"x"}],"ids":["` + prodPolicy + `"]}`, []string{"/", "/", "/", "pause/"}},
			{func() (falcon.ContentPolicy, error) {
				return s.Pin(ctx, prodPolicy, map[falcon.ContentCategory]string{falcon.SystemCritical: "v1", falcon.RapidResponse: "v2"})
			}, `set-pinned-content-version {"action_parameters":[{"name":"rapid_response_al_bl_listing","value":"v2"},{"name":"system_critical","value":"v1"}],"ids":["` + prodPolicy + `"]}`, []string{"/", "/v1", "/", "pause/v2"}},
			{func() (falcon.ContentPolicy, error) { return s.Unpin(ctx, prodPolicy, falcon.SystemCritical) }, `remove-pinned-content-version {"action_parameters":[{"name":"system_critical","value":"system_critical"}],"ids":["` + prodPolicy + `"]}`, []string{"/", "/", "/", "pause/v2"}},
		} {
			p, err := test.act()
			if err != nil || p.ID != prodPolicy || last(srv) != test.wire {
				t.Errorf("%d: %v, %v, sent %s\nwant %s", i, p.ID, err, last(srv), test.wire)
			}
			if got := overrides(srv, prodPolicy); !slices.Equal(got, test.want) {
				t.Errorf("%d: %q, want %q", i, got, test.want)
			}
			var shown []string
			for _, r := range p.Rings {
				shown = append(shown, r.Override+"/"+r.PinnedVersion)
			}
			if !slices.Equal(shown, test.want) {
				t.Errorf("%d: it shows %q, want %q", i, shown, test.want)
			}
		}
	})
}

func TestContentPoliciesAreEnabledAndGivenToGroups(t *testing.T) {
	cloud(t, rings(), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx, s := t.Context(), c.Content
		state := func() string {
			p := srv.ContentPolicies()[0]
			return fmt.Sprint(p.Disabled, p.Groups)
		}
		for i, test := range []struct {
			act        func() (falcon.ContentPolicy, error)
			wire, want string
		}{
			{func() (falcon.ContentPolicy, error) { return s.Disable(ctx, prodPolicy) }, `disable {"action_parameters":[],"ids":["` + prodPolicy + `"]}`, "true [g-prod]"},
			{func() (falcon.ContentPolicy, error) { return s.Enable(ctx, prodPolicy) }, `enable {"action_parameters":[],"ids":["` + prodPolicy + `"]}`, "false [g-prod]"},
			{func() (falcon.ContentPolicy, error) { return s.AddHostGroup(ctx, prodPolicy, "g-9") }, `add-host-group {"action_parameters":[{"name":"group_id","value":"g-9"}],"ids":["` + prodPolicy + `"]}`, "false [g-prod g-9]"},
			{func() (falcon.ContentPolicy, error) { return s.AddHostGroup(ctx, prodPolicy, "g-9") }, `add-host-group {"action_parameters":[{"name":"group_id","value":"g-9"}],"ids":["` + prodPolicy + `"]}`, "false [g-prod g-9]"},
			{func() (falcon.ContentPolicy, error) { return s.RemoveHostGroup(ctx, prodPolicy, "g-prod") }, `remove-host-group {"action_parameters":[{"name":"group_id","value":"g-prod"}],"ids":["` + prodPolicy + `"]}`, "false [g-9]"},
		} {
			if p, err := test.act(); err != nil || p.ID != prodPolicy || last(srv) != test.wire || state() != test.want {
				t.Errorf("%d: %v, sent %s, %s", i, err, last(srv), state())
			}
		}
		for what, err := range map[string]error{
			"default":  second(s.AddHostGroup(ctx, srv.ContentPolicies()[2].ID, "g")),
			"unknown":  second(s.Pause(ctx, "unknown", falcon.ContentOverride{})),
			"critical": second(s.Pause(ctx, prodPolicy, falcon.ContentOverride{Categories: []falcon.ContentCategory{falcon.SystemCritical}})),
			"version":  second(s.Pin(ctx, prodPolicy, map[falcon.ContentCategory]string{falcon.SystemCritical: "v9"})),
			"category": second(s.Unpin(ctx, prodPolicy, "none")),
		} {
			api, ok := errors.AsType[*falcon.APIError](err)
			if want := map[bool]int{true: 404, false: 400}[what == "unknown"]; !ok || api.Status != want || errors.Is(err, falcon.ErrNotShown) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func errorOf(_ []string, errs []error) error { return errors.Join(errs...) }

// actions are all the actions, so that each does something to the policy.
func actions(t *testing.T, s *falcon.Content) map[string]func() (falcon.ContentPolicy, error) {
	ctx := t.Context()
	return map[string]func() (falcon.ContentPolicy, error){
		"pause":  func() (falcon.ContentPolicy, error) { return s.Pause(ctx, "p", falcon.ContentOverride{}) },
		"allow":  func() (falcon.ContentPolicy, error) { return s.Allow(ctx, "p", falcon.ContentOverride{}) },
		"revert": func() (falcon.ContentPolicy, error) { return s.Revert(ctx, "p", falcon.ContentOverride{}) },
		"pin": func() (falcon.ContentPolicy, error) {
			return s.Pin(ctx, "p", map[falcon.ContentCategory]string{"a": "v1"})
		},
		"unpin":   func() (falcon.ContentPolicy, error) { return s.Unpin(ctx, "p", "a") },
		"enable":  func() (falcon.ContentPolicy, error) { return s.Enable(ctx, "p") },
		"disable": func() (falcon.ContentPolicy, error) { return s.Disable(ctx, "p") },
		"add":     func() (falcon.ContentPolicy, error) { return s.AddHostGroup(ctx, "p", "g") },
		"remove":  func() (falcon.ContentPolicy, error) { return s.RemoveHostGroup(ctx, "p", "g") },
	}
}

// A 200 whose policy does not show what was asked is no success: nobody may believe
// that the content is paused when it is not.
func TestAnActionThatTheAnswerDoesNotShow(t *testing.T) {
	const (
		on  = `{"id":"p","enabled":true,"groups":[{"id":"g"}],"settings":{"ring_assignment_settings":[{"id":"a","pinned_content_version":"v0","override":{"value":"odd"}}]}}`
		off = `{"id":"p","enabled":false,"groups":[],"settings":{"ring_assignment_settings":[{"id":"a","pinned_content_version":"v0","override":{"value":"odd"}}]}}`
	)
	for name, wrong := range map[string]string{
		"pause": on, "allow": on, "revert": on, "pin": on, "unpin": on, "enable": off, "disable": on, "add": off, "remove": on,
	} {
		for kind, resources := range map[string]string{"unchanged": wrong, "another": strings.Replace(wrong, `"p"`, `"q"`, 1), "none": ""} {
			t.Run(name+" "+kind, func(t *testing.T) {
				cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
					srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: contentActs, Body: `{"meta":{"writes":{"resources_affected":1}},"resources":[` + resources + `]}`})
					p, err := actions(t, c.Content)[name]()
					if f := resilience.Of(err); !errors.Is(err, falcon.ErrNotShown) || f.Sent != resilience.MaybeSent || (kind == "unchanged") != (p.ID == "p") {
						t.Errorf("%+v, %v", p, err)
					}
					if n := count(srv, contentActs); n != 1 {
						t.Errorf("sent %d times", n)
					}
				})
			})
		}
	}
}

// A ring that is missing from the answer, and settings that are null, show nothing.
func TestRingsThatAreNotInTheAnswer(t *testing.T) {
	for name, settings := range map[string]string{
		"null": `null`, "empty": `{"ring_assignment_settings":[]}`,
		"critical alone": `{"ring_assignment_settings":[{"id":"system_critical","override":{"value":"pause"}}]}`,
		"one of two":     `{"ring_assignment_settings":[{"id":"a","override":{"value":"pause"}},{"id":"b","override":null}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: contentActs, Body: `{"meta":{},"resources":[{"id":"p","settings":` + settings + `}]}`})
				for what, o := range map[string]falcon.ContentOverride{"all": {}, "some": {Categories: []falcon.ContentCategory{"b"}}} {
					if _, err := c.Content.Pause(t.Context(), "p", o); !errors.Is(err, falcon.ErrNotShown) {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		})
	}
}

// Another policy that is as it should be proves nothing, and neither does a revert
// that leaves an override on system_critical.
func TestTheRightStateInTheWrongPlace(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: contentActs, Body: `{"meta":{},"resources":[
			{"id":"q","enabled":true,"settings":{"ring_assignment_settings":[{"id":"a"},{"id":"system_critical","override":{"value":"pause"}}]}}]}`})
		if p, err := c.Content.Enable(t.Context(), "p"); !errors.Is(err, falcon.ErrNotShown) || p.ID != "" {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := c.Content.Enable(t.Context(), "q"); err != nil || p.ID != "q" {
			t.Errorf("%+v, %v", p, err)
		}
		if _, err := c.Content.Revert(t.Context(), "q", falcon.ContentOverride{}); !errors.Is(err, falcon.ErrNotShown) {
			t.Error(err)
		}
		if _, err := c.Content.Unpin(t.Context(), "q", "a", "missing"); !errors.Is(err, falcon.ErrNotShown) {
			t.Error(err)
		}
	})
}

// How Falcon shows an override is not documented: its word can be told.
func TestTheShownWordCanBeTold(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: contentActs, Body: `{"meta":{},"resources":[{"id":"p","settings":{"ring_assignment_settings":[{"id":"a","override":{"value":"Held"}}]}}]}`})
		if _, err := c.Content.Pause(t.Context(), "p", falcon.ContentOverride{Shown: "held"}); err != nil {
			t.Error(err)
		}
		if _, err := c.Content.Revert(t.Context(), "p", falcon.ContentOverride{Shown: "held"}); err != nil {
			t.Error(err)
		}
		if _, err := c.Content.Allow(t.Context(), "p", falcon.ContentOverride{Shown: "free"}); !errors.Is(err, falcon.ErrNotShown) || !strings.Contains(err.Error(), `"Held"`) {
			t.Error(err)
		}
	})
}

// gofalcon C1: errors inside a 200 are no success, alone or beside the policy.
func TestAContentActionWithErrorsInsideA200(t *testing.T) {
	policy := `{"id":"p","enabled":true}`
	for name, test := range map[string]struct {
		resources string
		status    int
	}{"alone": {"", 500}, "null": {"null", 500}, "beside": {"[" + policy + "]", 500}} {
		t.Run(name, func(t *testing.T) {
			cloud(t, falcontest.Config{}, func(c *falcon.Config) {
				c.Policy.Retry.Attempts = 1
			}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				resources := test.resources
				if resources == "" {
					resources = "[]"
				}
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: contentActs, Body: `{"meta":{},"resources":` + resources + `,"errors":[{"code":500,"message":"half done"}]}`})
				p, err := c.Content.Enable(t.Context(), "p")
				if api, ok := errors.AsType[*falcon.APIError](err); !ok || api.Status != test.status || !strings.Contains(err.Error(), "half done") {
					t.Errorf("%v", err)
				}
				if (p.ID == "p") != (name == "beside") {
					t.Errorf("%+v", p)
				}
			})
		})
	}
}

// Setting a state may be repeated when the answer is lost; reverting may not, for
// nobody knows what a second time does.
func TestWhichContentActionsAreSentTwice(t *testing.T) {
	for name := range actions(t, nil) {
		t.Run(name, func(t *testing.T) {
			cfg := falcontest.Config{ContentPolicies: []falcontest.ContentPolicy{{ID: "p", Name: "p"}}}
			cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				if _, err := c.Content.PinVersions(t.Context(), falcon.SystemCritical); err != nil { // a token
					t.Fatal(err)
				}
				srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: contentActs, Count: 1})
				_, err := actions(t, c.Content)[name]()
				want := 2
				if name == "revert" {
					want = 1
					if f := resilience.Of(err); f.Sent != resilience.MaybeSent {
						t.Errorf("got %v", err)
					}
				}
				if n := count(srv, contentActs); n != want {
					t.Errorf("sent %d times, %v", n, err)
				}
			})
		})
	}
}
