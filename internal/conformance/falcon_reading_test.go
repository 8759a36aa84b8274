package conformance

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"
	"github.com/crowdstrike/gofalcon/falcon/client/event_streams"

	"github.com/jurymast/jurymast/falcon"
)

const (
	feedPath    = "/sensors/entities/datafeed/v1/"
	refreshPath = "/sensors/entities/datafeed-actions/v1/"
)

// reading is the event stream being read, by whichever client. Its consumer takes
// what comes, until it is paused or has had enough.
type reading struct {
	pkg   string // of the client, as stacks name it
	close func() // the documented way to end it

	mu     sync.Mutex
	events []received
	errors []error
	news   chan struct{} // closed, and replaced, when something comes

	pause func() // the consumer stops, and says no word
	still <-chan struct{}
}

// received is what a consumer sees of an event, beside its raw text.
type received struct {
	kind, process string
	offset        int64
}

// enough is after how many errors a consumer stops to read.
const enough = 1000

func newReading(pkg string) *reading {
	still, pause := context.WithCancel(context.Background())
	return &reading{pkg: pkg, news: make(chan struct{}), pause: pause, still: still.Done()}
}

func (r *reading) add(ev received) { r.note(func() { r.events = append(r.events, ev) }) }

func (r *reading) say(err error) {
	r.note(func() {
		if r.errors = append(r.errors, err); len(r.errors) == enough {
			r.pause()
		}
	})
}

func (r *reading) note(what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what()
	close(r.news)
	r.news = make(chan struct{})
}

func (r *reading) soFar() (events []received, errors []error, news <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events, r.errors, r.news
}

// has reports whether the event with the offset has come.
func (r *reading) has(offset int64) bool {
	events, _, _ := r.soFar()
	for _, ev := range events {
		if ev.offset == offset {
			return true
		}
	}
	return false
}

// begins waits for the first event, or error, for no longer than a minute. It
// waits for nothing else: a client that spins stops a bubble's clock.
func (r *reading) begins() {
	if events, errors, news := r.soFar(); len(events)+len(errors) == 0 {
		select {
		case <-news:
		case <-time.After(time.Minute):
		}
	}
}

// goroutines are the stacks of the client's goroutines, with their states.
func (r *reading) goroutines() (out []string) {
	buf := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, r.pkg) {
			out = append(out, stack)
		}
	}
	return out
}

// spins reports whether a goroutine of the client never rested for a second.
func (r *reading) spins() bool {
	for range 20 {
		time.Sleep(50 * time.Millisecond)
		busy := false
		for _, stack := range r.goroutines() {
			state, _, _ := strings.Cut(stack, "\n")
			busy = busy || strings.Contains(state, "[run") // running or runnable
		}
		if !busy {
			return false
		}
	}
	return true
}

// appID is another one for each reader: one that is in use gets nothing.
func (e *falconEnv) appID() string { return fmt.Sprintf("conformance-%d", e.readers.Add(1)) }

// sdkStream reads every partition as gofalcon's documentation and example do, but
// at the same time. NewStream is NewStreamWithClient with an empty http.Client,
// which reaches no simulated cloud.
func (e *falconEnv) sdkStream(change ...func(*gofalcon.ApiConfig)) *reading {
	r, c := newReading("github.com/crowdstrike/gofalcon/falcon."), e.sdk(change...)
	p := event_streams.NewListAvailableStreamsOAuth2ParamsWithContext(e.Context())
	p.AppID = e.appID()
	offer, err := c.EventStreams.ListAvailableStreamsOAuth2(p)
	if err != nil {
		e.Fatal(err)
	}
	var handles []*gofalcon.StreamingHandle
	r.close = func() {
		for _, h := range handles {
			h.Close()
		}
	}
	drain := make(chan struct{})
	var consumers sync.WaitGroup
	e.Cleanup(func() {
		close(drain)
		r.close()
		consumers.Wait()
	})
	for _, s := range offer.Payload.Resources {
		h, err := gofalcon.NewStreamWithClient(e.Context(), c, p.AppID, s, 0, e.http)
		if err != nil {
			r.say(err)
			continue
		}
		handles = append(handles, h)
		consumers.Go(func() { r.consume(h, drain) })
	}
	return r
}

// consume reads a handle until both channels are closed. Drained, the goroutines
// of a consumer that had stopped come to their end after all.
func (r *reading) consume(h *gofalcon.StreamingHandle, drain <-chan struct{}) {
	still := r.still
	for {
		select {
		case ev, ok := <-h.Events:
			if !ok {
				return
			}
			heard := received{kind: ev.Metadata.EventType, offset: int64(ev.Metadata.Offset)}
			if ev.Event.ProcessId != nil {
				heard.process = fmt.Sprint(uint64(*ev.Event.ProcessId))
			}
			r.add(heard)
		case err, ok := <-h.Errors:
			if !ok {
				return
			}
			r.say(err)
		case <-still:
			<-drain
			still = nil
		}
	}
}

// stream reads every partition through Jurymast.
func (e *falconEnv) stream(change ...func(*falcon.Config)) *reading {
	r, c := newReading("github.com/jurymast/jurymast/falcon."), e.jurymast(change...)
	ctx, cancel := context.WithCancel(e.Context())
	cfg := falcon.StreamConfig{AppID: e.appID(), Handle: r.handle}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.Stream.Run(ctx, cfg); ctx.Err() == nil {
			r.say(err)
		}
	}()
	r.close = func() {
		cancel()
		<-ended
	}
	e.Cleanup(r.close)
	return r
}

func (r *reading) handle(ctx context.Context, events []falcon.Event) error {
	for _, ev := range events {
		if ev.Err != nil {
			r.say(ev.Err)
			continue
		}
		d, _ := ev.Detection()
		r.add(received{kind: ev.Type, offset: ev.Offset, process: d.ProcessID})
	}
	select {
	case <-r.still:
		<-ctx.Done()
	default:
	}
	return ctx.Err()
}
