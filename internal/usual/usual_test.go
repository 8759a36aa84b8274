package usual

import (
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestLearnsTheMedianAndNotTheTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var u Time
	if u.Patience() != 0 || u.Slow(time.Hour) {
		t.Error("knew before it learned")
	}
	for range 10_000 {
		d := time.Duration(80+rng.IntN(40)) * ms
		if rng.IntN(10) == 0 {
			d = 5 * time.Second
		}
		u.Learn(d)
	}
	if p := u.Patience(); p < 240*ms || p > 420*ms {
		t.Errorf("patience %v for a median of 100 ms", p)
	}
}

func TestNothingFastIsSlow(t *testing.T) {
	var u Time
	for range 100 {
		u.Learn(100 * time.Microsecond)
	}
	if u.Slow(20 * ms) {
		t.Error("20 ms is what a garbage collector takes")
	}
}

func TestSlownessIsAcceptedStepByStep(t *testing.T) {
	var u Time
	for range 100 {
		u.Learn(10 * ms)
	}
	for range 200 {
		u.Learn(100 * ms)
	}
	if !u.Slow(100 * ms) {
		t.Error("two hundred slow calls made ten times as slow the usual")
	}
	n := 0
	for ; u.Slow(100*ms) && n < 100; n++ {
		u.Accept(100 * ms)
	}
	if n < 5 || n > 20 {
		t.Errorf("accepted after %d steps", n)
	}
}
