package azure_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
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

const (
	stream     = "Custom-Events_CL"
	backupHost = "backup-c3d4.northeurope-1.ingest.monitor.azure.com"
	backupRule = "dcr-11111111111111111111111111111111"
)

var columns = []azuretest.Column{
	{Name: "TimeGenerated", Type: "datetime"},
	{Name: "N", Type: "long"},
	{Name: "Text", Type: "string"},
	{Name: "Seen", Type: "datetime"},
	{Name: "Any", Type: "dynamic"},
}

func streams() map[string][]azuretest.Column { return map[string][]azuretest.Column{stream: columns} }

// rule is one data collection rule with one stream.
func rule(change func(*azuretest.Collection)) azuretest.Config {
	c := azuretest.Collection{Streams: streams()}
	if change != nil {
		change(&c)
	}
	return azuretest.Config{Collections: []azuretest.Collection{c}}
}

func ingestor(t *testing.T, c *azure.Client, change func(*azure.IngestTarget)) *azure.Ingestor {
	t.Helper()
	target := azure.IngestTarget{Endpoint: "https://" + azuretest.IngestHost, RuleID: azuretest.RuleID, Stream: stream}
	if change != nil {
		change(&target)
	}
	g, err := c.Logs.Ingestor(target)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func rowsOf(texts ...string) (rows []json.RawMessage) {
	for _, text := range texts {
		rows = append(rows, json.RawMessage(text))
	}
	return rows
}

// numbered are n rows of about size bytes, which carry their index.
func numbered(n, size int) (rows []json.RawMessage) {
	for i := range n {
		rows = append(rows, fmt.Appendf(nil, `{"N":%d,"Text":%q}`, i, strings.Repeat("x", max(0, size-24))))
	}
	return rows
}

// stored are the numbers of the rows that arrived, in order.
func stored(t *testing.T, srv *azuretest.Server) (numbers []int) {
	t.Helper()
	for _, raw := range srv.Rows(azuretest.RuleID, stream) {
		var row struct{ N int }
		if err := json.Unmarshal(raw, &row); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, row.N)
	}
	return numbers
}

// posted are the uploads that the server saw.
func posted(srv *azuretest.Server) (out []azuretest.Request) {
	for _, r := range srv.Requests() {
		if strings.HasPrefix(r.Path, "/dataCollectionRules/") {
			out = append(out, r)
		}
	}
	return out
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func counts(r azure.IngestResult) string {
	return fmt.Sprintf("accepted %d, rejected %d, unknown %d, unsent %d", r.Count(azure.RowAccepted),
		r.Count(azure.RowRejected), r.Count(azure.RowUnknown), r.Count(azure.RowUnsent))
}

func TestUploadSendsRowsByteByByte(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		rows := rowsOf(`{"N":9007199254740993, "Text":"\u00e9<&>"}`, "\n { \"N\" : 1.0e1 } ", `{"New":1}`)
		res, err := ingestor(t, c, nil).Upload(t.Context(), rows)
		if err != nil || counts(res) != "accepted 3, rejected 0, unknown 0, unsent 0" {
			t.Fatalf("%s, %v", counts(res), err)
		}
		r := posted(srv)[0]
		want := "[" + string(bytes.Join([][]byte{rows[0], rows[1], rows[2]}, []byte(","))) + "]"
		if got := string(gunzip(t, r.Body)); got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
		if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Content-Type") != "application/json" ||
			r.Query.Get("api-version") != "2023-01-01" || r.Method != http.MethodPost {
			t.Errorf("%s %v %v", r.Method, r.Query, r.Header)
		}
		if s := string(srv.Rows(azuretest.RuleID, stream)[0]); !strings.Contains(s, `"N":9007199254740993`) {
			t.Errorf("stored %s", s)
		}
		if res, err := ingestor(t, c, nil).Upload(t.Context(), nil); err != nil || len(res.Rows) != 0 || len(posted(srv)) != 1 {
			t.Errorf("no rows: %v, %v", res, err)
		}
	})
}

// Vector, Fluent Bit, OpenShift and LiteLLM sent more than 1 MB at a time and lost it.
func TestUploadSplitsBelowTheLimitAndKeepsTheOrder(t *testing.T) {
	for _, limit := range []int{0, 10_000, 1_048_576} {
		cloud(t, rule(func(c *azuretest.Collection) { c.StrictUncompressedLimit = true }), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			rows := numbered(2000, 1200)
			res, err := ingestor(t, c, func(g *azure.IngestTarget) { g.MaxBytes = limit }).Upload(t.Context(), rows)
			if err != nil || res.Count(azure.RowAccepted) != len(rows) {
				t.Fatalf("%s, %v", counts(res), err)
			}
			if limit == 0 {
				limit = 1_000_000
			}
			for i, r := range posted(srv) {
				n := len(gunzip(t, r.Body))
				if n > limit || i < len(posted(srv))-1 && n < limit-1300 {
					t.Errorf("request %d has %d bytes, the limit is %d", i, n, limit)
				}
			}
			for i, n := range stored(t, srv) {
				if i != n {
					t.Fatalf("row %d came as the %dth", n, i)
				}
			}
		})
	}
}

func TestRowsThatFillTheLimitExactly(t *testing.T) {
	for _, test := range []struct {
		sizes    []int
		requests int
	}{{[]int{500, 497}, 1}, {[]int{500, 498}, 2}, {[]int{998, 998}, 2}, {[]int{998, 500, 497}, 2}, {[]int{998, 500, 498}, 3}} {
		cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			pad := func(n int) string { return `{"Text":"` + strings.Repeat("x", n-11) + `"}` }
			var rows []json.RawMessage
			for _, n := range test.sizes {
				rows = append(rows, rowsOf(pad(n))...)
			}
			if _, err := ingestor(t, c, func(g *azure.IngestTarget) { g.MaxBytes = 1000 }).Upload(t.Context(), rows); err != nil {
				t.Fatal(err)
			}
			if n := len(posted(srv)); n != test.requests {
				t.Errorf("%+v: %d requests", test, n)
			}
			res, err := ingestor(t, c, func(g *azure.IngestTarget) { g.MaxBytes = 1000 }).Upload(t.Context(), rowsOf(pad(999)))
			if err == nil || res.Count(azure.RowRejected) != 1 {
				t.Errorf("a row that does not fit: %s, %v", counts(res), err)
			}
			for _, r := range posted(srv) {
				if n := len(gunzip(t, r.Body)); n > 1000 {
					t.Errorf("%+v: %d bytes", test, n)
				}
			}
		})
	}
}

// Fluent Bit repeats a refused chunk for ever, others drop the whole batch.
func TestPoisonRowsAreFoundAndTheOthersDelivered(t *testing.T) {
	cloud(t, rule(func(c *azuretest.Collection) { c.Auxiliary = true }), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		rows := numbered(800, 100)
		poison := []int{0, 333, 799}
		for _, i := range poison {
			rows[i] = fmt.Appendf(nil, `{"N":%d,"Text":{"nested":1}}`, i)
		}
		res, err := ingestor(t, c, nil).Upload(t.Context(), rows)
		failed, ok := errors.AsType[*azure.UploadError](err)
		if !ok || !slices.Equal(res.Indexes(azure.RowRejected), poison) || counts(res) != "accepted 797, rejected 3, unknown 0, unsent 0" {
			t.Fatalf("%s, %v", counts(res), err)
		}
		if f := resilience.Of(err); f.Class != resilience.Rejected || f.Sent != resilience.MaybeSent || counts(failed.Result) != counts(res) {
			t.Errorf("%+v, %v", f, failed.Result)
		}
		if !strings.Contains(err.Error(), "797 of 800 rows accepted, 3 rejected: ") {
			t.Errorf("error %v", err)
		}
		for i, r := range res.Rejected {
			if e, ok := errors.AsType[*azure.APIError](r.Err); r.Index != poison[i] || !ok || e.Status != http.StatusBadRequest {
				t.Errorf("rejected %d: %v", r.Index, r.Err)
			}
		}
		got := stored(t, srv)
		if len(got) != 797 || !slices.IsSorted(got) {
			t.Errorf("%d rows stored, in order: %v", len(got), slices.IsSorted(got))
		}
		if n := len(posted(srv)); n > 2*3*10+1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestAnUploadOfPoisonAloneStops(t *testing.T) {
	cloud(t, rule(func(c *azuretest.Collection) { c.Auxiliary = true }), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		rows := slices.Repeat(rowsOf(`{"Text":[1]}`), 1000)
		res, err := ingestor(t, c, func(g *azure.IngestTarget) { g.MaxRefused = 5 }).Upload(t.Context(), rows)
		if counts(res) != "accepted 0, rejected 5, unknown 0, unsent 995" || !errors.Is(err, azure.ErrRefused) {
			t.Errorf("%s, %v", counts(res), err)
		}
		if n := len(posted(srv)); n > 30 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestTooLargeIsHalved(t *testing.T) {
	tooLarge := fault.Rule{Kind: fault.Status, Status: 413, Path: "/dataCollectionRules"}
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		tooLarge.Count = 1
		srv.Faults().Add(tooLarge)
		res, err := ingestor(t, c, nil).Upload(t.Context(), numbered(5, 100))
		if err != nil || res.Count(azure.RowAccepted) != 5 || len(posted(srv)) != 3 || !slices.IsSorted(stored(t, srv)) {
			t.Errorf("%s in %d requests, %v", counts(res), len(posted(srv)), err)
		}
		srv.Faults().Add(tooLarge)
		res, err = ingestor(t, c, nil).Upload(t.Context(), numbered(1, 100))
		if e, ok := errors.AsType[*azure.APIError](err); !ok || e.Status != 413 || counts(res) != "accepted 0, rejected 1, unknown 0, unsent 0" {
			t.Errorf("%s, %v", counts(res), err)
		}
	})
}

// LiteLLM lost a batch because of one row of more than 1 MB. A row that is no object
// would spoil the rows around it, or become several.
func TestRowsThatCannotBeSentAreRejectedHere(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		rows := numbered(3, 100)
		bad := rowsOf(``, `null`, `[]`, `"x"`, `{"N":1`, `{},{"N":5}`, `{"N":01}`, `{"Any":["`+strings.Repeat("x", 1_000_000)+`"]}`)
		res, err := ingestor(t, c, nil).Upload(t.Context(), slices.Concat(rows[:2], bad, rows[2:]))
		if counts(res) != "accepted 3, rejected 8, unknown 0, unsent 0" || !slices.Equal(stored(t, srv), []int{0, 1, 2}) || len(posted(srv)) != 1 {
			t.Errorf("%s in %d requests, %v", counts(res), len(posted(srv)), err)
		}
		if s := res.Rejected[7].Err.Error(); res.Rejected[7].Index != 9 || !strings.Contains(s, "row 9: the row has 1000012 bytes") {
			t.Errorf("%s", s)
		}
		res, err = ingestor(t, c, nil).Upload(t.Context(), bad)
		if f := resilience.Of(err); f.Class != resilience.Misuse || f.Sent != resilience.NotSent || res.Count(azure.RowRejected) != 8 || len(posted(srv)) != 1 {
			t.Errorf("%+v, %s, %v", f, counts(res), err)
		}
	})
}

func TestLongFieldsSayThatTheyWereCut(t *testing.T) {
	long := strings.Repeat("é", 40_000) // 80,000 bytes
	rows := rowsOf(`{"N":1,"Text":"short"}`, `{"Text":"`+long+`","N":2,"Any":["`+long+`"]}`, `{"N":3,"Text":"`+strings.Repeat(`\u00e9`, 30_000)+`"}`, `{"Text":"`+strings.Repeat("x", 70_000)+`","N":4}`)
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		res, err := ingestor(t, c, nil).Upload(t.Context(), rows)
		if err != nil || !slices.Equal(res.Truncated, []int{1, 3}) || !slices.Equal(stored(t, srv), []int{1, 2, 3, 4}) {
			t.Fatalf("%v, %v", res.Truncated, err)
		}
		var row struct {
			Text string
			Any  []string
		}
		if err := json.Unmarshal(srv.Rows(azuretest.RuleID, stream)[1], &row); err != nil {
			t.Fatal(err)
		}
		text, marked := strings.CutSuffix(row.Text, "...[truncated]")
		if !marked || !strings.HasPrefix(long, text) || len(row.Text) > 65_536 || len(row.Text) < 65_530 || row.Any[0] != long {
			t.Errorf("%d bytes, marked %v", len(row.Text), marked)
		}
		res, err = ingestor(t, c, func(g *azure.IngestTarget) { g.MaxField, g.OriginalTime = -1, "Seen" }).Upload(t.Context(), rows[1:2])
		if err != nil || res.Truncated != nil || strings.Contains(string(srv.Rows(azuretest.RuleID, stream)[4]), "truncated") {
			t.Errorf("off: %v, %v", res.Truncated, err)
		}
	})
}

// What a spool sends after two days loses its time at Azure Monitor.
func TestOldRowsKeepTheirTime(t *testing.T) {
	cloud(t, rule(nil), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		at := func(age time.Duration) string { return time.Now().Add(-age).UTC().Format(time.RFC3339) }
		rows := rowsOf(
			`{"TimeGenerated":"`+at(time.Hour)+`"}`, `{"TimeGenerated":"`+at(49*time.Hour)+`"}`,
			`{"TimeGenerated":"`+at(-25*time.Hour)+`"}`, `{"TimeGenerated":"`+at(50*time.Hour)+`","Seen":"2020-01-01T00:00:00Z"}`,
			`{"TimeGenerated":"`+at(47*time.Hour+30*time.Minute)+`"}`, `{"TimeGenerated":"yesterday"}`, `{"N":1}`)
		want := []string{"", at(49 * time.Hour), at(-25 * time.Hour), "2020-01-01T00:00:00Z", at(47*time.Hour + 30*time.Minute), "", ""}
		if _, err := ingestor(t, c, func(g *azure.IngestTarget) { g.OriginalTime = "Seen" }).Upload(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		for i, raw := range srv.Rows(azuretest.RuleID, stream) {
			var row struct{ Seen, TimeGenerated string }
			if err := json.Unmarshal(raw, &row); err != nil || row.Seen != want[i] {
				t.Errorf("row %d: %s, want Seen %q", i, raw, want[i])
			}
		}
		if _, err := ingestor(t, c, nil).Upload(t.Context(), rows[1:2]); err != nil {
			t.Fatal(err)
		}
		if raw := srv.Rows(azuretest.RuleID, stream)[7]; strings.Contains(string(raw), "Seen") {
			t.Errorf("not asked for: %s", raw)
		}
	})
}
