package falcon_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// documented is a cloud's n actors and n reports, one a second.
func documented(n int) falcontest.Config {
	var cfg falcontest.Config
	for i := range n {
		cfg.Intel.Actors = append(cfg.Intel.Actors, falcontest.Actor{ID: i + 1, Created: year26.Add(time.Duration(i) * time.Second)})
		cfg.Intel.Reports = append(cfg.Intel.Reports, falcontest.Report{ID: i + 1, Created: year26.Add(time.Duration(i) * time.Second)})
	}
	return cfg
}

func idOfActor(a falcon.Actor) string   { return a.ID }
func idOfReport(r falcon.Report) string { return r.ID }

func numbers(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// Falcon shows 10,000 actors or reports of a query: what is beyond is an error and
// not the end of the list.
func TestActorsAndReportsEndAtTheWindow(t *testing.T) {
	cloud(t, documented(10_001), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		actors, errs := gather(t, c.Intel.Actors(falcon.ActorQuery{Limit: 3000}), idOfActor)
		if !slices.Equal(actors, numbers(1, 10_000)) || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrWindow) {
			t.Errorf("%d actors, %v", len(actors), errs)
		}
		reports, errs := gather(t, c.Intel.Reports(falcon.ReportQuery{Limit: 5000}), idOfReport)
		if !slices.Equal(reports, numbers(1, 10_000)) || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrWindow) {
			t.Errorf("%d reports, %v", len(reports), errs)
		}
		rest, errs := gather(t, c.Intel.Reports(falcon.ReportQuery{Filter: falcon.AtLeast("created_date", year26.Unix()+9_000)}), idOfReport)
		if !slices.Equal(rest, numbers(9_001, 10_001)) || len(errs) != 0 {
			t.Errorf("%d reports, %v", len(rest), errs)
		}
	})
}

// A report that is added while the list is read comes last: by the usual order none
// is pushed to the next page and read twice.
func TestReportsAddedWhileTheyAreRead(t *testing.T) {
	cloud(t, documented(30), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var got []string
		q := falcon.ReportQuery{Limit: 10}
		l := c.Intel.Reports(q)
		for r, err := range l.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, r.ID); len(got) == 15 {
				srv.AddReport(falcontest.Report{ID: 31, Created: year26.Add(time.Hour)})
				break
			}
		}
		q.Cursor = l.Cursor()
		rest, errs := gather(t, c.Intel.Reports(q), idOfReport)
		if got = append(got, rest...); !slices.Equal(got, numbers(1, 31)) || len(errs) != 0 {
			t.Errorf("%v, %v", got, errs)
		}
	})
}

func TestActorsAndReportsAreReadWhole(t *testing.T) {
	var cfg falcontest.Config
	cfg.Intel.Actors = []falcontest.Actor{
		{
			ID: 9, Name: "FANCY BEAR", KnownAs: "APT28", Description: "long", Motivations: []string{"Espionage"}, Origins: []string{"Somewhere"},
			TargetCountries: []string{"United States", "Canada"}, Created: year26, Modified: year26.Add(time.Hour), LastActivity: year26.Add(time.Minute),
		},
		{ID: 10, Name: "WICKED PANDA", Type: "ecrime", Created: year26},
	}
	cfg.Intel.Reports = []falcontest.Report{
		{ID: 200, Name: "On Bears", Description: "long", Actors: []string{"FANCY BEAR"}, Tags: []string{"Intel"}, Created: year26, Modified: year26.Add(time.Hour)},
	}
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ids, errs := gather(t, c.Intel.Actors(falcon.ActorQuery{Sort: "id|asc", Full: true, Filter: falcon.Equals("target_countries.slug", "canada")}), func(a falcon.Actor) string {
			return fmt.Sprint(a.ID, a.Name, a.Slug, a.Type, a.Status, a.KnownAs, a.ShortDescription, a.Description, a.Motivations, a.Origins,
				strings.Join(a.TargetCountries, "+"), a.FirstActivity.IsZero(), a.LastActivity == year26.Add(time.Minute), a.Created == year26, a.Modified == year26.Add(time.Hour), len(a.Raw) > 100)
		})
		want := fmt.Sprint("9", "FANCY BEAR", "fancy-bear", "targeted", "Active", "APT28", "About FANCY BEAR", "long", []string{"Espionage"}, []string{"Somewhere"},
			"United States+Canada", true, true, true, true, true)
		if !slices.Equal(ids, []string{want}) || len(errs) != 0 {
			t.Errorf("got %q, %v\nwant %q", ids, errs, want)
		}
		ids, errs = gather(t, c.Intel.Reports(falcon.ReportQuery{Search: "bear"}), func(r falcon.Report) string {
			return fmt.Sprint(r.ID, r.Name, r.Slug, r.Type, r.SubType, r.ShortDescription, r.Description, r.Actors, r.Tags, r.Created == year26, r.Modified == year26.Add(time.Hour))
		})
		want = fmt.Sprint("200", "On Bears", "on-bears", "Intelligence Report", "", "About On Bears", "", []string{"FANCY BEAR"}, []string{"Intel"}, true, true)
		if !slices.Equal(ids, []string{want}) || len(errs) != 0 {
			t.Errorf("got %q, %v\nwant %q", ids, errs, want)
		}
		full, _ := gather(t, c.Intel.Reports(falcon.ReportQuery{Full: true}), func(r falcon.Report) string { return r.Description })
		if !slices.Equal(full, []string{"long"}) {
			t.Errorf("in full: %v", full)
		}
		// 9 before 10: numbers are sorted as such.
		if ids, _ := gather(t, c.Intel.Actors(falcon.ActorQuery{Sort: "id|asc"}), idOfActor); !slices.Equal(ids, []string{"9", "10"}) {
			t.Errorf("sorted %v", ids)
		}
		if q := asked(srv, "/intel/combined/actors/v1"); len(q) != 2 || q[0].Get("fields") != "__full__" || q[1].Get("fields") != "__basic__" || q[1].Get("limit") != "500" {
			t.Errorf("asked %v", q)
		}
	})
}

var pdf = []byte("%PDF-1.7\n\x00\xff binary, " + strings.Repeat("z", 5000))

func TestAReportAsPDF(t *testing.T) {
	var cfg falcontest.Config
	cfg.Intel.Reports = []falcontest.Report{{ID: 200, PDF: pdf}, {ID: 201}}
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		const path = "/intel/entities/report-files/v1"
		if got, err := c.Intel.ReportPDF(t.Context(), "200"); err != nil || !bytes.Equal(got, pdf) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := c.Intel.ReportPDF(t.Context(), "201"); !errors.Is(err, falcon.ErrNotFound) {
			t.Errorf("one without a PDF: %v", err)
		}
		// One that breaks off is read again, and a slow one has more than an attempt's time.
		srv.ResetRequests()
		srv.Faults().Add(fault.Rule{Kind: fault.Truncate, Path: path, Count: 1})
		srv.Faults().Add(fault.Rule{Kind: fault.Latency, Delay: time.Minute, Path: path, Count: 1})
		if got, err := c.Intel.ReportPDF(t.Context(), "200"); err != nil || !bytes.Equal(got, pdf) || count(srv, path) != 2 {
			t.Errorf("%d bytes, %v, %d calls", len(got), err, count(srv, path))
		}
	})
}

// What is no file must not be saved as one: errors in a 200 (hazard C1), pages of a
// proxy, nothing.
func TestWhatIsNoFile(t *testing.T) {
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	json := http.Header{"Content-Type": {"application/json"}}
	pdf := http.Header{"Content-Type": {"application/pdf"}}
	for want, rule := range map[string]fault.Rule{
		"it is empty":           {Header: pdf},
		"HTML instead":          {Header: html, Body: "<html>%PDF-"},
		"no entitlement":        {Header: json, Body: `{"errors":[{"code":403,"message":"no entitlement"}]}`},
		"JSON instead":          {Header: json, Body: `{"meta":{},"resources":["%PDF-"]}`},
		"it is not a PDF":       {Header: pdf, Body: "GIF89a"},
		"scope of this operati": {Status: http.StatusForbidden, Header: json, Body: `{"errors":[{"code":403,"message":"access denied"}]}`},
	} {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			rule.Kind, rule.Path = fault.Status, "/intel/"
			if rule.Status == 0 {
				rule.Status = http.StatusOK
			}
			srv.Faults().Add(rule)
			got, err := c.Intel.ReportPDF(t.Context(), "200")
			if api, ok := errors.AsType[*falcon.APIError](err); got != nil || !ok || !strings.Contains(api.Error(), want) {
				t.Errorf("%s: %q, %v", want, got, err)
			}
			f, err := c.Intel.RuleFile(t.Context(), falcon.RuleFileQuery{Type: "yara-master"})
			if notPDF := want == "it is not a PDF"; (err == nil) != notPDF || (f.Content == nil) == notPDF {
				t.Errorf("%s: %+v, %v", want, f, err)
			}
		})
	}
}

func TestRuleFilesThatDidNotChange(t *testing.T) {
	var cfg falcontest.Config
	cfg.Intel.RuleFiles = []falcontest.RuleFile{{Type: "yara-master", Zip: []byte("PK1"), Gzip: []byte("\x1f\x8b1"), Modified: year26.Add(time.Millisecond)}}
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		get := func(q falcon.RuleFileQuery) falcon.RuleFile {
			t.Helper()
			q.Type = "yara-master"
			f, err := c.Intel.RuleFile(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		f := get(falcon.RuleFileQuery{})
		if f.NotModified || string(f.Content) != "PK1" || f.LastModified != year26 || f.ETag == "" {
			t.Errorf("%+v", f)
		}
		if g := get(falcon.RuleFileQuery{Format: "gzip", IfModifiedSince: year26.Add(-time.Second)}); g.NotModified || string(g.Content) != "\x1f\x8b1" {
			t.Errorf("%+v", g)
		}
		west := time.FixedZone("", -3600)
		for name, q := range map[string]falcon.RuleFileQuery{
			"by time": {IfModifiedSince: f.LastModified.In(west)}, "by tag": {IfNoneMatch: f.ETag}, "by both": {IfModifiedSince: f.LastModified, IfNoneMatch: f.ETag},
		} {
			if g := get(q); !g.NotModified || g.Content != nil || !g.LastModified.Equal(f.LastModified) || g.ETag != f.ETag {
				t.Errorf("%s: %+v", name, g)
			}
		}
		srv.AddRuleFile(falcontest.RuleFile{Type: "yara-master", Zip: []byte("PK2"), Modified: year26.Add(time.Hour)})
		if g := get(falcon.RuleFileQuery{IfModifiedSince: f.LastModified, IfNoneMatch: f.ETag}); g.NotModified || string(g.Content) != "PK2" || g.LastModified != year26.Add(time.Hour) {
			t.Errorf("after a change: %+v", g)
		}
		if _, err := c.Intel.RuleFile(t.Context(), falcon.RuleFileQuery{Type: "netwitness"}); !errors.Is(err, falcon.ErrNotFound) {
			t.Errorf("of another type: %v", err)
		}
		// A 304 without headers says what is there already.
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusNotModified, Path: "/intel/", Count: 1})
		if g := get(falcon.RuleFileQuery{IfModifiedSince: year26, IfNoneMatch: `"a"`}); !g.NotModified || g.LastModified != year26 || g.ETag != `"a"` {
			t.Errorf("bare: %+v", g)
		}
		// One that nobody asked for is an error, not a file without content.
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusNotModified, Path: "/intel/", Count: 1})
		if _, err := c.Intel.RuleFile(t.Context(), falcon.RuleFileQuery{Type: "yara-master"}); resilience.Of(err).Status != http.StatusNotModified {
			t.Errorf("unasked: %v", err)
		}
	})
}

// Each part of intelligence has a scope of its own.
func TestIntelScopes(t *testing.T) {
	for _, own := range []string{"indicators", "actors", "reports", "rules"} {
		cfg := known(1)
		cfg.Scopes = []string{"falconx-" + own + ":read"}
		cfg.Intel.Reports = []falcontest.Report{{ID: 200, PDF: pdf}}
		cfg.Intel.RuleFiles = []falcontest.RuleFile{{Type: "yara-master"}}
		cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			_, indicators := gather(t, c.Intel.Indicators(falcon.IndicatorQuery{}), idOfIndicator)
			_, byID := gather(t, c.Intel.IndicatorsByID("domain_"+indicator(0).Value), idOfIndicator)
			_, actors := gather(t, c.Intel.Actors(falcon.ActorQuery{}), idOfActor)
			_, reports := gather(t, c.Intel.Reports(falcon.ReportQuery{}), idOfReport)
			_, file := c.Intel.ReportPDF(t.Context(), "200")
			_, rules := c.Intel.RuleFile(t.Context(), falcon.RuleFileQuery{Type: "yara-master"})
			for name, err := range map[string]error{
				"indicators": errors.Join(indicators...), "indicators by id": errors.Join(byID...), "actors": errors.Join(actors...),
				"reports": errors.Join(reports...), "reports as PDF": file, "rules": rules,
			} {
				if allowed := strings.HasPrefix(name, own); allowed != (err == nil) || !allowed && resilience.Of(err).Class != resilience.Denied {
					t.Errorf("%s with the scope of %s: %v", name, own, err)
				}
			}
		})
	}
}
