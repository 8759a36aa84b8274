package falcon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// HECConfig sets up a [HEC]. URL and Key are required, the rest has defaults.
type HECConfig struct {
	// URL of the HEC/HTTP connector, as the console shows it (Next-Gen SIEM > Data
	// connectors), with or without /services/collector at its end.
	URL string
	// Key is the connector's API key, which the console shows once. It goes to the
	// URL's host alone.
	Key Secret
	// AtLeastOnce sends a batch again when it is not known whether the first one
	// arrived: nothing is lost to a broken connection, and events may come twice.
	// Default: such a batch is not sent again, and the error says which events are
	// in doubt.
	AtLeastOnce bool
	// MaxBatch is how many bytes of events, before compression, one request
	// carries. Default 1,000,000. No single event may have more; LogScale's
	// documentation says that it cuts events beyond about 1 MB.
	MaxBatch int
	// HTTPClient provides the transport (TLS roots, proxy, dialer). Only its
	// Transport is used, redirects are not followed. Default http.DefaultTransport.
	HTTPClient *http.Client
	// Policy guards the connector.
	Policy resilience.Config
	// Logger hears of breaker changes. Default: discards.
	Logger *slog.Logger
}

// HEC sends events to a HEC/HTTP connector of Next-Gen SIEM. It needs no [Client]:
// the connector has a host and a key of its own. It is safe for concurrent use,
// holds no goroutine and needs no closing.
type HEC struct {
	url       *url.URL
	kind      resilience.Kind
	maxBatch  int
	policy    *resilience.Policy
	wire      *resilience.Wire
	authorize func(http.Header)   // and not the key, which %+v would print
	redact    func(string) string // the key, in what the server says
}

const defaultMaxBatch = 1_000_000

// NewHEC returns a sender. It does no network I/O; a wrong HECConfig gives an error
// that names the field.
func NewHEC(cfg HECConfig) (*HEC, error) {
	u, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	key := string(cfg.Key)
	h := &HEC{
		url: u, maxBatch: cfg.MaxBatch,
		wire:      &resilience.Wire{}, // follows no redirect: the key goes nowhere else
		authorize: func(header http.Header) { header.Set("Authorization", "Bearer "+key) },
		redact:    func(s string) string { return strings.ReplaceAll(s, key, cfg.Key.String()) },
	}
	if cfg.AtLeastOnce {
		h.kind = resilience.Idempotent
	}
	if cfg.HTTPClient != nil {
		h.wire.Base = cfg.HTTPClient.Transport
	}
	cfg.Policy = cfg.Policy.Inherit(resilience.Config{Logger: cfg.Logger})
	if h.policy, err = resilience.New("falcon.hec", cfg.Policy); err != nil {
		return nil, fmt.Errorf("falcon: HECConfig.Policy: %w", err)
	}
	return h, nil
}

const collectorPath = "/services/collector"

// resolve checks the configuration, fills in what it leaves open and returns the
// connector's address without the endpoint.
func (cfg *HECConfig) resolve() (*url.URL, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		// Not quoted: somebody may have put the key in its place.
		return nil, errors.New("falcon: HECConfig.URL: want the connector's https://host/path, without user, query or fragment")
	case cfg.Key == "" || strings.ContainsFunc(string(cfg.Key), func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("falcon: HECConfig.Key is empty or has white space in it: want the connector's API key")
	case cfg.MaxBatch < 0:
		return nil, errors.New("falcon: HECConfig.MaxBatch must not be negative")
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = defaultMaxBatch
	}
	path := strings.TrimSuffix(u.Path, "/")
	path = strings.TrimSuffix(strings.TrimSuffix(path, "/raw"), collectorPath)
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}, nil
}

// Policy is the policy that guards the connector.
func (h *HEC) Policy() *resilience.Policy { return h.policy }

// HECError says how far a Send came. It unwraps to what stopped it, a
// [*resilience.Error] in which errors.As finds an [*APIError] if Falcon answered.
type HECError struct {
	// Accepted is how many events Falcon has accepted: the first ones.
	Accepted int
	// InDoubt is how many of the events after those may have been accepted as well.
	// To send all again from Accepted on loses none and may repeat these.
	InDoubt int
	// Of is how many events there were.
	Of  int
	Err error
}

// Error names the numbers and the cause.
func (e *HECError) Error() string {
	if e.InDoubt == 0 {
		return fmt.Sprintf("%v (%d of %d events accepted)", e.Err, e.Accepted, e.Of)
	}
	return fmt.Sprintf("%v (%d of %d events accepted, the next %d in doubt)", e.Err, e.Accepted, e.Of, e.InDoubt)
}

// Unwrap gives the cause.
func (e *HECError) Unwrap() error { return e.Err }

// Failure makes HECError Classified: that the last batch was not sent does not
// mean that none was.
func (e *HECError) Failure() resilience.Failure {
	f := resilience.Of(e.Err)
	if e.Accepted > 0 {
		f.Sent = resilience.MaybeSent
	}
	return f
}

// Send sends structured events, in order, in as many batches as HECConfig.MaxBatch
// makes of them. An event that cannot be sent, because it is too large or no JSON,
// is an error that names its index, before anything is sent. Whatever fails later
// is a [*HECError] and the end: batches after it are not sent.
func (h *HEC) Send(ctx context.Context, events ...HECEvent) error {
	return h.send(ctx, "hec.send", collectorPath, "application/json", len(events), func(i int) ([]byte, error) { return events[i].line() })
}

// SendRaw is Send for events that the connector's parser makes sense of: each is
// one line, without the end of line.
func (h *HEC) SendRaw(ctx context.Context, lines ...string) error {
	return h.send(ctx, "hec.send_raw", collectorPath+"/raw", "text/plain; charset=utf-8", len(lines), func(i int) ([]byte, error) {
		if strings.TrimSpace(lines[i]) == "" || strings.ContainsAny(lines[i], "\r\n") {
			return nil, errors.New("it is empty, or more than one line, which would be as many events")
		}
		return append([]byte(lines[i]), '\n'), nil
	})
}

func (h *HEC) send(ctx context.Context, name, path, kind string, n int, line func(int) ([]byte, error)) error {
	batches, err := batched(name, h.maxBatch, n, line)
	if err != nil {
		return err
	}
	call := resilience.Call{Name: name, Kind: h.kind}
	accepted := 0
	for _, b := range batches {
		_, err := resilience.Do(ctx, h.policy, call, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, h.post(ctx, name, path, kind, b.body)
		})
		if err != nil {
			e := &HECError{Accepted: accepted, Of: n, Err: err}
			if resilience.Of(err).Sent == resilience.MaybeSent {
				e.InDoubt = b.events
			}
			return e
		}
		accepted += b.events
	}
	return nil
}

// post sends one batch once.
func (h *HEC) post(ctx context.Context, name, path, kind string, body []byte) error {
	u := *h.url
	u.Path += path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", userAgent)
	h.authorize(req.Header)
	resp, err := h.wire.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answered, err := io.ReadAll(resp.Body)
	if err != nil && resp.StatusCode < 300 {
		return fmt.Errorf("falcon %s: HTTP %d: reading the answer: %w", name, resp.StatusCode, err)
	}
	return h.judge(name, &answer{status: resp.StatusCode, header: resp.Header, body: answered, at: time.Now()})
}

// judge makes an error of every answer that is not 200 with code 0.
func (h *HEC) judge(name string, a *answer) error {
	var said struct {
		Text string `json:"text"`
		Code *int   `json:"code"`
	}
	unread := json.Unmarshal(a.body, &said)
	if a.status == http.StatusOK && unread == nil && said.Code != nil && *said.Code == 0 {
		return nil
	}
	var e *APIError
	switch {
	case a.status >= 300:
		e = a.apiError(name)
	case unread != nil || said.Code == nil:
		e = a.malformed(name, errors.New("it is not that of a collector"))
	default:
		e = a.malformed(name, nil)
		e.err = fmt.Errorf("its code is %d, and only 0 is success", *said.Code)
	}
	if said.Text != "" {
		m := Message{Message: said.Text}
		if said.Code != nil {
			m.Code = *said.Code
		}
		e.Messages = append(e.Messages, m)
	}
	for i := range e.Messages {
		e.Messages[i].Message = h.redact(e.Messages[i].Message)
	}
	switch a.status {
	case http.StatusBadRequest:
		// Collectors are known to keep what came before the event they refuse.
		e.class, e.sent = resilience.Rejected, resilience.MaybeSent
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Hint = "check HECConfig.Key and HECConfig.URL: a connector that was made anew has new ones"
	case http.StatusRequestEntityTooLarge:
		e.Hint = "lower HECConfig.MaxBatch"
	}
	return e
}
