package azure_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// There is no deduplication at Azure Monitor: azcore's four sends of a lost answer are
// four copies.
func TestALostAnswerIsUnknownAndNotSentAgain(t *testing.T) {
	for _, kind := range []fault.Rule{{Kind: fault.LoseResponse}, {Kind: fault.Status, Status: 500}, {Kind: fault.Reset}, {Kind: fault.Blackhole}, {Kind: fault.Status, Status: 200}} {
		cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			kind.Path, kind.Count = "/dataCollectionRules", 1
			srv.Faults().Add(kind)
			res, err := ingestor(t, c, func(g *azure.IngestTarget) { g.MaxBytes = 1000 }).Upload(t.Context(), numbered(20, 300))
			if f := resilience.Of(err); counts(res) != "accepted 0, rejected 0, unknown 3, unsent 17" || f.Sent != resilience.MaybeSent || len(posted(srv)) != 1 {
				t.Errorf("%v %d: %s in %d requests, %v", kind.Kind, kind.Status, counts(res), len(posted(srv)), err)
			}
		})
	}
}

func TestAtLeastOnceSendsAgain(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/dataCollectionRules", Count: 1})
		res, err := ingestor(t, c, func(g *azure.IngestTarget) { g.AtLeastOnce = true }).Upload(t.Context(), numbered(3, 300))
		if err != nil || res.Count(azure.RowAccepted) != 3 || !slices.Equal(stored(t, srv), []int{0, 1, 2, 0, 1, 2}) {
			t.Errorf("%s, stored %v, %v", counts(res), stored(t, srv), err)
		}
		p := posted(srv)
		if len(p) != 2 || !bytes.Equal(p[0].Body, p[1].Body) {
			t.Errorf("%d requests, or other bytes", len(p))
		}
	})
}

func TestARevokedTokenCostsNoRow(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		g := ingestor(t, c, nil)
		for range 2 {
			if _, err := g.Upload(t.Context(), numbered(3, 300)); err != nil {
				t.Fatal(err)
			}
			srv.RevokeTokens()
		}
		if !slices.Equal(stored(t, srv), []int{0, 1, 2, 0, 1, 2}) {
			t.Errorf("stored %v", stored(t, srv))
		}
	})
}

func TestWhatWasNotSentIsUnsent(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		g := ingestor(t, c, func(g *azure.IngestTarget) { g.MaxBytes = 1000 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if res, err := g.Upload(ctx, numbered(5, 300)); counts(res) != "accepted 0, rejected 0, unknown 0, unsent 5" || !errors.Is(err, context.Canceled) {
			t.Errorf("%s, %v", counts(res), err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse, Host: azuretest.IngestHost})
		res, err := g.Upload(t.Context(), numbered(5, 300))
		if f := resilience.Of(err); counts(res) != "accepted 0, rejected 0, unknown 0, unsent 5" || f.Sent != resilience.NotSent {
			t.Errorf("%s, %v (%v)", counts(res), err, f.Sent)
		}
	})
}

// A role takes up to half an hour to be known: the rows must outlive that.
func TestA403AfterSetUpKeepsTheRows(t *testing.T) {
	cloud(t, rule(func(c *azuretest.Collection) { c.RoleAfter = 25 * time.Minute }), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		g := ingestor(t, c, nil)
		res, err := g.Upload(t.Context(), numbered(4, 300))
		e, ok := errors.AsType[*azure.APIError](err)
		if !ok || e.Code != "OperationFailed" || !strings.Contains(e.Hint, "30 minutes") || counts(res) != "accepted 0, rejected 0, unknown 0, unsent 4" {
			t.Fatalf("%s, %v", counts(res), err)
		}
		if f := resilience.Of(err); f.Class != resilience.Denied || f.Sent != resilience.Answered || g.Policy().State() != resilience.Closed {
			t.Errorf("%+v, %v", f, g.Policy().State())
		}
		time.Sleep(26 * time.Minute)
		if _, err := g.Upload(t.Context(), numbered(4, 300)); err != nil || len(stored(t, srv)) != 4 {
			t.Errorf("%v", err)
		}
	})
}

// What is wrong with the target is not searched for in the rows.
func TestAWrongTargetIsNoPoison(t *testing.T) {
	server := rule(nil)
	server.Collections = append(server.Collections, azuretest.Collection{Host: backupHost, RuleID: backupRule, Streams: streams()})
	for _, test := range []struct {
		name, hint string
		change     func(*azure.IngestTarget)
	}{
		{"stream", "IngestTarget.Stream", func(g *azure.IngestTarget) { g.Stream = "Custom-Other" }},
		{"rule", "IngestTarget.RuleID", func(g *azure.IngestTarget) { g.RuleID = "dcr-2" }},
		{"region", "in one region", func(g *azure.IngestTarget) { g.RuleID = backupRule }},
	} {
		cloud(t, server, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			res, err := ingestor(t, c, test.change).Upload(t.Context(), numbered(40, 100))
			if err == nil || !strings.Contains(err.Error(), test.hint) || len(posted(srv)) != 1 || res.Count(azure.RowUnsent) != 40 {
				t.Errorf("%s: %s in %d requests, %v", test.name, counts(res), len(posted(srv)), err)
			}
		})
	}
}

func TestThrottlingHoldsAllIngestorsOfARule(t *testing.T) {
	server := rule(func(c *azuretest.Collection) { c.Streams["Custom-Other"] = columns })
	cloud(t, server, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 429, Header: http.Header{"Retry-After": {"4"}}, Path: "/dataCollectionRules", Count: 1})
		one, other := ingestor(t, c, nil), ingestor(t, c, func(g *azure.IngestTarget) { g.Stream = "Custom-Other" })
		begin := time.Now()
		done := make(chan error)
		go func() {
			_, err := one.Upload(t.Context(), numbered(3, 100))
			done <- err
		}()
		time.Sleep(time.Second)
		if _, err := other.Upload(t.Context(), numbered(1, 100)); err != nil {
			t.Error(err)
		}
		if waited := time.Since(begin); waited < 4*time.Second {
			t.Errorf("the other waited %v", waited)
		}
		if err := <-done; err != nil || !slices.Equal(stored(t, srv), []int{0, 1, 2}) {
			t.Errorf("stored %v, %v", stored(t, srv), err)
		}
	})
}

func TestTheRulesQuotaIsKept(t *testing.T) {
	server := rule(func(c *azuretest.Collection) { c.RequestsPerMinute = 60 })
	cloud(t, server, func(c *azure.Config) { c.Policy.Total = -1 }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for range 2 { // spend one quota
			g := ingestor(t, c, func(g *azure.IngestTarget) { g.MaxBytes, g.RequestsPerMinute = 1000, 60 })
			if _, err := g.Upload(t.Context(), numbered(100, 900)); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range posted(srv) {
			if r.Status != http.StatusNoContent {
				t.Errorf("status %d", r.Status)
			}
		}
		_, err := c.Logs.Ingestor(azure.IngestTarget{Endpoint: "https://" + azuretest.IngestHost, RuleID: azuretest.RuleID, Stream: stream})
		if err == nil || !strings.Contains(err.Error(), "RequestsPerMinute") {
			t.Errorf("another quota for the same rule: %v", err)
		}
	})
}

func TestTwoRegionsAreTwoFailureDomains(t *testing.T) {
	server := rule(nil)
	server.Collections = append(server.Collections, azuretest.Collection{Host: backupHost, RuleID: backupRule, Streams: streams()})
	cloud(t, server, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		g := ingestor(t, c, nil)
		backup := ingestor(t, c, func(g *azure.IngestTarget) { g.Endpoint, g.RuleID = "https://"+strings.ToUpper(backupHost), backupRule })
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Host: azuretest.IngestHost})
		for g.Policy().State() != resilience.Opened {
			if _, err := g.Upload(t.Context(), numbered(1, 100)); err == nil {
				t.Fatal("no error")
			}
		}
		if _, err := backup.Upload(t.Context(), numbered(1, 100)); err != nil {
			t.Error(err)
		}
		if n := len(srv.Rows(backupRule, stream)); n != 1 {
			t.Errorf("%d rows in the other region", n)
		}
		p := c.Policies()
		if p["azure.ingest."+azuretest.IngestHost] != g.Policy() || p["azure.ingest."+backupHost] != backup.Policy() || p["azure.logquery"] != c.Logs.Policy() {
			t.Errorf("policies %v", p)
		}
	})
}

func TestUploadCompressed(t *testing.T) {
	compress := func(text string) []byte {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		_, _ = zip.Write([]byte(text))
		_ = zip.Close()
		return b.Bytes()
	}
	cloud(t, rule(func(c *azuretest.Collection) { c.Auxiliary = true }), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		g := ingestor(t, c, nil)
		if err := g.UploadCompressed(t.Context(), compress(`[{"N":7},{"N":8}]`)); err != nil || !slices.Equal(stored(t, srv), []int{7, 8}) {
			t.Errorf("stored %v, %v", stored(t, srv), err)
		}
		if err := g.UploadCompressed(t.Context(), compress(`[{"Text":{}}]`)); !errors.Is(err, azure.ErrRefused) || resilience.Of(err).Class != resilience.Rejected {
			t.Errorf("refused: %v", err)
		}
		for _, body := range [][]byte{nil, make([]byte, 1_048_577)} {
			if err := g.UploadCompressed(t.Context(), body); resilience.Of(err).Class != resilience.Misuse {
				t.Errorf("%d bytes: %v", len(body), err)
			}
		}
		other := ingestor(t, c, func(g *azure.IngestTarget) { g.Stream = "Custom-Other" })
		if err := other.UploadCompressed(t.Context(), compress(`[{}]`)); err == nil || errors.Is(err, azure.ErrRefused) {
			t.Errorf("wrong stream: %v", err)
		}
	})
}

func TestAReadOnlyClientUploadsNothing(t *testing.T) {
	cloud(t, rule(nil), func(c *azure.Config) { c.ReadOnly = true }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		res, err := ingestor(t, c, nil).Upload(t.Context(), numbered(2, 100))
		if !errors.Is(err, azure.ErrReadOnly) || res.Count(azure.RowUnsent) != 2 || len(srv.Requests()) != 0 {
			t.Errorf("%s, %v", counts(res), err)
		}
	})
}

func TestAWrongTargetIsSaidAtOnce(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		for field, change := range map[string]func(*azure.IngestTarget){
			"Endpoint":          func(g *azure.IngestTarget) { g.Endpoint = "http://" + azuretest.IngestHost },
			"RuleID":            func(g *azure.IngestTarget) { g.RuleID = "/subscriptions/x/dataCollectionRules/y" },
			"Stream":            func(g *azure.IngestTarget) { g.Stream = "" },
			"MaxBytes":          func(g *azure.IngestTarget) { g.MaxBytes = 1_048_577 },
			"MaxRefused":        func(g *azure.IngestTarget) { g.MaxRefused = -1 },
			"MaxField":          func(g *azure.IngestTarget) { g.MaxField = 5 },
			"RequestsPerMinute": func(g *azure.IngestTarget) { g.RequestsPerMinute = -1 },
			"OriginalTime":      func(g *azure.IngestTarget) { g.OriginalTime = "2nd" },
		} {
			target := azure.IngestTarget{Endpoint: "https://" + azuretest.IngestHost, RuleID: azuretest.RuleID, Stream: stream}
			change(&target)
			if _, err := c.Logs.Ingestor(target); err == nil || !strings.Contains(err.Error(), "IngestTarget."+field) {
				t.Errorf("%s: %v", field, err)
			}
		}
	})
}

// The official client has neither; a token must go nowhere else either.
func TestTheTokenGoesToTheEndpointAlone(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 307, Header: http.Header{"Location": {"https://api.security.microsoft.com/api/x"}}, Path: "/dataCollectionRules"})
		res, err := ingestor(t, c, nil).Upload(t.Context(), []json.RawMessage{[]byte(`{"N":1}`)})
		if err == nil || res.Count(azure.RowUnsent) != 1 {
			t.Errorf("%s, %v", counts(res), err)
		}
		for _, r := range srv.Requests() {
			if r.Host != azuretest.IngestHost && r.Header.Get("Authorization") != "" {
				t.Errorf("a token went to %s", r.Host)
			}
		}
	})
}

// hasty answers before it has read the body, and keeps it.
type hasty struct {
	http.RoundTripper
	kept []io.ReadCloser
}

func (h *hasty) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(req.URL.Path, "/dataCollectionRules") {
		return h.RoundTripper.RoundTrip(req)
	}
	h.kept = append(h.kept, req.Body)
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: req}, nil
}

func TestTheBytesOfAnUploadAreNotReadAfterIt(t *testing.T) {
	var h hasty
	cloud(t, rule(nil), func(c *azure.Config) {
		h.RoundTripper = c.HTTPClient.Transport
		c.HTTPClient = &http.Client{Transport: &h}
	}, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if _, err := ingestor(t, c, nil).Upload(t.Context(), numbered(5, 300)); err != nil {
			t.Fatal(err)
		}
		if n, err := h.kept[0].Read(make([]byte, 10)); n != 0 || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

// What cannot be sent is known before what Azure Monitor refuses.
func TestRejectedRowsComeInOrder(t *testing.T) {
	cloud(t, rule(func(c *azuretest.Collection) { c.Auxiliary = true }), nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		rows := rowsOf(`{"N":0}`, `{"Text":{"a":1}}`, `{"N":2}`, `no row`, `{"Text":[4]}`)
		res, err := ingestor(t, c, nil).Upload(t.Context(), rows)
		var at []int
		for _, r := range res.Rejected {
			at = append(at, r.Index)
		}
		if !slices.Equal(at, []int{1, 3, 4}) {
			t.Errorf("rejected %v", at)
		}
		if api, ok := errors.AsType[*azure.APIError](err); !ok || api.Status != http.StatusBadRequest {
			t.Errorf("the first is not the error: %v", err)
		}
	})
}
