package falcontest

import (
	"net"
	"net/http"
	"strings"
)

// apiHosts are the API host names by region. The event feeds of a region are on
// another host, see feedHost.
var apiHosts = map[string]string{
	"us-1":     "api.crowdstrike.com",
	"us-2":     "api.us-2.crowdstrike.com",
	"us-3":     "api.us-3.crowdstrike.com",
	"eu-1":     "api.eu-1.crowdstrike.com",
	"us-gov-1": "api.laggar.gcw.crowdstrike.com",
	"us-gov-2": "api.us-gov-2.crowdstrike.mil",
}

// regions is apiHosts the other way round.
var regions = func() map[string]string {
	m := map[string]string{}
	for region, host := range apiHosts {
		m[host] = region
	}
	return m
}()

func feedHost(region string) string {
	return "firehose" + strings.TrimPrefix(apiHosts[region], "api")
}

// hostNames lists all names the server answers for, its own API host first.
func hostNames(home string) []string {
	names := []string{apiHosts[home], feedHost(home), ingestHost(home)}
	for region, host := range apiHosts {
		if region != home {
			names = append(names, host, feedHost(region))
		}
	}
	return names
}

// bareHost is a host name as it is in the tables: lower case, without port.
func bareHost(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.ToLower(hostport)
}

// redirect sends a request that came to another region's gateway home. The
// recorded redirects count against the quota of invalid tokens (limit 15), so a
// client that never moves to its own region runs out of them; those of the
// token endpoint count as token requests.
func (c *cloud) redirect(q *call) {
	quota, key := &c.badTokens, q.source()
	if isToken(q.r) {
		quota = &c.tokenRequests
	}
	if !c.take(q, quota, key) {
		return
	}
	q.w.Header().Set("Location", "https://"+apiHosts[c.cfg.Cloud]+q.r.URL.RequestURI())
	q.w.WriteHeader(http.StatusPermanentRedirect)
}

func isToken(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/oauth2/") }
