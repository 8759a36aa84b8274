package falcontest

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Where the event streams are: discovery and refresh on the API host, the feeds
// on the firehose host.
const (
	discoverPath = "/sensors/entities/datafeed/v2"
	refreshPath  = "/sensors/entities/datafeed-actions/v1/"
	feedPath     = "/sensors/entities/datafeed/v1/"

	refreshAction = "refresh_active_stream_session"
	maxAppID      = 32
)

// streams is the partitions, who may read them and who does.
type streams struct {
	interval, tokenLife, retention time.Duration
	cid                            string

	mu         sync.Mutex
	partitions []partition
	sessions   map[string]*session // by session token
	issued     int
	detections int
	silent     bool
	changed    chan struct{} // closed, and replaced, when a feed has to look again
}

// session is the right of one appId to read one partition. Discovery offers it
// and the first feed begins it: that discovery alone leaves the appId free is
// assumed. Once begun it outlives its connections until it is no longer
// refreshed, and for so long the appId is taken (gofalcon #363).
type session struct {
	appID     string
	partition int
	token     string
	expires   time.Time // no feed is opened with the token from then on
	begun     bool
	deadline  time.Time // of the next refresh
	gone      bool      // offered, and replaced by a later offer
	feed      *feed     // nil: not connected
}

// alive reports whether the session can be refreshed. That it is over once
// nobody is connected and its token opens nothing any more is assumed.
func (s *session) alive(now time.Time) bool {
	return s.begun && now.Before(s.deadline) && (s.feed != nil || now.Before(s.expires))
}

func (s *session) inUse(now time.Time) bool { return s.feed != nil || s.alive(now) }

func (s *streams) init(cfg Config) {
	s.interval, s.tokenLife, s.retention = cfg.SessionInterval, cfg.SessionTokenLife, cfg.EventRetention
	s.cid = cfg.CID
	s.partitions = make([]partition, cfg.Partitions)
	for i := range s.partitions {
		s.partitions[i].first = 1
	}
	s.sessions = map[string]*session{}
	s.changed = make(chan struct{})
}

func (cfg *Config) setStreamDefaults() error {
	orDefault(&cfg.Partitions, 1)
	orDefault(&cfg.Heartbeat, 30*time.Second)
	orDefault(&cfg.SessionInterval, 1800*time.Second)
	orDefault(&cfg.SessionTokenLife, 4*time.Hour)
	orDefault(&cfg.EventRetention, 7*24*time.Hour)
	if cfg.Partitions < 0 || cfg.Heartbeat < 0 || cfg.SessionInterval < 0 || cfg.SessionTokenLife < 0 || cfg.EventRetention < 0 {
		return errors.New("falcontest: a negative Partitions, Heartbeat, SessionInterval, SessionTokenLife or EventRetention")
	}
	return nil
}

// discoverStreams lists one stream per partition. While the appId is in use the
// list is empty and the status still 200, which a client must not take for "no
// streams". What flatjson looks like is not known: it is accepted, and the feed
// is nested JSON all the same.
func (c *cloud) discoverStreams(q *call) {
	params := q.r.URL.Query()
	appID := params.Get("appId")
	if !goodAppID(appID) {
		q.fail(http.StatusBadRequest, "", fmt.Sprintf("appId must have 1 to %d letters, digits, - or _", maxAppID))
		return
	}
	if f := params.Get("format"); f != "" && f != "json" && f != "flatjson" {
		q.fail(http.StatusBadRequest, "", "format must be json or flatjson")
		return
	}
	resources := []object{}
	for _, s := range c.streams.offer(appID, q.now) {
		partition := strconv.Itoa(s.partition)
		resources = append(resources, object{
			{"dataFeedURL", "https://" + feedHost(c.cfg.Cloud) + feedPath + partition + "?appId=" + url.QueryEscape(appID)},
			{"sessionToken", object{{"token", s.token}, {"expiration", s.expires.UTC().Format(time.RFC3339Nano)}}},
			{"refreshActiveSessionURL", "https://" + apiHosts[c.cfg.Cloud] + refreshPath + partition +
				"?appId=" + url.QueryEscape(appID) + "&action_name=" + refreshAction},
			{"refreshActiveSessionInterval", int(c.cfg.SessionInterval / time.Second)},
		})
	}
	q.send(http.StatusOK, envelope{q.meta(q.by), resources, []apiError{}})
}

// The specification says alphanumeric; shipped clients also use - and _.
func goodAppID(s string) bool {
	return s != "" && len(s) <= maxAppID && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}

// offer makes a session for every partition, or none while the appId is in use
// in any of them. It replaces offers that nobody took up; assumed, like its
// consequence that of two clients which discover at once only the later one can
// open its feeds.
func (s *streams) offer(appID string, now time.Time) []session {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.sessions, func(_ string, ses *session) bool {
		return ses.feed == nil && !now.Before(ses.expires)
	})
	for _, ses := range s.sessions {
		if ses.appID == appID && ses.inUse(now) {
			return nil
		}
	}
	for _, ses := range s.sessions {
		ses.gone = ses.gone || ses.appID == appID
	}
	out := make([]session, len(s.partitions))
	for i := range out {
		s.issued++
		sum := sha256.Sum256(fmt.Appendf(nil, "session %d of %s", s.issued, s.cid))
		ses := &session{
			appID: appID, partition: i,
			token: base64.StdEncoding.EncodeToString(sum[:]), expires: now.Add(s.tokenLife),
		}
		s.sessions[ses.token] = ses
		out[i] = *ses
	}
	return out
}

// refreshSession gives a session another interval. The status for a wrong
// Content-Type is assumed; that an empty one is refused is not.
func (c *cloud) refreshSession(q *call) {
	params := q.r.URL.Query()
	contentType, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	switch {
	case contentType != "application/json":
		q.fail(http.StatusUnsupportedMediaType, "", "Content-Type must be application/json")
	case params.Get("action_name") != refreshAction:
		q.fail(http.StatusBadRequest, "", fmt.Sprintf("invalid action_name %q", params.Get("action_name")))
	case !goodAppID(params.Get("appId")):
		q.fail(http.StatusBadRequest, "", "appId is required")
	case !c.streams.refresh(params.Get("appId"), q.parts[0], q.now):
		q.fail(http.StatusNotFound, "", "no active session")
	default:
		q.send(http.StatusOK, refusal{q.meta(q.by), []apiError{}})
	}
}

func (s *streams) refresh(appID, partition string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ses := range s.sessions {
		if ses.appID == appID && strconv.Itoa(ses.partition) == partition && ses.alive(now) {
			ses.deadline = now.Add(s.interval)
			s.wake()
			return true
		}
	}
	return false
}

// wake makes every feed look again. The caller holds the lock.
func (s *streams) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// EndStreams cuts every open feed, as a broken network does: the client's read
// fails. The sessions go on, so their appIds stay in use and their feeds can be
// opened again with the same session token. It does not wait for the feeds.
func (s *Server) EndStreams() {
	st := &s.cloud.streams
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, ses := range st.sessions {
		ses.feed = nil
	}
	st.wake()
}

// ExpireSessions makes every session token issued so far answer 401 from now
// on, as if SessionTokenLife had passed. Open feeds go on and can be refreshed;
// a session without one is over, and its appId free.
func (s *Server) ExpireSessions() {
	st := &s.cloud.streams
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, ses := range st.sessions {
		ses.expires = time.Time{}
	}
}

// Silence keeps every feed open, even when its session ends, but sends nothing on
// it, not even heartbeats, until Silence is called with false. A feed opened
// meanwhile is answered with its headers alone. What was being written at the
// moment of the call is still sent.
func (s *Server) Silence(on bool) {
	st := &s.cloud.streams
	st.mu.Lock()
	defer st.mu.Unlock()
	st.silent = on
	st.wake()
}
