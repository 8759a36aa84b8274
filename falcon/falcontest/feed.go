package falcontest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// feed is one connection that reads a partition.
type feed struct {
	session *session
	asked   int64 // the offset parameter; -1: none
	newest  bool  // whence=2
	types   []string
	source  string

	cursor int64 // the first offset not yet looked at
}

// serveFeed answers the firehose host. Its refusals are JSON over several lines,
// which a client that reads them as events must not survive.
func (c *cloud) serveFeed(q *call) {
	partition, ok := strings.CutPrefix(q.r.URL.Path, feedPath)
	if !ok || q.r.Method != http.MethodGet || bareHost(q.r.Host) != feedHost(c.cfg.Cloud) {
		q.fail(http.StatusNotFound, byGateway, "404: Page Not Found")
		return
	}
	f, ok := parseFeed(q)
	if !ok {
		q.fail(http.StatusBadRequest, "", "invalid offset")
		return
	}
	scheme, token, _ := strings.Cut(q.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Token") {
		token = ""
	}
	switch c.streams.open(f, token, q.r.URL.Query().Get("appId"), partition, q.now) {
	case http.StatusUnauthorized:
		q.fail(http.StatusUnauthorized, "", "access denied, invalid session token")
	case http.StatusNotFound:
		q.fail(http.StatusNotFound, "", "no such session")
	default:
		c.audit(f, "streamStarted")
		defer func() {
			c.streams.leave(f)
			c.audit(f, "streamStopped")
		}()
		c.run(q, f)
	}
}

// parseFeed reads the parameters. Assumed: without offset and whence a feed
// begins with the oldest event there is, -1 stands for no offset (the audit
// events say so), and a whence other than 2 is ignored.
func parseFeed(q *call) (*feed, bool) {
	params := q.r.URL.Query()
	f := &feed{asked: -1, newest: params.Get("whence") == "2", source: q.source()}
	if s := params.Get("offset"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < -1 {
			return nil, false
		}
		f.asked = n
	}
	// Names are compared as they are: "EPPDetectionSummaryEvent" matches nothing.
	if s := params.Get("eventType"); s != "" {
		f.types = strings.Split(s, ",")
	}
	return f, true
}

// open begins or resumes the session of a token. Assumed: a second connection
// takes over from the first, which is cut, and resuming does not put off the
// next refresh.
func (s *streams) open(f *feed, token, appID, partition string, now time.Time) (status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses, ok := s.sessions[token]
	switch {
	case !ok || !now.Before(ses.expires):
		return http.StatusUnauthorized
	case ses.appID != appID || strconv.Itoa(ses.partition) != partition || ses.gone || (ses.begun && !ses.alive(now)):
		return http.StatusNotFound
	}
	if !ses.begun {
		ses.begun, ses.deadline = true, now.Add(s.interval)
	}
	f.session, f.cursor, ses.feed = ses, f.asked, f
	if f.newest {
		f.cursor = s.partitions[ses.partition].next()
	}
	s.wake() // whoever was connected before
	return http.StatusOK
}

func (s *streams) leave(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.session.feed == f {
		f.session.feed = nil
	}
}

// step is what a feed has to do next.
type step struct {
	line    []byte // send this, unless nil
	cut     bool   // break the connection
	over    bool   // end in good order
	silent  bool
	left    time.Duration   // until the session ends
	changed <-chan struct{} // closed when there may be something else to do
}

func (s *streams) next(f *feed, now time.Time) step {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := step{changed: s.changed, left: f.session.deadline.Sub(now)}
	switch {
	case f.session.feed != f:
		out.cut = true
	case s.silent:
		out.silent, out.left = true, s.interval
	case out.left <= 0:
		out.over = true
	default:
		p := &s.partitions[f.session.partition]
		p.forget(now.Add(-s.retention))
		out.line, f.cursor = p.read(f.cursor, f.types)
	}
	return out
}

// run feeds until the session ends, the client leaves or the server closes. The
// timers only wake it up; whether a session is over the cloud's clock says. That
// a heartbeat is due after so long without a line, and not at a fixed pace, is
// assumed.
func (c *cloud) run(q *call, f *feed) {
	q.w.Header().Set("Content-Type", "application/json")
	q.w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(q.w)
	// A fault that holds the answer back to lose it, or half of it, would wait for
	// ever: it gets what is there now.
	held := errors.Is(rc.Flush(), http.ErrNotSupported)
	send := func(line []byte) bool {
		if _, err := q.w.Write(line); err != nil {
			return false
		}
		return held || rc.Flush() == nil
	}
	beat := time.NewTimer(c.cfg.Heartbeat)
	defer beat.Stop()
	lease := time.NewTimer(c.cfg.SessionInterval)
	defer lease.Stop()
	for {
		now := c.streams.next(f, c.cfg.Now())
		switch {
		case now.cut:
			panic(http.ErrAbortHandler)
		case now.over:
			return
		case now.line != nil:
			if !send(now.line) {
				return
			}
			beat.Reset(c.cfg.Heartbeat)
			continue
		case held:
			return
		}
		lease.Reset(max(now.left, time.Millisecond))
		select {
		case <-q.r.Context().Done():
			return
		case <-now.changed:
		case <-lease.C:
		case <-beat.C:
			if !now.silent && !send([]byte("\n")) {
				return
			}
			beat.Reset(c.cfg.Heartbeat)
		}
	}
}
