package falcontest

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience/fault"
)

func TestContainAndLift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true, Hosts: numbered(1), ActionTime: 10 * time.Second})
		begun := time.Now()
		status := func() string { h, _ := c.srv.Host("0001"); return h.Status }

		r := c.act("contain", "0001")
		equal(t, "contain", r.status, 202)
		equal(t, "resource", string(r.Resources[0]), "{\n   \"id\": \"0001\",\n   \"path\": \"/devices/entities/devices/v1?ids=0001\"\n  }")
		equal(t, "affected", r.Meta.Writes.Affected, 1)
		equal(t, "status", status(), "containment_pending")
		for _, again := range []string{"contain", "lift_containment"} {
			r := c.act(again, "0001")
			equal(t, again+" while pending", []any{r.status, len(r.Resources)}, []any{409, 0})
			equal(t, "codes", r.codes(), []int{409})
		}
		time.Sleep(10*time.Second - 1)
		equal(t, "status", status(), "containment_pending")
		time.Sleep(time.Nanosecond)
		equal(t, "status", status(), "contained")
		equal(t, "filter", c.get("/devices/queries/devices/v1", "filter", "status:'contained'").ids(), []string{"0001"})
		equal(t, "contain again", c.act("contain", "0001").status, 409)

		equal(t, "lift", c.act("lift_containment", "0001").status, 202)
		equal(t, "status", status(), "lift_containment_pending")
		time.Sleep(15 * time.Second)
		equal(t, "status", status(), "normal")
		equal(t, "lift again", c.act("lift_containment", "0001").status, 409)
		equal(t, "status is dated when it changed, not when it was looked at",
			c.get("/devices/queries/devices/v1", "filter", "modified_timestamp:'"+stamp(begun.Add(20*time.Second))+"'").ids(), []string{"0001"})
		equal(t, "effects", c.srv.Effects(), []Effect{
			{begun, "0001", "contain"}, {begun.Add(10 * time.Second), "0001", "lift_containment"},
		})
	})
}

func TestActionOnSeveralHosts(t *testing.T) {
	c := login(t, Config{Hosts: append(numbered(2), Host{DeviceID: "held", Status: "contained"})})
	r := c.act("contain", "0001", "held", "none", "0002")
	equal(t, "status", r.status, 202)
	equal(t, "resources", r.ids(), []string{"0001", "0002"})
	equal(t, "codes", r.codes(), []int{409, 404})
	for i, id := range []string{"held", "none"} { // clients look in either place
		if e := r.Errors[i]; e.ID != id || !strings.Contains(e.Message, id) {
			t.Errorf("error of %s: %+v", id, e)
		}
	}
	equal(t, "effects", len(c.srv.Effects()), 2)

	equal(t, "unknown only", c.act("contain", "none").status, 404)
	equal(t, "first error decides", c.act("contain", "held", "none").status, 409)
	equal(t, "effects", len(c.srv.Effects()), 2)
}

func TestActionRefused(t *testing.T) {
	c := login(t, Config{Hosts: numbered(1)})
	equal(t, "no name", c.act("", "0001").codes(), []int{400})
	equal(t, "bad name", c.act("isolate", "0001").status, 400)
	equal(t, "no ids", c.act("contain").status, 400)
	equal(t, "too many", c.act("hide_host", make([]string, 101)...).status, 400)
	equal(t, "too many", c.act("contain", make([]string, 501)...).status, 400)
	equal(t, "no body", c.post("/devices/entities/devices-actions/v2?action_name=contain", nil).status, 400)
	equal(t, "effects", len(c.srv.Effects()), 0)
}

func TestHide(t *testing.T) {
	c := login(t, Config{Hosts: numbered(2)})
	equal(t, "hide", c.act("hide_host", "0001").status, 202)
	equal(t, "hide again", c.act("hide_host", "0001").status, 409)
	for path, want := range map[string][]string{
		"/devices/queries/devices/v1":        {"0002"},
		"/devices/queries/devices-scroll/v1": {"0002"},
		"/devices/combined/devices/v1":       {"0002"},
		"/devices/queries/devices-hidden/v1": {"0001"},
	} {
		equal(t, path, c.get(path).ids(), want)
	}
	equal(t, "details", c.get("/devices/entities/devices/v2", "ids", "0001").ids(), []string{"0001"})
	equal(t, "unhide", c.act("unhide_host", "0001").status, 202)
	equal(t, "unhide again", c.act("unhide_host", "0001").status, 409)
	equal(t, "listed", c.get("/devices/queries/devices/v1").ids(), []string{"0001", "0002"})
}

func TestPendingForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, ActionTime: -1, Hosts: []Host{{DeviceID: "off", Status: "containment_pending"}}})
		time.Sleep(1000 * time.Hour)
		h, _ := c.srv.Host("off")
		equal(t, "status", h.Status, "containment_pending")
	})
}

func TestSetStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true, Hosts: numbered(1)})
		c.srv.SetStatus("0001", "contained")
		c.srv.SetStatus("none", "contained")
		equal(t, "contain", c.act("contain", "0001").status, 409)
		c.srv.SetStatus("0001", "lift_containment_pending")
		time.Sleep(time.Second)
		h, _ := c.srv.Host("0001")
		equal(t, "status", h.Status, "normal")
		equal(t, "effects", len(c.srv.Effects()), 0)
	})
}

// The answer is lost, the effect is not: the client cannot know, the server can.
func TestLostAnswerKeepsTheEffect(t *testing.T) {
	for _, inMemory := range []bool{false, true} {
		c := login(t, Config{Hosts: numbered(1), InMemory: inMemory})
		c.srv.ResetRequests()
		c.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/devices/entities/devices-actions/", Count: 1})
		r, err := c.try(t.Context(), "POST", "/devices/entities/devices-actions/v2?action_name=contain", map[string]any{"ids": []string{"0001"}})
		if err == nil {
			t.Fatalf("got an answer: %d", r.status)
		}
		effects := c.srv.Effects()
		if len(effects) != 1 || effects[0].DeviceID != "0001" || effects[0].Action != "contain" {
			t.Errorf("effects: %v", effects)
		}
		equal(t, "recorded", c.srv.Requests()[0].Fault, fault.LoseResponse)
		equal(t, "blind retry", c.act("contain", "0001").status, 409)
		equal(t, "effects", len(c.srv.Effects()), 1)
	}
}

// Of many concurrent requests one contains the host.
func TestConcurrentContain(t *testing.T) {
	c := login(t, Config{Hosts: numbered(1)})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for range 16 {
		wg.Go(func() {
			r, err := c.try(t.Context(), "POST", "/devices/entities/devices-actions/v2?action_name=contain", map[string]any{"ids": []string{"0001"}})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			got[r.status]++
		})
	}
	wg.Wait()
	equal(t, "answers", got, map[int]int{202: 1, 409: 15})
	equal(t, "effects", len(c.srv.Effects()), 1)
}
