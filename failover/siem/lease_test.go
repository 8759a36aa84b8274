package siem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// badStore is one process's way to a shared store.
type badStore struct {
	kv.Store
	how atomic.Int32
}

const (
	storeWell    int32 = iota
	storeRefuses       // nothing arrives
	storeHangs         // nothing arrives, and no answer comes
	storeDeaf          // writes arrive, and no answer comes
)

var errStore = errors.New("the store is away")

func (s *badStore) broken(ctx context.Context) error {
	switch s.how.Load() {
	case storeRefuses:
		return errStore
	case storeHangs:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *badStore) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := s.broken(ctx); err != nil {
		return kv.Entry{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *badStore) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if err := s.broken(ctx); err != nil {
		return 0, err
	}
	rev, err := s.Store.Put(ctx, key, value, rev)
	if s.how.CompareAndSwap(storeDeaf, storeWell) {
		return 0, errStore
	}
	return rev, err
}

// station is a process that takes turns.
type station struct {
	store badStore
	sink  toySink
	pump  *Pump
	stop  func()
	spans []reading
	mu    sync.Mutex
}

type reading struct{ from, to time.Time } // to is zero while it goes on

// watched notes when a source reads.
type watched struct {
	*toySource
	at *station
}

func (w watched) Read(ctx context.Context, in *Intake) error {
	w.at.mu.Lock()
	w.at.spans = append(w.at.spans, reading{from: time.Now()})
	w.at.mu.Unlock()
	defer func() {
		w.at.mu.Lock()
		w.at.spans[len(w.at.spans)-1].to = time.Now()
		w.at.mu.Unlock()
	}()
	return w.toySource.Read(ctx, in)
}

func (s *station) readings() []reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.spans)
}

func (s *station) reads() bool {
	r := s.readings()
	return len(r) > 0 && r[len(r)-1].to.IsZero()
}

const leaseTTL = 15 * time.Second

// stations are processes that share a store and a lease, each with a directory.
func stations(t *testing.T, src *toySource, n int) []*station {
	shared := kv.NewMemory()
	var out []*station
	for i := range n {
		s := &station{store: badStore{Store: shared}}
		s.start(t, src, fmt.Sprint("host-", i), memory(t))
		out = append(out, s)
		time.Sleep(time.Second) // the first one holds the lease
	}
	return out
}

func (s *station) start(t *testing.T, src *toySource, name, dir string) {
	t.Helper()
	s.pump, s.stop = running(t, Config{
		Dir: dir, Sources: []Source{watched{src, s}}, Sinks: members(&s.sink),
		Lease: &Lease{Store: &s.store, Key: "lease", Holder: name},
	})
	t.Cleanup(s.stop)
}

// alone wants that no two of the stations read at the same time.
func alone(t *testing.T, all []*station) {
	t.Helper()
	var spans []reading
	for _, s := range all {
		spans = append(spans, s.readings()...)
	}
	slices.SortFunc(spans, func(a, b reading) int { return a.from.Compare(b.from) })
	for i := 1; i < len(spans); i++ {
		if before := spans[i-1]; before.to.IsZero() || before.to.After(spans[i].from) {
			t.Errorf("reading from %v on, while another one read from %v to %v", spans[i].from, before.from, before.to)
		}
	}
}

// complete wants every event at one of the sinks, and returns how many copies there are.
func complete(t *testing.T, src *toySource, all []*station) (copies int) {
	t.Helper()
	got := map[string]int{}
	for _, s := range all {
		for _, id := range s.sink.got() {
			got[id]++
			copies++
		}
	}
	for _, feed := range src.feeds {
		for _, id := range expected(src, feed) {
			if got[id] == 0 {
				t.Fatalf("%s is lost", id)
			}
		}
	}
	return copies - len(got)
}

func toy() *toySource {
	return &toySource{name: "toy", feeds: []string{"0", "1"}, until: 600, every: time.Second}
}

// The holder cannot deliver, then loses the store too: all it had read is in its spool,
// which nobody else has.
func TestLeaseAStandbyReadsOnFromWhatWasDelivered(t *testing.T) {
	for name, how := range map[string]int32{"refuses": storeRefuses, "hangs": storeHangs} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := toy()
				all := stations(t, src, 2)
				a, b := all[0], all[1]
				time.Sleep(time.Minute)
				if !a.reads() || b.reads() {
					t.Fatal("the first one holds the lease")
				}
				a.sink.set(func(*Batch) (Receipt, error) { return Receipt{}, errors.New("503") })
				time.Sleep(time.Minute)
				a.store.how.Store(how)
				away := time.Now()
				time.Sleep(time.Minute)
				ended, begun := a.readings()[0].to, b.readings()[0].from
				if d := ended.Sub(away); d <= leaseTTL/3-time.Second || d > leaseTTL*2/3 {
					t.Errorf("the holder stopped after %v", d)
				}
				if d := begun.Sub(away); d > leaseTTL*11/10+time.Second {
					t.Errorf("the standby began after %v", d)
				}
				time.Sleep(20 * time.Minute)
				alone(t, all)
				if n := complete(t, src, all); n != 0 { // the holder has delivered none since
					t.Errorf("%d copies", n)
				}
				a.sink.set(nil) // and now it delivers what is in its spool
				a.store.how.Store(storeWell)
				time.Sleep(5 * time.Minute)
				if n := complete(t, src, all); n < 2*60 || n > 2*90 {
					t.Errorf("%d copies of about a minute of two feeds", n)
				}
				if len(a.readings()) != 1 {
					t.Error("it read again")
				}
			})
		})
	}
}

func TestLeaseIsGivenBackAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := toy()
		all := stations(t, src, 3)
		for i, s := range all[:2] {
			time.Sleep(time.Minute)
			s.stop()
			ended := time.Now()
			time.Sleep(leaseTTL / 5)
			var next []*station
			for _, other := range all[i+1:] {
				if other.reads() {
					next = append(next, other)
				}
			}
			if len(next) != 1 || next[0].readings()[0].from.Sub(ended) > leaseTTL/10 {
				t.Fatalf("%d others read", len(next))
			}
			if all[2] == next[0] {
				all[1], all[2] = all[2], all[1]
			}
		}
		time.Sleep(20 * time.Minute)
		alone(t, all)
		if n := complete(t, src, all); n != 0 {
			t.Errorf("%d copies", n)
		}
	})
}

// Its own spool ends before what others have delivered since.
func TestLeaseWhoComesBackReadsOnBehindTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, shared := toy(), kv.NewMemory()
		dirs := []string{memory(t), memory(t)}
		var all []*station
		for i := range 6 {
			s := &station{store: badStore{Store: shared}}
			s.start(t, src, fmt.Sprint("host-", i%2), dirs[i%2])
			all = append(all, s)
			time.Sleep(time.Minute)
			if i < 5 {
				s.stop()
			}
		}
		time.Sleep(10 * time.Minute)
		alone(t, all)
		if n := complete(t, src, all); n > 10 { // what was on its way at each end
			t.Errorf("%d copies", n)
		}
	})
}

func TestLeaseWithoutTheStoreNobodyTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := toy()
		all := stations(t, src, 2)
		both := func(how int32) {
			for _, s := range all {
				s.store.how.Store(how)
			}
		}
		time.Sleep(time.Minute)
		// A short while is no matter.
		both(storeRefuses)
		time.Sleep(leaseTTL / 4)
		both(storeWell)
		time.Sleep(time.Minute)
		if n := len(all[0].readings()) + len(all[1].readings()); n != 1 {
			t.Fatalf("%d readings", n)
		}
		both(storeHangs)
		time.Sleep(leaseTTL * 2 / 3)
		for range 10 {
			if all[0].reads() || all[1].reads() {
				t.Fatal("somebody reads without a lease")
			}
			time.Sleep(leaseTTL / 3)
		}
		both(storeWell)
		time.Sleep(leaseTTL)
		if all[0].reads() == all[1].reads() {
			t.Fatal("nobody reads, or both do")
		}
		time.Sleep(20 * time.Minute)
		alone(t, all)
		complete(t, src, all)
	})
}

// A write that arrived, and whose answer did not, is no other holder's.
func TestLeaseAnswersOfTheStoreMayBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := toy()
		shared := kv.NewMemory()
		a := &station{store: badStore{Store: shared}}
		a.store.how.Store(storeDeaf) // to take it
		a.start(t, src, "a", memory(t))
		time.Sleep(leaseTTL / 5)
		if !a.reads() {
			t.Fatal("it has the lease and does not know it")
		}
		b := &station{store: badStore{Store: shared}}
		b.start(t, src, "b", memory(t))
		for range 10 {
			a.store.how.Store(storeDeaf) // to renew it
			time.Sleep(leaseTTL)
		}
		if len(a.readings()) != 1 || b.reads() {
			t.Errorf("%d readings", len(a.readings()))
		}
		a.store.how.Store(storeDeaf) // to give it back
		a.stop()
		time.Sleep(leaseTTL / 5)
		if !b.reads() {
			t.Error("the standby waits")
		}
		b.stop()
		alone(t, []*station{a, b})
	})
}

// Whoever holds the lease makes the record anew; the others wait their time.
func TestLeaseTheStoreLosesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := toy()
		all := stations(t, src, 2)
		time.Sleep(time.Minute)
		lose := func() {
			e, err := all[0].store.Store.Get(t.Context(), "lease")
			if err == nil {
				err = all[0].store.Store.Delete(t.Context(), "lease", e.Rev)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		lose()
		time.Sleep(time.Minute)
		if len(all[0].readings()) != 1 || !all[0].reads() || all[1].reads() {
			t.Error("the holder has not kept it")
		}
		all[0].store.how.Store(storeRefuses)
		lose()
		time.Sleep(leaseTTL * 12 / 10)
		if !all[1].reads() {
			t.Error("the standby has not taken it")
		}
		time.Sleep(20 * time.Minute)
		alone(t, all)
		complete(t, src, all)
	})
}

// stubborn puts events whatever its context says, as a process that wakes up does.
type stubborn struct{ puts chan error }

func (s stubborn) Name() string { return "stubborn" }

func (s stubborn) Read(ctx context.Context, in *Intake) error {
	put := func(n uint64) {
		s.puts <- in.Put(context.WithoutCancel(ctx), "0", Event{Offset: n, Raw: json.RawMessage(`{}`)})
	}
	put(1)
	<-ctx.Done()
	put(2)
	return ctx.Err()
}

func TestLeaseWhoWakesTooLatePutsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &badStore{Store: kv.NewMemory()}
		src, sink := stubborn{make(chan error)}, &toySink{}
		_, stop := running(t, Config{
			Dir: memory(t), Sources: []Source{src}, Sinks: members(sink),
			Lease: &Lease{Store: store, Key: "lease", Holder: "a", TTL: time.Minute},
		})
		defer stop()
		if err := <-src.puts; err != nil {
			t.Fatal(err)
		}
		store.how.Store(storeHangs)
		if err := <-src.puts; !errors.Is(err, errOverdue) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
		if got := sink.got(); len(got) != 1 {
			t.Errorf("arrived %v", got)
		}
		store.how.Store(storeWell)
		for range 2 { // it gets the lease again; the event is there already
			if err := <-src.puts; err != nil {
				t.Error(err)
			}
			go stop()
		}
	})
}

// newest begins with what happens next, if it has no cursor.
type newest struct {
	*toySource
	now *atomic.Uint64
}

func (s newest) Read(ctx context.Context, in *Intake) error {
	next, ok := in.Cursor("0")
	if !ok {
		next = s.now.Load()
	}
	for next++; ; next++ {
		for s.now.Load() < next {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
		}
		if err := in.Put(ctx, "0", s.event("0", next)); err != nil {
			return err
		}
	}
}

// What was read and never delivered has no offset of delivery.
func TestLeaseKnowsWhereAFeedBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Uint64
		now.Store(100)
		src := newest{&toySource{name: "toy"}, &now}
		shared := kv.NewMemory()
		open := func(sink *toySink, store *badStore, name string) func() {
			store.Store = shared
			_, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(sink), Lease: &Lease{Store: store, Key: "k", Holder: name}})
			return stop
		}
		var a, b toySink
		var storeA, storeB badStore
		a.set(func(*Batch) (Receipt, error) { return Receipt{}, errors.New("503") })
		stopA := open(&a, &storeA, "a")
		defer stopA()
		time.Sleep(leaseTTL/3 + 500*time.Millisecond) // it has been renewed
		storeA.how.Store(storeRefuses)
		now.Store(103) // the first of them cannot be promised to anybody
		time.Sleep(2 * time.Second)
		storeA.how.Store(storeWell)
		time.Sleep(1500 * time.Millisecond)
		storeA.how.Store(storeRefuses) // before another renewal
		defer open(&b, &storeB, "b")()
		time.Sleep(time.Minute)
		if got := fmt.Sprint(b.got()); got != "[toy:0:101 toy:0:102 toy:0:103]" {
			t.Errorf("the standby has %v", got)
		}
	})
}

// Another thing under the key, or a later release's, is not overwritten.
func TestLeaseTouchesNothingElse(t *testing.T) {
	for name, value := range map[string]string{"text": "hello", "another release": `{"version":2}`} {
		synctest.Test(t, func(t *testing.T) {
			store := &badStore{Store: kv.NewMemory()}
			if _, err := store.Store.Put(t.Context(), "lease", []byte(value), 0); err != nil {
				t.Fatal(err)
			}
			s := &station{store: badStore{Store: store}}
			s.start(t, toy(), "a", memory(t))
			time.Sleep(time.Hour)
			if e, err := store.Get(t.Context(), "lease"); err != nil || string(e.Value) != value || s.reads() {
				t.Errorf("%s: %s, %v", name, e.Value, err)
			}
			s.stop()
		})
	}
}

func TestLeaseErrorsNameTheField(t *testing.T) {
	good := Lease{Store: kv.NewMemory(), Key: "k", Holder: "h"}
	for field, change := range map[string]func(*Lease){
		"Lease.Store":  func(l *Lease) { l.Store = nil },
		"Lease.Key":    func(l *Lease) { l.Key = "" },
		"Lease.Holder": func(l *Lease) { l.Holder = "" },
		"Lease.TTL":    func(l *Lease) { l.TTL = time.Millisecond },
	} {
		l := good
		change(&l)
		_, err := Open(Config{Dir: memory(t), Sources: []Source{toy()}, Sinks: members(&toySink{}), Lease: &l})
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func FuzzLeaseRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"holder":"a","run":"x","feeds":{"toy:0":18446744073709551615}}`))
	f.Add([]byte(`{"version":1,"feeds":{"toy:0":-1}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := parseLease(value)
		if err != nil {
			return
		}
		again, _ := json.Marshal(r)
		if r2, err := parseLease(again); err != nil || fmt.Sprint(r2) != fmt.Sprint(r) {
			t.Errorf("%s became %s: %v", value, again, err)
		}
	})
}
