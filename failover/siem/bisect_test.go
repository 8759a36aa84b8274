package siem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// refusesRows refuses every batch that holds one of the rows.
func refusesRows(rows ...string) func(*Batch) (Receipt, error) {
	return func(b *Batch) (Receipt, error) {
		all, err := b.All()
		if err != nil {
			return Receipt{}, err
		}
		for _, r := range all {
			for _, bad := range rows {
				if bytes.Contains(r, []byte(bad)) {
					return Receipt{}, fmt.Errorf("%w: 400", ErrRefused)
				}
			}
		}
		return Receipt{}, nil
	}
}

func TestAPoisonRowIsOneDeadLetterAndBlocksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 3000, batch: 800}
		sink := &toySink{}
		sink.set(refusesRows(`"n":777}`))
		p, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink)})
		time.Sleep(time.Minute)
		stop()
		want := slices.DeleteFunc(expected(src, "0"), func(id string) bool { return id == "toy:0:777" })
		if got := sink.got(); !slices.Equal(got, want) {
			t.Errorf("%d rows arrived, of %d, or not in order", len(got), len(want))
		}
		dead := letters(t, dir)
		if len(dead) != 1 || !bytes.Contains(dead[0].Row, []byte(`"JurymastId":"toy:0:777"`)) || dead[0].Sink != "first" || dead[0].Table != "events" || dead[0].Reason == "" {
			t.Errorf("%+v", dead)
		}
		if sink.sends > 4+2*10 { // log2 of 800, twice, and the batches
			t.Errorf("%d requests", sink.sends)
		}
		if p.counts.dead.Load() != 1 || p.counts.delivered.Load() != 2999 {
			t.Errorf("%d dead, %d delivered", p.counts.dead.Load(), p.counts.delivered.Load())
		}
	})
}

func TestAReceiptNamesRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 10, batch: 10}
		sink := &toySink{}
		sink.set(func(b *Batch) (Receipt, error) {
			if b.Rows == 10 {
				return Receipt{Rejected: []Rejection{{3, "too blue"}}, Unknown: []int{5, 6}}, nil
			}
			return Receipt{}, nil
		})
		_, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink)})
		time.Sleep(time.Minute)
		stop()
		want := []string{"toy:0:1", "toy:0:2", "toy:0:3", "toy:0:5", "toy:0:8", "toy:0:9", "toy:0:10", "toy:0:6", "toy:0:7"}
		if got := sink.got(); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if dead := letters(t, dir); len(dead) != 1 || dead[0].Reason != "too blue" || !bytes.Contains(dead[0].Row, []byte(`"n":4}`)) {
			t.Errorf("%+v", dead)
		}
	})
}

// contrary breaks the contract twice, with its rows kept, and then does as it should.
type contrary struct {
	*toySink
	wrong func(*Batch) (Receipt, error)
	calls int
}

func (c *contrary) Send(ctx context.Context, b *Batch) (Receipt, error) {
	if c.calls++; c.calls <= 2 {
		return c.wrong(b)
	}
	return c.toySink.Send(ctx, b)
}

// A receipt that makes no sense is no receipt.
func TestASinkIsHeldToItsContract(t *testing.T) {
	for name, wrong := range map[string]func(*Batch) (Receipt, error){
		"beyond the batch": func(b *Batch) (Receipt, error) { return Receipt{Unknown: []int{b.Rows}}, nil },
		"negative":         func(*Batch) (Receipt, error) { return Receipt{Rejected: []Rejection{{-1, ""}}}, nil },
		"twice":            func(*Batch) (Receipt, error) { return Receipt{Rejected: []Rejection{{1, ""}}, Unknown: []int{1}}, nil },
		"panic":            func(*Batch) (Receipt, error) { panic("sink") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := memory(t)
				src := &toySource{name: "toy", feeds: []string{"0"}, until: 10, batch: 10}
				sink := &toySink{}
				_, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: []failover.Member[Sink]{member("first", &contrary{sink, wrong, 0})}})
				time.Sleep(time.Minute)
				stop()
				if got := distinct(sink.got()); got != 10 || len(letters(t, dir)) != 0 {
					t.Errorf("%d rows, %+v", got, letters(t, dir))
				}
			})
		})
	}
}

// A table that takes nothing is more likely wrong than all its rows: there is time to
// mend it before they become dead letters.
func TestATableThatTakesNothingIsWaitedFor(t *testing.T) {
	for _, mended := range []bool{true, false} {
		t.Run(fmt.Sprint(mended), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := memory(t)
				src := &toySource{name: "toy", feeds: []string{"0"}, until: 100, batch: 100}
				sink := &toySink{}
				sink.set(func(*Batch) (Receipt, error) { return Receipt{}, fmt.Errorf("%w: no such column", ErrRefused) })
				p, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink)})
				time.Sleep(5 * time.Minute)
				if n := len(letters(t, dir)); n != streakRows || !errors.Is(p.health.why, ErrRefused) {
					t.Errorf("%d dead letters, %v", n, p.health.why)
				}
				if mended {
					sink.set(nil)
				}
				time.Sleep(time.Hour)
				stop()
				want := 80
				if !mended {
					want = 0
				}
				if got, dead := len(sink.got()), len(letters(t, dir)); got != want || got+dead != 100 {
					t.Errorf("%d delivered, %d dead", got, dead)
				}
			})
		})
	}
}

func TestAnEventThatCannotBeMapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 10, batch: 5, raw: func(_ string, n uint64) string {
			return map[uint64]string{3: `{"cut":`, 4: `[1]`, 5: "{\n\"two\": \"lines\"}", 6: `{"a":1},{"b":2}`, 7: ""}[n] + map[bool]string{true: `{}`}[n < 3 || n > 7]
		}}
		sink := &toySink{}
		_, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink), Mapping: func(e *Event, rows *Rows) error {
			switch e.Offset {
			case 8:
				return nil
			case 9:
				panic("mapping")
			case 10:
				rows.Add("", []byte(`{}`))
				return nil
			}
			return Envelope(e, rows)
		}})
		time.Sleep(time.Minute)
		stop()
		if got := sink.got(); !slices.Equal(got, []string{"toy:0:1", "toy:0:2", "toy:0:5"}) {
			t.Errorf("%q", got)
		}
		var dead []uint64
		for _, l := range letters(t, dir) {
			dead = append(dead, l.Offset)
			if l.ID == "" || l.Reason == "" || l.Feed != "toy:0" {
				t.Errorf("%+v", l)
			}
		}
		if !slices.Equal(dead, []uint64{3, 4, 6, 7, 9, 10}) {
			t.Errorf("%v", dead)
		}
	})
}
