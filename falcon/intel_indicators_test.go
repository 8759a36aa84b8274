package falcon_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const indicatorsPath = "/intel/combined/indicators/v1"

var year26 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// known is a cloud's n indicators, ten of which changed in the same second.
func known(n int) falcontest.Config {
	var cfg falcontest.Config
	for i := range n {
		cfg.Intel.Indicators = append(cfg.Intel.Indicators, indicator(i))
	}
	return cfg
}

func indicator(i int) falcontest.Indicator {
	return falcontest.Indicator{Value: fmt.Sprintf("evil-%05d.com", i), Published: year26, Updated: year26.Add(time.Duration(i/10) * time.Second)}
}

func idOfIndicator(i falcon.Indicator) string { return i.ID }

// asked are the queries that reached a path.
func asked(srv *falcontest.Server, path string) (out []url.Values) {
	for _, r := range srv.Requests() {
		if r.Path == path {
			out = append(out, r.Query)
		}
	}
	return out
}

// once reports whether the ids are n different ones.
func once(ids []string, n int) bool {
	s := slices.Compact(slices.Sorted(slices.Values(ids)))
	return len(ids) == n && len(s) == n
}

// Hazard C5: an odd row costs itself. The list goes on behind it.
func TestOneOddIndicatorDoesNotLoseThePage(t *testing.T) {
	cloud(t, known(2), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		body := `{"meta":{"pagination":{"total":4}},"errors":[],"resources":[
			{"id":"domain_a","_marker":"1","last_updated":"1767225600","labels":7,"actors":"X"},{"indicator":"no id","_marker":"10"}]}`
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: indicatorsPath, Body: body, Count: 1})
		l := c.Intel.Indicators(falcon.IndicatorQuery{})
		ids, errs := gather(t, l, func(i falcon.Indicator) string { return i.ID + i.Updated.Format(time.DateOnly) })
		_, isRow := errors.AsType[*falcon.RowError](errors.Join(errs...))
		if len(ids) != 3 || ids[0] != "domain_a2026-01-01" || len(errs) != 1 || !isRow {
			t.Errorf("%v, %v", ids, errs)
		}
		if q := asked(srv, indicatorsPath); len(q) != 2 || q[1].Get("filter") != "_marker:>'10'" {
			t.Errorf("asked %v", q)
		}
	})
}

func TestAnIndicatorIsReadWhole(t *testing.T) {
	var cfg falcontest.Config
	cfg.Intel.Indicators = []falcontest.Indicator{
		{
			ID: `url_http://a.b/?x=1&y=<'\u00e9'*>`, Value: "http://a.b", Type: "url", Confidence: "low", Labels: []string{"Malware/Remcos"},
			Related: []string{"b.com"}, Actors: []string{"FANCYBEAR"}, Reports: []string{"CSA-1"}, MalwareFamilies: []string{"Remcos"},
			KillChains: []string{"C2"}, ThreatTypes: []string{"Criminal"}, Targets: []string{"Energy"}, Vulnerabilities: []string{"CVE-2026-1"},
			Published: year26, Updated: year26.Add(time.Hour),
		},
		{Value: "gone.com", Deleted: true, Published: year26},
	}
	cloud(t, cfg, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		one := func(q falcon.IndicatorQuery) falcon.Indicator {
			t.Helper()
			for i, err := range c.Intel.Indicators(q).All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				return i
			}
			return falcon.Indicator{}
		}
		i := one(falcon.IndicatorQuery{Filter: falcon.Equals("malicious_confidence", "low")})
		want := cfg.Intel.Indicators[0]
		label := falcon.IndicatorLabel{Name: "Malware/Remcos", Created: want.Published, LastValid: want.Updated}
		relation := falcon.IndicatorRelation{ID: "domain_b.com", Value: "b.com", Type: "domain", Created: want.Published, LastValid: want.Updated}
		if i.ID != want.ID || i.Value != want.Value || i.Type != "url" || i.Confidence != falcon.ConfidenceLow || i.Deleted ||
			i.Published != want.Published || i.Updated != want.Updated || !strings.HasPrefix(i.Marker, fmt.Sprint(want.Updated.Unix())) ||
			!slices.Equal(i.Labels, []falcon.IndicatorLabel{label}) || !slices.Equal(i.Relations, []falcon.IndicatorRelation{relation}) ||
			!slices.Equal(i.Actors, want.Actors) || !slices.Equal(i.Reports, want.Reports) || !slices.Equal(i.MalwareFamilies, want.MalwareFamilies) ||
			!slices.Equal(i.KillChains, want.KillChains) || !slices.Equal(i.ThreatTypes, want.ThreatTypes) ||
			!slices.Equal(i.Targets, want.Targets) || !slices.Equal(i.Vulnerabilities, want.Vulnerabilities) || len(i.Raw) < 100 {
			t.Errorf("%+v", i)
		}
		ids, errs := gather(t, c.Intel.IndicatorsByID(want.ID, "domain_gone.com"), idOfIndicator)
		if !slices.Equal(ids, []string{want.ID, "domain_gone.com"}) || len(errs) != 0 {
			t.Errorf("by id: %q, %v", ids, errs)
		}
		for name, c := range map[string]struct {
			q    falcon.IndicatorQuery
			want string
		}{
			"deleted":           {falcon.IndicatorQuery{IncludeDeleted: true, Filter: falcon.Equals("deleted", "true")}, "domain_gone.com"},
			"not deleted":       {falcon.IndicatorQuery{Filter: falcon.Equals("id", "domain_gone.com")}, ""},
			"searched":          {falcon.IndicatorQuery{Search: "remCOS"}, want.ID},
			"not found":         {falcon.IndicatorQuery{Search: "remcoss"}, ""},
			"since":             {falcon.IndicatorQuery{Filter: falcon.AtLeast("last_updated", want.Updated.Unix())}, want.ID},
			"since later":       {falcon.IndicatorQuery{Filter: falcon.AtLeast("last_updated", want.Updated.Unix()+1)}, ""},
			"label":             {falcon.IndicatorQuery{Filter: falcon.Equals("labels.name", "Malware/Remcos")}, want.ID},
			"an or stays whole": {falcon.IndicatorQuery{Filter: falcon.Or(falcon.Equals("type", "x"), falcon.Equals("type", "url"))}, want.ID},
		} {
			if got := one(c.q); got.ID != c.want {
				t.Errorf("%s: %q", name, got.ID)
			}
		}
		if got := one(falcon.IndicatorQuery{NoRelations: true}); got.ID != want.ID || got.Relations != nil {
			t.Errorf("without relations: %+v", got)
		}
	})
}

func TestIndicatorsByID(t *testing.T) {
	cloud(t, known(1200), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for i := range 1200 {
			ids = append(ids, "domain_"+indicator(i).Value)
		}
		ids = append(ids, "domain_unknown")
		got, errs := gather(t, c.Intel.IndicatorsByID(ids...), idOfIndicator)
		row, ok := errors.AsType[*falcon.RowError](errors.Join(errs...))
		if !slices.Equal(got, ids[:1200]) || len(errs) != 1 || !ok || row.ID != "domain_unknown" || !errors.Is(row, falcon.ErrNotFound) {
			t.Errorf("%d, %v", len(got), errs)
		}
		if n := count(srv, "/intel/entities/indicators/GET/v1"); n != 3 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestIntelMisuse(t *testing.T) {
	cloud(t, known(1), func(c *falcon.Config) { c.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		indicators := func(q falcon.IndicatorQuery) error {
			_, errs := gather(t, c.Intel.Indicators(q), idOfIndicator)
			return errors.Join(errs...)
		}
		_, actors := gather(t, c.Intel.Actors(falcon.ActorQuery{Limit: 5001}), func(a falcon.Actor) string { return a.ID })
		_, reports := gather(t, c.Intel.Reports(falcon.ReportQuery{Filter: falcon.In("id")}), func(r falcon.Report) string { return r.ID })
		_, ids := gather(t, c.Intel.IndicatorsByID("a", ""), idOfIndicator)
		_, pdf := c.Intel.ReportPDF(t.Context(), " ")
		_, rules := c.Intel.RuleFile(t.Context(), falcon.RuleFileQuery{})
		_, format := c.Intel.RuleFile(t.Context(), falcon.RuleFileQuery{Type: "yara-master", Format: "rar"})
		for want, err := range map[string]error{
			"IndicatorQuery.Limit is 10001": indicators(falcon.IndicatorQuery{Limit: 10_001}),
			"IndicatorQuery.Limit is -1":    indicators(falcon.IndicatorQuery{Limit: -1}),
			"at least one value":            indicators(falcon.IndicatorQuery{Filter: falcon.In("id")}),
			"not a cursor of this list":     indicators(falcon.IndicatorQuery{Cursor: "1.0.x"}),
			"a cursor of this list: ":       indicators(falcon.IndicatorQuery{Cursor: "1.0.?%zz"}),
			"ActorQuery.Limit is 5001":      errors.Join(actors...),
			"needs at least one value":      errors.Join(reports...),
			"one of the ids is empty":       errors.Join(ids...),
			"the report's id is empty":      pdf,
			"RuleFileQuery.Type is empty":   rules,
			`RuleFileQuery.Format is "rar"`: format,
		} {
			if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Errorf("sent: %v", srv.Requests())
		}
		if err := indicators(falcon.IndicatorQuery{}); err != nil {
			t.Errorf("a read-only client reads: %v", err)
		}
	})
}

// An empty page is the end, whatever else its answer says: following it might never
// end.
func TestAnEmptyPageOfIndicatorsIsTheEnd(t *testing.T) {
	for _, header := range []http.Header{nil, {"Next-Page": {indicatorsPath + "?a=b"}}} {
		cloud(t, known(3), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			l := c.Intel.Indicators(falcon.IndicatorQuery{Limit: 2})
			for range l.All(t.Context()) {
				break
			}
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: indicatorsPath, Body: `{"meta":{"pagination":{"total":3}},"resources":[]}`, Header: header})
			if ids, errs := gather(t, l, idOfIndicator); len(ids) != 0 || len(errs) != 0 || count(srv, indicatorsPath) != 2 {
				t.Errorf("%v, %v, %d calls", ids, errs, count(srv, indicatorsPath))
			}
		})
	}
}
