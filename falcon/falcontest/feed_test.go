package falcontest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/resilience/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFeedBegins(t *testing.T) {
	bubble(t, Config{Partitions: 2}, func(c *client) {
		for range 4 {
			c.srv.Publish(0, "A", nil)
		}
		c.srv.Publish(0, "B", nil)
		c.srv.Publish(1, "B", nil)
		var feeds []*tail
		cases := []struct {
			params string
			before []int64
			after  []int64 // with an A and a B more
		}{
			{"", []int64{1, 2, 3, 4, 5}, []int64{1, 2, 3, 4, 5, 6, 7}},
			{"&offset=0", []int64{1, 2, 3, 4, 5}, []int64{1, 2, 3, 4, 5, 6, 7}},
			{"&offset=-1", []int64{1, 2, 3, 4, 5}, []int64{1, 2, 3, 4, 5, 6, 7}},
			{"&offset=3", []int64{3, 4, 5}, []int64{3, 4, 5, 6, 7}},
			{"&offset=5", []int64{5}, []int64{5, 6, 7}},
			{"&offset=7", []int64{}, []int64{7}},
			{"&whence=2", []int64{}, []int64{6, 7}},
			{"&offset=2&whence=2", []int64{}, []int64{6, 7}},
			{"&whence=0", []int64{1, 2, 3, 4, 5}, []int64{1, 2, 3, 4, 5, 6, 7}},
			{"&eventType=B", []int64{5}, []int64{5, 7}},
			{"&offset=4&eventType=B,A", []int64{4, 5}, []int64{4, 5, 6, 7}},
			{"&eventType=a", []int64{}, []int64{}}, // as they are spelt, or not at all
		}
		for i, tc := range cases {
			f := c.open(c.stream("app"+strconv.Itoa(i)), tc.params)
			equal(c.t, tc.params+" at once", f.offsets(), tc.before)
			feeds = append(feeds, f)
		}
		f := c.open(c.discover("one")[1], "")
		equal(c.t, "other partition", f.offsets(), []int64{1})
		c.srv.Publish(0, "A", nil)
		c.srv.Publish(0, "B", nil)
		for i, tc := range cases {
			equal(c.t, tc.params+" later", feeds[i].offsets(), tc.after)
		}
	})
}

func TestEventLines(t *testing.T) {
	at := time.Date(2026, 8, 1, 12, 0, 0, 123456789, time.UTC)
	bubble(t, Config{Now: func() time.Time { return at }}, func(c *client) {
		f := c.open(c.stream("a"), "")
		equal(c.t, "offset", c.srv.Publish(0, "AEvent", map[string]any{"b": int64(9007199254740993), "a": "<x> & y\n"}), int64(1))
		equal(c.t, "offset", c.srv.Publish(0, "BEvent", []byte(nil)), int64(2))
		lines, _ := f.soFar()
		equal(c.t, "lines", lines, []string{
			`{"metadata":{"customerIDString":"` + CID + `","offset":1,"eventType":"AEvent","eventCreationTime":1785585600123,"version":"1.0"},` +
				`"event":{"a":"<x> & y\n","b":9007199254740993}}`,
			`{"metadata":{"customerIDString":"` + CID + `","offset":2,"eventType":"BEvent","eventCreationTime":1785585600123,"version":"1.0"},"event":null}`,
		})
	})
}

// Every event leaves at once: none waits for the next one or for a heartbeat.
func TestEventsAreFlushed(t *testing.T) {
	bubble(t, Config{}, func(c *client) {
		f := c.open(c.stream("a"), "")
		want := []time.Duration{}
		for i := range 5 {
			time.Sleep(time.Second)
			c.srv.Publish(0, "X", nil)
			want = append(want, time.Duration(i+1)*time.Second)
			_, at := f.soFar()
			equal(c.t, "arrivals", at, want)
		}
	})
}

func TestRawLines(t *testing.T) {
	bubble(t, Config{}, func(c *client) {
		huge := `{"event":"` + strings.Repeat("x", 6<<20) + `"}`
		f := c.open(c.stream("a"), "&eventType=X")
		line := append(make([]byte, 0, 64), `{"metadata":{"offset":1`...)
		c.srv.Silence(true)
		equal(c.t, "offset", c.srv.PublishRaw(0, line), int64(1))
		line[0] = '?' // the server has its own copy
		c.srv.Silence(false)
		equal(c.t, "offset", c.srv.PublishRaw(0, []byte(huge)), int64(2))
		equal(c.t, "offset", c.srv.Publish(0, "X", nil), int64(3))
		lines, _ := f.soFar()
		if len(lines) != 3 || lines[0] != `{"metadata":{"offset":1` || lines[1] != huge || !strings.Contains(lines[2], `"offset":3`) {
			c.t.Errorf("%d lines", len(lines))
		}
	})
}

func TestAFeedIsOnlyRead(t *testing.T) {
	bubble(t, Config{}, func(c *client) {
		s := c.stream("a")
		status, _ := c.send("POST", s.Feed, "Token "+s.Token.Token, "application/json")
		equal(c.t, "POST", status, 404)
	})
}

func TestHeartbeats(t *testing.T) {
	for set, beat := range map[time.Duration]time.Duration{0: 30 * time.Second, 7 * time.Second: 7 * time.Second} {
		bubble(t, Config{Heartbeat: set}, func(c *client) {
			f := c.open(c.stream("a"), "")
			time.Sleep(2*beat + beat/2)
			c.srv.Publish(0, "X", nil) // the next one is due only so long after it
			time.Sleep(beat)
			lines, at := f.soFar()
			equal(c.t, "arrivals", at, []time.Duration{beat, 2 * beat, 2*beat + beat/2, 3*beat + beat/2})
			if len(lines) != 4 {
				return
			}
			equal(c.t, "blank lines", []bool{lines[0] == "", lines[1] == "", lines[2] == "", lines[3] == ""}, []bool{true, true, false, true})
		})
	}
}

func TestSilence(t *testing.T) {
	bubble(t, Config{TokenLife: 24 * time.Hour}, func(c *client) {
		s := c.stream("a")
		f := c.open(s, "")
		c.srv.Publish(0, "X", nil)
		synctest.Wait()
		c.srv.Silence(true)
		c.srv.Publish(0, "X", nil)
		g := c.open(c.stream("b"), "")
		time.Sleep(1900 * time.Second) // longer than the session
		lines, _ := f.soFar()
		equal(c.t, "lines", len(lines), 1)
		equal(c.t, "still open", f.ended(), nil)
		equal(c.t, "no refresh after so long", c.refresh(s), 404)
		lines, _ = g.soFar()
		equal(c.t, "lines of one opened meanwhile", len(lines), 0)
		c.srv.Silence(false)
		equal(c.t, "then it ends", f.ended(), io.EOF)
		c.srv.Silence(true)
		h := c.open(c.stream("c"), "&offset=2")
		c.srv.Silence(false)
		equal(c.t, "what was kept back", h.offsets(), []int64{2})
		c.srv.Silence(true)
		c.srv.EndStreams()
		equal(c.t, "silent feeds can be cut", h.ended() != nil, true)
	})
}

func TestRetention(t *testing.T) {
	for set, keep := range map[time.Duration]time.Duration{0: 7 * 24 * time.Hour, time.Hour: time.Hour} {
		bubble(t, Config{EventRetention: set, TokenLife: 365 * 24 * time.Hour}, func(c *client) {
			c.srv.Publish(0, "X", nil)
			time.Sleep(time.Minute)
			c.srv.Publish(0, "X", nil)
			time.Sleep(keep - time.Minute - time.Millisecond)
			equal(c.t, "in time", c.open(c.stream("a"), "&offset=1").offsets(), []int64{1, 2})
			time.Sleep(time.Millisecond)
			equal(c.t, "too late for one", c.open(c.stream("b"), "&offset=1").offsets(), []int64{2})
			time.Sleep(time.Minute)
			equal(c.t, "offsets go on", c.srv.Publish(0, "X", nil), int64(3))
			st := &c.srv.cloud.streams
			st.mu.Lock()
			equal(c.t, "kept without a reader", len(st.partitions[0].kept), 1)
			st.mu.Unlock()
			equal(c.t, "too late for both", c.open(c.stream("c"), "").offsets(), []int64{3})
		})
	}
}

// A client that leaves is noticed at once, on either protocol.
func TestClientLeaves(t *testing.T) {
	for name, strip := range protocols {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{StreamAudit: true}, func(c *client) {
				strip(c)
				watch := c.open(c.stream("watch"), "&whence=2")
				f := c.open(c.stream("a"), "")
				equal(c.t, "started", len(watch.offsets()), 2)
				equal(c.t, "protocol", strings.TrimSuffix(f.proto, ".0"), name)
				f.close()
				equal(c.t, "stopped", len(watch.offsets()), 3)
			})
		})
	}
}

// protocols change what a client speaks.
var protocols = map[string]func(*client){
	"HTTP/2": func(*client) {},
	"HTTP/1.1": func(c *client) {
		c.http = c.srv.Client() // one that has not yet agreed on anything
		c.http.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	},
}

// Close ends feeds that have nothing to do and those whose client does not read,
// over pipes and over sockets.
func TestCloseEndsFeeds(t *testing.T) {
	for name, strip := range protocols {
		run := func(c *client) {
			strip(c)
			idle := c.open(c.stream("idle"), "")
			req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "", nil)
			if err != nil {
				c.t.Fatal(err)
			}
			s := c.stream("stuck")
			if req.URL, err = req.URL.Parse(s.Feed); err != nil {
				c.t.Fatal(err)
			}
			req.Header.Set("Authorization", "Token "+s.Token.Token)
			stuck, err := c.http.Do(req)
			if err != nil {
				c.t.Fatal(err)
			}
			defer func() { _ = stuck.Body.Close() }()
			c.srv.PublishRaw(0, make([]byte, 16<<20)) // more than any buffer on the way
			c.srv.Close()
			<-idle.done
			if idle.err == nil || errors.Is(idle.err, io.EOF) {
				c.t.Errorf("idle feed ended with %v", idle.err)
			}
			c.srv.Publish(0, "X", nil) // of no use, and harmless
		}
		t.Run(name+" in memory", func(t *testing.T) { bubble(t, Config{}, run) })
		t.Run(name+" over sockets", func(t *testing.T) { run(login(t, Config{})) })
	}
}

func TestFeedOverSockets(t *testing.T) {
	for name, strip := range protocols {
		t.Run(name, func(t *testing.T) {
			c := login(t, Config{Heartbeat: 20 * time.Millisecond, SessionInterval: 300 * time.Millisecond})
			strip(c)
			c.srv.Publish(0, "X", nil)
			f := c.open(c.stream("a"), "&offset=1")
			<-f.done
			equal(t, "protocol", strings.TrimSuffix(f.proto, ".0"), name)
			equal(t, "end", f.err, io.EOF)
			if len(f.lines) < 3 || !strings.Contains(f.lines[0], `"offset":1`) || f.lines[1] != "" {
				t.Errorf("lines %q", f.lines)
			}
		})
	}
}

// The plan's faults strike the feed as any request.
func TestFeedFaults(t *testing.T) {
	for _, tc := range []struct {
		kind   fault.Kind
		status int // 0: no answer
		line   bool
		begun  bool
	}{
		{fault.Status, 503, false, false},
		{fault.Reset, 0, false, false},
		{fault.Blackhole, 0, false, false},
		{fault.LoseResponse, 0, false, true},
		{fault.Truncate, 200, false, true},
		{fault.Latency, 200, true, true},
	} {
		t.Run(tc.kind.String(), func(t *testing.T) {
			bubble(t, Config{}, func(c *client) {
				s := c.stream("a")
				c.srv.Publish(0, "X", nil)
				c.srv.Faults().Add(fault.Rule{Kind: tc.kind, Path: feedPath, Delay: time.Second})
				ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Feed, nil)
				if err != nil {
					c.t.Fatal(err)
				}
				req.Header.Set("Authorization", "Token "+s.Token.Token)
				begun := time.Now()
				status, body := 0, []byte(nil)
				if resp, err := c.http.Do(req); err == nil {
					status = resp.StatusCode
					body, _ = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				equal(c.t, "status", status, tc.status)
				equal(c.t, "a whole line", strings.Contains(string(body), "}\n"), tc.line)
				if tc.kind == fault.LoseResponse || tc.kind == fault.Truncate {
					// It does not wait for the end of the session.
					equal(c.t, "soon", time.Since(begun) <= time.Second, true)
				}
				synctest.Wait()
				equal(c.t, "the session has begun", len(c.discover("a")) == 0, tc.begun)
			})
		})
	}
}
