package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// step is what a provider's list does next: wait, then yield an item or an error.
type step struct {
	wait time.Duration
	item string
	err  error
}

// lists yields the steps of a provider; one whose context ends stops with its error.
func lists(steps map[string][]step) func(context.Context, string) iter.Seq2[string, error] {
	return func(ctx context.Context, id string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, s := range steps[id] {
				select {
				case <-time.After(s.wait):
				case <-ctx.Done():
					yield("", ctx.Err())
					return
				}
				if !yield(s.item, s.err) {
					return
				}
			}
		}
	}
}

func items(s string) (out []step) {
	for _, item := range strings.Fields(s) {
		out = append(out, step{item: item})
	}
	return out
}

// collected is what a stream yielded, and its last error.
func collected(seq iter.Seq2[string, error]) (out string, err error) {
	for v, e := range seq {
		if err != nil && !continues(err) {
			out += "AFTER THE END "
		}
		if err = e; e != nil {
			v = "!"
		}
		out += v + " "
	}
	return strings.TrimSpace(out), err
}

// rowError is about one row.
type rowError struct{ error }

func (rowError) Continues() bool { return true }

// lastRow knows that nothing comes after it.
type lastRow struct{ error }

func (lastRow) Continues() bool { return false }
func (e lastRow) Unwrap() error { return e.error }

func TestAStreamFailsOverBeforeItsFirstItemOnly(t *testing.T) {
	row := rowError{errors.New("unreadable")}
	denied := fail(resilience.Denied, resilience.Answered)
	for name, tc := range map[string]struct {
		a       []step
		want    string
		err     error // that the last one matches
		partial int   // items of a PartialError; -1: it is none
	}{
		"complete":               {items("a1 a2 a3"), "a1 a2 a3", nil, -1},
		"empty":                  {nil, "", nil, -1},
		"fails at once":          {[]step{{err: down}}, "b1 b2", nil, -1},
		"denied":                 {[]step{{err: denied}}, "!", denied, -1},
		"fails after an item":    {append(items("a1 a2"), step{err: down}), "a1 a2 !", down, 2},
		"goes on after its end":  {append(items("a1"), step{err: down}, step{item: "a2"}), "a1 !", down, 1},
		"a bad row":              {append(items("a1"), step{err: row}, step{item: "a3"}), "a1 ! a3", nil, -1},
		"a bad row first":        {[]step{{err: row}, {item: "a2"}}, "! a2", nil, -1},
		"a row and the end":      {append(items("a1"), step{err: lastRow{down}}, step{item: "a3"}), "a1 !", down, 1},
		"a bad row last":         {append(items("a1"), step{err: row}), "a1 !", row, -1},
		"fails after a bad row":  {[]step{{err: row}, {err: down}}, "! !", down, 1},
		"a row that is not one":  {append(items("a1"), step{err: row}, step{err: down}), "a1 ! !", down, 2},
		"a wrapped error of row": {append(items("a1"), step{err: fmt.Errorf("x: %w", row)}, step{item: "a3"}), "a1 ! a3", nil, -1},
	} {
		t.Run(name, func(t *testing.T) {
			g := group(t, "a", "b")
			got, err := collected(Stream(t.Context(), g, reading, lists(map[string][]step{"a": tc.a, "b": items("b1 b2")})))
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
			p, ok := errors.AsType[*PartialError](err)
			if ok != (tc.partial >= 0) || ok != errors.Is(err, ErrPartial) {
				t.Fatalf("%v", err)
			}
			if ok && (p.Items != tc.partial || p.Provider != "a" || resilience.Of(err).Class != resilience.Refused || !strings.Contains(err.Error(), "a broke off after ")) {
				t.Errorf("%+v", p)
			}
		})
	}
	_, err := collected(Stream(t.Context(), group(t, "a", "b"), reading, lists(map[string][]step{"a": {{err: down}}, "b": {{err: io.EOF}}})))
	if e, ok := errors.AsType[*Error](err); !ok || len(e.Gaps) != 2 || !errors.Is(err, down) || !errors.Is(err, io.EOF) || errors.Is(err, ErrPartial) {
		t.Errorf("nobody: %v", err)
	}
	none := group(t, "a").Only(func(Member[string]) bool { return false })
	if _, err := collected(Stream(t.Context(), none, reading, lists(nil))); !errors.Is(err, ErrNoProvider) {
		t.Errorf("empty group: %v", err)
	}
	if got, err := collected(Stream(t.Context(), group(t, "a"), effect, lists(map[string][]step{"a": items("a1")}))); got != "!" || resilience.Of(err).Class != resilience.Misuse {
		t.Errorf("an effect was streamed: %v", err)
	}
}

// The share of the time is for the first item. A list may take as long as it likes.
func TestAShareOfTheTimeBoundsTheFirstItemOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b   []step
		within time.Duration // the caller's own
		want   string
		took   time.Duration
		err    error
		not    error
	}{
		"slow list":       {a: []step{{time.Second, "a1", nil}, {time.Hour, "a2", nil}}, want: "a1 a2", took: time.Hour + time.Second},
		"slow start":      {a: []step{{time.Hour, "a1", nil}}, b: []step{{time.Second, "b1", nil}, {time.Hour, "b2", nil}}, want: "b1 b2", took: 15*time.Second + time.Second + time.Hour},
		"nobody starts":   {a: []step{{time.Hour, "a1", nil}}, b: []step{{time.Hour, "b1", nil}}, want: "!", took: 30 * time.Second, err: resilience.ErrShare, not: context.Canceled},
		"just too late":   {a: []step{{15 * time.Second, "a1", nil}}, b: items("b1"), want: "b1", took: 15 * time.Second},
		"just in time":    {a: []step{{15*time.Second - 1, "a1", nil}}, b: items("b1"), want: "a1", took: 15*time.Second - 1},
		"the caller's":    {a: []step{{time.Second, "a1", nil}, {time.Hour, "a2", nil}}, within: time.Minute, want: "a1 !", took: time.Minute, err: context.DeadlineExceeded},
		"both of them":    {a: []step{{time.Hour, "a1", nil}}, b: []step{{time.Hour, "b1", nil}}, within: 10 * time.Second, want: "!", took: 10 * time.Second, err: context.DeadlineExceeded},
		"a caller's half": {a: []step{{time.Hour, "a1", nil}}, b: []step{{4 * time.Second, "b1", nil}, {time.Hour, "b2", nil}}, within: 10 * time.Second, want: "b1 !", took: 10 * time.Second, err: ErrPartial},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tc.within > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.within)
					defer cancel()
				}
				begin := time.Now()
				got, err := collected(Stream(ctx, group(t, "a", "b"), reading, lists(map[string][]step{"a": tc.a, "b": tc.b})))
				if got != tc.want || !errors.Is(err, tc.err) || tc.not != nil && errors.Is(err, tc.not) || time.Since(begin) != tc.took {
					t.Errorf("got %q, %v after %v", got, err, time.Since(begin))
				}
			})
		})
	}
}

// A list that stops with its context and says nothing is not complete.
func TestAListThatEndsSilentlyIsNotComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(first string) func(context.Context, string) iter.Seq2[string, error] {
			return func(ctx context.Context, id string) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					if id == "a" && (first == "" || yield(first, nil)) {
						<-ctx.Done()
					} else {
						yield("b1", nil)
					}
				}
			}
		}
		if got, err := collected(Stream(t.Context(), group(t, "a", "b"), reading, silent(""))); got != "b1" || err != nil {
			t.Errorf("before the first item: %q, %v", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if got, err := collected(Stream(ctx, group(t, "a", "b"), reading, silent("a1"))); got != "a1 !" || !errors.Is(err, ErrPartial) || !errors.Is(err, context.Canceled) {
			t.Errorf("after it: %q, %v", got, err)
		}
	})
}

// As long as another can take over, retries are hasty; then they may be patient.
func TestAStreamHasABackupUntilItsFirstItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy, err := resilience.New("a", resilience.Config{})
		if err != nil {
			t.Fatal(err)
		}
		page := func(ctx context.Context, tries *int) error {
			_, err := resilience.Do(ctx, policy, resilience.Call{Name: "page", Kind: resilience.Read}, func(context.Context) (int, error) {
				*tries++
				return 0, fail(resilience.Broken, resilience.MaybeSent)
			})
			return err
		}
		var before, after int
		for range Stream(t.Context(), group(t, "a", "b"), reading, func(ctx context.Context, id string) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				if id == "a" {
					yield("", page(ctx, &before))
					return
				}
				if yield("b1", nil) {
					yield("", page(ctx, &after))
				}
			}
		}) {
		}
		if before > 2 || after != 3 {
			t.Errorf("%d and %d tries, want 2 with a backup and 3 without", before, after)
		}
		before = 0
		for range Stream(t.Context(), group(t, "a", "b"), reading, func(ctx context.Context, id string) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				page, cancel := context.WithCancel(ctx) // a context made before the first item follows too
				defer cancel()
				if yield("x1", nil) && page.Err() == nil {
					yield("", pageOf(page, &before))
				}
			}
		}) {
		}
		if before != 3 {
			t.Errorf("%d tries after the first item", before)
		}
	})
}

func pageOf(ctx context.Context, tries *int) error {
	policy, err := resilience.New("fresh", resilience.Config{})
	if err != nil {
		return err
	}
	_, err = resilience.Do(ctx, policy, resilience.Call{Name: "page", Kind: resilience.Read}, func(context.Context) (int, error) {
		*tries++
		return 0, fail(resilience.Broken, resilience.MaybeSent)
	})
	return err
}

// What streams see moves the preference, and they follow it.
func TestStreamsMoveAndFollowThePreference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string][]step{"a": append(items("a1"), step{err: down}), "b": items("b1")}
		good := map[string][]step{"a": items("a1 a2"), "b": items("b1")}
		g := group(t, "a", "b")
		for range 2 {
			_, _ = collected(Stream(t.Context(), g, interchangeable, lists(bad)))
			_, _ = collected(Stream(t.Context(), g, reading, lists(bad)))
		}
		if g.Current() != "b" {
			t.Fatalf("lists that always break off: %v", g.Explain())
		}
		// A list that comes to its end makes its provider well.
		for _, b := range []error{down, nil, down} {
			_, _ = collected(Stream(t.Context(), g, reading, lists(map[string][]step{"b": {{err: b}}, "a": items("a1")})))
			if b == nil {
				_, _ = collected(Stream(t.Context(), g, reading, lists(good)))
			}
		}
		if e := g.Explain(); e.Providers[1].Failures != 1 {
			t.Errorf("%v", e)
		}
		if got, _ := collected(Stream(t.Context(), g, reading, lists(good))); got != "b1" {
			t.Errorf("got %q", got)
		}
		time.Sleep(30 * time.Second)
		// A trial that has come to its first item does not keep others waiting.
		for range Stream(t.Context(), g, reading, lists(good)) {
			for range Stream(t.Context(), g, reading, lists(good)) {
				if got, _ := collected(Stream(t.Context(), g, reading, lists(good))); got != "a1 a2" || g.Current() != "a" {
					t.Errorf("got %q, %v", got, g.Explain())
				}
				break
			}
			break
		}
	})
}

// Who does not know what is listed has not failed: those on its plane know it as
// well as others.
func TestAStreamThatIsNotFoundIsNoFailure(t *testing.T) {
	g, err := NewGroup(Config{Capability: "test"}, Member[string]{ID: "a", Value: "a", Plane: "p"}, Member[string]{ID: "b", Value: "b", Plane: "p"}, Member[string]{ID: "c", Value: "c"})
	if err != nil {
		t.Fatal(err)
	}
	unknown := elsewhere{fail(resilience.NotFound, resilience.Answered)}
	if got, err := collected(Stream(t.Context(), g, reading, lists(map[string][]step{"a": {{err: unknown}}, "b": items("b1"), "c": items("c1")}))); got != "b1" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A consumer that leaves, or panics, leaves nothing behind.
func TestAConsumerMayLeaveAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ended := group(t, "a", "b"), false
		seq := Stream(t.Context(), g, reading, func(ctx context.Context, _ string) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				defer func() { ended = ended || ctx.Err() == nil }()
				_ = yield("1", nil) && yield("2", nil)
			}
		})
		for v := range seq {
			if v != "1" {
				t.Error(v)
			}
			break
		}
		if !ended {
			t.Error("the provider's list still runs")
		}
		if got, err := collected(seq); got != "1 2" || err != nil {
			t.Errorf("ranged again: %q, %v", got, err)
		}
		func() {
			defer func() { _ = recover() }()
			for range seq {
				panic("boom")
			}
		}()
		time.Sleep(time.Hour)
		if e := g.Explain(); e.Providers[0].Failures != 0 {
			t.Errorf("%v", e)
		}
	})
}

func TestAStreamObeysCordonsAndChoices(t *testing.T) {
	g := group(t, "a", "b", "c")
	if err := g.Cordon("a", "drill", "soc"); err != nil {
		t.Fatal(err)
	}
	each := lists(map[string][]step{"a": items("a1"), "b": {{err: down}}, "c": items("c1")})
	for want, ctx := range map[string]context.Context{"c1": t.Context(), "!": WithoutFailover(t.Context())} {
		if got, _ := collected(Stream(ctx, g, reading, each)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if _, err := collected(Stream(WithOnly(t.Context(), "a"), g, reading, each)); !errors.Is(err, ErrCordoned) {
		t.Errorf("%v", err)
	}
}
