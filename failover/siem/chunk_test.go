package siem

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover/siem/spool"
)

func box(t testing.TB, key byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

// packed is a chunk of some events in two tables.
func packed(t testing.TB, n int, aead cipher.AEAD) spool.Chunk {
	t.Helper()
	var p pack
	defer p.free()
	var rows Rows
	for i := range n {
		e := Event{Offset: uint64(100 + 2*i), Time: time.UnixMilli(1_700_000_000_000 + int64(i%3)*1000)}
		rows.reset()
		if i%5 != 0 {
			rows.Add("even", []byte(fmt.Sprintf(`{"i":%d}`, i)))
		}
		if i%2 == 1 {
			rows.Append("odd", func(b []byte) []byte { return append(b, fmt.Sprintf(`{"odd":%d}`, i)...) })
		}
		if err := rows.check(); err != nil {
			t.Fatal(err)
		}
		p.add(&e, &rows)
	}
	return p.chunk("feed", time.UnixMicro(1_700_000_100_000_001), aead)
}

func TestChunkComesBack(t *testing.T) {
	for name, aead := range map[string]cipher.AEAD{"plain": nil, "sealed": box(t, 1)} {
		t.Run(name, func(t *testing.T) {
			c := packed(t, 100, aead)
			if c.First != 100 || c.Last != 298 || c.Count != 100 || c.MaxTime.Sub(c.MinTime) != 2*time.Second {
				t.Errorf("%+v", c)
			}
			got, err := open(&c, aead)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.batches) != 2 || got.batches[0].Table != "even" || got.batches[0].Rows != 80 || got.batches[1].Rows != 50 || len(got.times) != 90 || !got.spooled.Equal(time.UnixMicro(1_700_000_100_000_001)) {
				t.Errorf("%+v", got)
			}
			for _, b := range got.batches {
				rows, err := b.All()
				if err != nil || len(rows) != b.Rows || !json.Valid(rows[len(rows)-1]) {
					t.Errorf("%s: %d rows, %v", b.Table, len(rows), err)
				}
				text := "[" + string(bytes.Join(asBytes(rows), []byte(separator))) + "]"
				if len(text) != b.Bytes || !json.Valid([]byte(text)) {
					t.Errorf("%s: %d bytes, %d said", b.Table, len(text), b.Bytes)
				}
				again := b.part(rows)
				if again.Bytes != b.Bytes || again.Longest != b.Longest {
					t.Errorf("%s: %+v", b.Table, again)
				}
			}
		})
	}
}

func asBytes(rows []json.RawMessage) (out [][]byte) {
	for _, r := range rows {
		out = append(out, r)
	}
	return out
}

func TestSealedChunkNeedsItsKeyAndPlace(t *testing.T) {
	c := packed(t, 10, box(t, 1))
	if bytes.Contains(c.Body, []byte("even")) {
		t.Error("not encrypted")
	}
	if _, err := open(&c, nil); !errors.Is(err, errChunk) || !strings.Contains(err.Error(), "Config.AEAD") {
		t.Error(err)
	}
	if _, err := open(&c, box(t, 2)); !errors.Is(err, errChunk) {
		t.Error(err)
	}
	c.Last++
	if _, err := open(&c, box(t, 1)); !errors.Is(err, errChunk) {
		t.Error(err)
	}
	plain := packed(t, 10, nil)
	plain.Kind = 9
	if _, err := open(&plain, nil); !errors.Is(err, errChunk) {
		t.Error(err)
	}
}

func FuzzChunk(f *testing.F) {
	f.Add(packed(f, 20, nil).Body)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		c := spool.Chunk{Feed: "feed", Kind: kindEvents, Codec: codecGzip, Body: body}
		got, err := open(&c, nil)
		if err != nil {
			return
		}
		for i := range got.batches {
			_, _ = got.batches[i].All()
		}
	})
}

// The key changes nothing of what arrives.
func TestEncryptedSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 100, batch: 10}
		sink := &toySink{}
		_, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(sink), AEAD: box(t, 1)})
		defer stop()
		time.Sleep(time.Minute)
		if !slices.Equal(sink.got(), expected(src, "0")) {
			t.Errorf("%d rows", len(sink.got()))
		}
	})
}

func TestChunksAreSmallerThanAzureTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := strings.Repeat("x", 3000)
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 3000, batch: 1500, raw: func(string, uint64) string { return fmt.Sprintf(`{"text":%q}`, text) }}
		sink := &toySink{}
		largest := 0
		sink.set(func(b *Batch) (Receipt, error) { largest = max(largest, b.Bytes); return Receipt{}, nil })
		_, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(sink)})
		defer stop()
		time.Sleep(time.Minute)
		if n := len(sink.got()); n != 3000 || largest > maxBatch || largest < maxBatch/2 {
			t.Errorf("%d rows, the largest batch has %d bytes", n, largest)
		}
	})
}

func TestConfigMisuse(t *testing.T) {
	src, sinks := &toySource{name: "toy"}, members(&toySink{})
	for want, cfg := range map[string]Config{
		"Config.Dir":              {Sources: []Source{src}, Sinks: sinks},
		"Config.Sources is empty": {Dir: "x", Sinks: sinks},
		"Config.Sources[1] is":    {Dir: "x", Sources: []Source{src, nil}, Sinks: sinks},
		"Config.Sources[1] has":   {Dir: "x", Sources: []Source{src, src}, Sinks: sinks},
		"Config.Sinks is empty":   {Dir: "x", Sources: []Source{src}},
		"Config.Sinks[0]":         {Dir: "x", Sources: []Source{src}, Sinks: members(nil)[:0:0]},
		"MaxBytes is 1":           {Dir: "x", Sources: []Source{src}, Sinks: sinks, MaxBytes: 1},
		"Senders":                 {Dir: "x", Sources: []Source{src}, Sinks: sinks, Senders: -1},
	} {
		if want == "Config.Sinks[0]" {
			cfg.Sinks = append(cfg.Sinks, member("first", nil))
		}
		if p, err := Open(cfg); p != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
