package falcontest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextPageHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var known []Indicator
		for i, v := range []string{"a.com", "b.com", "c.com", "d.com", "e.com"} {
			known = append(known, Indicator{Value: v, Updated: day.Add(time.Duration(i) * time.Hour)})
		}
		c := login(t, Config{InMemory: true, Intel: Intel{Indicators: known}})
		const path = "/intel/combined/indicators/v1"
		r := c.get(path, "limit", "2", "filter", "type:'domain'", "include_relations", "false")
		next := r.header.Get("Next-Page")
		equal(t, "newest first, relative", strings.HasPrefix(next, path+"?"), true)
		equal(t, "newest first", strings.Contains(string(r.raw), `"domain_e.com"`), true)
		equal(t, "no relations", strings.Contains(string(r.raw), `"relations"`), false)
		c.srv.AddIndicator(Indicator{Value: "z.com", Updated: day.Add(time.Hour * 99)})
		for _, want := range []string{"domain_c.com", "domain_a.com"} {
			r = c.do("GET", next, nil)
			equal(t, want, strings.Contains(string(r.raw), `"`+want+`"`), true)
			equal(t, "the total is that of all pages", r.Meta.Pagination.Total, 6)
			next = r.header.Get("Next-Page")
		}
		equal(t, "after the last page", next, "")

		equal(t, "another order", c.get(path, "limit", "2", "sort", "published_date|asc").header.Get("Next-Page"), "")
		equal(t, "an offset", c.get(path, "limit", "2", "offset", "1").header.Get("Next-Page") != "", true)
		equal(t, "the window", c.get(path, "limit", "10000", "offset", "1").status, 400)
		equal(t, "no token", c.get(path, "next_page", "x").status, 400)
		equal(t, "no limit", c.get("/intel/combined/reports/v1", "limit", "5001").status, 400)
	})
}

func TestIntelThatIsNone(t *testing.T) {
	for _, cfg := range []Intel{{Indicators: []Indicator{{}}}, {RuleFiles: []RuleFile{{}}}} {
		if srv, err := NewServer(Config{Intel: cfg, InMemory: true}); err == nil {
			srv.Close()
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
