package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/event_streams"

	"github.com/jurymast/jurymast/resilience"
)

// session is Falcon's offer of one partition.
type session struct {
	partition int
	feed      *url.URL
	token     Secret
	refresh   *url.URL
	interval  time.Duration // it ends so long after its beginning or its last refresh
}

// discover asks for the partitions; none means that the name is in use.
func (c *Client) discover(ctx context.Context, appID string) ([]session, error) {
	const name = "stream.discover"
	p := event_streams.NewListAvailableStreamsOAuth2ParamsWithContext(ctx)
	p.AppID = appID
	var op capture
	_, _ = event_streams.New(&op, nil).ListAvailableStreamsOAuth2(p)
	w, err := c.write(op.op)
	if err != nil {
		return nil, err
	}
	return send(ctx, c, resilience.Call{Name: name, Kind: resilience.Read}, w, func(a *answer) ([]session, error) {
		env, err := a.open(name)
		if err != nil {
			return nil, err
		}
		var out []session
		for _, raw := range env.Resources {
			s, err := parseSession(raw)
			if err != nil {
				return nil, a.malformed(name, err) // a partition less would be a silent gap
			}
			out = append(out, s)
		}
		return out, nil
	})
}

func parseSession(raw json.RawMessage) (s session, err error) {
	var r struct {
		Feed    string `json:"dataFeedURL"`
		Session struct {
			Token Secret `json:"token"`
		} `json:"sessionToken"`
		Refresh  string `json:"refreshActiveSessionURL"`
		Interval int64  `json:"refreshActiveSessionInterval"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return s, err
	}
	s.token = r.Session.Token
	if s.token == "" {
		return s, errors.New("a session without a token")
	}
	if s.feed, err = url.Parse(r.Feed); err != nil || s.feed.Scheme != "https" || s.feed.Host == "" {
		return s, fmt.Errorf("dataFeedURL %q is no address", r.Feed)
	}
	if s.refresh, err = url.Parse(r.Refresh); err != nil || s.refresh.Path == "" {
		return s, fmt.Errorf("refreshActiveSessionURL %q is no address", r.Refresh)
	}
	if s.partition, err = strconv.Atoi(path.Base(s.feed.Path)); err != nil {
		return s, fmt.Errorf("dataFeedURL %q names no partition", r.Feed)
	}
	// gofalcon panics on 0, 1 and -1 (hazard D4).
	if s.interval = time.Duration(r.Interval) * time.Second; s.interval <= 0 || s.interval > 24*time.Hour {
		s.interval = 30 * time.Minute
	}
	return s, nil
}

// renew keeps the session alive: of the right partition, by its own address
// (gofalcon always renews partition 0, hazard D3).
func (c *Client) renew(ctx context.Context, s session) error {
	const name = "stream.refresh"
	w := &written{
		method: http.MethodPost, path: s.refresh.EscapedPath(), query: s.refresh.RawQuery,
		header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
	}
	_, err := send(ctx, c, resilience.Call{Name: name, Kind: resilience.Idempotent}, w, func(*answer) (struct{}, error) {
		return struct{}{}, nil
	})
	return err
}

// open opens the feed of a session at the events that follow the handled ones.
// Only the session's own token goes to the feed's host.
func (c *Client) open(ctx context.Context, s session, query url.Values) (*http.Response, error) {
	const name = "stream.feed"
	if err := c.check(resilience.Read); err != nil {
		return nil, err
	}
	u := *s.feed
	u.RawQuery = query.Encode()
	wire := *c.wire
	wire.MaxBody, wire.RateLimit = -1, nil
	call := resilience.Call{Name: name, Kind: resilience.Read, Timeout: -1, Attempts: 1}
	resp, err := resilience.RoundTrip(ctx, c.policy, call, retryAfter, func(ctx context.Context, _ int) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Token "+string(s.token))
		req.Header.Set("Accept", "application/json")
		req.Header.Set("User-Agent", userAgent)
		return wire.RoundTrip(req)
	})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		body := make([]byte, 16<<10)
		n, _ := resp.Body.Read(body)
		return nil, (&answer{status: resp.StatusCode, header: resp.Header, body: body[:n], at: time.Now()}).apiError(name)
	}
	return resp, nil
}
