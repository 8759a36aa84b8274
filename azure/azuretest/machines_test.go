package azuretest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMachineShape(t *testing.T) {
	c := start(t, Config{Machines: fleet()}).signIn()
	r := c.get("https://api.security.microsoft.com/api/machines/" + laptop)
	want := `{"@odata.context":"https://api.security.microsoft.com/api/$metadata#Machines/$entity",` +
		`"id":"0e23b8b23abcdefabcdef6f877b45d19c04a522d","mergedIntoMachineId":null,"isPotentialDuplication":false,"isExcluded":false,"exclusionReason":null,` +
		`"computerDnsName":"ws-042.contoso.com","firstSeen":"2026-11-17T09:30:00.1234567Z","lastSeen":"2026-11-20T09:30:00.1234567Z",` +
		`"osPlatform":"Windows11","osVersion":null,"osProcessor":"x64","version":"23H2","lastIpAddress":"10.1.2.3","lastExternalIpAddress":"81.2.69.144",` +
		`"agentVersion":"10.8760.22631.4317","osBuild":22631,"healthStatus":"Active","deviceValue":"Normal","rbacGroupId":7,"rbacGroupName":"Laptops",` +
		`"riskScore":"High","exposureLevel":"Low","isAadJoined":true,"aadDeviceId":"d78dc223-8dc8-4234-9678-abcdef03505b","machineTags":["finance","vip"],` +
		`"onboardingStatus":"Onboarded","osArchitecture":"64-bit","managedBy":"MicrosoftDefenderForEndpoint","managedByStatus":"Success",` +
		`"ipAddresses":[{"ipAddress":"10.1.2.3","macAddress":"00005E0053FF","type":"Ethernet","operationalStatus":"Up"},` +
		`{"ipAddress":"::1","macAddress":null,"type":"SoftwareLoopback","operationalStatus":"Up"}],` +
		`"vmMetadata":{"vmId":"ca1b0d41-5a3b-4d95-b48b-f220aed11d78","cloudProvider":"Azure","resourceId":null,"subscriptionId":null}}` + "\n"
	if r.raw != want {
		t.Errorf("got  %s\nwant %s", r.raw, want)
	}
	if !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
		t.Errorf("Content-Type %q", r.header.Get("Content-Type"))
	}

	bare := c.Machines()[2]
	r = c.get("/api/machines/" + bare.ID)
	for name, want := range map[string]any{
		"osBuild": nil, "vmMetadata": nil, "aadDeviceId": nil, "isAadJoined": false, "rbacGroupId": 0.0, "healthStatus": "Active",
		"osPlatform": nil, "lastIpAddress": nil, "onboardingStatus": "Onboarded",
	} {
		if got, ok := r.body[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if !strings.Contains(r.raw, `"machineTags":[]`) || !strings.Contains(r.raw, `"ipAddresses":[]`) || !strings.Contains(r.raw, `.1234567Z"`) {
		t.Error(r.raw)
	}
}

func TestMachinesFromTheTestSide(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	c := start(t, Config{Now: func() time.Time { return now }}).signIn()
	if r := c.get("/api/machines"); r.status != http.StatusNotFound || r.code() != "ResourceNotFound" {
		t.Errorf("a tenant without machines: %d %s", r.status, r.raw)
	}
	tags := []string{"a"}
	c.AddMachine(Machine{ID: "m1", ComputerDNSName: "one", Tags: tags})
	c.AddMachine(Machine{ID: "m2", ComputerDNSName: "two"})
	tags[0] = "changed behind the server's back"
	m, ok := c.Machine("m1")
	if !ok || m.Tags[0] != "a" || !m.LastSeen.Equal(now) || !m.FirstSeen.Equal(now) {
		t.Errorf("%+v", m)
	}
	m.Tags[0] = "changed behind the server's back"
	if m, _ := c.Machine("m1"); m.Tags[0] != "a" {
		t.Error("the server shares its slices")
	}
	c.AddMachine(Machine{ID: "m1", ComputerDNSName: "renamed"})
	if all := c.Machines(); len(all) != 2 || all[0].ComputerDNSName != "renamed" {
		t.Errorf("%+v", all)
	}
	c.RemoveMachine("m1")
	c.RemoveMachine("m1")
	if got := c.get("/api/machines").ids(); !slices.Equal(got, []string{"m2"}) {
		t.Errorf("after removal: %v", got)
	}
	if _, ok := c.Machine("m1"); ok || c.get("/api/machines/m1").status != http.StatusNotFound {
		t.Error("m1 is still there")
	}
}

func TestPaging(t *testing.T) {
	var machines []Machine
	var want []string
	for i := range 7 {
		m := Machine{ID: fmt.Sprintf("m%d", i), ComputerDNSName: fmt.Sprintf("host-%d & co", i), HealthStatus: "Active"}
		if i == 3 {
			m.HealthStatus = "Inactive"
		} else {
			want = append(want, m.ID)
		}
		machines = append(machines, m)
	}
	c := start(t, Config{Machines: machines}).signIn()
	next := "https://eu.api.security.microsoft.com/api/machines?" +
		url.Values{"$filter": {"healthStatus eq 'Active' and contains(computerDnsName,'& co')"}, "$top": {"2"}}.Encode()
	var got []string
	for pages := 0; next != ""; pages++ {
		if pages == 5 {
			t.Fatal("the pages never end")
		}
		r := c.get(next)
		if r.status != http.StatusOK || len(r.ids()) > 2 {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		got = append(got, r.ids()...)
		next, _ = r.body["@odata.nextLink"].(string)
		if next != "" && !strings.HasPrefix(next, "https://eu.api.security.microsoft.com/api/machines?$filter=") {
			t.Fatalf("nextLink %s", next)
		}
		if next != "" && !strings.Contains(r.raw, "&$skip=") {
			t.Errorf("the link is escaped for HTML: %s", r.raw)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for query, want := range map[string]int{"$skip=5": 2, "$skip=100": 0, "$top=0": 0, "$top=3&$skip=6": 1, "$top=10000": 7} {
		r := c.get("/api/machines?" + query)
		if _, more := r.body["@odata.nextLink"]; r.status != 200 || len(r.ids()) != want || more {
			t.Errorf("%s: %d %s", query, r.status, r.raw)
		}
	}
}

func TestDefaultPage(t *testing.T) {
	machines := make([]Machine, maxPage+1)
	for i := range machines {
		machines[i].ID = fmt.Sprintf("%040x", i)
	}
	c := start(t, Config{Machines: machines}).signIn()
	r := c.get("/api/machines")
	next, _ := r.body["@odata.nextLink"].(string)
	if len(r.ids()) != maxPage || next == "" {
		t.Fatalf("%d machines, next %q", len(r.ids()), next)
	}
	r = c.get(next)
	if _, more := r.body["@odata.nextLink"]; len(r.ids()) != 1 || more {
		t.Errorf("second page: %d machines, more %v", len(r.ids()), more)
	}
}

func TestFindByIP(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	c := start(t, Config{Machines: fleet(), Now: func() time.Time { return now }}).signIn()
	for _, tc := range []struct {
		args   string
		status int
		want   string // the ids found, or the code
	}{
		{"ip='10.1.2.3',timestamp=2026-11-20T09:00:00Z", 200, laptop},
		{"ip='10.1.2.9',timestamp=2026-11-19T09:30:00Z", 200, "1d29e91fabcdefabcdef5a03284c189cf20aa4c2"}, // its last address only
		{"timestamp=2026-11-20T09:00:00.5Z, ip='10.1.2.3'", 200, laptop},
		{"ip='0:0:0:0:0:0:0:1',timestamp=2026-11-20T09:00:00Z", 200, laptop},
		{"ip='10.1.2.3',timestamp=2026-11-20T09:45:00Z", 200, laptop}, // 15 minutes after it was last seen
		{"ip='10.1.2.3',timestamp=2026-11-20T09:46:00Z", 200, ""},
		{"ip='10.1.2.3',timestamp=2026-11-17T09:14:00Z", 200, ""},
		{"ip='81.2.69.144',timestamp=2026-11-20T09:00:00Z", 200, ""}, // external
		{"ip='10.1.2.3',timestamp=2026-10-21T11:59:59Z", 400, "InvalidInput"},
		{"ip='10.1.2.3',timestamp=2026-11-20T12:00:01Z", 400, "InvalidInput"},
		{"ip='10.1.2.3',timestamp=yesterday", 400, "InvalidInput"},
		{"ip='10.1.2',timestamp=2026-11-20T09:00:00Z", 400, "InvalidIpAddress"},
		{"ip=10.1.2.3,timestamp=2026-11-20T09:00:00Z", 400, "ODataError"},
		{"ip='10.1.2.3'", 400, "InvalidInput"},
	} {
		r := c.get("/api/machines/findbyip(" + url.PathEscape(tc.args) + ")")
		got := strings.Join(r.ids(), ",")
		if tc.status != 200 {
			got = r.code()
		}
		if r.status != tc.status || got != tc.want {
			t.Errorf("%s: %d %s", tc.args, r.status, r.raw)
		}
	}
}

func TestStampText(t *testing.T) {
	for _, tc := range []struct {
		in   any
		want string
	}{
		{stamp{}, "null"},
		{stamp(time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))), `"2026-01-02T02:04:05.0000000Z"`},
		{stamp(time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)), `"2026-01-02T03:04:05.1234567Z"`},
		{text(""), "null"},
		{text(`a"b`), `"a\"b"`},
		{number(0), "null"},
		{number(-7), "-7"},
	} {
		if got, err := json.Marshal(tc.in); err != nil || string(got) != tc.want {
			t.Errorf("%#v: %s, %v", tc.in, got, err)
		}
	}
}
