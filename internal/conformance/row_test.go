package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// row is one hazard. The probes ask the same question of the SDK and of Jurymast
// and answer nil if the client behaved, a verdict if it did not.
type row[E any] struct {
	name string
	// provoke brings the hazard about, at the moment the probe chooses (strike).
	provoke       func(E)
	sdk, jurymast func(E) error
	// heavy, if set, says why the row does not run under the race detector.
	heavy string
	// wall, if set, says why the SDK's probe runs in real time: it has something
	// that a synctest bubble cannot see through. There is no control run then,
	// because it would be a bound that a slow machine breaks.
	wall string
}

// verdict says what a client did wrong. Any other error of a probe is a broken
// probe, not a finding.
type verdict string

func (v verdict) Error() string { return string(v) }

func wrong(format string, args ...any) error { return verdict(fmt.Sprintf(format, args...)) }

// play runs the rows of one vendor. open makes a fresh cloud for one run, whose
// strike calls the hook.
//
// Rows run one after the other: some of what an SDK does is done to the process.
func play[E any](t *testing.T, vendor string, rows []row[E], open func(t *testing.T, hook func(E)) E) {
	quiet := func(E) {}
	table := newTable(vendor)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if r.heavy != "" && raceDetector {
				t.Skip(r.heavy)
			}
			run := func(name string, wall bool, hook func(E), probe func(E) error, judge func(*testing.T, error)) {
				t.Run(name, func(t *testing.T) {
					once := func(t *testing.T) { judge(t, probe(open(t, hook))) }
					if wall {
						once(t)
						return
					}
					synctest.Test(t, once)
				})
			}
			if r.wall == "" {
				run("control", false, quiet, r.sdk, behaves)
			}
			run("sdk", r.wall != "", r.provoke, r.sdk, func(t *testing.T, err error) {
				v, ok := errors.AsType[verdict](err)
				switch {
				case err == nil:
					t.Error("the SDK behaved: has the hazard been fixed?")
				case !ok:
					t.Errorf("the probe failed: %v", err)
				default:
					t.Log(v)
					table.add(r.name, v)
				}
			})
			run("jurymast", false, r.provoke, r.jurymast, behaves)
		})
	}
	table.compare(t, len(rows))
}

func behaves(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

// call is one API call, by whichever client.
type call func(context.Context) error

// within makes the call with a deadline and returns how long it took.
func (c call) within(ctx context.Context, deadline time.Duration) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	begin := time.Now()
	err = c(ctx)
	return time.Since(begin), err
}

// background makes the call without a deadline and does not wait for it.
func (c call) background(ctx context.Context) (done <-chan error) {
	ended := make(chan error, 1)
	go func() { ended <- c(ctx) }()
	return ended
}

// panicked is what f panicked with, or nil.
func panicked(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// cause is the innermost message of an error, without what names Go's types.
func cause(err error) string {
	if err == nil {
		return "no error"
	}
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	text, _, _ := strings.Cut(err.Error(), " into Go")
	return text
}
