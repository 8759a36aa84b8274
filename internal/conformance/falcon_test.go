package conformance

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"
	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"
	"golang.org/x/oauth2"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestFalcon(t *testing.T) {
	play(t, "gofalcon", slices.Concat(falconAuth, falconClient, falconRetry, falconPayload, falconService, falconRTR, falconStream), openFalcon)
}

// falconEnv is a simulated Falcon and the ways to call it.
type falconEnv struct {
	*testing.T
	srv    *falcontest.Server
	strike func()

	// What provoke may change before the probe makes its client.
	http     *http.Client // reaches the cloud, and the outside
	outside  *outside
	secret   string
	cloud    string
	building context.Context // in which the client is made
	dials    atomic.Int32    // connections, if provoke counts them

	// What it may change about the cloud, where the probe serves another one.
	simulated falcontest.Config

	partial bool // the caller sets one field only

	// What it may change about the event stream.
	pause   bool   // the consumer stops
	drift   bool   // events have fields of other types than documented
	process int64  // the process id in events; 0 is 42
	path    string // whose requests the probe looks at
	readers atomic.Int32
}

func openFalcon(t *testing.T, hook func(*falconEnv)) *falconEnv {
	e := &falconEnv{T: t, secret: falcontest.ClientSecret, cloud: "us-1", building: t.Context()}
	e.strike = func() { hook(e) }
	e.serve(falcontest.Config{})
	return e
}

// serve starts the cloud, or another one in its place.
func (e *falconEnv) serve(cfg falcontest.Config) {
	cfg.InMemory = true
	for i := range 3 {
		cfg.Hosts = append(cfg.Hosts, falcontest.Host{DeviceID: fmt.Sprintf("%032x", i+1), Hostname: fmt.Sprintf("ws-%03d", i)})
	}
	srv, err := falcontest.NewServer(cfg)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(srv.Close)
	e.srv, e.outside = srv, &outside{cloud: srv.Client().Transport}
	e.http = &http.Client{Transport: e.outside}
}

const (
	firstHost   = "00000000000000000000000000000001"
	tokenPath   = "/oauth2/token"
	actionsPath = "/devices/entities/devices-actions"
)

// fails makes the API answer with a status, a body and pairs of headers.
func fails(path string, status, count int, body string, header ...string) fault.Rule {
	h := http.Header{"Content-Type": {"application/json"}}
	for pair := range slices.Chunk(header, 2) {
		h.Set(pair[0], pair[1])
	}
	return fault.Rule{Kind: fault.Status, Path: path, Status: status, Count: count, Body: body, Header: h}
}

// slow makes the API answer late.
func slow(path string, delay time.Duration) fault.Rule {
	return fault.Rule{Kind: fault.Latency, Path: path, Delay: delay}
}

// requests is how many requests reached the path.
func (e *falconEnv) requests(path string) (n int) {
	for _, r := range e.srv.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

// retrying is the documented way to have gofalcon retry.
func retrying(tries uint) func(*gofalcon.ApiConfig) {
	return func(c *gofalcon.ApiConfig) { c.RetryConfig = &gofalcon.RetryConfig{MaxTries: tries} }
}

func (e *falconEnv) sdkConfig(change ...func(*gofalcon.ApiConfig)) *gofalcon.ApiConfig {
	cfg := &gofalcon.ApiConfig{
		ClientId: falcontest.ClientID, ClientSecret: e.secret, Cloud: gofalcon.Cloud(e.cloud),
		Context: context.WithValue(e.building, oauth2.HTTPClient, e.http),
	}
	for _, f := range change {
		f(cfg)
	}
	return cfg
}

func (e *falconEnv) sdk(change ...func(*gofalcon.ApiConfig)) *client.CrowdStrikeAPISpecification {
	c, err := gofalcon.NewClient(e.sdkConfig(change...))
	if err != nil {
		e.Fatal(err)
	}
	return c
}

// sdkGet reads one host through gofalcon.
func (e *falconEnv) sdkGet(change ...func(*gofalcon.ApiConfig)) call {
	return sdkGet(e.sdk(change...))
}

func sdkGet(c *client.CrowdStrikeAPISpecification) call {
	return func(ctx context.Context) error {
		p := hosts.NewPostDeviceDetailsV2ParamsWithContext(ctx)
		p.Body = &models.MsaIdsRequest{Ids: []string{firstHost}}
		_, err := c.Hosts.PostDeviceDetailsV2(p)
		return err
	}
}

// sdkContain contains a host through gofalcon.
func (e *falconEnv) sdkContain(change ...func(*gofalcon.ApiConfig)) call {
	c := e.sdk(change...)
	return func(ctx context.Context) error {
		p := hosts.NewPerformActionV2ParamsWithContext(ctx)
		p.ActionName = "contain"
		p.Body = &models.MsaEntityActionRequestV2{Ids: []string{firstHost}, ActionParameters: []*models.MsaspecActionParameter{}}
		_, err := c.Hosts.PerformActionV2(p)
		return err
	}
}

func (e *falconEnv) config(change ...func(*falcon.Config)) falcon.Config {
	cfg := falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcon.Secret(e.secret), Cloud: e.cloud, HTTPClient: e.http,
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

func (e *falconEnv) jurymast(change ...func(*falcon.Config)) *falcon.Client {
	c, err := falcon.New(e.config(change...))
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			e.Error(err)
		}
	})
	return c
}

// get reads one host through Jurymast.
func (e *falconEnv) get(change ...func(*falcon.Config)) call {
	c := e.jurymast(change...)
	return func(ctx context.Context) error {
		_, err := c.Hosts.Get(ctx, firstHost)
		return err
	}
}

// contain contains a host through Jurymast.
func (e *falconEnv) contain() call {
	c := e.jurymast()
	return func(ctx context.Context) error {
		_, err := c.Hosts.Contain(ctx, firstHost)
		return err
	}
}

// works makes a call that must work, before anything goes wrong.
func (e *falconEnv) works(c call) {
	if _, err := c.within(e.Context(), 10*time.Second); err != nil {
		e.Fatalf("before the hazard: %v", err)
	}
}
