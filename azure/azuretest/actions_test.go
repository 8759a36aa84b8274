package azuretest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience/fault"
)

func TestActionLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet(), ActionTime: 10 * time.Second}).signIn()
		r := c.post("https://api.security.microsoft.com/api/machines/"+laptop+"/isolate",
			`{"Comment":"alert 1234","IsolationType":"Selective","ExternalId":"op-1"}`)
		if r.status != http.StatusCreated {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		id := r.body["id"].(string)
		want := `{"@odata.context":"https://api.security.microsoft.com/api/$metadata#MachineActions/$entity","id":"` + id + `","type":"Isolate","title":null,` +
			`"requestor":"` + ClientID + `","requestorComment":"alert 1234","status":"Pending","machineId":"` + laptop + `","computerDnsName":"ws-042.contoso.com",` +
			`"creationDateTimeUtc":"2000-01-01T00:00:00.0000000Z","lastUpdateDateTimeUtc":"2000-01-01T00:00:00.0000000Z",` +
			`"cancellationRequestor":null,"cancellationComment":null,"cancellationDateTimeUtc":null,"errorHResult":0,"scope":"Selective","externalId":"op-1",` +
			`"requestSource":"PublicApi","relatedFileInfo":null,"commands":[],"troubleshootInfo":null}` + "\n"
		if r.raw != want {
			t.Errorf("got  %s\nwant %s", r.raw, want)
		}
		for _, step := range []struct {
			sleep    time.Duration
			status   string
			updated  string
			isolated bool
		}{
			{5*time.Second - 1, "Pending", "00:00:00", false},
			{1, "InProgress", "00:00:05", false},
			{5*time.Second - 1, "InProgress", "00:00:05", false},
			{1, "Succeeded", "00:00:10", true},
		} {
			time.Sleep(step.sleep)
			r := c.get("/api/machineactions/" + id)
			if r.body["status"] != step.status || r.body["lastUpdateDateTimeUtc"] != "2000-01-01T"+step.updated+".0000000Z" {
				t.Errorf("at %v: %s", time.Now(), r.raw)
			}
			if c.Isolated(laptop) != step.isolated || c.Actions()[0].Status != step.status {
				t.Errorf("at %v: isolated %v, action %+v", time.Now(), c.Isolated(laptop), c.Actions()[0])
			}
		}
		if r := c.unisolate(laptop); r.status != http.StatusCreated || r.body["scope"] != nil || r.body["type"] != "Unisolate" {
			t.Errorf("%d %s", r.status, r.raw)
		}
		if !c.Isolated(laptop) {
			t.Error("released before the agent did it")
		}
		time.Sleep(10 * time.Second)
		if c.Isolated(laptop) {
			t.Error("not released")
		}
		c.Close()
	})
}

// The vendor takes one action of a machine at a time, whatever its type; other
// machines are not held up.
func TestOneActionAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet()}).signIn()
		if r := c.isolate(laptop); r.status != http.StatusCreated {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		for _, r := range []reply{c.isolate(laptop), c.unisolate(laptop)} {
			if r.status != http.StatusBadRequest || r.code() != "ActiveRequestAlreadyExists" || r.errorField("message") != "Action is already in progress" {
				t.Errorf("%d %s", r.status, r.raw)
			}
		}
		if r := c.unisolate(c.Machines()[1].ID); r.status != http.StatusCreated {
			t.Errorf("a machine that is not isolated: %d %s", r.status, r.raw)
		}
		time.Sleep(time.Second)
		if r := c.isolate(laptop); r.status != http.StatusCreated {
			t.Errorf("isolating again once done: %d %s", r.status, r.raw)
		}
		if n := len(c.Actions()); n != 3 {
			t.Errorf("%d actions", n)
		}
		c.Close()
	})
}

// Many callers at once, one effect.
func TestConcurrentIsolation(t *testing.T) {
	c := start(t, Config{Machines: fleet(), ActionTime: time.Hour}).signIn()
	var wg sync.WaitGroup
	var accepted atomic.Int32
	for range 8 {
		req := c.request(http.MethodPost, "/api/machines/"+laptop+"/isolate", isolateBody)
		wg.Go(func() {
			r, err := c.send(req)
			if err != nil {
				t.Error(err)
			}
			if r.status == http.StatusCreated {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	if n := len(c.Actions()); n != 1 || accepted.Load() != 1 {
		t.Errorf("%d actions, %d accepted", n, accepted.Load())
	}
}

func TestFailNextAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet()}).signIn()
		for _, tc := range []struct {
			ask, end string
			hresult  float64
		}{
			{"Failed", "Failed", -2147467259},
			{"TimeOut", "TimeOut", -2145844840},
			{"Cancelled", "Cancelled", -2147467260},
			{"nonsense", "Failed", -2147467259},
		} {
			c.FailNextAction(tc.ask)
			id := c.isolate(laptop).body["id"]
			c.isolate(laptop) // refused: does not use up anything
			if got := c.status(id); got != "Pending" {
				t.Errorf("%s: %s at first", tc.ask, got)
			}
			time.Sleep(time.Second)
			r := c.get("/api/machineactions/" + id.(string))
			if r.body["status"] != tc.end || r.body["errorHResult"] != tc.hresult || (r.body["cancellationDateTimeUtc"] != nil) != (tc.end == "Cancelled") {
				t.Errorf("%s: %s", tc.ask, r.raw)
			}
			if c.Isolated(laptop) {
				t.Errorf("%s, yet isolated", tc.ask)
			}
		}
		id := c.isolate(laptop).body["id"]
		time.Sleep(time.Second)
		if got := c.status(id); got != "Succeeded" || !c.Isolated(laptop) {
			t.Errorf("the one after: %s", got)
		}
		// A release that fails leaves the host isolated.
		c.FailNextAction("TimeOut")
		c.unisolate(laptop)
		time.Sleep(time.Second)
		if !c.Isolated(laptop) {
			t.Error("a release that timed out released")
		}
		c.Close()
	})
}

// What the agent did last counts, not what was asked last.
func TestPortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet(), ActionTime: 10 * time.Second}).signIn()
		c.Isolate("no such machine")
		c.FailNextAction("Failed")
		c.Isolate(laptop) // an analyst's actions do not fail on our order
		if !c.Isolated(laptop) || len(c.Actions()) != 1 {
			t.Fatalf("%+v", c.Actions())
		}
		r := c.get("/api/machineactions/" + c.Actions()[0].ID)
		if r.body["requestSource"] != "Portal" || r.body["status"] != "Succeeded" || r.body["requestor"] == ClientID {
			t.Error(r.raw)
		}
		c.Unisolate(laptop)
		if c.Isolated(laptop) {
			t.Error("not released")
		}
		c.unisolate(laptop) // uses up the failure
		time.Sleep(10 * time.Second)
		c.isolate(laptop)
		time.Sleep(time.Second)
		c.Unisolate(laptop)
		time.Sleep(9 * time.Second)
		if !c.Isolated(laptop) {
			t.Error("the isolation that ended last is forgotten")
		}
		c.Close()
	})
}

func TestListActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet()}).signIn()
		other := c.Machines()[1].ID
		var ids []string // oldest first
		for _, r := range []func() reply{
			func() reply { return c.isolate(laptop) }, func() reply { return c.isolate(other) },
			func() reply { return c.unisolate(laptop) }, func() reply { return c.isolate(laptop) },
		} {
			ids = append(ids, r().body["id"].(string))
			time.Sleep(time.Minute)
		}
		c.Isolate(other)
		ids = append(ids, c.Actions()[4].ID)
		for _, tc := range []struct {
			filter string
			want   []string
		}{
			{"type ne null", []string{ids[4], ids[3], ids[2], ids[1], ids[0]}},
			{"machineId eq '" + laptop + "' and type eq 'Isolate'", []string{ids[3], ids[0]}},
			{"status eq 'Pending'", []string{}},
			{"requestor eq '" + ClientID + "'", []string{ids[3], ids[2], ids[1], ids[0]}},
			{"requestor eq 'analyst@contoso.com'", []string{ids[4]}},
			{"creationDateTimeUtc ge 2000-01-01T00:02:00Z", []string{ids[4], ids[3], ids[2]}},
			{"CreationDateTimeUtc lt 2000-01-01T00:01:00.0000000Z", []string{ids[0]}},
			{"id eq " + strings.ToUpper(ids[2]), []string{ids[2]}},
			{"id eq '" + ids[2] + "'", []string{ids[2]}},
		} {
			if r := c.list("/api/machineactions", tc.filter); r.status != 200 || !slices.Equal(r.ids(), tc.want) {
				t.Errorf("%s: %d %v, want %v", tc.filter, r.status, r.ids(), tc.want)
			}
		}
		// The read that settles an unknown outcome: the newest action of a machine.
		r := c.get("/api/v1.0/machineactions?$filter=machineId+eq+'" + laptop + "'&$top=1")
		next, _ := r.body["@odata.nextLink"].(string)
		if !slices.Equal(r.ids(), ids[3:4]) || next == "" {
			t.Fatal(r.raw)
		}
		if r := c.get(next); !slices.Equal(r.ids(), ids[2:3]) {
			t.Errorf("next page: %s", r.raw)
		}
		c.Close()
	})
}

// The most valuable fault: the work is done, the caller never hears.
func TestLostResponse(t *testing.T) {
	for _, inMemory := range []bool{false, true} {
		c := start(t, Config{InMemory: inMemory, Machines: fleet(), ActionTime: time.Nanosecond}).signIn()
		remove := c.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Path: "/api/machines/" + laptop, Count: 1})
		if r, err := c.send(c.request(http.MethodPost, "/api/machines/"+laptop+"/isolate", isolateBody)); err == nil {
			t.Errorf("the answer arrived: %d %s", r.status, r.raw)
		}
		if actions := c.Actions(); len(actions) != 1 || !c.Isolated(laptop) {
			t.Errorf("%+v, isolated %v", actions, c.Isolated(laptop))
		}
		requests := c.Requests()
		if last := requests[len(requests)-1]; last.Fault != fault.LoseResponse || !strings.Contains(string(last.Body), "IsolationType") {
			t.Errorf("recorded %+v", last)
		}
		remove()
	}
}

// Scans and collections go through the same states, and say nothing of isolation.
func TestScanAndCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet(), ActionTime: time.Minute}).signIn()
		c.Isolate(laptop)
		machine := "/api/machines/" + laptop
		for _, tc := range []struct {
			path, body string
			status     int
			code       string
		}{
			{"/runAntiVirusScan", `{"Comment":"x"}`, 400, "MissingRequiredParameter"},
			{"/runAntiVirusScan", `{"Comment":"x","ScanType":"quick"}`, 400, "InvalidInput"},
			{"/runAntiVirusScan", `{"comment":"x","ScanType":"Quick"}`, 400, "InvalidRequestBody"},
			{"/collectInvestigationPackage", `{}`, 400, "MissingRequiredParameter"},
			{"/runAntiVirusScan", `{"Comment":"x","ScanType":"Full"}`, 201, ""},
			{"/collectInvestigationPackage", `{"Comment":"x"}`, 400, "ActiveRequestAlreadyExists"},
		} {
			if r := c.post(machine+tc.path, tc.body); r.status != tc.status || r.code() != tc.code {
				t.Errorf("%s %s: %d %s", tc.path, tc.body, r.status, r.raw)
			}
		}
		time.Sleep(time.Minute)
		scan := c.Actions()[1]
		if scan.Type != "RunAntiVirusScan" || scan.Scope != "Full" || scan.Status != "Succeeded" || !c.Isolated(laptop) {
			t.Errorf("%+v, isolated %v", scan, c.Isolated(laptop))
		}
		id := c.post(machine+"/collectInvestigationPackage", `{"Comment":"x"}`).body["id"].(string)
		uri := func(id string) reply {
			time.Sleep(31 * time.Second)
			return c.get("/api/machineactions/" + id + "/GetPackageUri")
		}
		for _, tc := range []struct {
			id     string
			status int
		}{{id, 404}, {scan.ID, 404}, {"none", 404}, {id, 200}} {
			r := uri(tc.id)
			if value, _ := r.body["value"].(string); r.status != tc.status || r.status == 200 && !strings.HasPrefix(value, `"https://`) {
				t.Errorf("%s: %d %s", tc.id, r.status, r.raw)
			}
		}
		c.Close()
	})
}
