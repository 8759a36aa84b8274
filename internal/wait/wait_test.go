package wait

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		for d, want := range map[time.Duration]time.Duration{-1: 0, 0: 0, time.Minute: time.Minute} {
			begun := time.Now()
			if err := For(ctx, d); err != nil || time.Since(begun) != want {
				t.Errorf("%v: %v after %v", d, err, time.Since(begun))
			}
		}
		begun := time.Now()
		time.AfterFunc(time.Second, func() { cancel(why) })
		if err := For(ctx, time.Hour); err != why || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if err := For(ctx, 0); err != why {
			t.Error(err)
		}
	})
}

func TestJitter(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := Jitter(time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < time.Second/2 || high > time.Second || high-low < time.Second/4 {
		t.Errorf("between %v and %v", low, high)
	}
	if Jitter(0) != 0 {
		t.Error("of nothing")
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pause
		if p.Left() > 0 {
			t.Error("it lasts before it began")
		}
		p.Extend(time.Minute)
		time.Sleep(10 * time.Second)
		p.Extend(20 * time.Second) // which is no longer
		if left := p.Left(); left != 50*time.Second {
			t.Errorf("%v left", left)
		}
		p.Extend(time.Hour)
		if left := p.Left(); left != time.Hour {
			t.Errorf("%v left", left)
		}
		time.Sleep(time.Hour)
		if left := p.Left(); left > 0 {
			t.Errorf("%v left", left)
		}
	})
}
