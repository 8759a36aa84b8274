package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Falcon's paths, of discovery, refresh and the feeds (facts/falcon.md 2.5).
const (
	discoverPath = "/sensors/entities/datafeed/v2"
	refreshPath  = "/sensors/entities/datafeed-actions/v1/"
	feedPath     = "/sensors/entities/datafeed/v1/"
	falconToken  = "falcon-bearer"
)

const (
	block     = 64 << 10               // bytes of lines that are written at once
	tick      = 10 * time.Millisecond  // how often a paced feed looks what has happened
	heartbeat = 500 * time.Millisecond // more often than Falcon's, so that a run is soon over
)

// source tells the events, as Falcon does over HTTP, or pushed as lines over TCP to
// those who have no Falcon client. It is safe for concurrent use.
type source struct {
	ev     *events
	rate   float64        // events a second of all partitions; 0: as fast as they are taken
	totals []atomic.Int64 // of each partition, how many events there will ever be
	sent   []atomic.Int64 // of each partition, the first that nobody was sent

	mu      sync.Mutex
	issued  int
	offers  map[string]offer // by session token
	open    map[string]int   // feeds, by appId
	readers int
	began   time.Time    // when the first event could happen: all partitions were read
	first   atomic.Int64 // when the first event was sent, Unix ns
}

// offer is a session that discovery made.
type offer struct {
	appID     string
	partition int
}

func newSource(ev *events, total int, rate float64) *source {
	n := len(ev.created)
	s := &source{
		ev: ev, rate: rate, totals: make([]atomic.Int64, n), sent: make([]atomic.Int64, n),
		offers: map[string]offer{}, open: map[string]int{},
	}
	for p := range n {
		s.totals[p].Store(int64((total + n - 1 - p) / n))
	}
	return s
}

// total is how many events there will ever be.
func (s *source) total() (n int) {
	for p := range s.totals {
		n += int(max(s.totals[p].Load(), s.sent[p].Load()))
	}
	return n
}

// told is how many events somebody was sent.
func (s *source) told() (n int) {
	for p := range s.sent {
		n += int(s.sent[p].Load())
	}
	return n
}

// end lets no event happen that nobody was sent yet. One more block of each partition
// may be on its way.
func (s *source) end() {
	for p := range s.totals {
		s.totals[p].Store(s.sent[p].Load())
	}
}

// enter counts a reader; the clock of a paced source begins with the last of the first.
func (s *source) enter(name string) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[name]++
	if s.readers++; s.readers >= len(s.totals) && s.began.IsZero() {
		s.began = time.Now()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open[name]--
		s.readers--
	}
}

// happened is how many events of a partition there are by now.
func (s *source) happened(partition int, now time.Time) int {
	total := int(s.totals[partition].Load())
	if s.rate == 0 {
		return total
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		return 0
	}
	return min(total, int(now.Sub(s.began).Seconds()*s.rate/float64(len(s.totals))))
}

// when says at what time an event of a paced source was created; of one that is as
// fast as its reader, that is when it is sent.
func (s *source) when(i int, now time.Time) time.Time {
	if s.rate == 0 {
		return now
	}
	return s.began.Add(time.Duration(float64(i) * float64(len(s.totals)) / s.rate * float64(time.Second)))
}

// fill appends lines from an event on, up to a block, and returns the next one.
func (s *source) fill(buf []byte, partition, from int) ([]byte, int) {
	now := time.Now()
	next, end := from, s.happened(partition, now)
	for ; next < end && len(buf) < block; next++ {
		s.ev.happen(partition, next, s.when(next, now))
		buf = s.ev.append(buf, partition, next)
	}
	if next > from {
		s.first.CompareAndSwap(0, now.UnixNano())
	}
	return buf, next
}

// mark notes that a partition's events before next were sent.
func (s *source) mark(partition, next int) {
	for {
		old := s.sent[partition].Load()
		if int64(next) <= old || s.sent[partition].CompareAndSwap(old, int64(next)) {
			return
		}
	}
}

// tell writes a partition from an event on, with heartbeats, until ctx or write ends.
// It returns the event of the block that could not be written.
func (s *source) tell(ctx context.Context, partition, from int, write func(lines []byte, more bool) error) (int, error) {
	buf := make([]byte, 0, block+4<<10)
	wait := time.NewTicker(tick)
	defer wait.Stop()
	quiet := time.Now()
	for {
		lines, next := s.fill(buf[:0], partition, from)
		if next == from {
			if time.Since(quiet) < heartbeat {
				select {
				case <-ctx.Done():
					return from, ctx.Err()
				case <-wait.C:
				}
				continue
			}
			lines = append(lines, '\n')
		}
		// Before the write: a reader must never have what counts as not sent.
		s.mark(partition, next)
		if err := write(lines, len(lines) >= block); err != nil {
			return from, err
		}
		from, quiet = next, time.Now()
	}
}

// push writes each partition over a connection of its own to a TCP listener, until
// ctx ends. What a broken connection swallowed nobody can know: it goes on with the
// block that could not be written.
func (s *source) push(ctx context.Context, addr string) {
	var all sync.WaitGroup
	defer all.Wait()
	for p := range s.totals {
		all.Go(func() {
			from := 0
			for ctx.Err() == nil {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				if err != nil {
					time.Sleep(5 * tick)
					continue
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				leave := s.enter("push")
				from, _ = s.tell(ctx, p, from, func(lines []byte, _ bool) error {
					if len(lines) == 1 {
						return nil // an empty line would be an event there
					}
					_, err := conn.Write(lines)
					return err
				})
				leave()
				stop()
				_ = conn.Close()
			}
		})
	}
}

// handler is Falcon: the API's host and the feeds' are one.
func (s *source) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusCreated, map[string]any{"access_token": falconToken, "expires_in": 1799, "token_type": "bearer"})
	})
	mux.HandleFunc("GET "+discoverPath, s.discover)
	mux.HandleFunc("POST "+refreshPath+"{partition}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/json" || !bearer(r, falconToken) {
			writeJSON(w, http.StatusUnauthorized, falconAnswer(http.StatusUnauthorized, nil))
			return
		}
		writeJSON(w, http.StatusOK, falconAnswer(http.StatusOK, nil))
	})
	mux.HandleFunc("GET "+feedPath+"{partition}", s.feed)
	return mux
}

// discover offers each partition, or none while somebody reads under the name.
func (s *source) discover(w http.ResponseWriter, r *http.Request) {
	if !bearer(r, falconToken) {
		writeJSON(w, http.StatusUnauthorized, falconAnswer(http.StatusUnauthorized, nil))
		return
	}
	appID, base := r.URL.Query().Get("appId"), "https://"+r.Host
	s.mu.Lock()
	defer s.mu.Unlock()
	sessions := []any{}
	for p := 0; p < len(s.totals) && s.open[appID] == 0; p++ {
		s.issued++
		token := fmt.Sprintf("session-%d", s.issued)
		s.offers[token] = offer{appID, p}
		sessions = append(sessions, map[string]any{
			"dataFeedURL":                  fmt.Sprintf("%s%s%d?appId=%s", base, feedPath, p, appID),
			"sessionToken":                 map[string]string{"token": token, "expiration": time.Now().Add(4 * time.Hour).UTC().Format(time.RFC3339Nano)},
			"refreshActiveSessionURL":      fmt.Sprintf("%s%s%d?appId=%s&action_name=refresh_active_stream_session", base, refreshPath, p, appID),
			"refreshActiveSessionInterval": 1800,
		})
	}
	writeJSON(w, http.StatusOK, falconAnswer(http.StatusOK, sessions))
}

func (s *source) feed(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Token ")
	s.mu.Lock()
	o, ok := s.offers[token]
	s.mu.Unlock()
	if !ok || strconv.Itoa(o.partition) != r.PathValue("partition") {
		writeJSON(w, http.StatusUnauthorized, falconAnswer(http.StatusUnauthorized, nil))
		return
	}
	from := 0
	if q := r.URL.Query(); q.Get("whence") == "2" {
		from = int(s.sent[o.partition].Load())
		if s.rate > 0 { // what happened meanwhile is not new any more
			from = max(from, s.happened(o.partition, time.Now()))
		}
	} else if offset, err := strconv.ParseInt(q.Get("offset"), 10, 64); err == nil {
		from = max(0, int(offset-offsetOf(o.partition, 0))) // inclusive
	}
	defer s.enter(o.appID)()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	_, _ = s.tell(r.Context(), o.partition, from, func(lines []byte, more bool) error {
		_, err := w.Write(lines)
		if err == nil && !more {
			err = rc.Flush()
		}
		return err
	})
}

func bearer(r *http.Request, token string) bool {
	return r.Header.Get("Authorization") == "Bearer "+token
}

func falconAnswer(status int, resources []any) any {
	errors := []any{}
	if status >= 400 {
		errors = append(errors, map[string]any{"code": status, "message": "access denied"})
	}
	return map[string]any{"meta": map[string]any{"query_time": 0.001, "trace_id": "bench"}, "resources": resources, "errors": errors}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
