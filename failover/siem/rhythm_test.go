package siem

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// ear is a watch without a pump around it.
func ear(sources ...string) *watch {
	p := &Pump{watch: newWatch(), config: Config{Logger: slog.New(slog.DiscardHandler)}}
	for _, s := range sources {
		p.config.Sources = append(p.config.Sources, &script{name: s})
	}
	p.watch.pump = p
	p.watch.reading()
	return p.watch
}

// say puts one event that happened just now.
func (w *watch) say(kind string) { w.sayLate(kind, time.Now()) }

func (w *watch) sayLate(kind string, at time.Time) {
	w.heard("s:0", false)
	var seen tally
	e := Event{Type: kind, Time: at}
	seen.add(&e)
	w.put("s:0", &seen)
}

// beat is a heartbeat every half minute for a while, in which something may happen,
// and returns the silences that began.
func (w *watch) beat(t *testing.T, d time.Duration, every time.Duration, do func()) (begun []string) {
	t.Helper()
	before := map[string]bool{}
	for _, s := range w.silences() {
		before[s.String()] = true
	}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(every) {
		w.heard("s:0", true)
		if do != nil {
			do()
		}
		w.look(t.Context())
		for _, s := range w.silences() {
			if text := s.String(); !before[text] {
				before[text] = true
				begun = append(begun, time.Now().Format("Mon 15:04 ")+text)
			}
		}
	}
	return begun
}

const day = 24 * time.Hour

// hours is whether the hour of now is in a range.
func hours(from, to int) bool { h := time.Now().Hour(); return h >= from && h < to }

func office() bool {
	d := time.Now().Weekday()
	return d != time.Saturday && d != time.Sunday && hours(8, 18)
}

func every(d time.Duration) bool { return time.Now().Unix()%int64(d/time.Second) == 0 }

// What has a rhythm, whatever it is, is no silence. The bubble begins on a Saturday.
func TestARhythmIsNoSilence(t *testing.T) {
	for name, speaks := range map[string]func() bool{
		"steady":                 func() bool { return true },
		"a minute":               func() bool { return every(time.Minute) },
		"an hour":                func() bool { return every(time.Hour) },
		"by day":                 func() bool { return hours(7, 20) },
		"by night":               func() bool { return !hours(6, 21) },
		"in the office":          office,
		"once a day":             func() bool { return hours(2, 3) && every(time.Hour) },
		"once a week":            func() bool { return time.Now().Weekday() == time.Sunday && hours(3, 4) },
		"once, for three hours":  func() bool { return time.Now().Day() == 3 && hours(8, 11) },
		"rarely, and irregular":  func() bool { return time.Now().Unix()/30*2654435761%4001 == 7 },
		"often, and irregular":   func() bool { return time.Now().Unix()/30*2654435761%97 < 30 },
		"bursts every six hours": func() bool { return time.Now().Hour()%6 == 0 && time.Now().Minute() < 10 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := ear()
				if begun := w.beat(t, 42*day, 30*time.Second, func() {
					if speaks() {
						w.say("A")
					}
				}); len(begun) > 0 {
					t.Errorf("%d silences: %v", len(begun), begun)
				}
			})
		})
	}
}

// What had a rhythm and stops is missed, the sooner the denser it was.
func TestWhatStopsIsMissed(t *testing.T) {
	for name, tt := range map[string]struct {
		known  time.Duration // before it stops
		speaks func() bool
		within time.Duration
	}{
		"steady, known for a week":            {8 * day, func() bool { return true }, 6 * time.Minute},
		"steady, known for two days":          {2 * day, func() bool { return true }, 6 * time.Minute},
		"steady, known for 13 hours":          {13 * time.Hour, func() bool { return true }, 17 * time.Hour},
		"every five minutes":                  {10 * day, func() bool { return every(5 * time.Minute) }, 16 * time.Minute},
		"in the office, stops at noon":        {16*day + 12*time.Hour, office, 30 * time.Minute}, // a Monday
		"in the office, stops in the evening": {16*day + 18*time.Hour, office, 7 * day},
		"hourly":                              {10 * day, func() bool { return every(time.Hour) }, 4 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := ear()
				if begun := w.beat(t, tt.known, 30*time.Second, func() {
					if tt.speaks() {
						w.say("A")
					}
				}); len(begun) > 0 {
					t.Errorf("before: %v", begun)
				}
				last := w.sources["s"].types["A"].last
				w.beat(t, tt.within, 30*time.Second, nil)
				all := w.silences()
				if len(all) != 1 || all[0].EventType != "A" || all[0].Source != "s" || all[0].Feed != "" || !all[0].Since.Equal(last) {
					_, silence := w.sources["s"].types["A"].usual(time.Now().UnixMilli())
					t.Fatalf("%v after %v: a silence is %v, %+v", all, tt.within, silence, w.sources["s"].types["A"])
				}
				w.say("A")
				if all := w.silences(); len(all) != 0 {
					t.Errorf("when it speaks again: %v", all)
				}
			})
		})
	}
}

// An outage does not become usual, and a slower rhythm does.
func TestAnOutageTeachesLittleAndANewRhythmIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ear()
		say := func() { w.say("A") }
		w.beat(t, 9*day, 30*time.Second, say)
		w.beat(t, 5*time.Hour, 30*time.Second, nil) // the outage
		if n := len(w.silences()); n != 1 {
			t.Errorf("%d silences in the outage", n)
		}
		w.beat(t, time.Hour, 30*time.Second, say)
		if begun := w.beat(t, time.Hour, 30*time.Second, nil); len(begun) != 1 {
			t.Errorf("the next outage is told: %v", begun)
		}
		slow := func() {
			if every(4 * time.Hour) {
				w.say("A")
			}
		}
		if begun := w.beat(t, 2*day, 30*time.Second, slow); len(begun) == 0 || len(begun) > 4 {
			t.Errorf("a slower rhythm: %v", begun)
		}
		if begun := w.beat(t, 20*day, 30*time.Second, slow); len(begun) > 0 {
			t.Errorf("it is not learned: %v", begun)
		}
	})
}

// A backlog of days that is read in a minute teaches the rhythm of those days.
func TestABacklogTeachesItsOwnRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ear()
		start := time.Now().Add(-10 * day)
		for at := start; at.Before(time.Now()); at = at.Add(10 * time.Minute) {
			if h := at.Hour(); h >= 8 && h < 18 {
				w.sayLate("A", at)
			}
		}
		time.Sleep(8 * time.Hour)
		if begun := w.beat(t, 3*day, 30*time.Second, func() {
			if hours(8, 18) && every(10*time.Minute) {
				w.say("A")
			}
		}); len(begun) > 0 {
			t.Errorf("%v", begun)
		}
	})
}

func TestAPutIsCountedByTypes(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(1_000_000+s, 0) }
	var got tally
	for _, e := range []Event{
		{Type: "A", Time: at(0)},
		{Type: "A", Time: at(5)},
		{Type: "B", Time: at(6)},
		{Type: "", Time: at(7)},
		{Type: "A", Time: at(4)},
		{Type: "A", Time: at(105)},
		{Type: "B", Time: at(60)},
	} {
		got.add(&e)
	}
	ms := func(s int64) int64 { return at(s).UnixMilli() }
	want := []burst{{"A", 4, ms(0), ms(105), 100_000, ms(5)}, {"B", 2, ms(6), ms(60), 54_000, ms(6)}}
	if len(got.seen) != 2 || got.seen[0] != want[0] || got.seen[1] != want[1] {
		t.Errorf("got  %+v\nwant %+v", got.seen, want)
	}
	if all := (burst{"", 7, ms(0), ms(105), 98_000, ms(7)}); got.all != all {
		t.Errorf("got  %+v\nwant %+v", got.all, all)
	}
}

// A source that invents a type for every event takes no more memory for it.
func TestTypesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ear()
		var seen tally
		for n := range 3 * mostTypes {
			e := Event{Type: fmt.Sprint("type ", n), Time: time.Now()}
			seen.add(&e)
			w.say(fmt.Sprint("one ", n))
		}
		w.put("s:0", &seen)
		for n := range 3 * mostFeeds {
			w.heard(fmt.Sprint("s:", n), true)
		}
		s := w.sources["s"]
		if len(seen.seen) != mostTypes+1 || len(s.types) != mostTypes+1 || len(s.feeds) != mostFeeds+1 {
			t.Errorf("%d types in a Put, %d in all, %d feeds", len(seen.seen), len(s.types), len(s.feeds))
		}
		if n := s.types[others].events; n < mostTypes {
			t.Errorf("the others are %d", n)
		}
		time.Sleep(strange + time.Hour)
		w.look(t.Context())
		if len(s.types) != 0 {
			t.Errorf("%d types that are not missed are kept", len(s.types))
		}
	})
}
