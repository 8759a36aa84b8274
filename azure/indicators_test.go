package azure_test

import (
	"errors"
	"fmt"
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

// feed is n good indicators.
func feed(n int) []azure.NewIndicator {
	out := make([]azure.NewIndicator, n)
	for i := range out {
		out[i] = azure.NewIndicator{Type: azure.IndicatorDomain, Value: fmt.Sprintf("%05d.example", i), Action: azure.IndicatorBlock, Title: "feed", Description: "feed"}
	}
	return out
}

// known is a cloud with n indicators, and their ids.
func known(n int) (azuretest.Config, []string) {
	var cfg azuretest.Config
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint(10000+i))
		cfg.Indicators = append(cfg.Indicators, azuretest.DefenderIndicator{ID: ids[i], Type: "DomainName", Value: fmt.Sprintf("%05d.example", i)})
	}
	return cfg, ids
}

const (
	importPath = "/api/indicators/import"
	batchPath  = "/api/indicators/BatchDelete"
)

func TestIndicators(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		in := azure.NewIndicator{
			Type: azure.IndicatorIP, Value: "192.0.2.7", Action: azure.IndicatorAudit, GenerateAlert: true, Title: "t", Description: "d",
			Severity: "High", Expiration: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), RBACGroups: []string{"Laptops"}, Application: "app", ExternalID: "e1",
		}
		i, err := c.Defender.SubmitIndicator(t.Context(), in)
		if err != nil || i.ID == "" {
			t.Fatalf("%+v, %v", i, err)
		}
		got := collect(t, c.Defender.Indicators(azure.Query{Filter: azure.Equals("indicatorType", "IpAddress")}))
		if len(got) != 1 {
			t.Fatalf("%+v", got)
		}
		g := got[0]
		s := fmt.Sprint(g.ID == i.ID, g.Type, g.Value, g.Action, g.Title, g.Description, g.Severity, g.Expiration.Year(), g.RBACGroups, g.Application, g.ExternalID, g.GenerateAlert, g.SourceType, g.Created.IsZero(), len(g.Raw) > 100)
		if want := "true IpAddress 192.0.2.7 Audit t d High 2027 [Laptops] app e1 true AadApp false true"; strings.ReplaceAll(s, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("got %s", s)
		}
		// The same value again replaces it, so a lost answer is no harm.
		in.Title = "other"
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Path: "/api/indicators", Count: 1})
		if again, err := c.Defender.SubmitIndicator(t.Context(), in); err != nil || again.ID != i.ID || again.Title != "other" || len(srv.Indicators()) != 1 {
			t.Errorf("%+v, %v", again, err)
		}
		if gone, err := c.Defender.DeleteIndicators(t.Context(), i.ID); err != nil || !slices.Equal(gone, []string{i.ID}) || len(srv.Indicators()) != 0 {
			t.Errorf("%v, %v", gone, err)
		}
		if requestsOf(srv, http.MethodDelete, i.ID) != 1 || requestsOf(srv, http.MethodPost, batchPath) != 0 {
			t.Error("one id is one DELETE")
		}
		if gone, err := c.Defender.DeleteIndicators(t.Context(), i.ID); !errors.Is(err, azure.ErrNotFound) || len(gone) != 0 {
			t.Errorf("%v, %v", gone, err)
		}
	})
}

// A 200 has rows that failed; each is at the place of its input.
func TestImportTellsRowByRow(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		in := feed(1203)
		// What we let through and Defender does not.
		for _, bad := range []int{3, 700} {
			in[bad].Type, in[bad].Value = azure.IndicatorDomain, fmt.Sprintf("nodots%d", bad)
		}
		in[501].Value = "UPPER.example" // comes back as the next test has it: in another case
		out, err := c.Defender.ImportIndicators(t.Context(), in)
		if len(out) != len(in) || requestsOf(srv, http.MethodPost, importPath) != 3 || len(srv.Indicators()) != 1201 {
			t.Fatalf("%d results, %d calls, %v", len(out), requestsOf(srv, http.MethodPost, importPath), err)
		}
		ids := map[string]bool{}
		for i, r := range out {
			failed := i == 3 || i == 700
			if (r.Err != nil) != failed || (r.ID == "") != failed {
				t.Errorf("%d: %+v", i, r)
			}
			ids[r.ID] = true
			if !failed {
				continue
			}
			row, ok := errors.AsType[*azure.RowError](r.Err)
			f := resilience.Of(r.Err)
			if !ok || row.ID != in[i].Value || f.Class != resilience.Rejected || f.Sent != resilience.Answered ||
				!strings.Contains(r.Err.Error(), fmt.Sprintf("indicators[%d]", i)) || !strings.Contains(r.Err.Error(), "is invalid") || !errors.Is(err, r.Err) {
				t.Errorf("%d: %v", i, r.Err)
			}
		}
		if len(ids) != 1202 {
			t.Errorf("%d ids", len(ids))
		}
	})
}

func TestImportAnswersThatAreOdd(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		in := feed(4)
		in[1] = azure.NewIndicator{Type: azure.IndicatorIP, Value: "2001:DB8:0::1", Action: azure.IndicatorAllowed, Title: "t", Description: "d"}
		in[2].Value = "MIXED.example"
		body := `{"value":[{"id":"3","indicator":"mixed.example","isFailed":false,"failureReason":null},7,{"id":9,"indicator":"someone.else","isFailed":true},
			{"id":"2","indicator":"2001:db8::1","isFailed":"false"},{"id":"0","indicator":"00000.example"}]}`
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: importPath, Body: body, Count: 1})
		out, err := c.Defender.ImportIndicators(t.Context(), in)
		if out[1] != (azure.IndicatorResult{ID: "2"}) || out[2] != (azure.IndicatorResult{ID: "3"}) {
			t.Errorf("%+v", out)
		}
		for _, i := range []int{0, 3} { // without a verdict, and without a row
			if f := resilience.Of(out[i].Err); f.Class != resilience.Malformed || f.Sent != resilience.MaybeSent || !errors.Is(err, out[i].Err) {
				t.Errorf("%d: %v", i, out[i].Err)
			}
		}
	})
}

func TestImportThatFailsHalfWay(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		in := feed(1400)
		in[0].Value = "nodots"
		calls := 0
		// The first call goes through; of the second every answer is lost.
		go func() {
			for calls == 0 {
				time.Sleep(time.Millisecond)
				calls = requestsOf(srv, http.MethodPost, importPath)
			}
			srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: importPath})
		}()
		srv.Faults().Add(fault.Rule{Kind: fault.Latency, Path: importPath, Delay: time.Second, Count: 1})
		out, err := c.Defender.ImportIndicators(t.Context(), in)
		if len(out) != len(in) || err == nil || !strings.Contains(err.Error(), "indicators[500] and 499 more, and 400 after them") {
			t.Fatalf("%d, %v", len(out), err)
		}
		for i, want := range map[int]resilience.Sent{0: resilience.Answered, 500: resilience.MaybeSent, 999: resilience.MaybeSent, 1000: resilience.NotSent, 1399: resilience.NotSent} {
			if out[i].Err == nil || resilience.Of(out[i].Err).Sent != want {
				t.Errorf("%d: %v", i, out[i].Err)
			}
		}
		if out[1].Err != nil || out[499].ID == "" || resilience.Of(err).Sent != resilience.MaybeSent || !errors.Is(err, out[0].Err) {
			t.Errorf("%+v, %v", out[1], err)
		}
	})
}

// One id that Defender does not know makes it refuse all of them.
func TestDeletionFindsTheUnknownIDs(t *testing.T) {
	for unknown, limit := range map[int]int{1: 20, 9: 20, 60: 20} {
		cfg, ids := known(700)
		cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			asked := slices.Clone(ids[:500])
			var bad []string
			for i := range unknown {
				asked[i*7] = fmt.Sprintf("nobody%d", i)
				bad = append(bad, asked[i*7])
			}
			gone, err := c.Defender.DeleteIndicators(t.Context(), asked...)
			if len(gone) != 500-unknown || len(srv.Indicators()) != 200+unknown || !errors.Is(err, azure.ErrNotFound) {
				t.Errorf("%d are gone, %d are left: %v", len(gone), len(srv.Indicators()), err)
			}
			joined, _ := err.(interface{ Unwrap() []error })
			var told []string
			for _, err := range joined.Unwrap() {
				row, ok := errors.AsType[*azure.RowError](err)
				if !ok || !errors.Is(err, azure.ErrNotFound) {
					t.Fatal(err)
				}
				told = append(told, row.ID)
			}
			if !slices.Equal(told, bad) {
				t.Errorf("told %v, want %v", told, bad)
			}
			if n := requestsOf(srv, http.MethodPost, batchPath); n > limit {
				t.Errorf("%d calls for several ids", n)
			}
		})
	}
}

func TestDeletionInChunks(t *testing.T) {
	cfg, ids := known(1200)
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if gone, err := c.Defender.DeleteIndicators(t.Context(), ids...); err != nil || !slices.Equal(gone, ids) || len(srv.Indicators()) != 0 || requestsOf(srv, http.MethodPost, batchPath) != 3 {
			t.Errorf("%d are gone: %v", len(gone), err)
		}
	})
}

// The answer was lost, and the second attempt finds nothing: that is told, not hidden.
func TestADeletionWhoseAnswerIsLost(t *testing.T) {
	cfg, ids := known(3)
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: batchPath, Count: 1})
		gone, err := c.Defender.DeleteIndicators(t.Context(), ids...)
		if len(gone) != 0 || !errors.Is(err, azure.ErrNotFound) || len(srv.Indicators()) != 0 {
			t.Errorf("%v, %v", gone, err)
		}
	})
}

// A 404 of a gateway, or a failure, is not about ids.
func TestADeletionThatFails(t *testing.T) {
	for _, rule := range []fault.Rule{{Kind: fault.Status, Status: 404, Body: "<html>"}, {Kind: fault.Status, Status: 503}, {Kind: fault.Status, Status: 403}} {
		cfg, ids := known(1000)
		cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			rule.Path = batchPath
			srv.Faults().Add(rule)
			gone, err := c.Defender.DeleteIndicators(t.Context(), ids...)
			if _, row := errors.AsType[*azure.RowError](err); row || err == nil || len(gone) != 0 || len(srv.Indicators()) != 1000 || !strings.Contains(err.Error(), "0 of 1000") {
				t.Errorf("%v, %v", gone, err)
			}
			if n := requestsOf(srv, http.MethodDelete, ""); n != 0 {
				t.Errorf("%d DELETEs", n)
			}
		})
	}
}

func TestIndicatorMisuse(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		d, ctx := c.Defender, t.Context()
		with := func(change func(*azure.NewIndicator)) error {
			in := feed(3)
			change(&in[2])
			out, err := d.ImportIndicators(ctx, in)
			if out != nil {
				t.Errorf("results of what was not sent: %v", out)
			}
			one := second(d.SubmitIndicator(ctx, in[2]))
			if one == nil || strings.ReplaceAll(one.Error(), "submit: NewIndicator", "import: indicators[2]") != err.Error() {
				t.Errorf("one is judged otherwise: %v, %v", one, err)
			}
			return err
		}
		value := func(kind azure.IndicatorType, value string) error {
			return with(func(n *azure.NewIndicator) { n.Type, n.Value = kind, value })
		}
		twice := feed(3)
		twice[2].Value = "00000.EXAMPLE"
		for _, row := range []struct {
			want string
			err  error
		}{
			{`indicators[2].Type ""`, value("", "x")},
			{"40 hex digits", value(azure.IndicatorSHA1, strings.Repeat("a", 39))},
			{"40 hex digits", value(azure.IndicatorCertificate, strings.Repeat("g", 40))},
			{"32 hex digits", value(azure.IndicatorMD5, strings.Repeat("a", 40))},
			{"64 hex digits", value(azure.IndicatorSHA256, strings.Repeat("a", 32))},
			{"one IP address", value(azure.IndicatorIP, "10.0.0.0/8")},
			{"one IP address", value(azure.IndicatorIP, "fe80::1%eth0")},
			{"1 to 253", value(azure.IndicatorDomain, "https://evil.example")},
			{"1 to 253", value(azure.IndicatorDomain, strings.Repeat("a", 254))},
			{"1 to 253", value(azure.IndicatorDomain, "")},
			{"a URL with a host", value(azure.IndicatorURL, "https:///x")},
			{"a URL with a host", value(azure.IndicatorURL, "")},
			{"without spaces", value(azure.IndicatorURL, "https://h/a b")},
			{`.Action "block"`, with(func(n *azure.NewIndicator) { n.Action = "block" })},
			{".GenerateAlert", with(func(n *azure.NewIndicator) { n.Action = azure.IndicatorAudit })},
			{".Title", with(func(n *azure.NewIndicator) { n.Title = "" })},
			{".Description", with(func(n *azure.NewIndicator) { n.Description = "" })},
			{`.Severity "high"`, with(func(n *azure.NewIndicator) { n.Severity = "high" })},
			{".RBACGroups", with(func(n *azure.NewIndicator) { n.RBACGroups = []string{"a", ""} })},
			{"indicators[2].Value: indicators[0]", second(d.ImportIndicators(ctx, twice))},
			{"are empty", second(d.ImportIndicators(ctx, nil))},
			{"no ids", second(d.DeleteIndicators(ctx))},
			{`ids[1] ""`, second(d.DeleteIndicators(ctx, "a", ""))},
			{`ids[2] "a"`, second(d.DeleteIndicators(ctx, "a", "b", "a"))},
		} {
			if row.err == nil || resilience.Of(row.err).Class != resilience.Misuse || !strings.Contains(row.err.Error(), row.want) {
				t.Errorf("%s: %v", row.want, row.err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Error("something was sent")
		}
	})
}

// Two URLs that differ by case are two, and each has its own row.
func TestURLsThatDifferByCase(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		urls := feed(2)
		urls[0].Type, urls[0].Value = azure.IndicatorURL, "https://h.example/a"
		urls[1].Type, urls[1].Value = azure.IndicatorURL, "https://h.example/A"
		for range 2 {
			body := `{"value":[{"id":"a","indicator":"https://h.example/a","isFailed":false},{"id":"A","indicator":"https://h.example/A","isFailed":false}]}`
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: importPath, Body: body, Count: 1})
			out, err := c.Defender.ImportIndicators(t.Context(), urls)
			for i, r := range out {
				if err != nil || !strings.HasSuffix(urls[i].Value, "/"+r.ID) {
					t.Errorf("%s: %+v, %v", urls[i].Value, r, err)
				}
			}
			slices.Reverse(urls)
		}
		if n := requestsOf(srv, http.MethodPost, importPath); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

// Defender allows these operations less than the others: it never has to say so.
func TestNarrowQuotasAreKept(t *testing.T) {
	cfg, ids := known(70)
	cfg.Alerts = alarmed(2).Alerts
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		d, ctx := c.Defender, t.Context()
		for range 12 {
			if _, err := d.UpdateAlerts(ctx, azure.DefenderAlertChange{Status: "New"}, "da000_1", "da001_1"); err != nil {
				t.Error(err)
			}
		}
		for range 35 {
			if _, err := d.ImportIndicators(ctx, feed(1)); err != nil {
				t.Error(err)
			}
		}
		for pair := range slices.Chunk(ids, 2) {
			if _, err := d.DeleteIndicators(ctx, pair...); err != nil {
				t.Error(err)
			}
		}
		for _, r := range srv.Requests() {
			if r.Status == http.StatusTooManyRequests {
				t.Fatalf("%s was told to wait", r.Path)
			}
		}
	})
}
