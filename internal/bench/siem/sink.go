package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fastjson"
)

const (
	maxBody    = 1_048_576 // of a request to Logs Ingestion, before compression
	entraToken = "entra-bearer"
)

// sink is Entra ID, the Logs Ingestion API and an OTLP receiver, which keep nothing
// but what the ledger counts. It is safe for concurrent use.
type sink struct {
	ledger *ledger
	// validate is of how many bodies one is parsed as a whole; of the others only the
	// checksum, both ends and the rows' ids are looked at.
	validate int64
	poison   int64 // the offset of an event that is refused with 400; 0: none

	requests atomic.Int64 // to ingestion, however they were answered
	refused  atomic.Int64 // of them, those that were answered 400 or 413
	heard    atomic.Int64 // when the last of them came, Unix ns
	fault    atomic.Int32 // the status that all of ingestion answers; 0: healthy
	buffers  sync.Pool
}

// buffer is what one request needs.
type buffer struct {
	zip     *gzip.Reader
	body    bytes.Buffer
	offsets []int64
}

func newSink(l *ledger, validate int64) *sink {
	return &sink{ledger: l, validate: validate, buffers: sync.Pool{New: func() any { return &buffer{} }}}
}

func (s *sink) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /common/discovery/instance", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{
			"tenant_discovery_endpoint": "https://" + r.Host + "/bench/v2.0/.well-known/openid-configuration", "api-version": "1.1",
			"metadata": []any{map[string]any{"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host}}},
		})
	})
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + r.Host + "/" + r.PathValue("tenant")
		writeJSON(w, http.StatusOK, map[string]any{
			"authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token", "issuer": base + "/v2.0",
		})
	})
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": entraToken})
	})
	mux.HandleFunc("POST /dataCollectionRules/{rule}/streams/{stream}", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !bearer(r, entraToken):
			refuse(w, http.StatusUnauthorized, "AuthenticationFailed", "no token, or not the one that was issued")
		case r.URL.Query().Get("api-version") != "2023-01-01":
			refuse(w, http.StatusBadRequest, "InvalidApiVersion", "the api-version is missing or not known")
		case s.take(w, r, maxBody, '[', ']'):
			w.WriteHeader(http.StatusNoContent)
		}
	})
	// A collector posts its own format: larger for the same rows, hence without the limit.
	mux.HandleFunc("POST /v1/logs", func(w http.ResponseWriter, r *http.Request) {
		if s.take(w, r, 16*maxBody, '{', '}') {
			writeJSON(w, http.StatusOK, struct{}{})
		}
	})
	return mux
}

// take counts the rows of a request, or refuses it and returns false.
func (s *sink) take(w http.ResponseWriter, r *http.Request, limit int, open, end byte) bool {
	s.heard.Store(time.Now().UnixNano())
	n := s.requests.Add(1)
	if status := int(s.fault.Load()); status != 0 {
		_, _ = io.Copy(io.Discard, r.Body) // a client may still be writing
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		refuse(w, status, "Unavailable", "an outage of the bench")
		return false
	}
	b := s.buffers.Get().(*buffer)
	defer s.buffers.Put(b)
	status, err := s.read(b, r, limit, open, end, n%s.validate == 0)
	if err == nil {
		if b.offsets, err = scan(b.offsets[:0], b.body.Bytes()); err != nil {
			status = http.StatusBadRequest
		}
	}
	for _, offset := range b.offsets {
		if err == nil && s.poison != 0 && offset == s.poison {
			status, err = http.StatusBadRequest, errors.New("a row is refused")
		}
	}
	if err != nil {
		s.refused.Add(1)
		refuse(w, status, http.StatusText(status), err.Error())
		return false
	}
	s.ledger.add(b.offsets, time.Now())
	return true
}

// read fills a buffer with the body, and checks it.
func (s *sink) read(b *buffer, r *http.Request, limit int, open, end byte, whole bool) (status int, err error) {
	in := io.Reader(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "":
	case "gzip":
		if b.zip == nil {
			b.zip, err = gzip.NewReader(in)
		} else {
			err = b.zip.Reset(in)
		}
		if err != nil {
			return http.StatusBadRequest, fmt.Errorf("no gzip: %w", err)
		}
		in = b.zip
	default:
		return http.StatusUnsupportedMediaType, errors.New("only gzip is understood")
	}
	b.body.Reset()
	b.body.Grow(limit/8 + bytes.MinRead)
	switch n, err := b.body.ReadFrom(io.LimitReader(in, int64(limit)+1)); {
	case err != nil:
		return http.StatusBadRequest, fmt.Errorf("the body is broken: %w", err)
	case n > int64(limit):
		_, _ = io.Copy(io.Discard, r.Body)
		return http.StatusRequestEntityTooLarge, fmt.Errorf("more than %d bytes", limit)
	}
	body := bytes.TrimSpace(b.body.Bytes())
	if len(body) < 2 || body[0] != open || body[len(body)-1] != end {
		return http.StatusBadRequest, fmt.Errorf("the body does not begin with %c and end with %c", open, end)
	}
	if whole {
		if err := fastjson.ValidateBytes(body); err != nil {
			return http.StatusBadRequest, fmt.Errorf("the body is not JSON: %w", err)
		}
	}
	return 0, nil
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	code = strings.ReplaceAll(code, " ", "")
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}
