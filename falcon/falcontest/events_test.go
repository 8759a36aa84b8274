package falcontest

import (
	"encoding/json"
	"io"
	"slices"
	"testing"
	"time"
)

// auditLine is what the tests look at in an AuthActivityAuditEvent.
type auditLine struct {
	Metadata eventMetadata
	Event    struct {
		OperationName  string
		UTCTimestamp   int64
		Success        bool
		AuditKeyValues []keyValue
	}
}

func (f *tail) audits(t *testing.T) []auditLine {
	t.Helper()
	lines, _ := f.soFar()
	out := []auditLine{}
	for _, l := range lines {
		var a auditLine
		if l == "" {
			continue
		}
		if err := json.Unmarshal([]byte(l), &a); err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func TestStreamAudit(t *testing.T) {
	bubble(t, Config{StreamAudit: true, Partitions: 2, SessionInterval: time.Minute}, func(c *client) {
		watch := c.open(c.stream("watch"), "")
		f := c.open(c.stream("a"), "&offset=17&eventType=A,B")
		other := c.open(c.discover("other")[1], "") // of the other partition
		c.srv.EndStreams()
		if f.ended() == nil || other.ended() == nil {
			c.t.Fatal("not cut")
		}
		_ = watch.ended()
		watch = c.open(c.stream("watch2"), "")
		all := watch.audits(c.t)
		var got []string
		for _, a := range all {
			equal(c.t, "type", a.Metadata.EventType, "AuthActivityAuditEvent")
			equal(c.t, "success", a.Event.Success, true)
			equal(c.t, "stamp", a.Event.UTCTimestamp, a.Metadata.CreationTime/1000)
			got = append(got, a.Event.OperationName+" "+a.Event.AuditKeyValues[3].ValueString)
		}
		want := []string{"streamStarted watch", "streamStarted a", "streamStopped a", "streamStopped watch", "streamStarted watch2"}
		if len(got) != 5 {
			c.t.Fatalf("operations %q", got)
		}
		slices.Sort(got[2:4]) // the two were cut at once
		equal(c.t, "operations", got, want)
		equal(c.t, "values", all[1].Event.AuditKeyValues, []keyValue{
			{"APIClientID", ClientID}, {"partition", "0"}, {"offset", "17"}, {"appId", "a"}, {"eventType", "A,B"},
		})
		equal(c.t, "default values", all[0].Event.AuditKeyValues[2:], []keyValue{
			{"offset", "-1"}, {"appId", "watch"}, {"eventType", "All event type(s)"},
		})
		time.Sleep(time.Minute)
		equal(c.t, "end", watch.ended(), io.EOF)
		last := c.open(c.stream("last"), "&offset=6").audits(c.t)
		if len(last) != 2 || last[0].Event.OperationName != "streamStopped" {
			c.t.Errorf("after the end of a session: %+v", last)
		}
	})
	bubble(t, Config{}, func(c *client) {
		equal(c.t, "default", c.open(c.stream("a"), "").offsets(), []int64{})
	})
}

func TestDetection(t *testing.T) {
	bubble(t, Config{Cloud: "us-2", Hosts: []Host{{DeviceID: "d1", Hostname: "ws-042", Groups: []string{"g", "h"}}}}, func(c *client) {
		f := c.open(c.stream("a"), "")
		for _, severity := range []int{-1, 19, 20, 55, 100} {
			c.srv.Publish(0, "EppDetectionSummaryEvent", c.srv.Detection("d1", severity))
		}
		c.srv.Publish(0, "EppDetectionSummaryEvent", c.srv.Detection("nobody", 60))
		lines, _ := f.soFar()
		names, ids := []string{}, map[string]bool{}
		for _, l := range lines {
			var e struct {
				Event struct {
					CompositeID, SeverityName, Hostname, HostGroups, FalconHostLink string
					ProcessID                                                       int64
				}
			}
			if err := json.Unmarshal([]byte(l), &e); err != nil {
				c.t.Fatal(err)
			}
			names = append(names, e.Event.SeverityName+" "+e.Event.Hostname+" "+e.Event.HostGroups)
			ids[e.Event.CompositeID] = true
			if p := e.Event.ProcessID; int64(float64(p)) == p {
				c.t.Errorf("ProcessId %d survives a float64", p)
			}
			equal(c.t, "link", e.Event.FalconHostLink, "https://falcon.us-2.crowdstrike.com/activity-v2/detections/"+e.Event.CompositeID)
		}
		equal(c.t, "names", names, []string{
			"Informational ws-042 g,h", "Informational ws-042 g,h", "Low ws-042 g,h",
			"Medium ws-042 g,h", "Critical ws-042 g,h", "High  ",
		})
		equal(c.t, "ids", len(ids), 6)
	})
}

func TestPublishPanics(t *testing.T) {
	c := start(t, Config{Partitions: 2})
	for name, f := range map[string]func(){
		"partition too high": func() { c.srv.Publish(2, "X", nil) },
		"negative partition": func() { c.srv.PublishRaw(-1, nil) },
		"not JSON":           func() { c.srv.Publish(0, "X", json.RawMessage("{")) },
		"no encoding":        func() { c.srv.Publish(0, "X", make(chan int)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	equal(t, "the server still works", c.srv.Publish(1, "X", nil), int64(1))
}
