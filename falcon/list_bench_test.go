package falcon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	openapi "github.com/go-openapi/runtime/client"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// inventory serves so many hosts, each a whole record as the simulator writes it,
// without the simulator's work for a page: whole hosts by next, ids by scroll, and
// hosts of ids.
type inventory struct {
	hosts      int
	mu         sync.Mutex
	page       bytes.Buffer
	head, tail []byte // of a record, before and after its id
}

func newInventory(tb testing.TB, n int) *inventory {
	tb.Helper()
	srv, err := falcontest.NewServer(falcontest.Config{Hosts: []falcontest.Host{{
		DeviceID: first, Hostname: "ws-000.corp.example.com", MachineDomain: "corp.example.com", LocalIP: "10.1.2.3",
		ExternalIP: "203.0.113.7", MACAddress: "02-c7-8a-10-00-01", SerialNumber: "VMware-42 1d 8e", Tags: []string{"FalconGroupingTags/berlin"},
	}}})
	if err != nil {
		tb.Fatal(err)
	}
	defer srv.Close()
	c, err := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: srv.Client(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	h, err := c.Hosts.Get(context.Background(), first)
	if err != nil {
		tb.Fatal(err)
	}
	head, tail, _ := bytes.Cut(h.Raw, []byte(first))
	return &inventory{hosts: n, head: head, tail: tail}
}

func inventoryID(i int) string { return fmt.Sprintf("%032x", i) }

func (v *inventory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	from, _ := strconv.Atoi(strings.TrimPrefix(query.Get("offset"), "at-"))
	limit, _ := strconv.Atoi(query.Get("limit"))
	to := min(from+limit, v.hosts)
	more := ""
	if to < v.hosts || strings.Contains(r.URL.Path, "scroll") && from < to {
		more = fmt.Sprint("at-", to)
	}
	paging := fmt.Sprintf(`"pagination":{"total":%d,"offset":%q,"next":%q},`, v.hosts, more, more)
	if r.Method == http.MethodPost {
		paging = ""
	}
	v.mu.Lock() // the pages are big: their making should not be measured
	defer v.mu.Unlock()
	b := &v.page
	b.Reset()
	fmt.Fprintf(b, `{"meta":{"query_time":0.1,%s"trace_id":"t"},"errors":[],"resources":[`, paging)
	sep := ""
	switch {
	case r.URL.Path == tokenPath:
		b.Reset()
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"access_token":"t","token_type":"bearer","expires_in":1799}`)
		return
	case r.Method == http.MethodPost:
		var body struct {
			IDs []string `json:"ids"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		for _, id := range body.IDs {
			v.record(b, &sep, id)
		}
	case strings.Contains(r.URL.Path, "scroll"):
		for i := from; i < to; i++ {
			b.WriteString(sep + `"` + inventoryID(i) + `"`)
			sep = ","
		}
	default:
		for i := from; i < to; i++ {
			v.record(b, &sep, inventoryID(i))
		}
	}
	b.WriteString("]}")
	_, _ = w.Write(b.Bytes())
}

func (v *inventory) record(b *bytes.Buffer, sep *string, id string) {
	b.WriteString(*sep)
	b.Write(v.head)
	b.WriteString(id)
	b.Write(v.tail)
	*sep = ","
}

// client is ours for the inventory.
func (v *inventory) client(tb testing.TB) (*falcon.Client, *httptest.Server) {
	tb.Helper()
	srv := httptest.NewTLSServer(v)
	tb.Cleanup(srv.Close)
	c, err := falcon.New(falcon.Config{ClientID: "id", ClientSecret: "secret", BaseURL: srv.URL, HTTPClient: srv.Client()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close(context.Background()) })
	return c, srv
}

// BenchmarkListHosts lists 100,000 hosts: by Query, and by the loop that users of
// gofalcon write, ids by scroll and then the hosts of the ids, with the page sizes
// that Falcon allows at most.
func BenchmarkListHosts(b *testing.B) {
	const n = 100_000
	v := newInventory(b, n)
	c, srv := v.client(b)
	b.Run("impl=jurymast", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			got := 0
			for h, err := range c.Hosts.Query(falcon.HostQuery{}).All(b.Context()) {
				if err != nil || h.Hostname == "" {
					b.Fatal(h, err)
				}
				got++
			}
			if got != n {
				b.Fatal(got)
			}
		}
	})
	b.Run("impl=gofalcon", func(b *testing.B) {
		b.ReportAllocs()
		api := hosts.New(openapi.NewWithClient(strings.TrimPrefix(srv.URL, "https://"), "/", []string{"https"}, srv.Client()), nil)
		for b.Loop() {
			if got := handWritten(b, api); got != n {
				b.Fatal(got)
			}
		}
	})
}

func handWritten(b *testing.B, api hosts.ClientService) (got int) {
	limit, offset := int64(5000), ""
	for {
		q := hosts.NewQueryDevicesByFilterScrollParamsWithContext(b.Context())
		q.Limit = &limit
		if offset != "" {
			q.Offset = &offset
		}
		page, err := api.QueryDevicesByFilterScroll(q)
		if err != nil {
			b.Fatal(err)
		}
		if len(page.Payload.Resources) == 0 {
			return got
		}
		offset = *page.Payload.Meta.Pagination.Offset
		d := hosts.NewPostDeviceDetailsV2ParamsWithContext(b.Context())
		d.Body = &models.MsaIdsRequest{Ids: page.Payload.Resources}
		details, err := api.PostDeviceDetailsV2(d)
		if err != nil {
			b.Fatal(err)
		}
		for _, h := range details.Payload.Resources {
			if h.Hostname == "" {
				b.Fatal("no name")
			}
			got++
		}
	}
}

// What a listing holds does not grow with the number of hosts.
func TestListingIsBoundedInMemory(t *testing.T) {
	v := newInventory(t, 30_000)
	c, _ := v.client(t)
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var early int64
	n := 0
	for h, err := range c.Hosts.Query(falcon.HostQuery{Limit: 1000}).All(t.Context()) {
		if err != nil || h.ID == "" {
			t.Fatal(err)
		}
		switch n++; n {
		case 2000:
			early = live()
		case 30_000:
			if grown := live() - early; grown > 4<<20 { // one page is 2 MB, all of them 60
				t.Errorf("28,000 hosts later %d KB more are in use", grown>>10)
			}
		}
	}
	if n != 30_000 {
		t.Errorf("%d hosts", n)
	}
}
