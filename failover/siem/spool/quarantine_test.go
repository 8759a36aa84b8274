package spool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// tear appends n bytes that are no record to the newest segment.
func tear(d *faultDisk, n int) {
	names, _ := d.list(".")
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if strings.HasSuffix(name, suffix) {
			d.names[name].data = append(d.names[name].data, make([]byte, n)...)
			d.names[name].synced = slices.Clone(d.names[name].data)
			return
		}
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	d := newDisk()
	config := Config{QuarantineBytes: 1000}
	foreign := &inode{data: make([]byte, 5000)}
	var names, dropped []string
	for n := range 12 {
		s := openOn(t, d, config)
		for _, c := range s.Recovered().Cuts {
			names = append(names, c.Quarantine)
		}
		dropped = append(dropped, s.Recovered().Dropped...)
		if err := s.Append(ctx, feedChunk("a", n)); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		tear(d, 300)
		d.names["quarantine/notes of an operator"] = foreign
	}
	left := 0
	for name, n := range d.names {
		if strings.HasPrefix(name, quarantineDir) && n != foreign {
			left += len(n.data)
		}
	}
	if left != 900 || d.names["quarantine/notes of an operator"] == nil {
		t.Errorf("%d bytes are kept, want 900 and what is not the spool's", left)
	}
	if len(names) != 11 || !slices.Equal(dropped, names[:8]) {
		t.Errorf("dropped %v of %v", dropped, names)
	}

	// A cut that is too large stays where it is, and puts nothing out.
	tear(d, 1000)
	s := openOn(t, d, config)
	if r := s.Recovered(); len(r.Cuts) != 1 || r.Cuts[0].Quarantine != "" || r.Cuts[0].Bytes != 1300 || len(r.Dropped) > 0 {
		t.Errorf("recovered %+v", r)
	}
	if err := s.Append(ctx, feedChunk("a", 12)); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack("s", s.Stats().Durable); err != nil {
		t.Fatal(err)
	}
	if used := d.used(); used > 5000+1000+2*slotSize+reserveFor(0)+600 {
		t.Errorf("%d bytes after delivery: the cut was not given back", used)
	}
	_ = s.Close()

	config.QuarantineBytes = 400 // less from now on
	if r := openOn(t, d, config).Recovered(); len(r.Dropped) != 2 {
		t.Errorf("recovered %+v", r)
	}
}

// Of one segment, the offsets tell the age: in numbers, not in letters.
func TestQuarantineDropsTheOldestOfOneSegment(t *testing.T) {
	d := newDisk()
	for _, at := range []int{1000, 200, 30} {
		name := fmt.Sprintf("%s/%s.%d", quarantineDir, segmentName(7), at)
		n := &inode{data: make([]byte, 100)}
		d.names[name], d.kept[name] = n, n
	}
	r := openOn(t, d, Config{QuarantineBytes: 150}).Recovered()
	if want := []string{"quarantine/00000000000000000007.seg.30", "quarantine/00000000000000000007.seg.200"}; !slices.Equal(r.Dropped, want) {
		t.Errorf("dropped %v, want %v", r.Dropped, want)
	}
}

// The power goes while Open cuts: nothing that was synced is lost, and the cut bytes
// are in one of the two places.
func TestPowerCutWhileItRecovers(t *testing.T) {
	t.Parallel()
	torn := func() (*faultDisk, *script) {
		d, p := newDisk(), &script{}
		p.run(t, d)
		after := d.crash(rand.New(rand.NewPCG(1, 1)))
		tear(after, 50)
		return after, p
	}
	d, _ := torn()
	openOn(t, d, small)
	total := d.ops
	if total < 6 {
		t.Fatalf("only %d operations", total)
	}
	for k := 1; k <= total; k++ {
		for seed := range uint64(12) {
			d, p := torn()
			d.cutAt = k
			if _, err := open(d, small); err == nil {
				t.Fatalf("operation %d of %d: no power cut: %q", k, total, d.operationLog)
			}
			d = d.crash(rand.New(rand.NewPCG(seed, uint64(k))))
			s := openOn(t, d, small)
			_ = s.Close()
			kept := false
			for name, n := range d.names {
				kept = kept || strings.HasPrefix(name, quarantineDir) && len(n.data) == 50 // zeros: torn ones too
			}
			if !kept {
				t.Errorf("the power went at operation %d, seed %d: what was cut is nowhere", k, seed)
			}
			holdsInBubble(t, p, d)
		}
	}
}
