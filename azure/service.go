package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/resilience"
)

// service is one of Microsoft's APIs. Each is a failure domain of its own, with
// its own breaker: that Graph is down says nothing of Defender.
type service struct {
	c        *Client
	name     string // in errors and telemetry, behind "azure."
	version  string // sent as api-version, if not empty
	endpoint endpoint
	policy   *resilience.Policy
	pipeline runtime.Pipeline
	wire     *resilience.Wire             // the last stage of the pipeline
	header   http.Header                  // of every request
	quotas   map[string]*resilience.Quota // of operations that have one of their own
	sunsets  map[string]sunset            // operations whose end is announced
	told     *sync.Map                    // those of them that the log has heard of
}

// newService makes a service; quota is what Microsoft allows to all of its
// operations together, nil if that is not known.
func (c *Client) newService(name string, e endpoint, quota ...resilience.Window) (*service, error) {
	s := &service{c: c, name: name, endpoint: e, quotas: map[string]*resilience.Quota{}, told: &sync.Map{}}
	cfg := c.cfg.Policy
	var err error
	if len(quota) > 0 && cfg.Quota == nil {
		if cfg.Quota, err = c.cfg.Quotas.Get("azure."+name, quota...); err != nil {
			return nil, fmt.Errorf("azure: Config.Quotas: %w", err)
		}
	}
	if s.policy, err = resilience.New("azure."+name, cfg); err != nil {
		return nil, fmt.Errorf("azure: Config.Policy: %w", err)
	}
	source, err := c.tokens.source(audience{scope: e.scope})
	if err != nil {
		return nil, err
	}
	pinned := *c.wire
	pinned.AllowHost = e.allow
	s.wire = &pinned
	var wire http.RoundTripper = s.wire
	if len(e.alternates) > 0 {
		wire = &alternates{wire: wire, api: s.policy.Name(), hosts: e.alternates, log: c.cfg.Logger}
	}
	options := noRetries(policy.ClientOptions{Transport: transporter{wire}})
	options.Telemetry.ApplicationID = "jurymast"
	s.pipeline = runtime.NewPipeline("jurymast", "v0", runtime.PipelineOptions{
		PerRetry: []policy.Policy{&bearer{source: source}},
	}, &options)
	return s, nil
}

// limit gives operations, each by itself, the quota that Microsoft documents.
func (s *service) limit(windows []resilience.Window, operations ...string) error {
	for _, op := range operations {
		q, err := s.c.cfg.Quotas.Get(op, windows...)
		if err != nil {
			return fmt.Errorf("azure: Config.Quotas: %w", err)
		}
		s.quotas[op] = q
	}
	return nil
}

func (s *service) call(op string, kind resilience.Kind) resilience.Call {
	return resilience.Call{Name: op, Kind: kind, Quota: s.quotas[op], Reserve: kind != resilience.Read}
}

// url is the address of something of the service.
func (s *service) url(path string, query url.Values) string {
	u := s.endpoint.url + path
	if s.version != "" {
		all := url.Values{"api-version": {s.version}}
		maps.Copy(all, query)
		query = all
	}
	if len(query) > 0 {
		u += "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
	}
	return u
}

// request is one operation of a service.
type request struct {
	call   resilience.Call
	method string
	url    string
	body   any         // marshalled as JSON; nil for none
	header http.Header // beside those of every request
	// encoded, if not nil, makes the body of each attempt instead: it is JSON already.
	encoded func() io.ReadSeekCloser
	// explain, if not nil, adds to a refusal, which took so long, what only the
	// operation knows.
	explain func(e *APIError, body []byte, took time.Duration)
	stays   bool // url is a link of an answer: the host that gave it knows it
}

// reply is a good answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send runs one operation under the service's policy and hands every good answer to
// read, whose error fails the attempt.
func send[T any](ctx context.Context, s *service, r request, read func(*reply) (T, error)) (T, error) {
	var zero T
	if err := s.c.check(r.call.Kind); err != nil {
		return zero, fmt.Errorf("azure %s: %w", r.call.Name, err)
	}
	if s.endpoint.url == "" && !strings.HasPrefix(r.url, "https://") {
		return zero, resilience.Misusef("azure %s: %s is not offered in cloud %q: set Config.Cloud, or its address in Config", r.call.Name, s.name, s.c.cfg.Cloud)
	}
	if err := s.sunset(r.call.Name); err != nil {
		return zero, err
	}
	return resilience.Do(ctx, s.policy, r.call, func(ctx context.Context) (T, error) {
		rep, err := s.exchange(ctx, r)
		if err != nil {
			return zero, err
		}
		return read(rep)
	})
}

func (s *service) exchange(ctx context.Context, r request) (*reply, error) {
	// A caller's retry options in the context would bring azcore's retries back
	// under ours.
	ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	noted := &notes{}
	ctx = context.WithValue(ctx, notesKey{}, noted)
	if !r.stays && len(s.endpoint.alternates) > 0 {
		ctx = movable(ctx, r.call.Kind)
	}
	req, err := runtime.NewRequest(ctx, r.method, r.url)
	if err != nil {
		return nil, resilience.Misusef("azure %s: %v", r.call.Name, err)
	}
	req.Raw().Header.Set("Accept", "application/json")
	for _, header := range []http.Header{s.header, r.header} {
		maps.Copy(req.Raw().Header, header)
	}
	if r.body != nil {
		if err := runtime.MarshalAsJSON(req, r.body); err != nil {
			return nil, resilience.Misusef("azure %s: %v", r.call.Name, err)
		}
	}
	if r.encoded != nil {
		if err := req.SetBody(r.encoded(), "application/json"); err != nil {
			return nil, resilience.Misusef("azure %s: %v", r.call.Name, err)
		}
	}
	begin := time.Now()
	resp, err := s.pipeline.Do(req)
	if err = noted.or(unlessArrived(resp, err)); err != nil {
		return nil, err
	}
	body, err := runtime.Payload(resp)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		e := newAPIError(r.call.Name, resp, body)
		if r.explain != nil {
			r.explain(e, body, time.Since(begin))
		}
		return nil, s.gone(e)
	}
	return &reply{resp.StatusCode, resp.Header, body}, nil
}

// unlessArrived forgives a context that ended when the answer was here already:
// azcore gives both, and what has been done would look as if it had failed.
func unlessArrived(resp *http.Response, err error) error {
	if resp == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, unread := runtime.Payload(resp); unread != nil {
		return err
	}
	return nil
}

// into decodes an answer as T.
func into[T any](op string) func(*reply) (T, error) {
	return func(rep *reply) (T, error) {
		var out T
		err := json.Unmarshal(rep.body, &out)
		if len(rep.body) == 0 {
			err = errors.New("it is empty")
		}
		if err != nil {
			var zero T
			return zero, rep.malformed(op, err)
		}
		return out, nil
	}
}

// nothing reads an answer that has nothing to say but that it is one.
func nothing(*reply) (struct{}, error) { return struct{}{}, nil }

// malformed is the error of a 2xx that cannot be understood: what was asked may
// well have been done.
func (r *reply) malformed(op string, cause error) error {
	return &APIError{
		Operation: op, Status: r.status, RequestID: requestID(r.header),
		class: resilience.Malformed, err: fmt.Errorf("the answer cannot be read: %w", cause),
	}
}
