//go:build stores

package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/jurymast/jurymast/failover/siem/spool"
	"go.etcd.io/bbolt"
)

// store is a queue on disk. A group is durable when append returns; drain reads all
// there is, in order, and gives its room back.
type store interface {
	append(group [][]byte) error
	drain(n int, each func([]byte)) error
	close() error
}

var stores = []struct {
	name string
	open func(dir string) (store, error)
}{
	{"spool", openSpool},
	{"bbolt", openBolt},
	{"pebble", openPebble},
}

// spoolStore has a feed for each record of a group, as only Appends of different
// feeds share a sync.
type spoolStore struct {
	s    *spool.Spool
	next uint64
	gaps int
}

func openSpool(dir string) (store, error) {
	s, err := spool.Open(dir, spool.Config{Sinks: []string{"sink"}, SegmentBytes: 16 << 20})
	return &spoolStore{s: s, next: 1}, err
}

func (q *spoolStore) append(group [][]byte) error {
	var wg sync.WaitGroup
	errs := make([]error, len(group))
	for i, body := range group {
		c := spool.Chunk{Feed: fmt.Sprint("feed", i), First: q.next, Last: q.next, Count: 1, Body: body}
		if len(group) == 1 {
			errs[i] = q.s.Append(context.Background(), c)
			continue
		}
		wg.Go(func() { errs[i] = q.s.Append(context.Background(), c) })
	}
	wg.Wait()
	q.next++
	return errors.Join(errs...)
}

func (q *spoolStore) drain(n int, each func([]byte)) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	end, size := q.s.Stats().Durable, 0
	if n == 0 || end == 0 {
		return nil
	}
	for c, err := range q.s.Read(ctx, "sink") {
		var gap *spool.GapError
		if errors.As(err, &gap) {
			q.gaps++
			continue
		}
		if err != nil {
			return err
		}
		each(c.Body)
		if size += len(c.Body); c.Position == end || size > 8<<20 { // as the others
			size = 0
			if err := q.s.Ack("sink", c.Position); err != nil {
				return err
			}
		}
		if c.Position == end {
			return nil
		}
	}
	return errors.New("ended early")
}

func (q *spoolStore) close() error { return q.s.Close() }

// boltStore is set up as a queue is best served: keys that rise, full pages, no
// list of free pages to write.
type boltStore struct {
	db   *bbolt.DB
	next uint64
}

var bucket = []byte("queue")

func openBolt(dir string) (store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "queue.db"), 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	return &boltStore{db: db}, err
}

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (q *boltStore) append(group [][]byte) error {
	return q.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		b.FillPercent = 1
		for _, body := range group {
			q.next++
			if err := b.Put(key(q.next), body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (q *boltStore) drain(_ int, each func([]byte)) error {
	for more := true; more; {
		err := q.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			var keys [][]byte
			size := 0
			c := b.Cursor()
			k, v := c.First()
			for ; k != nil && size < 8<<20; k, v = c.Next() {
				each(v)
				size += len(v)
				keys = append(keys, bytes.Clone(k))
			}
			more = k != nil
			for _, k := range keys {
				if err := b.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *boltStore) close() error { return q.db.Close() }

type pebbleStore struct {
	db   *pebble.DB
	next uint64
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(s string, a ...any) { panic(fmt.Sprintf(s, a...)) }

func openPebble(dir string) (store, error) {
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
	return &pebbleStore{db: db}, err
}

func (q *pebbleStore) append(group [][]byte) error {
	b := q.db.NewBatch()
	for _, body := range group {
		q.next++
		if err := b.Set(key(q.next), body, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (q *pebbleStore) drain(_ int, each func([]byte)) error {
	for more := true; more; {
		it, err := q.db.NewIter(nil)
		if err != nil {
			return err
		}
		size := 0
		var last []byte
		ok := it.First()
		for ; ok && size < 8<<20; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return errors.Join(err, it.Close())
			}
			each(v)
			size += len(v)
			last = append(last[:0], it.Key()...)
		}
		more = ok
		if err := it.Close(); err != nil {
			return err
		}
		if last != nil {
			if err := q.db.DeleteRange(key(0), append(last, 0), pebble.Sync); err != nil {
				return err
			}
		}
	}
	return q.db.Flush()
}

func (q *pebbleStore) close() error { return q.db.Close() }

func diskUse(tb testing.TB, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // a store removes files meanwhile
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// BenchmarkStore appends 128 MB in groups, each of them durable, and drains them.
// One round is one iteration; run it with -benchtime 1x, or 5x.
func BenchmarkStore(b *testing.B) {
	for _, load := range []struct {
		name        string
		size, group int
	}{{"chunk130k", 130_000, 1}, {"chunk1200k", 1_200_000, 1}, {"event1200x1000", 1200, 1000}} {
		groups := 128_000_000 / (load.size * load.group)
		random := rand.New(rand.NewPCG(1, 2))
		group := make([][]byte, load.group)
		for i := range group { // as compressed bodies are
			group[i] = make([]byte, load.size)
			for at := range group[i] {
				group[i][at] = byte(random.Uint32())
			}
		}
		for _, impl := range stores {
			b.Run("load="+load.name+"/impl="+impl.name, func(b *testing.B) {
				var appended, drained time.Duration
				var peak, after, closed int64
				b.ReportAllocs()
				for b.Loop() {
					dir := filepath.Join(b.TempDir(), fmt.Sprint(b.N, appended))
					q, err := impl.open(dir)
					if err != nil {
						b.Fatal(err)
					}
					began := time.Now()
					for range groups {
						if err := q.append(group); err != nil {
							b.Fatal(err)
						}
					}
					appended += time.Since(began)
					peak = max(peak, diskUse(b, dir))
					began = time.Now()
					n := 0
					err = q.drain(groups*load.group, func(body []byte) {
						if len(body) != load.size {
							b.Fatalf("%d bytes", len(body))
						}
						n++
					})
					drained += time.Since(began)
					if err != nil || n != groups*load.group {
						b.Fatalf("%d of %d records: %v", n, groups*load.group, err)
					}
					after = diskUse(b, dir)
					if err := q.close(); err != nil {
						b.Fatal(err)
					}
					closed = diskUse(b, dir)
					if err := os.RemoveAll(dir); err != nil {
						b.Fatal(err)
					}
				}
				mb := float64(groups*load.group*load.size) / 1e6 * float64(b.N)
				b.ReportMetric(mb/appended.Seconds(), "append-MB/s")
				b.ReportMetric(mb/drained.Seconds(), "drain-MB/s")
				b.ReportMetric(float64(peak)/1e6, "peak-MB")
				b.ReportMetric(float64(after)/1e6, "drained-MB")
				b.ReportMetric(float64(closed)/1e6, "closed-MB")
			})
		}
	}
}

// One bit of a record's body is flipped on disk: who says so? Only of the spool it
// is demanded, the others are reported.
func TestFlippedBit(t *testing.T) {
	const records, size, victim = 200, 1200, 100
	body := func(n int) []byte {
		return fmt.Appendf(nil, "%s|record %06d|", bytes.Repeat([]byte{byte('a' + n%26)}, size-16), n)
	}
	for _, impl := range stores {
		t.Run(impl.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			q, err := impl.open(dir)
			if err != nil {
				t.Fatal(err)
			}
			for n := range records {
				if err := q.append([][]byte{body(n)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.close(); err != nil {
				t.Fatal(err)
			}
			if !flip(t, dir, fmt.Appendf(nil, "|record %06d|", victim)) {
				t.Skip("the record is not there in plain bytes")
			}
			var told error
			wrong, right := 0, 0
			q, err = impl.open(dir)
			if err == nil {
				err = q.drain(records, func(b []byte) {
					var n int
					if i := bytes.IndexByte(b, '|'); i >= 0 {
						_, _ = fmt.Sscanf(string(b[i:]), "|record %d|", &n)
					}
					if bytes.Equal(b, body(n)) {
						right++
					} else {
						wrong++
					}
				})
				told = errors.Join(told, q.close())
			}
			told = errors.Join(told, err)
			ours, isOurs := q.(*spoolStore)
			said := told != nil
			if isOurs {
				r := ours.s.Recovered()
				said = said || ours.gaps > 0 || len(r.Cuts) > 0 || len(r.Gaps) > 0
			}
			t.Logf("%d right, %d wrong, %d missing; said so: %v (%v)", right, wrong, records-right-wrong, said, told)
			if isOurs && (wrong > 0 || !said || right != records-1) {
				t.Error("the spool must tell, and give all the others")
			}
		})
	}
}

// flip flips a bit behind a mark in every file that holds it.
func flip(t *testing.T, dir string, mark []byte) (found bool) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := 0; ; {
			i := bytes.Index(b[at:], mark)
			if i < 0 {
				break
			}
			at += i
			b[at-300] ^= 1
			at += len(mark)
			found = true
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
