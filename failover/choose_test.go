package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/resilience"
)

var (
	reading = Call{Name: "x", Kind: resilience.Read}
	down    = fail(resilience.Refused, resilience.NotSent)
)

// asks records who was asked; those in bad fail.
func asks(asked *[]string, bad ...string) func(context.Context, string) (string, error) {
	return func(_ context.Context, p string) (string, error) {
		*asked = append(*asked, p)
		if slices.Contains(bad, p) {
			return "", down
		}
		return p, nil
	}
}

func TestACordonedProviderIsNotAsked(t *testing.T) {
	g := group(t, "a", "b", "c")
	if err := g.Cordon("a", "it lies", "soc"); err != nil {
		t.Fatal(err)
	}
	view := g.Only(func(m Member[string]) bool { return m.ID != "c" })
	for name, g := range map[string]*Group[string]{"group": g, "a part of it": view} {
		for _, call := range []Call{reading, interchangeable} {
			var asked []string
			res, err := Do(t.Context(), g, call, asks(&asked))
			if err != nil || !slices.Equal(asked, []string{"b"}) || !res.Served[0].FellOver || len(res.Gaps) != 1 || res.Gaps[0].Provider != "a" {
				t.Errorf("%s: %v, %+v, %v", name, asked, res, err)
			}
			gap, ok := errors.AsType[*CordonedError](res.Gaps[0].Err)
			if !ok || !errors.Is(res.Gaps[0].Err, ErrCordoned) || gap.Cordon.Who != "soc" || gap.Cordon.Reason != "it lies" || gap.Cordon.Since.IsZero() {
				t.Errorf("%s: %v", name, res.Gaps[0])
			}
		}
	}
	res, err := Each(t.Context(), g, reading, func(_ context.Context, m Member[string]) (string, error) { return m.ID, nil })
	if err != nil || len(res.Value) != 2 || len(res.Gaps) != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	var asked []string
	even := reading
	even.EvenCordoned = true
	if res, err := Do(t.Context(), g, even, asks(&asked)); err != nil || res.By() != "a" || res.Served[0].FellOver {
		t.Errorf("%+v, %v", res, err)
	}
	// A cordoned backup changes nothing of who serves.
	g.Uncordon("a")
	if err := g.Cordon("b", "drill", "soc"); err != nil {
		t.Fatal(err)
	}
	if res, err := Do(t.Context(), g, reading, asks(&asked)); err != nil || res.By() != "a" || res.Served[0].FellOver {
		t.Errorf("%+v, %v", res, err)
	}
	for _, id := range []string{"a", "c"} {
		if err := g.Cordon(id, "drill", "soc"); err != nil {
			t.Fatal(err)
		}
	}
	if c := g.Cordons(); len(c) != 3 || c[0].Provider != "a" {
		t.Errorf("%v", c)
	}
	if _, err := Do(t.Context(), g, reading, asks(&asked)); !errors.Is(err, ErrCordoned) || resilience.Of(err).Sent != resilience.NotSent {
		t.Errorf("all cordoned: %v", err)
	}
	if !g.Uncordon("a") || g.Uncordon("a") {
		t.Error("uncordoned twice")
	}
}

func TestCordonNamesItsMistake(t *testing.T) {
	g := group(t, "a")
	for want, err := range map[string]error{`no provider "b"`: g.Cordon("b", "r", "w"), "needs a reason": g.Cordon("a", "", "w"), "who wants it": g.Cordon("a", "r", "")} {
		if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestOneCallMayNameItsProvider(t *testing.T) {
	g := group(t, "a", "b", "c")
	var asked []string
	res, err := Do(WithOnly(t.Context(), "b"), g, reading, asks(&asked))
	if err != nil || !slices.Equal(asked, []string{"b"}) || res.Served[0].FellOver || len(res.Gaps) != 0 {
		t.Errorf("%v, %+v, %v", asked, res, err)
	}
	if _, err := Do(WithOnly(t.Context(), "z"), g, reading, asks(&asked)); !errors.Is(err, ErrNoProvider) {
		t.Errorf("nobody: %v", err)
	}
	asked = nil
	res, err = Do(WithoutFailover(t.Context()), g, reading, asks(&asked, "a"))
	if !errors.Is(err, down) || !slices.Equal(asked, []string{"a"}) || len(res.Gaps) != 1 {
		t.Errorf("%v, %+v, %v", asked, res, err)
	}
}

// What took a provider down may have taken those that share its plane.
func TestAfterAFailureAnotherPlaneIsAskedFirst(t *testing.T) {
	members := []Member[string]{{ID: "a", Value: "a", Plane: "p"}, {ID: "b", Value: "b", Plane: "p"}, {ID: "c", Value: "c"}, {ID: "d", Value: "d", Plane: "q"}}
	for _, tc := range []struct{ bad, want []string }{
		{[]string{"a"}, []string{"a", "c"}},
		{[]string{"a", "c"}, []string{"a", "c", "d"}},
		{[]string{"a", "b", "c", "d"}, []string{"a", "c", "d", "b"}},
		{nil, []string{"a"}},
	} {
		g, err := NewGroup(Config{Capability: "test"}, members...)
		if err != nil {
			t.Fatal(err)
		}
		var asked []string
		_, _ = Do(t.Context(), g, reading, asks(&asked, tc.bad...))
		if !slices.Equal(asked, tc.want) {
			t.Errorf("%v failed: asked %v, want %v", tc.bad, asked, tc.want)
		}
	}
}

func TestSharedFateIsRefused(t *testing.T) {
	for i, tc := range []struct {
		planes []string
		shared bool
		ok     bool
	}{
		{[]string{"p", "p"}, false, false},
		{[]string{"p", "p"}, true, true},
		{[]string{"p", "q"}, false, true},
		{[]string{"p", ""}, false, true},
		{[]string{"", ""}, false, true},
		{[]string{"p"}, false, true},
	} {
		var members []Member[int]
		for j, p := range tc.planes {
			members = append(members, Member[int]{ID: fmt.Sprint(j), Plane: p})
		}
		_, err := NewGroup(Config{Capability: "test", SharedFate: tc.shared}, members...)
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), "Config.SharedFate") {
			t.Errorf("%d: %v", i, err)
		}
	}
}
