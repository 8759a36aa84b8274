package edr

import (
	"fmt"
	"math"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Limit is a vendor's quota as containments spend it.
type Limit struct {
	Window resilience.Window
	// Cost is how many of the window's calls one Contain takes, the reads before it
	// included.
	Cost int
}

func checkLimits(limits []Limit) error {
	for i, l := range limits {
		if l.Cost < 1 || l.Window.Calls < l.Cost || l.Window.Per <= 0 {
			return fmt.Errorf("its Limits[%d] are %d of %d calls in %v: no containment ever fits: Cost and Per must be positive, and Calls at least Cost",
				i, l.Cost, l.Window.Calls, l.Window.Per)
		}
	}
	return nil
}

// fastest is when the last of n containments can be asked for, the first being asked
// for now, if each goes as soon as every window has room for all of its calls. No
// schedule is faster: a containment made later gives no other its place earlier.
func fastest(n int, limits []Limit) time.Duration {
	if n == 0 {
		return 0
	}
	at := make([]time.Duration, n)
	for i := range at {
		for _, l := range limits {
			// The one that is a whole window before it must have left the window.
			if before := i - l.Window.Calls/l.Cost; before >= 0 {
				at[i] = max(at[i], at[before]+l.Window.Per)
			}
		}
	}
	return at[n-1]
}

// paced is the same for calls that a resilience.Quota spreads: a fifth of a window at
// once, of which reads leave a quarter, and the rest evenly. It is an upper bound: of
// the calls that must all leave that quarter, some are effects and need not.
func paced(n int, limits []Limit) time.Duration {
	var last time.Duration
	for _, l := range limits {
		burst := max(1, l.Window.Calls/5)
		every := l.Window.Per.Seconds() / float64(max(1, l.Window.Calls-burst))
		if wait := n*l.Cost - (burst - burst/4); wait > 0 {
			last = max(last, time.Duration(math.Ceil(float64(wait)*every*1e9)))
		}
	}
	return last
}
