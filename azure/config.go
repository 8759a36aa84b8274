package azure

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/jurymast/jurymast/internal/secret"
	"github.com/jurymast/jurymast/resilience"
)

// Secret is a string that prints as [redacted].
type Secret = secret.Secret

// Config sets up a [Client]. A credential is required, the rest has defaults.
type Config struct {
	// TenantID, ClientID and ClientSecret of an app registration. Needed app
	// permissions for Defender: Machine.Read.All, and Machine.Isolate to isolate.
	TenantID     string
	ClientID     string
	ClientSecret Secret
	// Credential, if set, is used instead; see CredentialFactory.
	Credential CredentialFactory
	// Cloud is public (the default), usgov or china.
	Cloud string
	// DefenderURL replaces the address of the Defender API, for a regional host
	// (https://eu.api.security.microsoft.com) or a simulator. The token goes to no
	// other host then.
	DefenderURL string
	// AuthorityURL replaces the address of Entra ID, for a simulator.
	AuthorityURL string
	// HTTPClient provides the transport (TLS roots, proxy, dialer), also for the
	// credential. Only its Transport is used: the policy keeps the time, and
	// redirects are not followed. Default http.DefaultTransport.
	HTTPClient *http.Client
	// ReadOnly refuses every call that changes something, with ErrReadOnly.
	ReadOnly bool
	// Policy guards the APIs. Defender's quotas (100 calls a minute and 1,500 an
	// hour for each operation) are kept beside it.
	Policy resilience.Config
	// Quotas, if not nil, shares those quotas: give the same one to all clients of
	// an app registration, because Defender counts their calls together.
	Quotas *resilience.QuotaSet
	// AuthPolicy guards the token requests. Attempt defaults to 4 s, Total to 8 s.
	AuthPolicy resilience.Config
	// Logger hears of breaker changes. Default: discards.
	Logger *slog.Logger
}

// ConfigFromEnv reads AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET,
// or, without a secret, leaves the credential to azidentity's own environment
// (certificate, workload identity, managed identity). AZURE_AUTHORITY_HOST is
// read too. It names what is missing.
func ConfigFromEnv() (Config, error) {
	cfg := Config{
		TenantID:     os.Getenv("AZURE_TENANT_ID"),
		ClientID:     os.Getenv("AZURE_CLIENT_ID"),
		ClientSecret: Secret(os.Getenv("AZURE_CLIENT_SECRET")),
		AuthorityURL: os.Getenv("AZURE_AUTHORITY_HOST"),
	}
	if cfg.ClientSecret == "" {
		cfg.Credential = DefaultCredential(cfg.TenantID)
		return cfg, nil
	}
	var missing []error
	for name, value := range map[string]string{"AZURE_TENANT_ID": cfg.TenantID, "AZURE_CLIENT_ID": cfg.ClientID} {
		if value == "" {
			missing = append(missing, fmt.Errorf("%s is not set", name))
		}
	}
	if len(missing) > 0 {
		return Config{}, fmt.Errorf("azure: %w", errors.Join(missing...))
	}
	return cfg, nil
}

// place is where a cloud's services are (facts/microsoft.md 2.2, 1.5).
type place struct {
	authority cloud.Configuration
	defender  string // address of the API
	audience  string // of its tokens
	hosts     []string
}

var places = map[string]place{
	"public": {
		cloud.AzurePublic, "https://api.security.microsoft.com", "https://api.securitycenter.microsoft.com/.default",
		[]string{".security.microsoft.com", ".securitycenter.microsoft.com", ".securitycenter.windows.com"},
	},
	"usgov": {
		cloud.AzureGovernment, "https://api-gov.securitycenter.microsoft.us", "https://api-gov.securitycenter.microsoft.us/.default",
		[]string{".securitycenter.microsoft.us"},
	},
	"china": {cloud.AzureChina, "", "", nil}, // Defender for Endpoint is not offered there
}

// resolve checks the configuration and returns where to call.
func (c *Config) resolve() (place, error) {
	if c.Cloud == "" {
		c.Cloud = "public"
	}
	p, ok := places[c.Cloud]
	if !ok {
		return place{}, fmt.Errorf("azure: Config.Cloud %q: want public, usgov or china", c.Cloud)
	}
	if c.Credential == nil {
		if c.TenantID == "" || c.ClientID == "" || c.ClientSecret == "" {
			return place{}, errors.New("azure: Config.TenantID, Config.ClientID and Config.ClientSecret are required (or Config.Credential)")
		}
		c.Credential = ClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret)
	}
	if c.AuthorityURL != "" {
		u, err := checkURL("Config.AuthorityURL", c.AuthorityURL)
		if err != nil {
			return place{}, err
		}
		p.authority = cloud.Configuration{ActiveDirectoryAuthorityHost: u.String() + "/", Services: map[cloud.ServiceName]cloud.ServiceConfiguration{}}
	}
	if c.DefenderURL != "" {
		u, err := checkURL("Config.DefenderURL", c.DefenderURL)
		if err != nil {
			return place{}, err
		}
		p.defender, p.hosts = u.String(), []string{u.Hostname()}
	}
	return p, nil
}

func checkURL(field, value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("azure: %s %q: want https://host[:port]", field, value)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// allow reports whether a token for this place may go to host.
func (p place) allow(host string) bool {
	host = strings.ToLower(host)
	for _, h := range p.hosts {
		if host == h || strings.HasPrefix(h, ".") && strings.HasSuffix(host, h) {
			return true
		}
	}
	return false
}

// transporter is an http.RoundTripper in azcore's words.
type transporter struct{ http.RoundTripper }

// Do implements policy.Transporter; it follows no redirect.
func (t transporter) Do(req *http.Request) (*http.Response, error) { return t.RoundTrip(req) }

func noRetries(o azcore.ClientOptions) azcore.ClientOptions {
	o.Retry.MaxRetries = -1
	return o
}
