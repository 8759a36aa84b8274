package falcon

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// clouds are Falcon's regions and their API hosts.
var clouds = map[string]string{
	"us-1":     "api.crowdstrike.com",
	"us-2":     "api.us-2.crowdstrike.com",
	"us-3":     "api.us-3.crowdstrike.com",
	"eu-1":     "api.eu-1.crowdstrike.com",
	"us-gov-1": "api.laggar.gcw.crowdstrike.com",
	"us-gov-2": "api.us-gov-2.crowdstrike.mil",
}

func cloudNames() []string { return slices.Sorted(maps.Keys(clouds)) }

// allowHost keeps the bearer token with CrowdStrike: a redirect to any other
// host would otherwise carry it there (hazard A9).
func (c *Client) allowHost(host string) bool {
	if c.cfg.BaseURL != "" {
		return strings.EqualFold(host, c.base.Load().Hostname())
	}
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".crowdstrike.com") || strings.HasSuffix(host, ".crowdstrike.mil")
}

// regionHeader is set by the gateway to the customer's own region.
const regionHeader = "X-Cs-Region"

// rebase follows, once in the life of the client, the gateway's word that the
// customer lives in another region: a 308 with the right address, or the region
// header of a token answer. It reports whether to send again, to the right one.
func (c *Client) rebase(resp *http.Response) bool {
	host := ""
	if resp.StatusCode == http.StatusPermanentRedirect {
		if to, err := url.Parse(resp.Header.Get("Location")); err == nil {
			host = to.Host
		}
	} else if !c.pinned {
		host = clouds[resp.Header.Get(regionHeader)]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.base.Load()
	if host != "" && host != now.Host && !c.rebased && c.allowHost(hostname(host)) {
		c.rebased = true
		c.cfg.Logger.Warn("falcon region learned: set Config.Cloud to it, so that a start does not depend on another region",
			"server.address", host, "region", resp.Header.Get(regionHeader), "was", now.Host)
		now = &url.URL{Scheme: "https", Host: host}
		c.base.Store(now)
	}
	return resp.StatusCode == http.StatusPermanentRedirect && now.Host != resp.Request.URL.Host
}

func hostname(hostport string) string { return (&url.URL{Host: hostport}).Hostname() }
