package falcontest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDiscover(t *testing.T) {
	bubble(t, Config{Cloud: "us-2", Partitions: 2}, func(c *client) {
		r := c.get(discoverPath, "appId", "soc-1", "format", "flatjson")
		equal(c.t, "status", r.status, 200)
		equal(c.t, "errors", len(r.Errors), 0)
		all := c.discover("soc-1")
		equal(c.t, "streams", len(all), 2)
		for i, s := range all {
			n := strconv.Itoa(i)
			equal(c.t, "feed", s.Feed, "https://firehose.us-2.crowdstrike.com/sensors/entities/datafeed/v1/"+n+"?appId=soc-1")
			equal(c.t, "refresh", s.Refresh, "https://api.us-2.crowdstrike.com/sensors/entities/datafeed-actions/v1/"+n+
				"?appId=soc-1&action_name=refresh_active_stream_session")
			equal(c.t, "interval", s.Interval, 1800)
			equal(c.t, "token life", time.Until(s.Token.Expiration), 4*time.Hour)
		}
		if all[0].Token.Token == "" || all[0].Token.Token == all[1].Token.Token {
			c.t.Errorf("tokens %q and %q", all[0].Token.Token, all[1].Token.Token)
		}
	})
	bubble(t, Config{SessionInterval: 90*time.Second + time.Millisecond, SessionTokenLife: time.Minute}, func(c *client) {
		s := c.stream("a")
		equal(c.t, "interval", s.Interval, 90)
		equal(c.t, "token life", time.Until(s.Token.Expiration), time.Minute)
	})
}

func TestStreamingNeedsScope(t *testing.T) {
	for scope, want := range map[string]int{"alerts:read": 403, "streaming:read": 200} {
		bubble(t, Config{Scopes: []string{scope}}, func(c *client) {
			equal(c.t, scope+" discover", c.get(discoverPath, "appId", "a").status, want)
			status, _ := c.send("POST", c.base+refreshPath+"0?appId=a&action_name="+refreshAction, c.auth, "application/json")
			equal(c.t, scope+" refresh", status, map[int]int{403: 403, 200: 404}[want])
		})
	}
}

func TestAppIDs(t *testing.T) {
	c := login(t, Config{})
	for id, want := range map[string]int{
		"":                       400,
		"a":                      200,
		"fig-default-app-id":     200,
		"falcon_event_stream":    200,
		strings.Repeat("Z9", 16): 200,
		strings.Repeat("x", 33):  400,
		"a b":                    400,
		"a.b":                    400,
		"ä":                      400,
		"a&offset=1":             400,
	} {
		r := c.get(discoverPath, "appId", id)
		equal(t, fmt.Sprintf("%q", id), r.status, want)
		equal(t, "errors", len(r.Errors), map[int]int{200: 0, 400: 1}[want])
	}
	equal(t, "format", c.get(discoverPath, "appId", "a", "format", "xml").status, 400)
}

func TestAppIDInUse(t *testing.T) {
	bubble(t, Config{Partitions: 2, TokenLife: time.Hour}, func(c *client) {
		c.discover("a")
		all := c.discover("a") // nobody opened a feed: free
		equal(c.t, "second discovery", len(all), 2)
		f := c.open(all[1], "")
		taken := func(when string) {
			c.t.Helper()
			r := c.get(discoverPath, "appId", "a")
			equal(c.t, when+" status", r.status, 200)
			if !strings.Contains(string(r.raw), `"resources": []`) {
				c.t.Errorf("%s: %s", when, r.raw)
			}
		}
		taken("while open")
		equal(c.t, "other appId", len(c.discover("b")), 2)
		f.close()
		taken("after the client left")
		time.Sleep(1800*time.Second - time.Millisecond)
		taken("before the session ends")
		time.Sleep(time.Millisecond)
		equal(c.t, "after the session", len(c.discover("a")), 2)
	})
}

func TestRefresh(t *testing.T) {
	bubble(t, Config{Partitions: 2, TokenLife: 24 * time.Hour}, func(c *client) {
		all := c.discover("a")
		equal(c.t, "before the session begins", c.refresh(all[0]), 404)
		f := c.open(all[0], "")
		time.Sleep(1620 * time.Second)
		for _, tc := range []struct {
			name, method, url, auth, contentType string
			want                                 int
		}{
			{"without a Content-Type", "POST", all[0].Refresh, c.auth, "", 415},
			{"form", "POST", all[0].Refresh, c.auth, "application/x-www-form-urlencoded", 415},
			{"GET", "GET", all[0].Refresh, c.auth, "application/json", 404},
			{"no token", "POST", all[0].Refresh, "", "application/json", 401},
			{"session token", "POST", all[0].Refresh, "Token " + all[0].Token.Token, "application/json", 401},
			{"unknown action", "POST", strings.Replace(all[0].Refresh, refreshAction, "refresh", 1), c.auth, "application/json", 400},
			{"no appId", "POST", strings.Replace(all[0].Refresh, "appId=a", "", 1), c.auth, "application/json", 400},
			{"other appId", "POST", strings.Replace(all[0].Refresh, "appId=a", "appId=b", 1), c.auth, "application/json", 404},
			{"other partition", "POST", all[1].Refresh, c.auth, "application/json", 404},
			{"partition 00", "POST", strings.Replace(all[0].Refresh, "/0?", "/00?", 1), c.auth, "application/json", 404},
			{"deeper path", "POST", strings.Replace(all[0].Refresh, "/0?", "/0/x?", 1), c.auth, "application/json", 404},
			{"good", "POST", all[0].Refresh, c.auth, "application/json; charset=utf-8", 200},
		} {
			status, body := c.send(tc.method, tc.url, tc.auth, tc.contentType)
			equal(c.t, tc.name+" "+body, status, tc.want)
		}
		time.Sleep(1799 * time.Second)
		equal(c.t, "feed of a refreshed session", f.ended(), nil)
		time.Sleep(time.Second)
		equal(c.t, "end", f.ended(), io.EOF)
		equal(c.t, "lasted", time.Since(f.begun), 3420*time.Second)
		equal(c.t, "after the end", c.refresh(all[0]), 404)
	})
}

// The feed of a session that nobody refreshes is closed, quiet or not.
func TestSessionEndsUnrefreshed(t *testing.T) {
	for _, interval := range []time.Duration{0, 10 * time.Second} {
		bubble(t, Config{SessionInterval: interval}, func(c *client) {
			orDefault(&interval, 1800*time.Second)
			s := c.stream("a")
			time.Sleep(time.Minute) // the interval counts from the opening
			f := c.open(s, "")
			time.Sleep(interval - time.Millisecond)
			c.srv.Publish(0, "X", nil)
			equal(c.t, "just before", f.ended(), nil)
			time.Sleep(time.Millisecond)
			equal(c.t, "at the end", f.ended(), io.EOF)
			equal(c.t, "events", f.offsets(), []int64{1})
			status, _ := c.refused(s, "", "Token "+s.Token.Token)
			equal(c.t, "the token afterwards", status, 404)
		})
	}
}

func TestFeedRefusals(t *testing.T) {
	bubble(t, Config{Partitions: 2, SessionTokenLife: time.Hour}, func(c *client) {
		replaced := c.stream("a")
		all := c.discover("a")
		token := "Token " + all[0].Token.Token
		at := func(old, new string) stream { return stream{Feed: strings.Replace(all[0].Feed, old, new, 1)} }
		for _, tc := range []struct {
			name   string
			s      stream
			params string
			auth   string
			want   int
		}{
			{"no token", all[0], "", "", 401},
			{"wrong token", all[0], "", "Token x", 401},
			{"bearer token", all[0], "", c.auth, 401},
			{"session token as bearer", all[0], "", "Bearer " + all[0].Token.Token, 401},
			{"bearer token as session token", all[0], "", strings.Replace(c.auth, "Bearer", "Token", 1), 401},
			{"other partition", all[1], "", token, 404},
			{"no such partition", at("v1/0", "v1/7"), "", token, 404},
			{"other appId", at("appId=a", "appId=b"), "", token, 404},
			{"no appId", at("?appId=a", ""), "", token, 404},
			{"replaced", replaced, "", "Token " + replaced.Token.Token, 404},
			{"other region", at("firehose.", "firehose.eu-1."), "", token, 404},
			{"other path", at("datafeed/v1", "datafeed/v3"), "", token, 404},
			{"offset is not a number", all[0], "&offset=x", token, 400},
			{"negative offset", all[0], "&offset=-2", token, 400},
		} {
			status, body := c.refused(tc.s, tc.params, tc.auth)
			equal(c.t, tc.name, status, tc.want)
			if strings.Count(body, "\n") < 5 || !json.Valid([]byte(body)) {
				c.t.Errorf("%s: not JSON over several lines: %q", tc.name, body)
			}
		}
		equal(c.t, "not in use after all that", len(c.discover("b"))+len(c.discover("a")), 4)
	})
}

// The token's life counts for opening only.
func TestSessionTokenExpires(t *testing.T) {
	bubble(t, Config{SessionTokenLife: 25 * time.Minute, TokenLife: 24 * time.Hour}, func(c *client) {
		s, unused := c.stream("a"), c.stream("b")
		f := c.open(s, "")
		time.Sleep(25*time.Minute - time.Second)
		c.open(unused, "")
		equal(c.t, "refresh", c.refresh(s), 200)
		time.Sleep(time.Second)
		status, _ := c.refused(s, "", "Token "+s.Token.Token)
		equal(c.t, "expired", status, 401)
		time.Sleep(10 * time.Minute)
		equal(c.t, "open feed", f.ended(), nil)
		equal(c.t, "refresh of an open feed", c.refresh(s), 200)
		f.close()
		synctest.Wait()
		equal(c.t, "refresh of what cannot be opened again", c.refresh(s), 404)
		equal(c.t, "the appId is free", len(c.discover("a")), 1)
	})
}

func TestExpireSessions(t *testing.T) {
	bubble(t, Config{}, func(c *client) {
		s := c.stream("a")
		f := c.open(s, "")
		c.srv.ExpireSessions()
		c.srv.Publish(0, "X", nil)
		equal(c.t, "open feed", f.offsets(), []int64{1})
		equal(c.t, "refresh", c.refresh(s), 200)
		equal(c.t, "in use", len(c.discover("a")), 0)
		c.srv.EndStreams()
		equal(c.t, "cut", f.ended() != nil, true)
		status, _ := c.refused(s, "", "Token "+s.Token.Token)
		equal(c.t, "old token", status, 401)
		equal(c.t, "refresh afterwards", c.refresh(s), 404)
		f = c.open(c.stream("a"), "&offset=1") // a new token is good
		equal(c.t, "new feed", f.offsets(), []int64{1})
	})
}

// A cut is not the end of the session, and the client's read fails.
func TestEndStreams(t *testing.T) {
	bubble(t, Config{Partitions: 2}, func(c *client) {
		all := c.discover("a")
		feeds := []*tail{c.open(all[0], ""), c.open(all[1], "")}
		c.srv.Publish(0, "X", nil)
		synctest.Wait()
		c.srv.EndStreams()
		for _, f := range feeds {
			if err := f.ended(); err == nil || errors.Is(err, io.EOF) {
				c.t.Errorf("feed ended with %v", err)
			}
		}
		equal(c.t, "discovery", len(c.discover("a")), 0)
		equal(c.t, "refresh", c.refresh(all[0]), 200)
		c.srv.Publish(0, "X", nil)
		f := c.open(all[0], "&offset=2")
		equal(c.t, "again with the same token", f.offsets(), []int64{2})
	})
}

func TestSecondConnectionTakesOver(t *testing.T) {
	bubble(t, Config{}, func(c *client) {
		s := c.stream("a")
		first := c.open(s, "")
		second := c.open(s, "")
		if err := first.ended(); err == nil || errors.Is(err, io.EOF) {
			c.t.Errorf("first feed ended with %v", err)
		}
		c.srv.Publish(0, "X", nil)
		equal(c.t, "second", second.offsets(), []int64{1})
		equal(c.t, "in use", len(c.discover("a")), 0)
		// Resuming did not put off the end of the session.
		time.Sleep(1000 * time.Second)
		third := c.open(s, "")
		time.Sleep(800 * time.Second)
		equal(c.t, "end", third.ended(), io.EOF)
	})
}

func TestStreamConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"Partitions":       {Partitions: -1},
		"Heartbeat":        {Heartbeat: -1},
		"SessionInterval":  {SessionInterval: -1},
		"SessionTokenLife": {SessionTokenLife: -1},
		"EventRetention":   {EventRetention: -1},
	} {
		if s, err := NewServer(cfg); err == nil {
			s.Close()
			t.Errorf("negative %s: no error", name)
		}
	}
}
