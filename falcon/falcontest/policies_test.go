package falcontest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Where other services repeat the offset, policies answer with the next one: 1 for
// the first page of one policy.
func TestPoliciesAnswerWithTheNextOffset(t *testing.T) {
	c := login(t, Config{ContentPolicies: []ContentPolicy{{ID: "b", Name: "second by name"}, {ID: "a", Name: "first by name"}}})
	for _, path := range []string{"/policy/combined/content-update/v1", "/policy/combined/sensor-update/v2"} {
		for i, next := range []int{1, 2, 3, 3} { // sensors have a default policy for each of three platforms
			r := c.get(path, "limit", "1", "offset", fmt.Sprint(i))
			equal(t, path+" offset", fmt.Sprint(r.Meta.Pagination.Offset, r.Meta.Pagination.Limit, r.Meta.Pagination.Total, len(r.Resources)), fmt.Sprint(next, 1, 3, min(1, 3-i)))
		}
	}
	def := hexDigits("content-update all")
	for sort, want := range map[string][]string{
		"": {"b", "a", def}, "precedence.desc": {def, "a", "b"}, "name.asc": {"a", def, "b"}, "name.desc": {"b", def, "a"},
	} {
		equal(t, "sorted by "+sort, c.get("/policy/combined/content-update/v1", "sort", sort).ids(), want)
	}
}

// Live behaviour that a client runs into: the sort with a | is refused, the one by
// platform breaks, and a filter on an unknown field finds nothing.
func TestPolicyListsRefuse(t *testing.T) {
	c := login(t, Config{ContentPolicies: []ContentPolicy{{Name: "a", Disabled: true}}})
	const path = "/policy/combined/content-update/v1"
	for _, test := range []struct {
		param, value string
		status, rows int
	}{
		{"sort", "name|asc", 400, 0},
		{"sort", "name", 400, 0},
		{"sort", "size.asc", 400, 0},
		{"sort", "platform_name.asc", 500, 0},
		{"limit", "0", 400, 0},
		{"limit", "5001", 400, 0},
		{"offset", "-1", 400, 0},
		{"filter", "enabled:", 400, 0},
		{"filter", "name:'a'", 200, 0},
		{"filter", "size:'a'", 200, 0},
		{"filter", "enabled:true", 200, 1},
		{"filter", "enabled:false+platform_name:'all'", 200, 1},
		{"filter", "precedence:1", 200, 1},
		{"filter", "created_timestamp:>'now-1d'", 200, 2},
	} {
		r := c.get(path, test.param, test.value)
		equal(t, test.param+"="+test.value, []int{r.status, len(r.Resources)}, []int{test.status, test.rows})
	}
	for _, test := range []struct {
		category, sort string
		status         int
	}{{"", "", 400}, {"none", "", 400}, {"system_critical", "", 200}, {"system_critical", "name.asc", 400}, {"system_critical", "deployed_timestamp.asc", 200}} {
		equal(t, "versions of "+test.category, c.get("/policy/queries/content-update-pin-versions/v1", "category", test.category, "sort", test.sort).status, test.status)
	}
	equal(t, "no ids", c.get("/policy/entities/content-update/v1").status, 400)
	r := c.get("/policy/entities/content-update/v1", "ids", hexDigits("content-update all"), "ids", "unknown")
	equal(t, "one of two", fmt.Sprint(r.status, len(r.Resources), r.codes()), "404 0 [404]")
}

// What is wrong is refused, and changes nothing: not even the other policies of the
// same call.
func TestContentActionsRefuse(t *testing.T) {
	c := login(t, Config{ContentPolicies: []ContentPolicy{{ID: "p", Name: "p"}}})
	def := hexDigits("content-update all")
	before, _ := json.Marshal(c.srv.ContentPolicies())
	param := func(name, value string) []policyParameter { return []policyParameter{{name, value}} }
	for _, test := range []struct {
		action string
		ids    []string
		params []policyParameter
		status int
	}{
		{"explode", []string{"p"}, nil, 400},
		{"enable", nil, nil, 400},
		{"disable", []string{"p", "unknown"}, nil, 404},
		{"disable", []string{"p", def}, nil, 400},
		{"add-host-group", []string{"p"}, nil, 400},
		{"add-host-group", []string{"p"}, param("rule_group_id", "g"), 400},
		{"add-host-group", []string{"p"}, param("group_id", ""), 400},
		{"add-host-group", []string{"p", def}, param("group_id", "g"), 400},
		{"override-pause", []string{"p"}, param("system_critical", "system_critical"), 400},
		{"override-pause", []string{"p"}, append(param("sensor_operations", ""), param("none", "")...), 400},
		{"set-pinned-content-version", []string{"p"}, param("system_critical", "v1"), 400},
		{"set-pinned-content-version", []string{"p"}, nil, 400},
		{"remove-pinned-content-version", []string{"p"}, nil, 400},
	} {
		r := c.post("/policy/entities/content-update-actions/v1?action_name="+test.action, policyAction{test.ids, test.params})
		equal(t, fmt.Sprint(test), []int{r.status, r.Meta.Writes.Affected}, []int{test.status, 0})
	}
	equal(t, "not JSON", c.post("/policy/entities/content-update-actions/v1?action_name=enable", 7).status, http.StatusBadRequest)
	if after, _ := json.Marshal(c.srv.ContentPolicies()); string(after) != string(before) {
		t.Errorf("changed: %s", after)
	}
	r := c.post("/policy/entities/content-update-actions/v1?action_name=override-pause", policyAction{[]string{"p", def}, nil})
	equal(t, "both", fmt.Sprint(r.status, r.Meta.Writes.Affected, r.ids()), fmt.Sprint(200, 2, []string{"p", def}))
	if n := strings.Count(string(r.raw), `"value": "pause"`); n != 6 {
		t.Errorf("%d categories are paused: %s", n, r.raw)
	}
}

func TestPolicyConfigIsChecked(t *testing.T) {
	one := func(r ContentRing) Config {
		return Config{ContentPolicies: []ContentPolicy{{Name: "p", Rings: []ContentRing{r}}}}
	}
	for want, cfg := range map[string]Config{
		"without a Name":          {ContentPolicies: []ContentPolicy{{}}},
		"sensor-update policy wi": {SensorUpdatePolicies: []SensorUpdatePolicy{{}}},
		`two content-update poli`: {ContentPolicies: []ContentPolicy{{Name: "p"}, {Name: "p"}}},
		"ContentRing.Category":    one(ContentRing{Category: "none"}),
		`ContentRing.Ring "slow"`: one(ContentRing{Category: "system_critical", Ring: "slow"}),
		`Ring "pause" of system`:  one(ContentRing{Category: "system_critical", Ring: "pause"}),
		"ContentRing.DelayHours":  one(ContentRing{Category: "system_critical", DelayHours: 3}),
		"DelayHours 24 of system": one(ContentRing{Category: "system_critical", Ring: "ea", DelayHours: 24}),
		"ContentRing.Override":    one(ContentRing{Category: "system_critical", Override: "stop"}),
	} {
		if _, err := NewServer(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c := login(t, Config{ContentPolicies: []ContentPolicy{{Name: "platform_default", Description: "mine"}}, SensorUpdatePolicies: []SensorUpdatePolicy{{Name: "platform_default", Platform: "Mac"}}})
	equal(t, "defaults", fmt.Sprint(len(c.srv.ContentPolicies()), c.srv.ContentPolicies()[0].Description, len(c.srv.SensorUpdatePolicies())), "1mine3")
	if err := c.srv.AddContentPolicy(ContentPolicy{ID: c.srv.ContentPolicies()[0].ID, Name: "p"}); err == nil {
		t.Error("the default policy is replaced by another")
	}
	for _, name := range []string{"one", "two", "one"} {
		if err := c.srv.AddContentPolicy(ContentPolicy{Name: name}); err != nil {
			t.Error(err)
		}
		if err := c.srv.AddSensorUpdatePolicy(SensorUpdatePolicy{Name: name}); err != nil {
			t.Error(err)
		}
	}
	equal(t, "added", fmt.Sprint(len(c.srv.ContentPolicies()), c.srv.ContentPolicies()[0].Name, c.srv.ContentPolicies()[2].Name, len(c.srv.SensorUpdatePolicies())), "3oneplatform_default5")
	if c.srv.ReleaseContent("none", "v") == nil || c.srv.ReleaseContent("system_critical", "") == nil {
		t.Error("bad releases are taken")
	}
}

// A host takes the first enabled policy that has one of its groups, and its record
// says which.
func TestHostsTakeTheirPolicies(t *testing.T) {
	c := login(t, Config{
		Hosts: []Host{{DeviceID: "w", Groups: []string{"g"}}, {DeviceID: "m", Platform: "Mac", Groups: []string{"g"}}, {DeviceID: "n"}},
		ContentPolicies: []ContentPolicy{
			{ID: "off", Name: "off", Disabled: true, Groups: []string{"g"}}, {ID: "first", Name: "first", Groups: []string{"x", "g"}}, {ID: "second", Name: "second", Groups: []string{"g"}},
		},
		SensorUpdatePolicies: []SensorUpdatePolicy{{ID: "sensors", Name: "s", Groups: []string{"g"}}},
	})
	for id, want := range map[string]string{
		"w": "first sensors", "m": "first " + hexDigits("sensor-update Mac"), "n": hexDigits("content-update all") + " " + hexDigits("sensor-update Windows"),
	} {
		r := c.get("/devices/entities/devices/v2", "ids", id)
		var d struct {
			Policies map[string]struct {
				ID string `json:"policy_id"`
			} `json:"device_policies"`
		}
		if err := json.Unmarshal(r.Resources[0], &d); err != nil {
			t.Fatal(err)
		}
		equal(t, id, d.Policies["content-update"].ID+" "+d.Policies["sensor_update"].ID, want)
	}
	equal(t, "found by its policy", c.get("/devices/queries/devices/v1", "filter", "device_policies.content-update.policy_id:'first'").ids(), []string{"m", "w"})
}

// Everything at once, for the race detector: locks are taken in one order.
func TestPoliciesAreSafeForConcurrentUse(t *testing.T) {
	c := login(t, Config{Hosts: numbered(5), ContentPolicies: []ContentPolicy{{ID: "p", Name: "p"}}})
	done := make(chan bool)
	for _, f := range []func(){
		func() { c.get("/device-content/queries/states/v1") },
		func() { c.get("/devices/combined/devices/v1") },
		func() {
			c.post("/policy/entities/content-update-actions/v1?action_name=override-pause", policyAction{[]string{"p"}, nil})
		},
		func() { c.get("/policy/combined/content-update/v1") },
		func() { _ = c.srv.ReleaseContent("system_critical", time.Now().String()) },
		func() { c.srv.ContentPolicies() },
	} {
		go func() {
			for range 20 {
				f()
			}
			done <- true
		}()
	}
	for range 6 {
		<-done
	}
}
