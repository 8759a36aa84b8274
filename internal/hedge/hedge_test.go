package hedge

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errSick      = errors.New("sick")
	errOvertaken = errors.New("overtaken")
)

// step is what a candidate does: after so long it answers or fails.
type step struct {
	after time.Duration
	err   error
}

func TestRace(t *testing.T) {
	const ms = time.Millisecond
	for name, tc := range map[string]struct {
		steps    []step
		patience time.Duration
		noHedge  bool
		stop     bool // a failure forbids to ask another
		want     string
	}{
		"the first answers":                  {[]step{{5 * ms, nil}, {5 * ms, nil}}, 10 * ms, false, false, "winner 0 of 1 after 5ms, failed []"},
		"a slow one is overtaken":            {[]step{{time.Hour, nil}, {5 * ms, nil}}, 10 * ms, false, false, "winner 1 of 2 after 15ms, failed []"},
		"the slow one may still win":         {[]step{{12 * ms, nil}, {5 * ms, nil}}, 10 * ms, false, false, "winner 0 of 2 after 12ms, failed []"},
		"a failure is followed at once":      {[]step{{ms, errSick}, {5 * ms, nil}}, 10 * ms, false, false, "winner 1 of 2 after 6ms, failed [0>1]"},
		"a failure with another under way":   {[]step{{20 * ms, errSick}, {15 * ms, nil}}, 10 * ms, false, false, "winner 1 of 2 after 25ms, failed [0>-1]"},
		"all fail":                           {[]step{{ms, errSick}, {ms, errSick}, {ms, errSick}}, 10 * ms, false, false, "winner -1 of 3 after 3ms, failed [0>1 1>2 2>-1]"},
		"a failure that forbids another":     {[]step{{ms, errSick}, {ms, nil}}, 10 * ms, false, true, "winner -1 of 1 after 1ms, failed [0>1]"},
		"no patience, no hedge":              {[]step{{time.Second, nil}, {ms, nil}}, 0, false, false, "winner 0 of 1 after 1s, failed []"},
		"a refused hedge leaves the first":   {[]step{{time.Second, nil}, {ms, nil}}, 10 * ms, true, false, "winner 0 of 1 after 1s, failed []"},
		"a refused hedge, then a failure":    {[]step{{time.Second, errSick}, {ms, nil}}, 10 * ms, true, false, "winner 1 of 2 after 1.001s, failed [0>1]"},
		"three slow ones, the third is good": {[]step{{time.Hour, nil}, {time.Hour, nil}, {ms, nil}}, 10 * ms, false, false, "winner 2 of 3 after 21ms, failed []"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				failed := []string{}
				r := Race[int]{
					Candidates: len(tc.steps),
					Overtaken:  errOvertaken,
					Ask: func(ctx context.Context, i int) (int, error) {
						select {
						case <-time.After(tc.steps[i].after):
							return i, tc.steps[i].err
						case <-ctx.Done():
							if context.Cause(ctx) != errOvertaken {
								t.Errorf("given up because of %v", context.Cause(ctx))
							}
							return 0, ctx.Err()
						}
					},
					Patience: func(int) time.Duration { return tc.patience },
					Hedge:    func(_, _ int) bool { return !tc.noHedge },
					Failed: func(i, next int, _ error) bool {
						failed = append(failed, fmt.Sprintf("%d>%d", i, next))
						return !tc.stop
					},
				}
				got := r.Run(t.Context())
				story := fmt.Sprintf("winner %d of %d after %v, failed %v", got.Winner, got.Asked, time.Since(begin), failed)
				if story != tc.want || got.Winner > 0 && got.Value != got.Winner {
					t.Errorf("got  %s\nwant %s", story, tc.want)
				}
			})
		})
	}
}
