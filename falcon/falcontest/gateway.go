package falcontest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

// cloud is everything behind the listener.
type cloud struct {
	cfg     Config
	tokens  tokens
	fleet   fleet
	groups  hostGroups
	alerts  alerts
	intel   *intel
	iocs    iocs
	cases   caseFiles
	scrolls scrolls
	streams streams
	rtr     rtr
	traces  atomic.Uint64

	searches              searches
	connectors            connectors
	content, sensorUpdate policies
	releases              releases

	requests, tokenRequests, badTokens sim.Window
}

func newCloud(cfg Config) *cloud {
	c := &cloud{cfg: cfg}
	c.tokens.live = map[string]token{}
	c.fleet = fleet{now: cfg.Now, actionTime: cfg.ActionTime, cid: cfg.CID, hosts: map[string]*device{}}
	c.scrolls.open = map[string]*scroll{}
	c.streams.init(cfg)
	c.rtr.init()
	c.groups.byID = map[string]HostGroup{}
	c.alerts.byID = map[string]*Alert{}
	c.connectors.keys = map[string]string{}
	c.content.kind, c.sensorUpdate.kind = "content-update", "sensor-update"
	c.fleet.assigned = map[string]*policies{"content-update": &c.content, "sensor-update": &c.sensorUpdate}
	c.releases.byCategory = map[string][]release{}
	c.iocs.byID = map[string]*IOC{}
	c.cases.byID = map[string]*Case{}
	c.requests = sim.Window{Limit: cfg.Quota, Per: time.Minute}
	c.tokenRequests = sim.Window{Limit: cfg.TokenQuota, Per: time.Minute}
	c.badTokens = sim.Window{Limit: cfg.BadTokenQuota, Per: time.Minute}
	return c
}

// call is one request on its way through the gateway.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	now   time.Time
	trace string
	token token
	parts []string // of the path, where the operation has braces
	by    string   // the backend that answers
}

// source is the address quotas of callers without a token are kept by.
func (q *call) source() string { return bareHost(q.r.RemoteAddr) }

// serve is the whole way of a request: region, token endpoints, quota, token,
// path, scope, operation.
func (c *cloud) serve(w http.ResponseWriter, r *http.Request) {
	q := &call{w: w, r: r, now: c.cfg.Now(), trace: c.nextTrace()}
	q.gatewayHeaders(c.cfg.Cloud)
	host := bareHost(r.Host)
	switch region, api := regions[host]; {
	case api && region != c.cfg.Cloud:
		c.redirect(q)
		return
	case strings.HasPrefix(host, "firehose."):
		c.serveFeed(q)
		return
	case host == ingestHost(c.cfg.Cloud):
		c.serveHEC(q)
		return
	case isToken(r):
		c.serveToken(q)
		return
	}
	var ok bool
	if q.token, ok = c.tokens.check(q.now, r.Header.Get("Authorization")); !ok {
		if c.take(q, &c.badTokens, q.source()) {
			q.fail(http.StatusUnauthorized, byGateway, "access denied, invalid bearer token")
		}
		return
	}
	if !c.take(q, &c.requests, q.token.cid) {
		return
	}
	op, parts, ok := route(r)
	switch {
	case !ok:
		q.unknownPath()
	case !c.allowed(op.scope):
		q.fail(http.StatusForbidden, byGateway, "access denied, authorization failed")
	default:
		q.parts, q.by = parts, backends[strings.Split(r.URL.Path, "/")[1]]
		op.serve(c, q)
	}
}

func (c *cloud) allowed(scope string) bool {
	return c.cfg.Scopes == nil || slices.Contains(c.cfg.Scopes, scope)
}

// take uses one request of a quota and says so in the headers. When there is
// none left it answers 429 and reports false. The swagger calls RetryAfter
// milliseconds, but on the wire it is epoch seconds.
func (c *cloud) take(q *call, quota *sim.Window, key string) bool {
	left, wait, ok := quota.Take(key, q.now)
	h := q.w.Header()
	h.Set("X-Ratelimit-Limit", strconv.Itoa(quota.Limit))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(left))
	if !ok {
		again := q.now.Add(wait + time.Second - time.Nanosecond) // rounded up
		h.Set("X-Ratelimit-Retryafter", strconv.FormatInt(again.Unix(), 10))
		q.fail(http.StatusTooManyRequests, byGateway, "API rate limit exceeded.")
	}
	return ok
}

// nextTrace returns a UUID that depends only on how many came before it.
func (c *cloud) nextTrace() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "trace %d", c.traces.Add(1)))
	sum[6] = sum[6]&0x0f | 0x40
	sum[8] = sum[8]&0x3f | 0x80
	s := hex.EncodeToString(sum[:16])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
