package azure

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
)

// endpoint is where one of Microsoft's APIs is in one cloud (facts/microsoft.md
// 1.5, 2.0, 2.2).
type endpoint struct {
	url   string   // its address; "" if it is not offered there
	scope string   // of its tokens
	hosts []string // where a token may go; one that begins with a dot stands for all below
	// alternates are host:port of several addresses, url's first; nil if there is one.
	alternates []string
}

// place is a cloud.
type place struct {
	authority   cloud.Configuration
	defender    endpoint
	graph       endpoint
	management  endpoint // Azure Resource Manager
	threatIntel endpoint // Sentinel's upload of STIX objects
	logQuery    endpoint // Log Analytics
	ingestion   endpoint // the hosts of data collection endpoints; they have no common address
}

func at(url, scope string) endpoint {
	return endpoint{url: url, scope: scope + "/.default", hosts: []string{strings.TrimPrefix(url, "https://")}}
}

var places = map[string]place{
	"public": {
		authority: cloud.AzurePublic,
		defender: endpoint{
			url: "https://api.security.microsoft.com", scope: "https://api.securitycenter.microsoft.com/.default",
			hosts: []string{".security.microsoft.com", ".securitycenter.microsoft.com", ".securitycenter.windows.com"},
		},
		graph:       at("https://graph.microsoft.com", "https://graph.microsoft.com"),
		management:  at("https://management.azure.com", "https://management.core.windows.net/"),
		threatIntel: at("https://api.ti.sentinel.azure.com", "https://management.azure.com"),
		logQuery:    at("https://api.loganalytics.io", "https://api.loganalytics.io"),
		ingestion:   endpoint{scope: "https://monitor.azure.com//.default", hosts: []string{".ingest.monitor.azure.com"}},
	},
	"usgov": {
		authority: cloud.AzureGovernment,
		defender: endpoint{
			url: "https://api-gov.securitycenter.microsoft.us", scope: "https://api-gov.securitycenter.microsoft.us/.default",
			hosts: []string{".securitycenter.microsoft.us"},
		},
		graph:      at("https://graph.microsoft.us", "https://graph.microsoft.us"),
		management: at("https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net/"),
		logQuery:   at("https://api.loganalytics.us", "https://api.loganalytics.us"),
		ingestion:  endpoint{scope: "https://monitor.azure.us//.default", hosts: []string{".ingest.monitor.azure.us"}},
	},
	"china": { // neither Defender for Endpoint nor Sentinel's upload are offered there
		authority:  cloud.AzureChina,
		graph:      at("https://microsoftgraph.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"),
		management: at("https://management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn/"),
		logQuery:   at("https://api.loganalytics.azure.cn", "https://api.loganalytics.azure.cn"),
		ingestion:  endpoint{scope: "https://monitor.azure.cn//.default", hosts: []string{".ingest.monitor.azure.cn"}},
	},
}

// resolve checks the addresses of the configuration and returns where to call.
func (c *Config) resolve() (place, error) {
	if c.Cloud == "" {
		c.Cloud = "public"
	}
	p, ok := places[c.Cloud]
	if !ok {
		return place{}, fmt.Errorf("azure: Config.Cloud %q: want public, usgov or china", c.Cloud)
	}
	if c.AuthorityURL != "" {
		u, err := checkURL("Config.AuthorityURL", c.AuthorityURL)
		if err != nil {
			return place{}, err
		}
		p.authority.ActiveDirectoryAuthorityHost = u.String() + "/"
	}
	for _, o := range []struct {
		field, value string
		endpoint     *endpoint
	}{
		{"Config.DefenderURL", c.DefenderURL, &p.defender},
		{"Config.GraphURL", c.GraphURL, &p.graph},
		{"Config.ManagementURL", c.ManagementURL, &p.management},
		{"Config.ThreatIntelURL", c.ThreatIntelURL, &p.threatIntel},
		{"Config.LogQueryURL", c.LogQueryURL, &p.logQuery},
	} {
		if o.value == "" {
			continue
		}
		u, err := checkURL(o.field, o.value)
		if err != nil {
			return place{}, err
		}
		o.endpoint.url, o.endpoint.hosts = u.String(), []string{u.Hostname()}
	}
	if c.ManagementURL != "" { // the official arm clients look there
		services := maps.Clone(p.authority.Services)
		arm := services[cloud.ResourceManager]
		arm.Endpoint = p.management.url
		services[cloud.ResourceManager] = arm
		p.authority.Services = services
	}
	return p, p.defender.add("Config.DefenderAlternates", c.DefenderAlternates)
}

// add gives the endpoint further addresses.
func (e *endpoint) add(field string, addresses []string) error {
	if len(addresses) == 0 {
		return nil
	}
	first, err := url.Parse(e.url)
	if err != nil || first.Host == "" {
		return fmt.Errorf("azure: %s: the API is not offered in this cloud, so there is nothing to stand in for", field)
	}
	e.alternates = []string{first.Host}
	e.hosts = slices.Clone(e.hosts) // those of all clients
	for i, value := range addresses {
		u, err := checkURL(fmt.Sprintf("%s[%d]", field, i), value)
		if err != nil {
			return err
		}
		e.alternates, e.hosts = append(e.alternates, u.Host), append(e.hosts, u.Hostname())
	}
	return nil
}

func checkURL(field, value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("azure: %s %q: want https://host[:port]", field, value)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// allow reports whether a token for this endpoint may go to host.
func (e endpoint) allow(host string) bool {
	host = strings.ToLower(host)
	for _, h := range e.hosts {
		if host == h || strings.HasPrefix(h, ".") && strings.HasSuffix(host, h) {
			return true
		}
	}
	return false
}
