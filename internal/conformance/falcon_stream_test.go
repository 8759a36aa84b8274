package conformance

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// falconStream is what goes wrong with the event stream.
var falconStream = []row[*falconEnv]{
	{
		name:     "D1 a feed that breaks is not noticed, and keeps a core busy",
		provoke:  func(e *falconEnv) { e.srv.EndStreams() },
		sdk:      func(e *falconEnv) error { return noticesTheEnd(e, e.sdkStream(), time.Second) },
		jurymast: func(e *falconEnv) error { return noticesTheEnd(e, e.stream(), time.Minute) },
		wall:     "a goroutine that spins stops a bubble's clock",
	},
	streaming("D2 a refusal of the feed is an event", func(e *falconEnv) {
		e.srv.Faults().Add(fails(feedPath, 503, 1, "{\n \"meta\": {},\n \"errors\": [\n  {\"code\": 503}\n ]\n}\n")) // as backends write it
	}, readsOnlyEvents),
	streaming("D2 HTML instead of the feed is errors without end", func(e *falconEnv) {
		e.srv.Faults().Add(fails(feedPath, 502, 1, `<html>bad gateway</html>`, "Content-Type", "text/html"))
	}, saysItOnce),
	streaming("D3 the session of partition 0 is refreshed for those of all others", func(e *falconEnv) {
		e.serve(falcontest.Config{Partitions: 2})
	}, refreshesAll),
	streaming("D4 a session to be refreshed every second panics", func(e *falconEnv) {
		e.serve(falcontest.Config{SessionInterval: time.Second})
	}, opens),
	streaming("D4 an interval of 0 panics", func(e *falconEnv) {
		e.offers(`"refreshActiveSessionInterval": 1800`, `"refreshActiveSessionInterval": 0`)
	}, opens),
	streaming("D4 a session without an interval panics", func(e *falconEnv) {
		e.offers(`"refreshActiveSessionInterval"`, `"renamed"`)
	}, opens),
	{
		name:     "D5 closing a stream whose refresh is under way ends the process",
		provoke:  func(e *falconEnv) { e.Setenv(childHangs, "1") },
		sdk:      func(e *falconEnv) error { return closesSafely(e, "gofalcon") },
		jurymast: func(e *falconEnv) error { return closesSafely(e, "jurymast") },
	},
	streaming("D6 after one malformed line no event comes any more", func(e *falconEnv) {
		e.srv.PublishRaw(0, []byte(`{"metadata":{"offset":2,"eventType":"X"},"event":{`))
	}, readsOn),
	streaming("D7 when nobody reads any more, closing the stream leaves its goroutine", func(e *falconEnv) {
		e.pause = true
	}, leavesNothing),
	streaming("D8 a field of another type loses the event", func(e *falconEnv) { e.drift = true }, losesNothing),
	streaming("D8 a process id above 2^53 is changed", func(e *falconEnv) { e.process = 1<<53 + 1 }, keepsDigits),
	streaming("D9 a feed that sends nothing, not even heartbeats, looks open for ever", func(e *falconEnv) {
		e.srv.Silence(true)
	}, noticesSilence),
	streaming("D10 after one refresh that failed there is none any more", func(e *falconEnv) {
		e.srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: refreshPath, Start: 26 * time.Minute, For: 90 * time.Second})
	}, refreshesAgain),
	{
		name:     "D11 a feed that breaks is not opened again",
		provoke:  func(e *falconEnv) { e.srv.EndStreams() },
		sdk:      func(e *falconEnv) error { return opensAgain(e, e.sdkStream(), time.Second) },
		jurymast: func(e *falconEnv) error { return opensAgain(e, e.stream(), time.Minute) },
		wall:     "a goroutine that spins stops a bubble's clock",
	},
	streaming("D11 the feed is not told who asks", func(e *falconEnv) { e.path = feedPath }, saysWhoAsks),
	{
		name:    "D11 what is put around the client's transport does not see the feed",
		provoke: func(e *falconEnv) { e.path = feedPath },
		sdk: func(e *falconEnv) error {
			var seen tap
			return showsTraffic(e, &seen, e.sdkStream(func(c *gofalcon.ApiConfig) {
				c.TransportDecorator = func(rt http.RoundTripper) http.RoundTripper { return seen.around(rt) }
			}))
		},
		jurymast: func(e *falconEnv) error {
			var seen tap
			return showsTraffic(e, &seen, e.stream(func(c *falcon.Config) {
				c.HTTPClient = &http.Client{Transport: seen.around(e.http.Transport)}
			}))
		},
	},
	streaming("D12 closing a stream closes the idle connections of the whole process", func(e *falconEnv) {
		e.http = &http.Client{} // both clients' default
	}, sparesOthers),
}

// streaming is a row that asks the same of both clients in the same words.
func streaming(name string, provoke func(*falconEnv), ask func(*falconEnv, func() *reading) error) row[*falconEnv] {
	return row[*falconEnv]{
		name: name, provoke: provoke,
		sdk:      func(e *falconEnv) error { return ask(e, func() *reading { return e.sdkStream() }) },
		jurymast: func(e *falconEnv) error { return ask(e, func() *reading { return e.stream() }) },
	}
}

// happens publishes a detection, which some rows have changed, and returns its offset.
func (e *falconEnv) happens(changed ...any) int64 {
	d := e.srv.Detection(firstHost, 70)
	d["ProcessId"] = max(e.process, 42)
	for pair := range slices.Chunk(changed, 2) {
		d[pair[0].(string)] = pair[1]
	}
	return e.srv.Publish(0, "EppDetectionSummaryEvent", d)
}

// asked is how many requests reached paths that begin so.
func (e *falconEnv) asked(prefix string) (n int) {
	for _, r := range e.srv.Requests() {
		if strings.HasPrefix(r.Path, prefix) {
			n++
		}
	}
	return n
}

// noticesTheEnd asks for a word about a feed that is over, or for what happens next.
func noticesTheEnd(e *falconEnv, r *reading, patience time.Duration) error {
	e.happens()
	r.begins()
	e.strike()
	next := e.happens()
	time.Sleep(patience)
	if _, errors, _ := r.soFar(); r.has(next) || len(errors) > 0 {
		return nil
	}
	if r.spins() {
		return wrong("nobody was told, and a goroutine ran without a rest")
	}
	return wrong("nobody was told")
}

// readsOnlyEvents asks that the first event is one that was published.
func readsOnlyEvents(e *falconEnv, open func() *reading) error {
	e.strike()
	e.happens()
	r := open()
	r.begins()
	if events, _, _ := r.soFar(); len(events) == 1 && events[0].kind == "" {
		return wrong("an event without a type, with offset %d", events[0].offset)
	} else if len(events) != 1 {
		return fmt.Errorf("%d events", len(events))
	}
	return nil
}

// saysItOnce asks for few words about one bad answer.
func saysItOnce(e *falconEnv, open func() *reading) error {
	e.strike()
	r := open()
	time.Sleep(time.Minute)
	if _, errors, _ := r.soFar(); len(errors) >= enough {
		return wrong("after %d errors of one answer the reader had enough", enough)
	}
	return nil
}

// readsOn asks for the event that follows.
func readsOn(e *falconEnv, open func() *reading) error {
	e.happens()
	r := open()
	r.begins()
	e.strike()
	next := e.happens()
	time.Sleep(time.Minute)
	if r.has(next) {
		return nil
	}
	if _, errors, _ := r.soFar(); len(errors) >= enough {
		return wrong("the next event did not come, but errors, until after %d the reader had enough", enough)
	}
	return wrong("the next event did not come")
}

// leavesNothing asks that a closed stream is no goroutine any more.
func leavesNothing(e *falconEnv, open func() *reading) error {
	e.strike()
	r := open()
	e.happens()
	r.begins()
	if e.pause {
		r.pause()
	}
	e.happens()
	time.Sleep(time.Second)
	r.close()
	time.Sleep(time.Hour)
	if n := len(r.goroutines()); n > 0 {
		return wrong("an hour after Close %d goroutine was still there", n)
	}
	return nil
}

// drifts are values that Falcon has sent, or might, where others are documented.
var drifts = map[string]any{
	"UTCTimestamp": "1700000000", "Severity": "5", "Tactic": []string{"Execution"},
	"ProcessId": "n/a", "AuditKeyValues": []any{map[string]any{"Key": "k", "ValueString": 7}},
}

func losesNothing(e *falconEnv, open func() *reading) error {
	e.strike()
	for _, field := range slices.Sorted(maps.Keys(drifts)) {
		if e.drift {
			e.happens(field, drifts[field])
		} else {
			e.happens()
		}
	}
	r := open()
	time.Sleep(time.Minute)
	if events, _, _ := r.soFar(); len(events) != len(drifts) {
		return wrong("of %d events %d came, and neither the events nor their offsets were in the errors", len(drifts), len(events))
	}
	return nil
}

func keepsDigits(e *falconEnv, open func() *reading) error {
	e.strike()
	e.happens()
	r := open()
	r.begins()
	events, _, _ := r.soFar()
	if len(events) != 1 {
		return fmt.Errorf("%d events", len(events))
	}
	if want := fmt.Sprint(max(e.process, 42)); events[0].process != want {
		return wrong("%s became %s", want, events[0].process)
	}
	return nil
}

// noticesSilence asks that a reader who hears nothing says so or looks again.
func noticesSilence(e *falconEnv, open func() *reading) error {
	e.happens()
	r := open()
	r.begins()
	e.strike()
	next := e.happens()
	time.Sleep(time.Hour)
	if _, errors, _ := r.soFar(); r.has(next) || len(errors) > 0 || e.asked(feedPath) > 1 {
		return nil
	}
	return wrong("for an hour there was neither the event that had happened nor an error")
}

// opensAgain asks for what happened after the feed had broken.
func opensAgain(e *falconEnv, r *reading, patience time.Duration) error {
	e.happens()
	r.begins()
	e.strike()
	next := e.happens()
	time.Sleep(patience)
	if !r.has(next) {
		return wrong("after %d connection to the feed there was no other, and what happened later did not come", e.asked(feedPath))
	}
	return nil
}

// saysWhoAsks looks at the User-Agent of the requests to e.path.
func saysWhoAsks(e *falconEnv, open func() *reading) error {
	e.happens()
	open().begins()
	e.path = "/sensors/entities/datafeed/v2"
	e.strike()
	for _, r := range e.srv.Requests() {
		if agent, _, _ := strings.Cut(r.Header.Get("User-Agent"), "/"); strings.HasPrefix(r.Path, e.path) && agent == "Go-http-client" {
			return wrong("the User-Agent is %s", agent)
		}
	}
	return nil
}

// tap counts the requests through a transport, by path.
type tap struct {
	http.RoundTripper
	mu   sync.Mutex
	seen []string
}

func (t *tap) around(rt http.RoundTripper) http.RoundTripper {
	t.RoundTripper = rt
	return t
}

func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.seen = append(t.seen, r.URL.Path)
	t.mu.Unlock()
	return t.RoundTripper.RoundTrip(r)
}

func showsTraffic(e *falconEnv, seen *tap, r *reading) error {
	e.happens()
	r.begins()
	e.path = "/sensors/entities/datafeed/v2"
	e.strike()
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if !slices.ContainsFunc(seen.seen, func(path string) bool { return strings.HasPrefix(path, e.path) }) {
		return wrong("TransportDecorator is not shown the request for the feed")
	}
	return nil
}

// shared is a transport that others use as well.
type shared struct {
	http.RoundTripper
	closed atomic.Int32
}

func (s *shared) CloseIdleConnections() { s.closed.Add(1) }

func sparesOthers(e *falconEnv, open func() *reading) error {
	others := &shared{RoundTripper: e.http.Transport}
	defer swapDefaultTransport(others)()
	e.strike()
	e.happens()
	r := open()
	r.begins()
	r.close()
	if others.closed.Load() > 0 {
		return wrong("http.DefaultTransport.CloseIdleConnections was called")
	}
	return nil
}
