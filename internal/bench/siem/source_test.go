package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/falcon"
)

// hosts are a source of n events and a sink, over TLS.
func hosts(t *testing.T, n int) (src *source, l *ledger, falconURL, azureURL string, client *http.Client) {
	t.Helper()
	ca, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ev := newEvents(newTemplates(8, 1), 2, n)
	src, l = newSource(ev, n, 0), newLedger(ev)
	var urls [2]string
	for i, h := range []http.Handler{src.handler(), newSink(l, 1).handler()} {
		s, err := newServer(ca, h)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		urls[i] = s.url()
	}
	pem, err := os.ReadFile(ca.file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return src, l, urls[0], urls[1], &http.Client{Transport: transport}
}

// What is measured speaks to the real clouds: the library's own clients, and
// Microsoft's of Entra ID in them, understand these hosts.
func TestTheRealClientsUnderstandTheHosts(t *testing.T) {
	const n = 500
	_, l, falconURL, azureURL, client := hosts(t, n)
	fc, err := falcon.New(falcon.Config{ClientID: "bench", ClientSecret: "bench", BaseURL: falconURL, HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	ac, err := azure.New(azure.Config{
		TenantID: "11111111-1111-4111-8111-111111111111", ClientID: "22222222-2222-4222-8222-222222222222", ClientSecret: "bench",
		AuthorityURL: azureURL, HTTPClient: client,
	})
	if err != nil {
		t.Fatal(err)
	}
	in, err := ac.Logs.Ingestor(azure.IngestTarget{Endpoint: azureURL, RuleID: "dcr-00000000000000000000000000000000", Stream: "Custom-X"})
	if err != nil {
		t.Fatal(err)
	}
	done := errors.New("all events are there")
	var mu sync.Mutex
	seen := 0
	err = fc.Stream.Run(t.Context(), falcon.StreamConfig{AppID: "bench", Handle: func(ctx context.Context, events []falcon.Event) error {
		var rows []json.RawMessage
		for _, e := range events {
			if e.Err != nil {
				return e.Err
			}
			rows = append(rows, e.Raw)
		}
		if _, err := in.Upload(ctx, rows); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if seen += len(events); seen == n {
			return done
		}
		return nil
	}})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	if c, _ := l.now(); c != (counts{Delivered: n, Distinct: n}) {
		t.Errorf("the ledger has %+v", c)
	}
}

// Offsets are inclusive, a name in use is offered nothing, and what is new is what
// nobody was sent: as Falcon does it (facts/falcon.md 2.5), or nothing is proved.
func TestTheSourceIsAsFalconIs(t *testing.T) {
	src, _, base, _, client := hosts(t, 1000)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // a feed without events never ends
	defer cancel()
	ask := func(address, authorization string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", authorization)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	discover := func() (feeds, tokens []string) {
		t.Helper()
		var found struct {
			Resources []struct {
				Feed    string `json:"dataFeedURL"`
				Session struct {
					Token string `json:"token"`
				} `json:"sessionToken"`
			} `json:"resources"`
		}
		resp := ask(base+discoverPath+"?appId=x", "Bearer "+falconToken)
		defer func() { _ = resp.Body.Close() }()
		if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
			t.Fatal(err)
		}
		for _, r := range found.Resources {
			feeds, tokens = append(feeds, r.Feed), append(tokens, r.Session.Token)
		}
		return feeds, tokens
	}
	feeds, tokens := discover()
	if len(feeds) != 2 {
		t.Fatalf("%d partitions on offer", len(feeds))
	}
	if resp := ask(feeds[0], "Token "+tokens[1]); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another partition's token: %s", resp.Status)
	}
	for _, tc := range []struct {
		query string
		first int64
	}{
		{"&offset=" + fmt.Sprint(offsetOf(1, 490)), offsetOf(1, 490)},
		{"&offset=0", offsetOf(1, 0)},
	} {
		resp := ask(feeds[1]+tc.query, "Token "+tokens[1])
		got, err := bufio.NewReader(resp.Body).ReadString('\n')
		if want := fmt.Sprintf(`"offset":%d,`, tc.first); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s begins with %.100s (%v), want %s", tc.query, got, err, want)
		}
		if feeds, _ := discover(); len(feeds) != 0 {
			t.Errorf("%d partitions on offer to a name in use", len(feeds))
		}
		_ = resp.Body.Close()
	}
	// All of partition 1 was sent by now, nothing of partition 0.
	if told := src.told(); told != 500 {
		t.Errorf("%d events count as sent", told)
	}
	resp := ask(feeds[0]+"&whence=2", "Token "+tokens[0])
	defer func() { _ = resp.Body.Close() }()
	if got, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || !strings.Contains(got, fmt.Sprintf(`"offset":%d,`, offsetOf(0, 0))) {
		t.Errorf("what is new begins with %.100s (%v)", got, err)
	}
}
