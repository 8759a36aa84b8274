package siem

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/siem/spool"
)

// wants the status of a pump to have exactly these problems, by a part of each.
func wants(t *testing.T, p *Pump, problems ...string) {
	t.Helper()
	s := p.Status()
	got := s.Problems()
	ok := len(got) == len(problems) && s.OK() == (len(problems) == 0)
	for i := range problems {
		ok = ok && strings.Contains(got[i], problems[i])
	}
	if !ok {
		t.Errorf("got %q, want %q\n%v", got, problems, s)
	}
	for _, x := range append(problems, "siem: "+s.State) {
		if !strings.Contains(s.String(), x) {
			t.Errorf("%q is not in\n%v", x, s)
		}
	}
}

func TestTheLightIsGreenOnlyIfItRunsAndAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Dir: memory(t), Sources: []Source{late("toy", 0)}, Sinks: members(&toySink{}, &toySink{})}
		p, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, p, "it does not run")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		time.Sleep(time.Hour - time.Second/2)
		wants(t, p)
		s := p.Status()
		if s.State != "running" || !near(s.At.Sub(s.Since), time.Hour) || s.Sources[0].Stored != 3600 || s.Sources[0].Acknowledged != s.Sources[0].Stored ||
			s.Delivery.Rows != s.Sources[0].Stored || !s.Spool.Drained || s.Spool.Bytes == 0 || s.Spool.Max != 8<<30 || s.Sinks.Current != "first" || s.Sources[0].Freshness.Events == 0 {
			t.Errorf("%+v", s)
		}
		for _, part := range []string{"all is well", "source toy: 3600 events stored, 3600 acknowledged; heard at 2000-01-01 00:59:59Z; the last event at 2000-01-01 00:59:59Z", "nothing waits", "siem: calls begin with first"} {
			if !strings.Contains(s.String(), part) {
				t.Errorf("%q is not in\n%v", part, s)
			}
		}
		if b, err := json.Marshal(s); err != nil || !bytes.Contains(b, []byte(`"sources":[{"name":"toy","heard":"2000-01-01T`)) || bytes.Contains(b, []byte(`"full"`)) {
			t.Errorf("%s, %v", b, err)
		}
		cancel()
		<-ended
		wants(t, p, "it does not run")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		wants(t, p, "it does not run")
	})
}

func TestWhatNoSinkTakesIsRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		sink := &toySink{}
		p, stop := running(t, Config{
			Dir: memory(t), Sources: []Source{late("toy", 0)}, Sinks: members(sink),
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		defer stop()
		time.Sleep(10*time.Minute + time.Second/2)
		begun := time.Now()
		sink.set(down)
		time.Sleep(3 * time.Second)
		wants(t, p, "no sink takes a batch since 2000-01-01 00:10:01Z")
		time.Sleep(6 * time.Minute)
		wants(t, p, "no sink takes a batch", "the oldest event waits for 6m")
		if s := p.Status(); !near(s.Delivery.Since.Sub(begun), 0) || !strings.Contains(s.Delivery.Why, "503") || s.Spool.Drained {
			t.Errorf("%+v", s.Delivery)
		}
		sink.set(nil)
		time.Sleep(time.Minute)
		wants(t, p)
		text := log.String()
		if strings.Count(text, "no sink takes a batch") != 1 || strings.Count(text, "batches are taken again") != 1 {
			t.Errorf("told:\n%s", text)
		}
	})
}

// Nobody has said that it fails.
func TestABatchThatHangsIsRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &hangs{}
		p, stop := running(t, Config{
			Dir: memory(t), Sources: []Source{late("toy", 0)}, Timeout: time.Minute,
			Sinks: []failover.Member[Sink]{member("first", sink)},
		})
		defer stop()
		time.Sleep(10*time.Minute + time.Second/2)
		wants(t, p)
		sink.next.Store(true)
		time.Sleep(80 * time.Second)
		wants(t, p)
		time.Sleep(20 * time.Second)
		wants(t, p, "nothing was acknowledged for 1m40s")
		time.Sleep(3 * time.Minute)
		wants(t, p)
	})
}

// hangs takes all batches but one, with which it does not heed its context.
type hangs struct {
	toySink
	next atomic.Bool
}

func (s *hangs) Send(ctx context.Context, b *Batch) (Receipt, error) {
	if s.next.CompareAndSwap(true, false) {
		time.Sleep(3 * time.Minute)
		return Receipt{}, errDown
	}
	return s.toySink.Send(ctx, b)
}

func TestAFullSpoolIsRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p, stop := running(t, Config{
			Dir: memory(t), Sources: []Source{late("toy", 0)}, Sinks: members(&toySink{}),
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		defer stop()
		time.Sleep(time.Minute)
		full := fmt.Errorf("here: %w", spool.ErrFull)
		p.health.stored("other:0", full) // the feed of another source, and another one
		time.Sleep(time.Minute)
		p.health.stored("other:1", full)
		p.health.stored("other:0", full)
		wants(t, p, "sources wait, since 2000-01-01 00:01:00Z")
		p.health.stored("other:0", nil)
		wants(t, p, "sources wait, since 2000-01-01 00:02:00Z")
		p.health.stored("other:1", nil)
		wants(t, p)
		time.Sleep(time.Millisecond)
		p.health.stored("other:1", context.Canceled)
		wants(t, p)
		p.health.stored("other:1", errors.New("input/output error"))
		wants(t, p, "input/output error")
		p.health.stored("other:1", nil)
		wants(t, p)
		if text := log.String(); strings.Count(text, "there is no room") != 1 || strings.Count(text, "there is room again") != 1 {
			t.Errorf("told:\n%s", text)
		}
	})
}

func TestAnotherSinkThanThePrimaryIsRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &toySink{}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{late("toy", 0)}, Sinks: members(first, &toySink{})})
		defer stop()
		time.Sleep(time.Minute)
		first.set(down)
		time.Sleep(time.Minute)
		wants(t, p, `events go to "second", not to the primary sink first`)
		first.set(nil)
		time.Sleep(10 * time.Minute)
		wants(t, p)
	})
}

func TestADeadLetterIsRedForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{"toy", func(ctx context.Context, in *Intake) error {
			if err := in.Put(ctx, "0", Event{Offset: 1, Raw: json.RawMessage(`no JSON`)}, occurred(2, "A", time.Now())); err != nil {
				return err
			}
			for ; ctx.Err() == nil; time.Sleep(time.Minute) {
				in.Heard("0")
			}
			return ctx.Err()
		}}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(&toySink{})})
		defer stop()
		time.Sleep(time.Second)
		wants(t, p, "1 dead letters, the last one at 2000-01-01 00:00:01Z")
		time.Sleep(59 * time.Minute)
		wants(t, p, "1 dead letters")
		time.Sleep(2 * time.Minute)
		wants(t, p)
		if s := p.Status(); s.Dead != 1 || s.Sources[0].Stored != 2 || s.Sources[0].Acknowledged != 2 || s.Delivery.Rows != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A source that hangs from its first moment has no rhythm that it could break.
func TestASourceThatIsNeverHeardIsRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{"toy", func(ctx context.Context, _ *Intake) error { <-ctx.Done(); return ctx.Err() }}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(&toySink{})})
		defer stop()
		time.Sleep(9 * time.Minute)
		wants(t, p)
		time.Sleep(2 * time.Minute)
		wants(t, p, "source toy has not been heard since the start at 2000-01-01 00:00:00Z")
	})
}

// A standby does not hear its sources, and that is no fault; what it has it delivers.
func TestAStandbyIsNotBlamedForItsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		lease := func(holder string) *Lease { return &Lease{Store: store, Key: "k", Holder: holder} }
		_, stop := running(t, Config{Dir: memory(t), Sources: []Source{late("toy", 0)}, Sinks: members(&toySink{}), Lease: lease("one")})
		defer stop()
		time.Sleep(time.Second)
		p, stopStandby := running(t, Config{Dir: memory(t), Sources: []Source{late("toy", 0)}, Sinks: members(&toySink{}), Lease: lease("two")})
		defer stopStandby()
		time.Sleep(time.Hour)
		wants(t, p)
		if s := p.Status(); s.State != "standby" || !near(s.At.Sub(s.Since), time.Hour) {
			t.Errorf("%v", s)
		}
		stop()
		time.Sleep(time.Minute)
		wants(t, p)
		if s := p.Status(); s.State != "running" || !near(s.At.Sub(s.Since), time.Minute) {
			t.Errorf("%v", s)
		}
	})
}

func TestAnOpenGapIsRedUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{"toy", func(ctx context.Context, in *Intake) error {
			if err := in.Gap(ctx, "0", Gap{First: 1, Last: 9, Reason: "not kept so long"}); err != nil {
				return err
			}
			in.Heard("0")
			<-ctx.Done()
			return ctx.Err()
		}}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(&toySink{})})
		defer stop()
		time.Sleep(time.Second)
		wants(t, p, "gaps: 1 are open")
		if err := p.CloseGap(t.Context(), p.Gaps()[0].ID, "seen to"); err != nil {
			t.Fatal(err)
		}
		wants(t, p)
	})
}

// What an earlier process left, and nobody has read yet, waits all the same.
func TestABacklogThatIsNotReadYetWaits(t *testing.T) {
	now := time.Now()
	s := Status{At: now, State: stateRunning, Since: now.Add(-time.Hour)}
	if d := s.At.Sub(s.waits()); d != time.Hour {
		t.Errorf("it waits for %v", d)
	}
	if s.Spool.Drained = true; !s.waits().IsZero() {
		t.Error("nothing waits")
	}
}

func TestTextsOfErrorsAreCut(t *testing.T) {
	if s := cut(errors.New(strings.Repeat("ä", 1000))); len(s) > 310 || !strings.HasSuffix(s, "ä...") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}
