package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestAzure(t *testing.T) {
	onlyTheMachine(t)
	play(t, "azure", slices.Concat(azureToken, azureIdentity, azureRetry, azureWire, azureAnswer), openAzure)
}

// azureEnv is a simulated Microsoft and the ways to call it.
type azureEnv struct {
	*testing.T
	srv    *azuretest.Server
	strike func()

	// What provoke may change before the probe makes its client, or its call.
	http       *http.Client // reaches the cloud, and the outside
	outside    *outside
	dials      atomic.Int32           // connections, if provoke counts them
	credential azcore.TokenCredential // instead of the client secret
	ctx        context.Context        // of the calls
}

func openAzure(t *testing.T, hook func(*azureEnv)) *azureEnv {
	cfg := azuretest.Config{InMemory: true, ActionTime: time.Hour, MinuteQuota: -1, HourQuota: -1}
	for i := range 3 {
		cfg.Machines = append(cfg.Machines, azuretest.Machine{ID: fmt.Sprintf("%040x", i+1), ComputerDNSName: fmt.Sprintf("ws-%03d", i)})
	}
	srv, err := azuretest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	e := &azureEnv{T: t, srv: srv, outside: &outside{cloud: srv.Client().Transport}, ctx: t.Context()}
	e.http = &http.Client{Transport: e.outside}
	e.strike = func() { hook(e) }
	return e
}

const (
	loginHost    = "login.microsoftonline.com"
	api          = "https://api.security.microsoft.com/api"
	firstMachine = "0000000000000000000000000000000000000001"
	isolatePath  = "/api/machines/" + firstMachine + "/isolate"
	machinePath  = "/api/machines/" + firstMachine
	scope        = "https://api.securitycenter.microsoft.com/.default"
	graphScope   = "https://graph.microsoft.com/.default"
)

var tokenURLPath = "/" + azuretest.TenantID + "/oauth2/v2.0/token"

// requests is how many requests reached the path.
func (e *azureEnv) requests(path string) (n int) {
	for _, r := range e.srv.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

// entraHangs makes the token service a black hole.
func (e *azureEnv) entraHangs() {
	e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Host: loginHost})
}

// sdkCredential is azidentity's, as shipped.
func (e *azureEnv) sdkCredential() azcore.TokenCredential {
	if e.credential != nil {
		return e.credential
	}
	cred, err := azidentity.NewClientSecretCredential(azuretest.TenantID, azuretest.ClientID, azuretest.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: e.http}})
	if err != nil {
		e.Fatal(err)
	}
	return cred
}

// sdk is the pipeline that every official Azure client is made of.
func (e *azureEnv) sdk(change ...func(*policy.ClientOptions)) runtime.Pipeline {
	options := policy.ClientOptions{Transport: e.http}
	for _, f := range change {
		f(&options)
	}
	bearer := runtime.NewBearerTokenPolicy(e.sdkCredential(), []string{scope}, nil)
	return runtime.NewPipeline("conformance", "v1", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, &options)
}

// sdkDo sends a request as an official client does, and reads the answer.
func sdkDo(ctx context.Context, pl runtime.Pipeline, method, url, body string) ([]byte, error) {
	req, err := runtime.NewRequest(ctx, method, url)
	if err != nil {
		return nil, err
	}
	if body != "" {
		if err := req.SetBody(nopCloser{strings.NewReader(body)}, "application/json"); err != nil {
			return nil, err
		}
	}
	resp, err := pl.Do(req)
	if err != nil {
		return nil, err
	}
	if !runtime.HasStatusCode(resp, http.StatusOK, http.StatusCreated) {
		return nil, runtime.NewResponseError(resp)
	}
	return runtime.Payload(resp)
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// sdkGet reads one machine through azcore.
func (e *azureEnv) sdkGet(change ...func(*policy.ClientOptions)) call {
	pl := e.sdk(change...)
	return func(ctx context.Context) error {
		_, err := sdkDo(ctx, pl, http.MethodGet, api+"/machines/"+firstMachine, "")
		return err
	}
}

// sdkIsolate isolates a machine through azcore.
func (e *azureEnv) sdkIsolate(change ...func(*policy.ClientOptions)) call {
	pl := e.sdk(change...)
	return func(ctx context.Context) error {
		_, err := sdkDo(ctx, pl, http.MethodPost, api+"/machines/"+firstMachine+"/isolate", `{"Comment":"drill","IsolationType":"Full"}`)
		return err
	}
}

func (e *azureEnv) jurymast() *azure.Client {
	cfg := azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: e.http,
	}
	if e.credential != nil {
		cfg.Credential = azure.Plain(e.credential)
	}
	c, err := azure.New(cfg)
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

// get reads one machine through Jurymast.
func (e *azureEnv) get() call {
	c := e.jurymast()
	return func(ctx context.Context) error {
		_, err := c.Defender.Machine(ctx, firstMachine)
		return err
	}
}

// isolate isolates a machine through Jurymast.
func (e *azureEnv) isolate() call {
	c := e.jurymast()
	return func(ctx context.Context) error {
		_, err := c.Defender.Isolate(ctx, firstMachine, azure.Isolate{Comment: "drill"})
		return err
	}
}

// works makes a call that must work, before anything goes wrong.
func (e *azureEnv) works(c call) {
	if _, err := c.within(e.ctx, 10*time.Second); err != nil {
		e.Fatalf("before the hazard: %v", err)
	}
}
