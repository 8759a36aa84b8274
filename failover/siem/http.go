package siem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/internal/lend"
	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/internal/secret"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// Secret is a string, such as a token, that fmt, encoding/json and slog show as
// [redacted].
type Secret = secret.Secret

// Format is how an HTTP sink writes a batch.
type Format uint8

// The formats.
const (
	// Array is one JSON array, application/json: compressed once, when the events
	// were stored, and sent as it is.
	Array Format = iota
	// NDJSON is a JSON object a line, application/x-ndjson: batches are compressed again.
	NDJSON
)

// HTTPConfig sets up an HTTP sink. URL is required, the rest has defaults.
type HTTPConfig struct {
	// URL takes the POSTs: https, or http if the host is this machine.
	URL string
	// ID of the sink among others. Default "http/HOST".
	ID string
	// Header goes with every request, such as Authorization. It is sent to the URL's
	// host alone: redirects are not followed.
	Header map[string]Secret
	// Authorize, if not nil, completes the header of every request, for tokens that
	// expire and signatures; what else it changes does not count. It is called for
	// each attempt, by several goroutines; its failure is the attempt's.
	Authorize func(ctx context.Context, req *http.Request) error
	// Format of a batch. Default Array.
	Format Format
	// Plain sends batches without gzip.
	Plain bool
	// Success are the statuses that say that all rows are kept. Default: every 2xx.
	Success []int
	// HTTPClient provides the transport (TLS roots, proxy, dialer). Only its
	// Transport is used. Default http.DefaultTransport.
	HTTPClient *http.Client
	// Policy guards the sink; set its Quota to keep within a limit of requests.
	Policy resilience.Config
}

// NewHTTP returns a sink that posts batches to a URL, with no network I/O before the
// first. 400, 413 and 422 refuse the rows; what else is no success is an error, after
// which the pump sends the batch again. After 429 or 503 with Retry-After nothing is
// sent before that time, by any of Config.Senders; the time is at most
// resilience.MaxRetryAfter. A request whose answer is lost is repeated.
func NewHTTP(cfg HTTPConfig) (failover.Member[Sink], error) {
	none := failover.Member[Sink]{}
	u, err := cfg.check()
	if err != nil {
		return none, err
	}
	if cfg.ID == "" {
		cfg.ID = "http/" + u.Host
	}
	s := &httpSink{
		id: cfg.ID, url: u, format: cfg.Format, plain: cfg.Plain, success: slices.Clone(cfg.Success),
		wire:      &resilience.Wire{MaxBody: maxAnswer},
		authorize: authorizer(&cfg),
	}
	if cfg.HTTPClient != nil {
		s.wire.Base = cfg.HTTPClient.Transport
	}
	if s.policy, err = resilience.New("siem."+cfg.ID, cfg.Policy); err != nil {
		return none, fmt.Errorf("siem: HTTPConfig.Policy: %w", err)
	}
	return failover.Member[Sink]{ID: cfg.ID, Value: s, Plane: u.Hostname()}, nil
}

// maxAnswer is what is read of an answer: enough for what it says of a refused row.
const maxAnswer = 64 << 10

// check says nothing of what the URL is: it may have a token in it.
func (c *HTTPConfig) check() (*url.URL, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !local(u.Hostname())):
		return nil, resilience.Misusef("siem: HTTPConfig.URL: want https://host/path, or http for this machine, without user and fragment")
	case c.Format > NDJSON:
		return nil, resilience.Misusef("siem: HTTPConfig.Format is %d: want Array or NDJSON", c.Format)
	}
	for _, status := range c.Success {
		if status < 200 || status > 299 {
			return nil, resilience.Misusef("siem: HTTPConfig.Success has %d: want statuses from 200 to 299", status)
		}
	}
	for name, value := range c.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Content-Encoding", "Transfer-Encoding":
			return nil, resilience.Misusef("siem: HTTPConfig.Header has %s, which follows from the request", name)
		}
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7F || r == ':' }) ||
			strings.ContainsFunc(string(value), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }) {
			return nil, resilience.Misusef("siem: HTTPConfig.Header: %q is no name of a header, or its value has a line break in it", name)
		}
	}
	return u, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

type httpSink struct {
	id        string
	url       *url.URL
	format    Format
	plain     bool
	success   []int
	policy    *resilience.Policy
	wire      *resilience.Wire
	authorize func(context.Context, *http.Request) error // and not the secrets, which %+v would print
	silence   wait.Pause                                 // the server asked for it
}

func authorizer(cfg *HTTPConfig) func(context.Context, *http.Request) error {
	header, more := http.Header{}, cfg.Authorize
	for name, value := range cfg.Header {
		header.Set(name, string(value))
	}
	return func(ctx context.Context, req *http.Request) (err error) {
		maps.Copy(req.Header, header.Clone())
		if more == nil {
			return nil
		}
		defer safe.Catch(&err, "HTTPConfig.Authorize")
		// A copy, so that nobody else gets the events, nor a token.
		theirs := req.Clone(ctx)
		if theirs.Body, err = req.GetBody(); err != nil {
			return err
		}
		err = more(ctx, theirs)
		req.Header = theirs.Header
		return err
	}
}

// noToken: nothing was sent, and it says nothing against the server.
type noToken struct{ error }

func (e noToken) Unwrap() error { return e.error }

func (e noToken) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Credential, Sent: resilience.NotSent, RetryAfter: resilience.Of(e.error).RetryAfter}
}

// Sending a batch again is safe: its rows have ids.
var postCall = resilience.Call{Name: "siem.post", Kind: resilience.Idempotent}

// Send implements Sink.
func (s *httpSink) Send(ctx context.Context, b *Batch) (Receipt, error) {
	body, err := s.body(b)
	if err != nil {
		return Receipt{}, err
	}
	_, err = resilience.Do(ctx, s.policy, postCall, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.post(ctx, body)
	})
	if e, ok := errors.AsType[*HTTPError](err); ok && e.aboutRows() {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return Receipt{}, err
}

func (s *httpSink) body(b *Batch) ([]byte, error) {
	if s.format == Array && !s.plain {
		return b.Gzip()
	}
	rows, err := b.All()
	if err != nil {
		return nil, err
	}
	text := ndjson(rows)
	if s.format == Array {
		text = joined(rows, "[", separator, "]")
	}
	if s.plain {
		return text, nil
	}
	return zipped(text), nil
}

// post sends a body once.
func (s *httpSink) post(ctx context.Context, body []byte) error {
	if left := s.silence.Left(); left > 0 {
		return &HTTPError{ID: s.id, RetryAfter: left}
	}
	lent := lend.New(body)
	defer lent.End()
	req := s.request(lent, len(body)).WithContext(ctx)
	if err := s.authorize(ctx, req); err != nil {
		return noToken{fmt.Errorf("HTTPConfig.Authorize: %w", err)}
	}
	resp, err := s.wire.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err != nil && resp.StatusCode < 300 && !errors.Is(err, resilience.ErrTooLarge) {
		return fmt.Errorf("HTTP %d: reading the answer: %w", resp.StatusCode, err)
	}
	return s.judge(req, resp, said)
}

func (s *httpSink) request(body *lend.Body, size int) *http.Request {
	u := *s.url
	kind := "application/json"
	if s.format == NDJSON {
		kind = "application/x-ndjson"
	}
	req := &http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, Body: body.Reader(), ContentLength: int64(size),
		GetBody: func() (io.ReadCloser, error) { return body.Reader(), nil },
		Header:  http.Header{"Content-Type": {kind}, "User-Agent": {"jurymast"}},
	}
	if !s.plain {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req
}

// judge makes an error of every answer that is no success.
func (s *httpSink) judge(req *http.Request, resp *http.Response, said []byte) error {
	e := &HTTPError{ID: s.id, Status: resp.StatusCode}
	switch {
	case e.Status/100 == 2 && webPage(resp.Header, said):
		e.Hint = "it is a web page, as of a login or a proxy: check HTTPConfig.URL"
		return e
	case e.Status/100 == 2 && (len(s.success) == 0 || slices.Contains(s.success, e.Status)):
		return nil
	case e.Status/100 == 2:
		e.Hint = "HTTPConfig.Success does not have it"
	case e.Status/100 == 3:
		e.Hint = "redirects are not followed: check HTTPConfig.URL"
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		e.Hint = "check HTTPConfig.Header and Authorize"
	case e.Status == http.StatusUnsupportedMediaType:
		e.Hint = "check HTTPConfig.Format, or set Plain if it is gzip that is not understood"
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusServiceUnavailable:
		e.RetryAfter = resilience.RetryAfter(resp.Header, time.Now())
		s.silence.Extend(e.RetryAfter)
	}
	e.Said = quoted(said, req)
	return e
}
