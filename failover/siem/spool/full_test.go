package spool

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// appendAll appends chunks of feed "a" from n on until the spool is full.
func appendAll(t *testing.T, s *Spool, n int) int {
	t.Helper()
	for first := n; ; n++ {
		if err := s.Append(ctx, feedChunk("a", n)); errors.Is(err, ErrFull) {
			return n
		} else if err != nil || n > first+1000 {
			t.Fatalf("chunk %d: %v", n, err)
		}
	}
}

// whole proves that a spool reopens without complaint, with chunks from to to of feed "a".
func whole(t *testing.T, d *faultDisk, config Config, from, to int) {
	t.Helper()
	for range 2 {
		s := openOn(t, d.clone(), config)
		if r := s.Recovered(); len(r.Cuts)+len(r.Gaps)+len(r.Sinks) > 0 {
			t.Errorf("recovered %+v", r)
		}
		got, gaps := drain(t, s, "s")
		if len(got) != to-from || len(gaps) > 0 || len(got) > 0 && !same(got[0], feedChunk("a", from)) {
			t.Errorf("%d chunks, want %d to %d; gaps %v", len(got), from, to, gaps)
		}
		if cursor, _ := s.Cursor("a"); to > 0 && cursor != feedChunk("a", to-1).Last {
			t.Errorf("cursor %d", cursor)
		}
	}
}

func TestSyncsOfAFullDiskLeaveNoSegments(t *testing.T) {
	for name, full := range map[string]error{"disk": syscall.ENOSPC, "quota": syscall.EDQUOT} {
		for _, stored := range []int{0, 4} { // before; 0: the empty segment is the only one
			for _, acked := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						d := newDisk()
						config := Config{SegmentBytes: 600}
						s := openOn(t, d, config)
						for n := range stored {
							if err := s.Append(ctx, feedChunk("a", n)); err != nil {
								t.Fatal(err)
							}
						}
						from := 0
						if acked && stored > 0 {
							from = stored
							if err := s.Ack("s", s.durable); err != nil {
								t.Fatal(err)
							}
						}
						s.restockForTest(t)
						segments := s.Stats().Segments
						for range 20 {
							d.failRecords(full)
							if err := s.Append(ctx, feedChunk("a", stored)); !errors.Is(err, ErrFull) || !errors.Is(err, full) {
								t.Fatalf("got %v", err)
							}
						}
						if now := s.Stats().Segments; now > segments+1 {
							t.Errorf("%d segments, %d before the disk was full", now, segments)
						}
						if now := s.Stats(); now.Durable != uint64(stored) || now.Oldest > now.Durable+1 {
							t.Errorf("nothing is missing, and it says %+v", now)
						}
						d.failRecords(nil)
						whole(t, d, config, from, stored)
						for n := range 5 {
							if err := s.Append(ctx, feedChunk("a", stored+n)); err != nil {
								t.Fatal(err)
							}
						}
						whole(t, d, config, from, stored+5)
						got, gaps := drain(t, s, "s") // no position that was never durable is missed
						if len(got) != stored+5-from || len(gaps) > 0 {
							t.Errorf("%d chunks, gaps %v", len(got), gaps)
						}
						if err := s.Ack("s", got[len(got)-1].Position); err != nil {
							t.Fatal(err)
						}
						if now := s.Stats(); now.Segments != 1 || now.Acked["s"] != now.Durable {
							t.Errorf("after all is delivered: %+v", now)
						}
						whole(t, d, config, stored+5, stored+5)
					})
				})
			}
		}
	}
}

// restockForTest does what an Append does before it writes.
func (s *Spool) restockForTest(t *testing.T) {
	t.Helper()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := s.restock(1); err != nil {
		t.Fatal(err)
	}
}

// One segment fills the disk, and it stays when it is delivered, as it holds the
// cursors. Readers that wait have no right to its room either.
func TestFullDiskOfOneSegmentGoesOn(t *testing.T) {
	for _, lazy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			d.limit, d.lazy = 5000+reserveFor(0), lazy
			config := Config{Sinks: []string{"s", "t"}}
			s := openOn(t, d, config)
			ctx, cancel := context.WithCancel(ctx)
			var wg sync.WaitGroup
			for _, sink := range config.Sinks {
				wg.Go(func() {
					want := 0
					for c, err := range s.Read(ctx, sink) {
						if errors.Is(err, context.Canceled) {
							return
						}
						if err != nil || !same(c, feedChunk("a", want)) {
							t.Errorf("%s: chunk %d is %+v, %v", sink, want, c, err)
							return
						}
						want++
						if err := s.Ack(sink, c.Position); err != nil {
							t.Error(err)
						}
					}
				})
			}
			n := 0
			for ; n < 200; n++ { // 30 kB through 5 kB
				synctest.Wait() // they wait at the end, and all is acknowledged
				if err := s.Append(ctx, feedChunk("a", n)); err != nil {
					t.Fatalf("chunk %d: %v", n, err)
				}
			}
			synctest.Wait()
			cancel()
			wg.Wait()
			whole(t, d, config, n, n)
			if !lazy && d.names[reserveName] == nil {
				t.Error("the reserve was not made again")
			}
		})
	}
}

func TestFullDiskTakesAcksAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, prepare := range map[string]func(*faultDisk){
			"all there": func(*faultDisk) {},
			"a cursor torn when it was made": func(d *faultDisk) {
				ack := d.names[ackName("s")]
				ack.data = ack.data[:slotSize]
			},
			"no reserve, and all slots in place": func(d *faultDisk) { delete(d.names, reserveName) },
			"it does not write in place":         func(d *faultDisk) { d.copies = true },
		} {
			d := newDisk()
			d.limit = 5000 + reserveFor(0)
			config := Config{SegmentBytes: 600}
			n := appendAll(t, openOn(t, d, config), 0)
			prepare(d)
			d.limit = d.used() // not a byte more
			s := openOn(t, d, config)
			got, gaps := drain(t, s, "s")
			if len(got) != n || len(gaps) > 0 {
				t.Fatalf("%s: %d chunks of %d, gaps %v", name, len(got), n, gaps)
			}
			for _, c := range got {
				if err := s.Ack("s", c.Position); err != nil {
					t.Fatalf("%s: position %d: %v", name, c.Position, err)
				}
			}
			if stats := s.Stats(); stats.Segments != 1 {
				t.Errorf("%s: %+v: no room was given back", name, stats)
			}
			d.limit = 5000 + reserveFor(0)
			if more := appendAll(t, s, n); more < n+10 {
				t.Errorf("%s: only %d more", name, more-n)
			}
			if d.names[reserveName] == nil {
				t.Errorf("%s: records took the reserve", name)
			}
		}
	})
}

// The second sink is named because the first one is down, and so the disk is full.
func TestNewSinkOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.limit = 3000 + reserveFor(0)
		n := appendAll(t, openOn(t, d, Config{}), 0)
		d.limit = d.used()
		s := openOn(t, d, Config{Sinks: []string{"s", "second"}})
		if got, gaps := drain(t, s, "second"); len(got) != n || len(gaps) > 0 {
			t.Errorf("%d chunks of %d, gaps %v", len(got), n, gaps)
		}
	})
}

// A crash between the new segment and the removal of an empty one leaves both.
func TestEmptySegmentHoldsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := openOn(t, d, Config{})
		for n := range 3 {
			if err := s.Append(ctx, feedChunk("a", n)); err != nil {
				t.Fatal(err)
			}
		}
		d.failRecords(syscall.ENOSPC)
		var empty *inode
		for n := range 3 {
			if err := s.Append(ctx, feedChunk("a", 3)); !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			if n == 1 {
				empty = d.names[segmentName(5)]
			}
		}
		d.failRecords(nil)
		if d.names[segmentName(5)] != nil || empty == nil {
			t.Fatal("the test is void")
		}
		d.names[segmentName(5)] = empty
		s = openOn(t, d, Config{})
		for position := range uint64(4) {
			if err := s.Ack("s", position); err != nil {
				t.Fatal(err)
			}
		}
		if stats := s.Stats(); stats.Segments != 1 || stats.Durable != 3 {
			t.Errorf("all is delivered, and there are %+v", stats)
		}
		whole(t, d, Config{}, 3, 3)
	})
}

// The first sink is at the end when the segment changes, and has nothing more to
// acknowledge; on a full disk nothing new comes either.
func TestIdleSinkHoldsNothingBack(t *testing.T) {
	d := newDisk()
	config := Config{Sinks: []string{"s", "t"}}
	s := openOn(t, d, config)
	n := 0
	for ; n < 5; n++ {
		if err := s.Append(ctx, feedChunk("a", n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, position := range []uint64{2, 5} {
		if err := s.Ack("s", position); err != nil {
			t.Fatal(err)
		}
	}
	d.failRecords(syscall.ENOSPC)
	for range 2 {
		if err := s.Append(ctx, feedChunk("a", n)); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	d.failRecords(nil)
	d.limit = d.used()
	if err := s.Ack("t", 5); err != nil {
		t.Fatal(err)
	}
	if stats := s.Stats(); stats.Segments != 1 {
		t.Errorf("all is delivered, and there are %+v", stats)
	}
	if err := s.Append(ctx, feedChunk("a", n)); err != nil {
		t.Error(err)
	}
}

// Somebody took the reserve away, and the disk has room for a header only.
func TestDeliveredSegmentGivesRoomForTheReserve(t *testing.T) {
	d := newDisk()
	s := openOn(t, d, Config{})
	c := feedChunk("a", 0)
	c.Body = make([]byte, 100_000)
	if err := s.Append(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack("s", 1); err != nil {
		t.Fatal(err)
	}
	s.spend()
	d.limit = d.used() + 300
	if err := s.Append(ctx, feedChunk("a", 1)); err != nil {
		t.Error(err)
	}
}

func TestLargestChunkFitsTheBudgetAfterAFailure(t *testing.T) {
	d := newDisk()
	c := feedChunk("a", 0)
	h := headerOf(&c)
	s := openOn(t, d, Config{MaxBytes: h.size()})
	d.limit = 2*slotSize + reserveFor(0) + 150
	if err := s.Append(ctx, c); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	d.limit = 0
	if err := s.Append(ctx, c); err != nil {
		t.Error(err)
	}
}

func TestGroupThatDoesNotFitIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := openOn(t, d, Config{})
		if err := s.Append(ctx, feedChunk("first", 0)); err != nil {
			t.Fatal(err)
		}
		d.limit = d.used() + 400
		s.turn <- struct{}{}
		var wg sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for _, feed := range []string{"a", "b", "c", "d", "e", "f"} {
			wg.Go(func() {
				err := s.Append(ctx, feedChunk(feed, 0))
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrFull) {
					refused++
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		<-s.turn
		wg.Wait()
		got, gaps := drain(t, s, "s")
		if refused == 0 || refused > 4 || len(got) != 7-refused || len(gaps) > 0 {
			t.Errorf("%d refused, %d there, gaps %v", refused, len(got), gaps)
		}
	})
}

// The disk is full from any operation on, as a write or only a sync tells, until it
// has room again: Append says so and then goes on, without being opened again.
func TestFullAtEveryOperation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, lazy := range []bool{false, true} {
			for k, hit := 1, true; hit; k++ {
				d, p := newDisk(), &script{}
				d.fullAt, d.lazy = k, lazy
				s, err := open(d, small)
				if hit = errors.Is(err, ErrFull); hit {
					d.fullAt = 0
					s, err = open(d, small)
				}
				if err != nil {
					t.Fatalf("operation %d: %v", k, err)
				}
				for n := range 14 {
					c := feedChunk([]string{"a", "b", "b"}[n%3], n)
					err := s.Append(ctx, c)
					if errors.Is(err, ErrFull) {
						hit = true
						names := len(d.names)
						if r := openOn(t, d.clone(), small).Recovered(); len(r.Cuts) > 0 {
							t.Fatalf("operation %d: %+v is left of what had no room", k, r)
						}
						for range 5 {
							if err := s.Append(ctx, c); err != nil && !errors.Is(err, ErrFull) {
								t.Fatalf("operation %d: %v", k, err)
							} else if err == nil {
								t.Fatalf("operation %d: there is no room, and it was taken", k)
							}
						}
						if len(d.names) > names+1 {
							t.Fatalf("operation %d: %d files became %d", k, names, len(d.names))
						}
						p.attempted = s.Stats().Durable
						for _, sink := range small.Sinks {
							if err := s.Ack(sink, p.attempted); err != nil {
								t.Fatalf("operation %d: %v", k, err)
							}
						}
						d.fullAt = 0
						err = s.Append(ctx, c)
					}
					if err != nil {
						t.Fatalf("operation %d: %v", k, err)
					}
					c.Position = s.durable
					p.promised = append(p.promised, c)
					if n%4 == 3 {
						p.attempted = max(p.attempted, c.Position-2)
						for _, sink := range small.Sinks {
							if err := s.Ack(sink, p.attempted); err != nil {
								t.Fatalf("operation %d: %v", k, err)
							}
						}
					}
				}
				for seed := range uint64(3) {
					p.holds(t, d.crash(rand.New(rand.NewPCG(seed, uint64(k)))))
				}
				if t.Failed() {
					t.Fatalf("the disk was full from operation %d on, lazy %v", k, lazy)
				}
			}
		}
	})
}
