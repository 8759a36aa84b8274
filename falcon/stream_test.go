package falcon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// consumer keeps what it was given and can be made slow or failing.
type consumer struct {
	mu     sync.Mutex
	events []falcon.Event
	before func(context.Context, []falcon.Event) error // nil: nothing
}

func (c *consumer) handle(ctx context.Context, events []falcon.Event) error {
	if c.before != nil {
		if err := c.before(ctx, events); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, events...)
	return nil
}

// offsets are the offsets that came of a partition, in order.
func (c *consumer) offsets(partition int) (out []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Partition == partition {
			out = append(out, e.Offset)
		}
	}
	return out
}

// streaming runs a stream beside the test; stop ends it and returns its error.
func streaming(t *testing.T, c *falcon.Client, cfg falcon.StreamConfig) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Stream.Run(ctx, cfg) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-ended
	}
}

func publish(srv *falcontest.Server, partition, n int) (offsets []int64) {
	for range n {
		offsets = append(offsets, srv.Publish(partition, "EppDetectionSummaryEvent", srv.Detection(first, 70)))
	}
	return offsets
}

const discoverPath = "/sensors/entities/datafeed/v2"

// Whatever breaks, every event comes, once and in order.
func TestStreamLosesNothing(t *testing.T) {
	for name, disturb := range map[string]func(*falcontest.Server){
		"nothing":              func(*falcontest.Server) {},
		"connections break":    func(s *falcontest.Server) { s.EndStreams() },
		"sessions are invalid": func(s *falcontest.Server) { s.ExpireSessions(); s.EndStreams() },
		"discovery fails": func(s *falcontest.Server) {
			s.Faults().Add(fault.Rule{Kind: fault.Status, Path: discoverPath, For: 20 * time.Second})
			s.EndStreams()
		},
		"an empty answer": func(s *falcontest.Server) {
			s.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: discoverPath, For: 20 * time.Second})
			s.EndStreams()
		},
		"the feed refuses": func(s *falcontest.Server) { // gofalcon D2: an event without a type comes of it
			s.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: "/sensors/entities/datafeed/v1/", Body: `{"errors":[{"code":503}]}`, For: 20 * time.Second})
			s.EndStreams()
		},
		"answers break off": func(s *falcontest.Server) {
			s.Faults().Add(fault.Rule{Kind: fault.Reset, For: 20 * time.Second})
			s.EndStreams()
		},
		"tokens are revoked": func(s *falcontest.Server) { s.RevokeTokens(); s.EndStreams() },
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, falcontest.Config{Partitions: 3}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				var got consumer
				want := map[int][]int64{}
				add := func(n int) {
					for p := range 3 {
						want[p] = append(want[p], publish(srv, p, n)...)
					}
				}
				add(100)
				stop := streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})
				time.Sleep(time.Minute)
				add(50)
				time.Sleep(time.Minute)
				disturb(srv)
				add(50)
				time.Sleep(2 * time.Hour)
				add(50)
				time.Sleep(time.Minute)
				if err := stop(); !errors.Is(err, context.Canceled) {
					t.Errorf("Run ended with %v", err)
				}
				for p := range 3 {
					if o := got.offsets(p); !slices.Equal(o, want[p]) {
						t.Errorf("partition %d: %d events of %d, in order %v", p, len(o), len(want[p]), slices.IsSorted(o))
					}
				}
			})
		})
	}
}

// Falcon says 401 to a session token of another day: asking anew helps, waiting does
// not (ansible #693).
func TestAnInvalidSessionIsReplacedAtOnce(t *testing.T) {
	cloud(t, falcontest.Config{Partitions: 2}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})()
		srv.ExpireSessions()
		srv.EndStreams()
		want := publish(srv, 1, 3)
		time.Sleep(20 * time.Second)
		if !slices.Equal(got.offsets(1), want) {
			t.Errorf("got %v, want %v; discovered %d times", got.offsets(1), want, count(srv, discoverPath))
		}
	})
}

// Offsets are inclusive, and some readers are given the last event again.
func TestWhatWasHandledDoesNotComeAgain(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})()
		want := publish(srv, 0, 3)
		time.Sleep(time.Second)
		srv.PublishRaw(0, []byte(`{"metadata":{"offset":2,"eventType":"X"},"event":{}}`))
		time.Sleep(time.Second)
		if !slices.Equal(got.offsets(0), want) {
			t.Errorf("got %v, want %v", got.offsets(0), want)
		}
	})
}

// The offset of a line that cannot be read may be anything. Believed, it would hide
// every event that follows.
func TestABadLinesOffsetIsNotBelieved(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})()
		srv.PublishRaw(0, []byte(`{"metadata":{"offset":999999,"eventType":"X"},"event":{`))
		time.Sleep(time.Second)
		want := append([]int64{999999}, publish(srv, 0, 3)...)
		time.Sleep(time.Second)
		if !slices.Equal(got.offsets(0), want) {
			t.Errorf("got %v, want %v", got.offsets(0), want)
		}
	})
}

// gofalcon D3: every refresh is of partition 0, and the others end after half an hour.
func TestStreamRefreshesEveryPartition(t *testing.T) {
	cloud(t, falcontest.Config{Partitions: 2}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})()
		time.Sleep(10 * time.Hour)
		want := publish(srv, 1, 1)
		time.Sleep(time.Second)
		for p := range 2 {
			path := fmt.Sprint("/sensors/entities/datafeed-actions/v1/", p)
			if n := count(srv, path); n < 20 || n > 24 {
				t.Errorf("partition %d was refreshed %d times in ten hours", p, n)
			}
		}
		if n := count(srv, discoverPath); n != 1 || !slices.Equal(got.offsets(1), want) {
			t.Errorf("discovered %d times, got %v", n, got.offsets(1))
		}
	})
}

// gofalcon D10: one refresh that fails, and there is none any more.
func TestAFailedRefreshIsTriedAgain(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})()
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/sensors/entities/datafeed-actions/", Start: 26 * time.Minute, For: 2 * time.Minute})
		time.Sleep(3 * time.Hour)
		if n := count(srv, discoverPath); n != 1 {
			t.Errorf("the feed was lost: discovered %d times", n)
		}
	})
}

// gofalcon D9: a feed that has gone silent looks open for ever.
func TestASilentFeedIsOpenedAgain(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})()
		time.Sleep(time.Hour)
		if n := count(srv, discoverPath); n != 1 {
			t.Errorf("heartbeats were not heard: discovered %d times", n)
		}
		srv.Silence(true)
		time.Sleep(5 * time.Minute)
		srv.Silence(false)
		want := publish(srv, 0, 3)
		time.Sleep(5 * time.Minute)
		if n := count(srv, "/sensors/entities/datafeed/v1/0"); n < 2 || !slices.Equal(got.offsets(0), want) {
			t.Errorf("opened %d times, got %v", n, got.offsets(0))
		}
	})
}

// One reader to a name. A standby under another name goes on at the offset.
func TestOneReaderToAnAppID(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var a, b, standby consumer
		stopA := streaming(t, c, falcon.StreamConfig{AppID: "same", Handle: a.handle})
		stopB := streaming(t, c, falcon.StreamConfig{AppID: "same", Handle: b.handle})
		want := publish(srv, 0, 10)
		time.Sleep(10 * time.Minute)
		if !slices.Equal(a.offsets(0), want) || len(b.offsets(0)) != 0 {
			t.Errorf("the first has %v, the second %v", a.offsets(0), b.offsets(0))
		}
		_ = stopA()
		stop := streaming(t, c, falcon.StreamConfig{AppID: "other", After: map[int]int64{0: want[6]}, Handle: standby.handle})
		time.Sleep(time.Hour) // until Falcon forgets the first one's session
		if !slices.Equal(b.offsets(0), want) || !slices.Equal(standby.offsets(0), want[7:]) {
			t.Errorf("the second has %v, the standby %v", b.offsets(0), standby.offsets(0))
		}
		_, _ = stop(), stopB()
	})
}

// gofalcon D6, D8: one bad line, and no event comes any more; what is not
// understood is lost without a word.
func TestBadLinesAreReported(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		publish(srv, 0, 1)
		srv.PublishRaw(0, []byte(`{"metadata":{"offset":2,"eventType":"X"},"event":{`))
		srv.PublishRaw(0, []byte(`{"metadata":{"offset":3,"eventType":"Y"},"event":{"a":"`+strings.Repeat("x", 5<<20)+`"}}`))
		srv.Publish(0, "NobodyKnowsThisEvent", map[string]any{"A": 1})
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle})()
		time.Sleep(time.Minute)
		got.mu.Lock()
		defer got.mu.Unlock()
		var story []string
		for _, e := range got.events {
			story = append(story, fmt.Sprintf("%d %s malformed=%v long=%v", e.Offset, e.Type, errors.Is(e.Err, falcon.ErrEventMalformed), errors.Is(e.Err, falcon.ErrEventTooLong)))
			if e.Err != nil && len(e.Raw) > 4<<10 {
				t.Errorf("%d bytes of a bad line are kept", len(e.Raw))
			}
		}
		if want := []string{
			"1 EppDetectionSummaryEvent malformed=false long=false", "2 X malformed=true long=false",
			"3 Y malformed=false long=true", "4 NobodyKnowsThisEvent malformed=false long=false",
		}; !slices.Equal(story, want) {
			t.Errorf("got %q", story)
		}
	})
}

// Back-pressure: who stores slowly is not overrun, loses nothing, and keeps its
// session; the silence of that time is its own.
func TestASlowConsumerLosesNothing(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		largest := 0
		var kept [][]falcon.Event // Handle may keep what it got
		got := consumer{before: func(_ context.Context, events []falcon.Event) error {
			largest = max(largest, len(events))
			kept = append(kept, events)
			time.Sleep(40 * time.Minute)
			return nil
		}}
		want := publish(srv, 0, 500)
		stop := streaming(t, c, falcon.StreamConfig{AppID: "test", MaxBatch: 10, Handle: got.handle})
		time.Sleep(100 * time.Hour)
		_ = stop()
		var again []int64
		for _, batch := range kept {
			for _, e := range batch {
				again = append(again, e.Offset)
			}
		}
		if !slices.Equal(again, want) {
			t.Error("what Handle kept has changed")
		}
		if o := got.offsets(0); !slices.Equal(o, want) || largest != 10 || count(srv, discoverPath) != 1 {
			t.Errorf("%d events of %d, batches up to %d, discovered %d times", len(o), len(want), largest, count(srv, discoverPath))
		}
	})
}

// What was not stored comes again.
func TestHandlesErrorEndsRun(t *testing.T) {
	full := errors.New("the disk is full")
	for name, fails := range map[string]func() error{
		"an error": func() error { return full },
		"a panic":  func() error { panic("boom") },
	} {
		cloud(t, falcontest.Config{Partitions: 2}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			want := publish(srv, 0, 10)
			publish(srv, 1, 1)
			n := 0
			got := consumer{before: func(_ context.Context, events []falcon.Event) error {
				if events[0].Partition == 0 {
					if n++; n == 3 {
						return fails()
					}
				}
				return nil
			}}
			cfg := falcon.StreamConfig{AppID: "test", MaxBatch: 2, Handle: got.handle}
			err := c.Stream.Run(t.Context(), cfg)
			if name == "an error" && err != full || name == "a panic" && !strings.Contains(err.Error(), "boom") {
				t.Errorf("%s: Run ended with %v", name, err)
			}
			cfg.After = map[int]int64{0: got.offsets(0)[len(got.offsets(0))-1]}
			cfg.AppID = "again"
			stop := streaming(t, c, cfg)
			time.Sleep(time.Minute)
			_ = stop()
			if !slices.Equal(got.offsets(0), want) {
				t.Errorf("%s: got %v of %v", name, got.offsets(0), want)
			}
		})
	}
}

// A heartbeat is how a feed without events shows that it lives; an event is none.
func TestHeartbeatsAreTold(t *testing.T) {
	cloud(t, falcontest.Config{Partitions: 2}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var mu sync.Mutex
		beats := map[int]int{}
		var got consumer
		stop := streaming(t, c, falcon.StreamConfig{AppID: "test", Handle: got.handle, Heartbeat: func(partition int) {
			mu.Lock()
			defer mu.Unlock()
			beats[partition]++
		}})
		publish(srv, 1, 3)
		time.Sleep(10*time.Minute + time.Second)
		_ = stop()
		if beats[0] != 20 || beats[1] != 20 || len(got.offsets(1)) != 3 {
			t.Errorf("heartbeats %v, events %v", beats, got.offsets(1))
		}
		err := c.Stream.Run(t.Context(), falcon.StreamConfig{AppID: "again", Handle: got.handle, Heartbeat: func(int) { panic("boom") }})
		if err == nil || !strings.Contains(err.Error(), "StreamConfig.Heartbeat panicked: boom") {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// Who keeps offsets need not know beforehand which partitions there are.
func TestPartitionsAskForTheirCursor(t *testing.T) {
	cloud(t, falcontest.Config{Partitions: 3}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var want [3][]int64
		for p := range want {
			want[p] = publish(srv, p, 5)
		}
		asked := map[int]int{}
		var got consumer
		stop := streaming(t, c, falcon.StreamConfig{
			AppID: "test", Handle: got.handle, After: map[int]int64{0: 2},
			Cursor: func(partition int) (int64, bool) {
				asked[partition]++
				return 3, partition == 1
			},
		})
		time.Sleep(time.Minute)
		srv.ExpireSessions()
		srv.EndStreams()
		time.Sleep(time.Hour)
		_ = stop()
		for p, from := range []int{2, 3, 0} {
			if o := got.offsets(p); !slices.Equal(o, want[p][from:]) {
				t.Errorf("partition %d: %v", p, o)
			}
		}
		if asked[0] != 0 || asked[1] != 1 {
			t.Errorf("asked %v", asked)
		}
		err := c.Stream.Run(t.Context(), falcon.StreamConfig{AppID: "again", Handle: got.handle, Cursor: func(int) (int64, bool) { panic("boom") }})
		if err == nil || !strings.Contains(err.Error(), "StreamConfig.Cursor panicked: boom") {
			t.Errorf("Run ended with %v", err)
		}
	})
}

func TestNewestAndEventTypes(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		publish(srv, 0, 5)
		var got consumer
		defer streaming(t, c, falcon.StreamConfig{AppID: "test", Newest: true, EventTypes: []string{"A", "B"}, Handle: got.handle})()
		time.Sleep(time.Second)
		want := []int64{srv.Publish(0, "A", map[string]any{})}
		srv.Publish(0, "C", map[string]any{})
		want = append(want, srv.Publish(0, "B", map[string]any{}))
		time.Sleep(time.Minute)
		srv.EndStreams()
		time.Sleep(time.Minute)
		want = append(want, srv.Publish(0, "A", map[string]any{}))
		time.Sleep(time.Minute)
		if !slices.Equal(got.offsets(0), want) {
			t.Errorf("got %v, want %v", got.offsets(0), want)
		}
	})
}

func TestStreamSaysWhatIsWrong(t *testing.T) {
	cloud(t, falcontest.Config{Scopes: []string{"devices:read"}}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		handle := func(context.Context, []falcon.Event) error { return nil }
		for want, cfg := range map[string]falcon.StreamConfig{
			"StreamConfig.AppID":   {AppID: "a b", Handle: handle},
			"StreamConfig.Handle":  {AppID: "a"},
			"StreamConfig.Silence": {AppID: "a", Handle: handle, Silence: -1},
		} {
			if err := c.Stream.Run(t.Context(), cfg); resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		err := c.Stream.Run(t.Context(), falcon.StreamConfig{AppID: "a", Handle: handle})
		if api, ok := errors.AsType[*falcon.APIError](err); !ok || api.Status != http.StatusForbidden {
			t.Errorf("without the scope: %v", err)
		}
	})
}
