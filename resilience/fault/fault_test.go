package fault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(t testing.TB, method, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// hits says which of n requests a plan strikes.
func hits(t testing.TB, p *Plan, n int) []bool {
	t.Helper()
	list := make([]bool, n)
	for i := range list {
		list[i] = p.Request(request(t, http.MethodGet, "https://a.test/")).Kind != None
	}
	return list
}

func count(list []bool) (n int) {
	for _, hit := range list {
		if hit {
			n++
		}
	}
	return n
}

func TestMatch(t *testing.T) {
	for name, tc := range map[string]struct {
		rule        Rule
		method, url string
		hit         bool
	}{
		"everything":           {Rule{}, "GET", "https://a.test/x", true},
		"host":                 {Rule{Host: "a.test"}, "GET", "https://a.test/x", true},
		"host, any case, port": {Rule{Host: "A.Test"}, "GET", "https://a.test:8443/x", true},
		"IPv6 host":            {Rule{Host: "::1"}, "GET", "https://[::1]:8443/x", true},
		"another host":         {Rule{Host: "a.test"}, "GET", "https://b.test/x", false},
		"not a suffix":         {Rule{Host: "a.test"}, "GET", "https://x.a.test/x", false},
		"method":               {Rule{Method: "POST"}, "POST", "https://a.test/x", true},
		"another method":       {Rule{Method: "POST"}, "GET", "https://a.test/x", false},
		"path":                 {Rule{Path: "/oauth2"}, "GET", "https://a.test/oauth2/token", true},
		"another path":         {Rule{Path: "/oauth2"}, "GET", "https://a.test/devices/oauth2", false},
		"query":                {Rule{Query: "action_name=contain"}, "POST", "https://a.test/x?ids=1&action_name=contain", true},
		"another query":        {Rule{Query: "action_name=contain"}, "POST", "https://a.test/x?action_name=lift_containment", false},
		"half of the query":    {Rule{Query: "a=1&b=2"}, "POST", "https://a.test/x?a=1", false},
		"a query that is none": {Rule{Query: "a=%zz"}, "POST", "https://a.test/x?a=1", false},
		"all of them":          {Rule{Host: "a.test", Method: "GET", Path: "/x"}, "GET", "https://a.test/x", true},
		"all but one":          {Rule{Host: "a.test", Method: "GET", Path: "/x"}, "POST", "https://a.test/x", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPlan(1)
			tc.rule.Kind = Reset
			p.Add(tc.rule)
			if got := p.Request(request(t, tc.method, tc.url)); (got.Kind == Reset) != tc.hit {
				t.Errorf("at the client: %v", got.Kind)
			}
			// A server sees the host in the Host header only.
			arrived := httptest.NewRequest(tc.method, tc.url, nil)
			arrived.URL.Host = ""
			if got := p.Request(arrived); (got.Kind == Reset) != tc.hit {
				t.Errorf("at the server: %v", got.Kind)
			}
		})
	}
}

func TestFirstRuleThatMatchesActs(t *testing.T) {
	p := NewPlan(1)
	remove := p.Add(Rule{Kind: Status, Path: "/a"})
	p.Add(Rule{Kind: Reset})
	at := func(path string) Kind { return p.Request(request(t, http.MethodGet, "https://a.test"+path)).Kind }
	if at("/a") != Status || at("/b") != Reset {
		t.Errorf("%v, %v", at("/a"), at("/b"))
	}
	remove()
	remove() // again: nothing
	if at("/a") != Reset {
		t.Error("a removed rule acts")
	}
	p.Heal()
	if at("/a") != None {
		t.Error("a healed plan acts")
	}
	var none *Plan
	if got := none.Request(request(t, http.MethodGet, "https://a.test/")).Kind; got != None {
		t.Errorf("no plan: %v", got)
	}
}

func TestRateFollowsTheSeed(t *testing.T) {
	run := func(seed uint64) []bool {
		p := NewPlan(seed)
		p.Add(Rule{Kind: Reset, Rate: 0.3})
		return hits(t, p, 1000)
	}
	first := run(7)
	if !slices.Equal(first, run(7)) {
		t.Error("the same seed struck other requests")
	}
	if slices.Equal(first, run(8)) {
		t.Error("another seed struck the same requests")
	}
	if n := count(first); n < 250 || n > 350 {
		t.Errorf("struck %d of 1000 at a rate of 0.3", n)
	}
}

func TestCount(t *testing.T) {
	p := NewPlan(1)
	p.Add(Rule{Kind: Reset, Count: 3})
	if got := hits(t, p, 5); !slices.Equal(got, []bool{true, true, true, false, false}) {
		t.Errorf("%v", got)
	}
	p.Heal()
	p.Add(Rule{Kind: Reset, Count: 3, Rate: 0.5})
	if got := hits(t, p, 100); count(got) != 3 || got[0] && got[1] && got[2] {
		t.Errorf("struck %d, want 3, not the first 3: %v", count(got), got[:10])
	}
}

func TestStartAndFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPlan(1)
		p.Add(Rule{Kind: Reset, Start: time.Minute, For: time.Hour})
		hit := func() bool { return hits(t, p, 1)[0] }
		for _, step := range []struct {
			wait time.Duration
			hit  bool
		}{
			{0, false},
			{time.Minute - 1, false},
			{1, true},
			{time.Hour - 1, true},
			{1, false},
		} {
			time.Sleep(step.wait)
			if hit() != step.hit {
				t.Errorf("after another %v: hit is %t", step.wait, !step.hit)
			}
		}
	})
}

func TestConnectionRules(t *testing.T) {
	for name, tc := range map[string]struct {
		rule Rule
		addr string
		want Kind
	}{
		"refuse":                           {Rule{Kind: Refuse}, "a.test:443", Refuse},
		"blackhole":                        {Rule{Kind: Blackhole}, "a.test:443", Blackhole},
		"host":                             {Rule{Kind: Refuse, Host: "a.test"}, "a.test:443", Refuse},
		"another host":                     {Rule{Kind: Refuse, Host: "a.test"}, "b.test:443", None},
		"host, address unknown":            {Rule{Kind: Refuse, Host: "a.test"}, "", None},
		"IPv6":                             {Rule{Kind: Refuse, Host: "::1"}, "[::1]:443", Refuse},
		"only a request can have a path":   {Rule{Kind: Refuse, Path: "/x"}, "a.test:443", None},
		"only a request can have a method": {Rule{Kind: Refuse, Method: "GET"}, "a.test:443", None},
		"latency is no connection's":       {Rule{Kind: Latency}, "a.test:443", None},
	} {
		p := NewPlan(1)
		p.Add(tc.rule)
		if got := p.Connect(tc.addr).Kind; got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// A server cuts the connections it has when refusal begins, not before and not
// for the sake of one of its hosts.
func TestOnRefuse(t *testing.T) {
	for name, tc := range map[string]struct {
		rule Rule
		wait time.Duration
		cuts int
	}{
		"at once":         {Rule{Kind: Refuse}, 0, 1},
		"not yet":         {Rule{Kind: Refuse, Start: time.Hour}, time.Hour - 1, 0},
		"later":           {Rule{Kind: Refuse, Start: time.Hour}, time.Hour, 1},
		"one host":        {Rule{Kind: Refuse, Host: "a.test"}, time.Hour, 0},
		"some requests":   {Rule{Kind: Refuse, Path: "/x"}, time.Hour, 0},
		"not a refusal":   {Rule{Kind: Blackhole}, time.Hour, 0},
		"share of them":   {Rule{Kind: Refuse, Rate: 0.5}, time.Hour, 0},
		"counted hits":    {Rule{Kind: Refuse, Count: 1}, time.Hour, 0},
		"later, then off": {Rule{Kind: Refuse, Start: time.Minute, For: time.Minute}, time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, cuts := NewPlan(1), 0
				p.OnRefuse(func() { cuts++ })
				p.Add(tc.rule)
				time.Sleep(tc.wait)
				synctest.Wait()
				if cuts != tc.cuts {
					t.Errorf("cut %d times, want %d", cuts, tc.cuts)
				}
				p.Heal()
			})
		})
	}
	t.Run("removed before it began", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, cuts := NewPlan(1), 0
			p.OnRefuse(func() { cuts++ })
			p.Add(Rule{Kind: Refuse, Start: time.Minute})()
			p.Add(Rule{Kind: Refuse, Start: time.Minute})
			p.Heal()
			time.Sleep(time.Hour)
			synctest.Wait()
			if cuts != 0 {
				t.Errorf("cut %d times", cuts)
			}
		})
	})
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := None; k <= Truncate; k++ {
		if name := k.String(); seen[name] || strings.Contains(name, "Kind") {
			t.Errorf("kind %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
	if got := Kind(200).String(); got != "fault.Kind(200)" {
		t.Error(got)
	}
}

// body reads and closes what a client got.
func body(resp *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
