package siem

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// stream is a source as the Falcon event stream: a heartbeat every half minute, and
// events of the types that it has at the moment.
type stream struct {
	*script
	types atomic.Pointer[[]string]
	mute  atomic.Bool // neither heartbeats nor events
	fail  atomic.Pointer[error]
}

func newStream(types ...string) *stream {
	s := &stream{}
	s.types.Store(&types)
	s.script = &script{"falcon", func(ctx context.Context, in *Intake) error {
		next, _ := in.Cursor("0")
		for {
			if err := s.fail.Load(); err != nil {
				return *err
			}
			if !s.mute.Load() {
				in.Heard("0")
				var events []Event
				for _, kind := range *s.types.Load() {
					next++
					events = append(events, occurred(next, kind, time.Now()))
				}
				if err := in.Put(ctx, "0", events...); err != nil {
					return err
				}
			}
			select {
			case <-time.After(30 * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}}
	return s
}

// On 30 September 2025 the DetectionSummaryEvent of the Falcon stream became
// EppDetectionSummaryEvent. The heartbeats and all else went on.
func TestDetectionSummaryEventIsMissedWhenItIsRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		src := newStream("DetectionSummaryEvent", "AuthActivityAuditEvent")
		p, stop := running(t, Config{
			Dir: memory(t), Sources: []Source{src}, Sinks: members(&toySink{}),
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		defer stop()
		time.Sleep(2*day + 10*time.Second)
		if s := p.Status(); !s.OK() {
			t.Fatalf("before: %v", s.Problems())
		}
		src.types.Store(&[]string{"EppDetectionSummaryEvent", "AuthActivityAuditEvent"})
		time.Sleep(6 * time.Minute)
		s := p.Status()
		if len(s.Silences) != 1 || s.Silences[0].EventType != "DetectionSummaryEvent" || s.Silences[0].Source != "falcon" || !near(time.Since(s.Silences[0].Since), 6*time.Minute) {
			t.Fatalf("%+v", s.Silences)
		}
		if s.OK() || !strings.Contains(s.Problems()[0], "event type DetectionSummaryEvent: silent since 2000-01-03 00:00:00Z") {
			t.Errorf("%v", s.Problems())
		}
		time.Sleep(3 * time.Hour)
		if n := strings.Count(log.String(), "msg=\"siem: silence\""); n != 1 {
			t.Errorf("it is told %d times:\n%s", n, log.String())
		}
		src.types.Store(&[]string{"DetectionSummaryEvent", "AuthActivityAuditEvent"})
		time.Sleep(time.Minute)
		if s := p.Status(); !s.OK() || strings.Count(log.String(), "the silence is over") != 1 {
			t.Errorf("%v\n%s", s.Problems(), log.String())
		}
	})
}

func TestASourceIsSilentWhenItsHeartbeatsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newStream("A")
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(&toySink{})})
		defer stop()
		time.Sleep(day + 70*time.Second)
		src.mute.Store(true)
		time.Sleep(4 * time.Minute)
		if s := p.Status(); len(s.Silences) != 1 || s.Silences[0].Feed != "0" || s.Silences[0].Usual != 30*time.Second {
			t.Errorf("%+v", s.Silences)
		}
		time.Sleep(5 * time.Hour) // its types are not the problem
		if s := p.Status(); len(s.Silences) != 1 {
			t.Errorf("%+v", s.Silences)
		}
		src.mute.Store(false)
		time.Sleep(10 * time.Minute)
		if s := p.Status(); !s.OK() {
			t.Errorf("%v", s.Problems())
		}
	})
}

// One partition that stops is a silence though the source is heard.
func TestOneFeedOfTwoIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ear()
		other := func() { w.heard("s:1", true) }
		w.beat(t, time.Hour, 30*time.Second, other)
		if begun := w.beat(t, 5*time.Minute, 30*time.Second, nil); len(begun) != 1 || !strings.Contains(begun[0], "feed 1") {
			t.Errorf("%v", begun)
		}
	})
}

func TestASourceThatFailsIsSilent(t *testing.T) {
	for name, before := range map[string]time.Duration{"after a day": day, "from the start": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := newStream("A")
				wrong := errors.New("403 access denied")
				if before == 0 {
					src.fail.Store(&wrong)
				}
				p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(&toySink{})})
				defer stop()
				time.Sleep(before)
				src.fail.Store(&wrong)
				time.Sleep(3*time.Minute + 10*time.Second)
				s := p.Status()
				if len(s.Silences) != 1 || s.Silences[0] != (Silence{Source: "falcon", Since: s.Silences[0].Since}) {
					t.Errorf("%+v", s.Silences)
				}
				if src := s.Sources[0]; !src.Failing || src.Failures < 2 || src.Error != "403 access denied" {
					t.Errorf("%+v", src)
				}
				time.Sleep(5 * time.Hour)
				if s := p.Status(); len(s.Silences) != 1 || s.OK() {
					t.Errorf("%+v", s.Silences)
				}
				src.fail.Store(nil)
				time.Sleep(2 * time.Minute)
				if s := p.Status(); !s.OK() || s.Sources[0].Error == "" {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// A full spool makes the sources wait. That is told, and they are not blamed.
func TestWhoMustWaitIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ear()
		w.beat(t, 2*day, 30*time.Second, func() { w.say("A") })
		w.pump.health.full = map[string]time.Time{"s:0": time.Now()}
		for range 60 {
			time.Sleep(time.Minute)
			w.look(t.Context())
		}
		if all := w.silences(); len(all) > 0 {
			t.Errorf("%v", all)
		}
		w.pump.health.ended()
		for ago := time.Hour; ago > 0; ago -= 30 * time.Second { // what happened meanwhile
			w.sayLate("A", time.Now().Add(-ago))
		}
		if begun := w.beat(t, time.Hour, 30*time.Second, func() { w.say("A") }); len(begun) > 0 {
			t.Errorf("%v", begun)
		}
		if usual, _ := w.sources["s"].types["A"].usual(time.Now().UnixMilli()); usual > 2*time.Minute {
			t.Errorf("it was learned as a pause of %v", usual)
		}
		if begun := w.beat(t, 6*time.Minute, 30*time.Second, nil); len(begun) != 1 {
			t.Errorf("%v", begun)
		}
	})
}

func TestWhatWasLearnedSurvivesARestart(t *testing.T) {
	for name, tt := range map[string]struct {
		harm func(t *testing.T, store kv.Store)
		want int
	}{
		"as it was": {func(*testing.T, kv.Store) {}, 1},
		"of another release": {func(t *testing.T, store kv.Store) {
			overwrite(t, store, `{"version":2,"rhythms":[]}`)
		}, 0},
		"no JSON": {func(t *testing.T, store kv.Store) { overwrite(t, store, `{"version":1,"rhythms":[{]`) }, 0},
		"impossible": {func(t *testing.T, store kv.Store) {
			overwrite(t, store, `{"version":1,"rhythms":[{"source":"falcon","type":"A","events":100,"hours":100,"pauses":[[25,1,1,1]]}]}`)
		}, 0},
		"gone": {func(t *testing.T, store kv.Store) {
			e, err := store.Get(t.Context(), learnedKey)
			if err == nil {
				err = store.Delete(t.Context(), learnedKey, e.Rev)
			}
			if err != nil {
				t.Error(err)
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := Config{Dir: memory(t), Sources: []Source{newStream("A", "B")}, Sinks: members(&toySink{}), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
				_, stop := running(t, cfg)
				time.Sleep(2 * day) // it is just being saved
				stop()
				store, err := kv.Open(cfg.Dir)
				if err != nil {
					t.Fatal(err)
				}
				tt.harm(t, store)
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				gone := time.Now()
				time.Sleep(time.Hour)
				cfg.Sources = []Source{newStream("A")}
				p, stop := running(t, cfg)
				defer stop()
				time.Sleep(4 * time.Minute)
				if s := p.Status(); !s.OK() {
					t.Errorf("too early: %v", s.Problems())
				}
				time.Sleep(2 * time.Minute)
				s := p.Status()
				if len(s.Silences) != tt.want || tt.want > 0 && (s.Silences[0].EventType != "B" || gone.Sub(s.Silences[0].Since) > 30*time.Second) {
					t.Errorf("%+v", s.Silences)
				}
				stop()
				p, stop = running(t, cfg) // what is silent still is
				defer stop()
				time.Sleep(time.Second)
				if n := len(p.Status().Silences); n != tt.want {
					t.Errorf("%d silences after the next restart", n)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

func overwrite(t *testing.T, store kv.Store, value string) {
	t.Helper()
	e, err := store.Get(t.Context(), learnedKey)
	if err == nil {
		_, err = store.Put(t.Context(), learnedKey, []byte(value), e.Rev)
	}
	if err != nil {
		t.Error(err)
	}
}

// What is not waited for any more is not red for ever.
func TestASilenceIsForgottenAfterTwoWeeks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ear()
		w.beat(t, 10*day, 30*time.Second, func() { w.say("A") })
		w.beat(t, 13*day, 30*time.Second, nil)
		if n := len(w.silences()); n != 1 {
			t.Errorf("%d after 13 days", n)
		}
		w.beat(t, 2*day, 30*time.Second, nil)
		if n := len(w.silences()); n != 0 {
			t.Errorf("%d after 15 days", n)
		}
	})
}

func FuzzLearned(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"rhythms":[{"source":"s","feed":"0","last":"2026-11-24T10:00:00Z","beats":20,"pauses":[[24,30000,1,20000]]}]}`,
		`{"version":1,"rhythms":[{"source":"s","type":"A","last":"2026-11-24T10:00:00Z","events":100,"hours":20,"days":2,"first":-1,"newest":9223372036854775807,"pauses":[[0,2592000000,9223372036854775807,9223372036854775807]]}]}`,
		`{"version":2}`, `{`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := ear("s")
		all, err := parseLearned(b)
		if err != nil || w.take(all) != nil {
			return
		}
		w.say("A")
		w.heard("s:0", true)
		w.look(t.Context())
		w.silences()
		if _, news := w.record(); !news {
			t.Error("it cannot be written again")
		}
	})
}
