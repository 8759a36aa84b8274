package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// offers changes what the discovery says.
func (e *falconEnv) offers(was, is string) {
	e.outside.change = func(r *http.Response) {
		if r.Request.URL.Path != "/sensors/entities/datafeed/v2" {
			return
		}
		text, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(text, []byte(was)) {
			e.Errorf("the discovery says %s (%v)", text, err)
		}
		text = bytes.ReplaceAll(text, []byte(was), []byte(is))
		r.ContentLength = int64(len(text))
		r.Body = io.NopCloser(bytes.NewReader(text))
	}
}

// refreshesAll asks that no session is let go.
func refreshesAll(e *falconEnv, open func() *reading) error {
	e.strike()
	open()
	time.Sleep(29 * time.Minute)
	for p := range e.asked(feedPath) {
		if path := fmt.Sprint(refreshPath, p); e.asked(path) == 0 {
			return wrong("in 29 minutes the session of partition %d was refreshed %d times, that of partition 0 %d times",
				p, e.asked(path), e.asked(refreshPath+"0"))
		}
	}
	return nil
}

// opens asks for an event, however the session was described.
func opens(e *falconEnv, open func() *reading) error {
	e.strike()
	offset := e.happens()
	var r *reading
	if v := panicked(func() { r = open() }); v != nil {
		return wrong("panic: %v", v)
	}
	r.begins()
	if !r.has(offset) {
		return wrong("no event came")
	}
	return nil
}

const (
	childClient = "CONFORMANCE_CLIENT" // whose stream TestStreamIsClosed closes
	childHangs  = "CONFORMANCE_HANGS"  // set: while its refresh is under way
)

// closesSafely closes a stream in a process of its own.
func closesSafely(e *falconEnv, client string) error {
	e.strike()
	e.Setenv(childClient, client)
	out, err := exec.Command(os.Args[0], "-test.run=^TestStreamIsClosed$", "-test.timeout=2m").CombinedOutput()
	if _, what, ok := strings.Cut(string(out), "panic: "); ok {
		what, _, _ = strings.Cut(what, "\n")
		return wrong("panic: %s", what)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// The refresh needs a new token, and gofalcon does not give up a token request that
// is under way (A1): the refresh fails when the stream has been closed.
func TestStreamIsClosed(t *testing.T) {
	client, hangs := os.Getenv(childClient), os.Getenv(childHangs) != ""
	if client == "" {
		t.Skip("this is for D5 to run, in another process")
	}
	synctest.Test(t, func(t *testing.T) {
		e := openFalcon(t, func(*falconEnv) {})
		e.serve(falcontest.Config{SessionInterval: 10 * time.Second, TokenLife: 15 * time.Second})
		if hangs {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Latency, Path: tokenPath, Delay: 2 * time.Second})
			e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: refreshPath})
		}
		var r *reading
		if client == "gofalcon" {
			r = e.sdkStream()
		} else {
			r = e.stream()
			time.Sleep(2 * time.Second) // until it has its first token
		}
		time.Sleep(9500 * time.Millisecond)
		r.close()
		time.Sleep(time.Minute)
	})
}

// refreshesAgain asks for another attempt while the session lasts.
func refreshesAgain(e *falconEnv, open func() *reading) error {
	r := open()
	e.strike()
	time.Sleep(29 * time.Minute)
	next := e.happens()
	time.Sleep(time.Second)
	ok := slices.ContainsFunc(e.srv.Requests(), func(r falcontest.Request) bool {
		return strings.HasPrefix(r.Path, refreshPath) && r.Status == http.StatusOK
	})
	if !ok {
		return wrong("in the 2 minutes after a 503 there was no other attempt, events still coming: %v", r.has(next))
	}
	return nil
}
