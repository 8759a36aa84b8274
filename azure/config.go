package azure

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/jurymast/jurymast/internal/secret"
	"github.com/jurymast/jurymast/resilience"
)

// Secret is a string that prints as [redacted].
type Secret = secret.Secret

// Config sets up a [Client]. A credential is required, the rest has defaults.
type Config struct {
	// TenantID, ClientID and ClientSecret of an app registration. Needed app
	// permissions for Defender: Machine.Read.All, and those that stand at its operations.
	TenantID     string
	ClientID     string
	ClientSecret Secret
	// Credential, if set, is used instead; see CredentialFactory.
	Credential CredentialFactory
	// Cloud is public (the default), usgov or china.
	Cloud string
	// AuthorityURL replaces the address of Entra ID, for a simulator.
	AuthorityURL string
	// These replace the addresses of the APIs, for a regional host
	// (https://eu.api.security.microsoft.com) or a simulator. The tokens of the API go
	// to no other host then.
	DefenderURL, GraphURL, ManagementURL, ThreatIntelURL, LogQueryURL string
	// DefenderAlternates are further addresses of Defender for Endpoint, such as its
	// other regional hosts, for when the one in use cannot be reached: after a failure
	// that proves that nothing was sent, or, of a read, after any other without an
	// answer of the API. The next attempt then goes to the next of them, and all calls
	// stay there until it fails too. The pages of a list stay on the host of the first.
	// The regional hosts are documented for latency only: whether another region
	// serves a tenant when its own is down is not known. The tokens go there as well.
	DefenderAlternates []string
	// HTTPClient provides the transport (TLS roots, proxy, dialer), also for the
	// credential. Only its Transport is used: the policy keeps the time, and
	// redirects are not followed. Default http.DefaultTransport.
	HTTPClient *http.Client
	// ReadOnly refuses every call that changes something, with ErrReadOnly.
	ReadOnly bool
	// RefuseRetiring refuses, with ErrSunset and before anything is sent, the
	// operations of Defender that Microsoft takes out of service on 2027-02-01 (message
	// MC1220762): those of alerts. The default is to use them as long as they are
	// served, and to log a warning.
	RefuseRetiring bool
	// Policy guards the APIs: each of them by a policy of its own made from it, so
	// that one that is down does not stand for the others. The quotas that Microsoft
	// documents are kept beside it.
	Policy resilience.Config
	// Quotas, if not nil, shares those quotas: give the same one to all clients of
	// an app registration, because Microsoft counts their calls together.
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

// validate checks what is not an address.
func (c *Config) validate() error {
	if c.Credential == nil {
		if c.TenantID == "" || c.ClientID == "" || c.ClientSecret == "" {
			return errors.New("azure: Config.TenantID, Config.ClientID and Config.ClientSecret are required (or Config.Credential)")
		}
		c.Credential = ClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret)
	}
	// fmt prints the unexported fields of a client without asking a Secret how it
	// wants to be shown; the credential has it.
	c.ClientSecret = ""
	return nil
}

// transporter is an http.RoundTripper in azcore's words.
type transporter struct{ http.RoundTripper }

// Do implements policy.Transporter; it follows no redirect.
func (t transporter) Do(req *http.Request) (*http.Response, error) { return t.RoundTrip(req) }

func noRetries(o azcore.ClientOptions) azcore.ClientOptions {
	o.Retry.MaxRetries = -1
	return o
}
