package conformance

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// falconClient is what goes wrong when a client is made, and with its region.
var falconClient = []row[*falconEnv]{
	{
		name:     "A7 no client can be made during an outage",
		provoke:  func(e *falconEnv) { e.srv.Faults().Add(fault.Rule{Kind: fault.Refuse}) },
		sdk:      func(e *falconEnv) error { return canBeMade(e, e.discover()) },
		jurymast: func(e *falconEnv) error { return canBeMade(e, e.make(unpinned)) },
	},
	{
		name: "A7 making a client hangs when the token endpoint does",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: tokenPath})
		},
		sdk: func(e *falconEnv) error {
			timeout := time.Second
			return canBeMade(e, e.discover(func(c *gofalcon.ApiConfig) { c.HttpTimeOutOverride = &timeout }))
		},
		jurymast: func(e *falconEnv) error { return canBeMade(e, e.make(unpinned)) },
	},
	{
		name: "A8 a token answer without a region leaves the client in us-1 for good",
		provoke: func(e *falconEnv) {
			e.outside.change = func(r *http.Response) { r.Header.Del("X-Cs-Region") }
		},
		sdk: func(e *falconEnv) error {
			e.serve(falcontest.Config{Cloud: "us-2"})
			return movesOnce(e, func() call {
				defer swapDefaultTransport(e.http.Transport)()
				return e.sdkGet(autodiscover)
			})
		},
		jurymast: func(e *falconEnv) error {
			e.serve(falcontest.Config{Cloud: "us-2"})
			return movesOnce(e, func() call { return e.get(unpinned) })
		},
	},
	{
		name: "A8 a region younger than the SDK makes the client unusable",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails(tokenPath, http.StatusCreated, 1,
				`{"access_token":"x","expires_in":1799,"token_type":"bearer"}`, "X-Cs-Region", "eu-2"))
		},
		sdk:      func(e *falconEnv) error { return canBeMade(e, e.discover()) },
		jurymast: func(e *falconEnv) error { return canBeMade(e, e.make(unpinned)) },
	},
	{
		name:    "A8 a misspelt cloud is us-1",
		provoke: func(e *falconEnv) { e.cloud = "eu1x" },
		sdk: func(e *falconEnv) error {
			e.cloud = "eu-1"
			e.strike()
			if host := gofalcon.Cloud(e.cloud).Host(); host != "api.eu-1.crowdstrike.com" {
				return wrong("cloud %q became %s, without an error", e.cloud, host)
			}
			return nil
		},
		jurymast: func(e *falconEnv) error {
			e.strike()
			if _, err := falcon.New(e.config()); err == nil || !strings.Contains(err.Error(), "Config.Cloud") {
				return wrong("cloud %q: %v", e.cloud, err)
			}
			return nil
		},
	},
	{
		name: "A9 a redirect takes the bearer token to any host",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails("/devices", http.StatusPermanentRedirect, 0, ``, "Location", "https://evil.test/devices"))
		},
		sdk:      func(e *falconEnv) error { return keepsTokenHome(e, e.sdkGet()) },
		jurymast: func(e *falconEnv) error { return keepsTokenHome(e, e.get()) },
	},
	{
		name:    "A10 DEBUG in the environment prints the client secret",
		provoke: func(e *falconEnv) { e.Setenv("DEBUG", "1") },
		sdk: func(e *falconEnv) error {
			return printsNoSecret(e, func() error { return <-e.discover() })
		},
		jurymast: func(e *falconEnv) error {
			return printsNoSecret(e, func() error { return e.get(unpinned)(e.Context()) })
		},
	},
	{
		name:    "A11 making a client writes into the caller's configuration",
		provoke: func(e *falconEnv) { e.cloud = "" },
		sdk: func(e *falconEnv) error {
			e.strike()
			defer swapDefaultTransport(e.http.Transport)()
			cfg := e.sdkConfig()
			before := cfg.Cloud
			if _, err := gofalcon.NewClient(cfg); err != nil {
				return err
			}
			if cfg.Cloud != before {
				return wrong("ApiConfig.Cloud was changed: two clients made from it at once are a data race")
			}
			return nil
		},
		jurymast: func(e *falconEnv) error {
			e.strike()
			cfg := e.config()
			c, err := falcon.New(cfg)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close(context.Background()) }()
			if _, err := c.Hosts.Get(e.Context(), firstHost); err != nil {
				return err
			}
			if cfg.Cloud != e.cloud {
				return wrong("Config.Cloud was changed")
			}
			return nil
		},
	},
}

func autodiscover(c *gofalcon.ApiConfig) { c.Cloud = gofalcon.CloudAutoDiscover }

// discover makes a gofalcon client that has to find its region first, which it
// does by http.DefaultTransport whatever its configuration says.
func (e *falconEnv) discover(change ...func(*gofalcon.ApiConfig)) <-chan error {
	e.strike()
	e.Cleanup(swapDefaultTransport(e.http.Transport))
	cfg := e.sdkConfig(append(change, autodiscover)...)
	return call(func(context.Context) error {
		_, err := gofalcon.NewClient(cfg)
		return err
	}).background(e.Context())
}

func swapDefaultTransport(with http.RoundTripper) (restore func()) {
	was := http.DefaultTransport
	http.DefaultTransport = with
	return func() { http.DefaultTransport = was }
}

func (e *falconEnv) make(change ...func(*falcon.Config)) <-chan error {
	e.strike()
	return call(func(context.Context) error {
		_, err := falcon.New(e.config(change...))
		return err
	}).background(e.Context())
}

// canBeMade asks for a client within the hour.
func canBeMade(_ *falconEnv, made <-chan error) error {
	select {
	case err := <-made:
		if err != nil {
			return wrong("NewClient failed: %v", cause(err))
		}
		return nil
	case <-time.After(time.Hour):
		return wrong("NewClient had not returned after an hour")
	}
}

// movesOnce asks that a client in the wrong region moves to the right one, and
// does not spend the 15 redirects a minute that the gateway allows.
func movesOnce(e *falconEnv, client func() call) error {
	e.strike()
	c := client()
	const calls = 20
	failed := 0
	for range calls {
		if _, err := c.within(e.Context(), 2*time.Second); err != nil {
			failed++
		}
	}
	redirected := 0
	for _, r := range e.srv.Requests() {
		if r.Status == http.StatusPermanentRedirect && r.Path != tokenPath {
			redirected++
		}
	}
	if failed > 0 || redirected > 1 {
		return wrong("of %d calls %d were redirected and %d failed", calls, redirected, failed)
	}
	return nil
}

// keepsTokenHome asks that nobody outside sees the token.
func keepsTokenHome(e *falconEnv, c call) error {
	e.works(c)
	e.strike()
	_, _ = c.within(e.Context(), 10*time.Second)
	for _, v := range e.outside.visits() {
		if strings.HasPrefix(v.authorization, "Bearer ") {
			return wrong("%s was sent the bearer token", v.host)
		}
	}
	return nil
}

// printsNoSecret looks at what is written to stderr meanwhile.
func printsNoSecret(e *falconEnv, f func() error) error {
	e.strike()
	file, err := os.CreateTemp(e.TempDir(), "stderr")
	if err != nil {
		return err
	}
	was := os.Stderr
	os.Stderr = file
	err = f()
	os.Stderr = was
	_ = file.Close()
	if err != nil {
		return err
	}
	printed, err := os.ReadFile(file.Name())
	if err != nil {
		return err
	}
	if strings.Contains(string(printed), falcontest.ClientSecret) {
		return wrong("the client secret was written to stderr")
	}
	return nil
}
