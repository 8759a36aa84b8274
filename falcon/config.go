package falcon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"github.com/jurymast/jurymast/internal/secret"
	"github.com/jurymast/jurymast/resilience"
)

// Secret is a string that prints as [redacted].
type Secret = secret.Secret

// Credentials are an API client's id and secret.
type Credentials struct {
	ClientID     string
	ClientSecret Secret
}

// Config sets up a [Client]. Credentials are required, the rest has defaults.
type Config struct {
	// ClientID and ClientSecret of an API client (Support and resources > API
	// clients and keys). Needed scopes: Hosts read, and Hosts write to contain.
	ClientID     string
	ClientSecret Secret
	// Credentials, if set, is asked before every token request instead, so that a
	// rotated secret is picked up.
	Credentials func(context.Context) (Credentials, error)
	// MemberCID selects a child customer of a Flight Control parent.
	MemberCID string
	// Cloud is the customer's region: us-1, us-2, us-3, eu-1, us-gov-1, us-gov-2.
	// Empty means it is learned, once, from the first token request, which then
	// goes to us-1: pin it, so that an outage of us-1 is not yours.
	Cloud string
	// BaseURL replaces the region's address, for simulators and private links:
	// https://host[:port]. The token goes to no other host then.
	BaseURL string
	// HTTPClient provides the transport (TLS roots, proxy, dialer). Only its
	// Transport is used: the policy keeps the time, and redirects are not
	// followed but understood. Default http.DefaultTransport.
	HTTPClient *http.Client
	// ReadOnly refuses every call that changes something, with ErrReadOnly.
	ReadOnly bool
	// Policy guards the API. Its Quota defaults to Falcon's 6,000 calls a minute,
	// corrected by what Falcon says is left.
	Policy resilience.Config
	// Quotas, if not nil, shares that quota and the one of 300 token requests a
	// minute: give the same one to all clients of a customer, because Falcon counts
	// their calls together.
	Quotas *resilience.QuotaSet
	// AuthPolicy guards the token requests. Attempt defaults to 4 s, Total to 8 s.
	AuthPolicy resilience.Config
	// Logger hears of rebased regions, breaker changes and operations whose end Falcon
	// announces. Default: discards.
	Logger *slog.Logger
}

// ConfigFromEnv reads FALCON_CLIENT_ID, FALCON_CLIENT_SECRET, FALCON_CLOUD and
// FALCON_MEMBER_CID. It names the missing ones.
func ConfigFromEnv() (Config, error) {
	cfg := Config{
		ClientID:     os.Getenv("FALCON_CLIENT_ID"),
		ClientSecret: Secret(os.Getenv("FALCON_CLIENT_SECRET")),
		Cloud:        os.Getenv("FALCON_CLOUD"),
		MemberCID:    os.Getenv("FALCON_MEMBER_CID"),
	}
	var missing []error
	if cfg.ClientID == "" {
		missing = append(missing, errors.New("FALCON_CLIENT_ID is not set"))
	}
	if cfg.ClientSecret == "" {
		missing = append(missing, errors.New("FALCON_CLIENT_SECRET is not set"))
	}
	if len(missing) > 0 {
		return Config{}, fmt.Errorf("falcon: %w", errors.Join(missing...))
	}
	return cfg, nil
}

// hideSecret moves the secret out of sight: fmt prints the unexported fields of a
// client without asking a Secret how it wants to be shown.
func (c *Config) hideSecret() {
	if c.Credentials == nil {
		creds := Credentials{c.ClientID, c.ClientSecret}
		c.Credentials = func(context.Context) (Credentials, error) { return creds, nil }
	}
	c.ClientSecret = ""
}

// validate checks the configuration and returns the address to begin with.
func (c *Config) validate() (base *url.URL, pinned bool, err error) {
	if c.Credentials == nil && (c.ClientID == "" || c.ClientSecret == "") {
		return nil, false, errors.New("falcon: Config.ClientID and Config.ClientSecret are required (or Config.Credentials)")
	}
	switch {
	case c.BaseURL != "" && c.Cloud != "":
		return nil, false, errors.New("falcon: set Config.Cloud or Config.BaseURL, not both")
	case c.BaseURL != "":
		u, err := url.Parse(c.BaseURL)
		if err != nil || u.Scheme != "https" || u.Host == "" || (u.Path != "" && u.Path != "/") {
			return nil, false, fmt.Errorf("falcon: Config.BaseURL %q: want https://host[:port]", c.BaseURL)
		}
		return &url.URL{Scheme: "https", Host: u.Host}, true, nil
	case c.Cloud == "":
		return &url.URL{Scheme: "https", Host: clouds["us-1"]}, false, nil
	}
	host, ok := clouds[c.Cloud]
	if !ok {
		return nil, false, fmt.Errorf("falcon: Config.Cloud %q: want one of %v", c.Cloud, cloudNames())
	}
	return &url.URL{Scheme: "https", Host: host}, true, nil
}
