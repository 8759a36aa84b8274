// Package usual learns how long something usually takes, so that slow can be
// told from usual without anybody configuring it.
package usual

import "time"

// Time is a running median of durations. The zero value has learned nothing. It
// is not safe for concurrent use.
type Time struct {
	median  time.Duration
	learned int
}

const (
	learn  = 20 // before that nothing is usual
	factor = 3  // times the usual is slow
	// Below this nothing is slow: schedulers and garbage collectors take as long.
	floor = 25 * time.Millisecond
)

// Patience is how long to wait before something is slow; 0 if too little has
// been learned to say.
func (t *Time) Patience() time.Duration {
	if t.learned < learn {
		return 0
	}
	return max(factor*t.median, floor)
}

// Silence is how long it may be that nothing at all ends, of many things under
// way, before that is strange; 0 if too little has been learned to say. It is
// shorter than Patience, because all of them being late at once is rarer than
// one of them being very late.
func (t *Time) Silence() time.Duration {
	if t.learned < learn {
		return 0
	}
	return max(2*t.median, floor*4/5)
}

// Slow reports whether a duration is longer than Patience.
func (t *Time) Slow(took time.Duration) bool {
	p := t.Patience()
	return p > 0 && took > p
}

// Learn moves the median a step towards took. Something slow hardly moves it,
// or a sick dependency would look well after a while.
func (t *Time) Learn(took time.Duration) {
	switch slow := t.Slow(took); {
	case slow:
		t.median += t.median/1024 + 1
	case t.median == 0:
		t.median = max(took, 1)
	case took > t.median:
		t.median += t.median/16 + 1
	case took < t.median:
		t.median -= t.median / 16
	}
	if t.learned < learn {
		t.learned++
	}
}

// Accept moves the median a long step up: took has been slow for so long that it
// is becoming the usual.
func (t *Time) Accept(took time.Duration) {
	t.median += min(t.median/8+1, max(0, took-t.median))
}
