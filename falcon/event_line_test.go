package falcon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func good(offset int) string {
	return fmt.Sprintf(`{"metadata":{"customerIDString":"c1","offset":%d,"eventType":"AuthActivityAuditEvent","eventCreationTime":1719309994000,"version":"1.0"},"event":{"UserId":"a"}}`, offset)
}

// shown is an event, a heartbeat or an error in a word.
func shown(ev Event, heartbeat bool, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case heartbeat:
		return "heartbeat"
	case errors.Is(ev.Err, ErrEventTooLong):
		return fmt.Sprintf("long %d", ev.Offset)
	case errors.Is(ev.Err, ErrEventMalformed):
		return fmt.Sprintf("bad %d", ev.Offset)
	}
	return fmt.Sprintf("ok %d", ev.Offset)
}

// readAll reads to the error, which is the last.
func readAll(r *lineReader) (out []string) {
	for {
		ev, heartbeat, err := r.next()
		if out = append(out, shown(ev, heartbeat, err)); err != nil {
			return out
		}
	}
}

func TestLines(t *testing.T) {
	long := `{"metadata":{"offset":5,"eventType":"T"},"event":"` + strings.Repeat("x", 200<<10) + `"}`
	for name, c := range map[string]struct{ in, want string }{
		"events and heartbeats (D9)": {good(1) + "\n\n\r\n \n" + good(2) + "\r\n", "ok 1; heartbeat; heartbeat; heartbeat; ok 2; EOF"},
		"nothing":                    {"", "EOF"},
		"cut":                        {good(1) + "\n" + good(2), "ok 1; unexpected EOF"},
		"cut at the buffer's end":    {strings.Repeat("x", lineBuffer), "unexpected EOF"},
		"malformed, then good (D6)":  {"x\n" + good(1) + "\n{\n" + good(2) + "}\n" + good(3) + "\n", "bad -1; ok 1; bad -1; bad 2; ok 3; EOF"},
		"two in a line":              {good(1) + good(2) + "\n" + good(3) + "\n", "bad 1; ok 3; EOF"},
		"cut, then good":             {good(1)[:80] + "\n" + good(2) + "\n", "bad 1; ok 2; EOF"},
		"an error's body (D2)":       {`{"meta":{"trace_id":"t"},"errors":[{"code":401}]}` + "\n" + "<html>\n[]\nnull\n{}\n", "bad -1; bad -1; bad -1; bad -1; bad -1; EOF"},
		"unknown type":               {`{"metadata":{"offset":1,"eventType":"New"}}` + "\n", "ok 1; EOF"},
		"no offset":                  {`{"metadata":{"offset":null,"eventType":"T"}}` + "\n", "ok -1; EOF"},
		"no type":                    {`{"metadata":{"offset":4}}` + "\n", "ok 4; EOF"},
		"offset as a string (D8)":    {`{"metadata":{"offset":"4","eventType":"T"}}` + "\n", "ok 4; EOF"},
		"longer than the buffer":     {long + "\r\n" + good(6) + "\n", "ok 5; ok 6; EOF"},
		"the longest":                {long + strings.Repeat(" ", 1<<20-len(long)) + "\r\n" + good(6) + "\n", "ok 5; ok 6; EOF"},
		"one byte longer":            {long + strings.Repeat(" ", 1<<20-len(long)+1) + "\n" + good(6) + "\n", "long 5; ok 6; EOF"},
		"much longer":                {long + strings.Repeat(" ", 5<<20) + "\n\n" + good(6) + "\n", "long 5; heartbeat; ok 6; EOF"},
		"long and cut":               {long + strings.Repeat(" ", 5<<20), "unexpected EOF"},
		"long without metadata":      {strings.Repeat(" ", 2<<20) + "\n" + good(6) + "\n", "long -1; ok 6; EOF"},
	} {
		if got := strings.Join(readAll(newLineReader(strings.NewReader(c.in), 0, 1<<20)), "; "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// In gofalcon the end of the stream is silence, or spins (D1).
func TestEndOfStreamIsAnErrorEveryTime(t *testing.T) {
	reset := errors.New("connection reset")
	for _, want := range []error{io.EOF, reset, iotest.ErrTimeout} {
		in := io.MultiReader(strings.NewReader(good(1)+"\n"), iotest.ErrReader(want))
		if want == iotest.ErrTimeout { // of the second Read only
			in = iotest.TimeoutReader(strings.NewReader(good(1) + "\n"))
		}
		r := newLineReader(in, 0, 0)
		if ev, _, err := r.next(); err != nil || ev.Offset != 1 {
			t.Fatalf("got %v, %v", ev, err)
		}
		for range 3 {
			if _, _, err := r.next(); err != want {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	}
}

func TestBadLineKeepsItsBeginning(t *testing.T) {
	secret := "hunter2"
	in := `{"metadata":{"offset":5,"eventType":"T","customerIDString":"c"},"event":"` + secret + strings.Repeat("x", 10<<10)
	ev, _, err := newLineReader(strings.NewReader(in+"\n"), 7, 0).next()
	if err != nil || !errors.Is(ev.Err, ErrEventMalformed) {
		t.Fatalf("got %v, %v", ev.Err, err)
	}
	if ev.Partition != 7 || ev.Offset != 5 || ev.Type != "T" || ev.CID != "c" || string(ev.Raw) != in[:maxErrRaw] {
		t.Errorf("got %+v", ev)
	}
	if strings.Contains(ev.Err.Error(), secret) {
		t.Errorf("the error tells what the line says: %v", ev.Err)
	}
}

// The caller keeps events while the reader goes on.
func TestRawIsTheCallers(t *testing.T) {
	var in, want bytes.Buffer
	for i := range 1000 {
		fmt.Fprintln(&in, good(i))
	}
	want.Write(in.Bytes())
	r := newLineReader(&in, 0, 0)
	var got bytes.Buffer
	var kept []Event
	for {
		ev, _, err := r.next()
		if err != nil {
			break
		}
		kept = append(kept, ev)
	}
	for _, ev := range kept {
		got.Write(append(ev.Raw, '\n')) // must not run into the next one's
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("events changed after they were read")
	}
}

// A caller that makes batches asks whether there is more before it waits.
func TestBuffered(t *testing.T) {
	pr, pw := io.Pipe()
	r := newLineReader(pr, 0, 0)
	if r.buffered() {
		t.Error("buffered before anything came")
	}
	go func() {
		_, _ = io.WriteString(pw, good(1)+"\n\n"+good(2)+"\n"+good(3)[:50])
		_, _ = io.WriteString(pw, good(3)[50:]+"\n")
		_ = pw.Close()
	}()
	for _, c := range []struct {
		want string
		more bool
	}{{"ok 1", true}, {"heartbeat", true}, {"ok 2", false}, {"ok 3", false}, {"EOF", false}} {
		ev, heartbeat, err := r.next()
		if got := shown(ev, heartbeat, err); got != c.want || r.buffered() != c.more {
			t.Errorf("got %s, buffered %v; want %s, %v", got, r.buffered(), c.want, c.more)
		}
	}
}

// endless is a line that does not end for so many bytes.
type endless int

func (e *endless) Read(p []byte) (int, error) {
	if *e <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), int(*e))
	for i := range p[:n] {
		p[i] = 'x'
	}
	*e -= endless(n)
	return n, nil
}

func TestLongLineTakesConstantMemory(t *testing.T) {
	size := endless(64 << 20)
	r := newLineReader(io.MultiReader(&size, strings.NewReader("\n"+good(1)+"\n")), 0, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := strings.Join(readAll(r), "; ")
	runtime.ReadMemStats(&after)
	if got != "long -1; ok 1; EOF" {
		t.Errorf("got %s", got)
	}
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 8 {
		t.Errorf("64 MiB of a line of at most 1 MiB took %d MiB", mb)
	}
}

func TestEventAllocations(t *testing.T) {
	r := newLineReader(&loop{block: []byte(good(1) + "\n")}, 0, 0)
	if n := testing.AllocsPerRun(1000, func() {
		if ev, _, err := r.next(); err != nil || ev.Offset != 1 {
			t.Fatal(ev, err)
		}
	}); n > 1 {
		t.Errorf("%v allocations an event; one is that of Raw", n)
	}
}

// loop is a stream that repeats itself for ever.
type loop struct {
	block []byte
	at    int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.block[l.at:])
	l.at = (l.at + n) % len(l.block)
	return n, nil
}

// expected says what a stream should read as, line by line.
func expected(stream []byte, maxLine int) (out []string) {
	for line := range bytes.Lines(stream) {
		whole, ended := bytes.CutSuffix(line, []byte("\n"))
		if !ended {
			return append(out, io.ErrUnexpectedEOF.Error())
		}
		whole = bytes.TrimSuffix(whole, []byte("\r"))
		isObject := json.Valid(whole) && bytes.TrimLeft(whole, " \t\r")[0] == '{'
		switch k := byEncodingJSON(whole); {
		case len(whole) > maxLine:
			s := scan{line: whole[:min(maxLine, maxErrRaw)], names: &interned{}}
			s.run()
			out = append(out, fmt.Sprintf("long %d", s.offset))
		case len(bytes.Trim(whole, " \t\r")) == 0:
			out = append(out, "heartbeat")
		case !isObject || k.Offset < 0 && k.Kind == "":
			s := scan{line: whole, names: &interned{}}
			s.run()
			out = append(out, fmt.Sprintf("bad %d", s.offset))
		default:
			out = append(out, fmt.Sprintf("ok %d", k.Offset))
		}
	}
	return append(out, "EOF")
}

// Whatever comes, each line is what it is by itself, and no good one is lost; with
// buffers so small that most lines are longer.
func FuzzLineReader(f *testing.F) {
	for _, s := range scanSeeds {
		f.Add([]byte(s), uint16(100), uint16(0))
		f.Add([]byte(s+"\r\n"+good(3)+"\n\n"+s), uint16(300), uint16(20))
	}
	fits := good(1) + strings.Repeat(" ", 191-len(good(1))) // and its CR fills a buffer of 16 bytes
	f.Add([]byte(fits+"\r\n"+fits+"\r\r\n"+fits+"\r"+strings.Repeat("x", 16)), uint16(len(fits)), uint16(16))
	f.Add([]byte(good(1)[:90]+"\n"), uint16(60), uint16(16))
	f.Fuzz(func(t *testing.T, junk []byte, maxLine, buffer uint16) {
		last := good(123456789)
		limit := max(int(maxLine), len(last))
		stream := append(bytes.Clone(junk), "\n"+last+"\n"...)
		want := expected(stream, limit)
		for _, in := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream)), iotest.DataErrReader(bytes.NewReader(stream))} {
			r := newLineReader(nil, 0, limit)
			r.in = bufio.NewReaderSize(in, int(buffer)) // at least 16
			got := readAll(r)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%.300q:\n got %v\nwant %v", stream, got, want)
			}
			if got[len(got)-2] != "ok 123456789" {
				t.Fatalf("%.300q: the last event is lost: %v", stream, got)
			}
		}
	})
}
