package sim

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/jurymast/jurymast/resilience/fault"
)

// maxBody bounds what a request may send.
const maxBody = 64 << 20

// Request is one request as the server saw it.
type Request struct {
	Time   time.Time
	Method string
	Host   string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	Status int        // what was answered; 0 if nothing was, or not yet
	Fault  fault.Kind // what the plan did to it
}

type recorder struct {
	mu       sync.Mutex
	requests []*Request
	serving  gate
}

// gate counts what is under way and, once closed, lets nothing new begin. (A
// bare WaitGroup must not be added to while somebody waits for it.)
type gate struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Add(1)
	return true
}

func (g *gate) leave() { g.wg.Done() }

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

func (rec *recorder) wrap(now func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rec.serving.enter() {
			return
		}
		defer rec.serving.leave()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			return // the client gave up in the middle, or sent too much
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		entry := &Request{
			Time: now(), Method: r.Method, Host: r.Host, Path: r.URL.Path,
			Query: r.URL.Query(), Header: r.Header.Clone(), Body: body,
		}
		rec.mu.Lock()
		rec.requests = append(rec.requests, entry)
		rec.mu.Unlock()
		set := func(change func()) {
			rec.mu.Lock()
			defer rec.mu.Unlock()
			change()
		}
		ctx := fault.Watch(r.Context(), func(k fault.Kind) { set(func() { entry.Fault = k }) })
		next.ServeHTTP(&statusWriter{ResponseWriter: w, wrote: func(code int) { set(func() { entry.Status = code }) }}, r.WithContext(ctx))
	})
}

func (rec *recorder) all() []Request {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	out := make([]Request, len(rec.requests))
	for i, r := range rec.requests {
		out[i] = *r
	}
	return out
}

func (rec *recorder) reset() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.requests = nil
}

// statusWriter reports the status before it is sent and lets Flush and Hijack
// through.
type statusWriter struct {
	http.ResponseWriter
	wrote func(code int)
	done  bool
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(code int) {
	if !w.done {
		w.done = true
		w.wrote(code)
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}
