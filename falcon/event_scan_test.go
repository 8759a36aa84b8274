package falcon

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// known is the metadata of an event.
type known struct {
	Offset    int64
	Kind, CID string
	Created   time.Time
}

var offsetDigits = regexp.MustCompile(`^[0-9]{1,18}$`)

// byEncodingJSON is what scan should find in a valid line.
func byEncodingJSON(line []byte) known {
	var o lenient.Object
	_ = json.Unmarshal(line, &o)
	m := o.Object("metadata")
	k := known{-1, m.Str("eventType"), m.Str("customerIDString"), eventTime(m.Str("eventCreationTime"))}
	if s := m.Str("offset"); offsetDigits.MatchString(s) {
		k.Offset, _ = strconv.ParseInt(s, 10, 64)
	}
	return k
}

func scanned(line string) (known, bool) {
	s := scan{line: jsonscan.Text(line), names: &interned{}}
	valid := s.run()
	return known{s.offset, s.kind, s.cid, s.created}, valid
}

var scanSeeds = []string{
	`{"metadata":{"customerIDString":"c1","offset":29294636,"eventType":"EppDetectionSummaryEvent","eventCreationTime":1719309994000,"version":"1.0"},"event":{"ProcessId":9007199254740993,"a":[1,-2.5e-3,{},[],null,true,false,"\u00e9\\\"\n"]}}`,
	`{"event":{},"metadata":{"offset":"7","eventType":"T","eventCreationTime":"1719309994000"}}`,
	`{"metadata":{"offset":1,"eventType":"A"},"metadata":{"offset":2}}`,
	`{"metadata":{"offset":1},"metadata":[1]}`,
	`{"\u006detadata":{"off\u0073et":3,"eventType":"\ud83d\ude00\ud83d"}}`,
	`{"Metadata":{"offset":1},"event":{"metadata":{"offset":2}}}`,
	`{"metadata":{"offset":{"offset":5},"eventType":["x"],"customerIDString":null,"eventCreationTime":true}}`,
	`{"metadata":{"offset":-1}}`, `{"metadata":{"offset":1.0}}`, `{"metadata":{"offset":99999999999999999999}}`, `{"metadata":{"offset":1,"offset":"x"}}`,
	` { "metadata" : { "offset" : 12 , "eventType" : "x" } , "event" : [ 1 , 2 ] } `,
	`{}`, `[]`, `null`, `1`, `"x"`, ``, ` `, `{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `[1,]`, `[,]`, `{"a":1]`, `[1}`, `{}{}`, `{} x`,
	`01`, `-`, `-0`, `0.`, `0.5`, `.5`, `1e`, `1e+`, `1E-9`, `+1`, `1.e3`, `-01`, `tru`, `truex`, `nul`, `falsee`, `NaN`,
	`"\u12g4"`, `"\u123g"`, `"\u123"`, `"\u123`, `"\u12"`, "{\"metadata\":{\"eventType\":\"\xff\"}}", `"\x"`, `"\`, "\"\x01\"", "\"\x1f0123456\"", "\"\x7f\xff\xc3\x28 \u2028\"", `"01234567\"89"`, "\"0123456\t\"",
	"\xef\xbb\xbf{}", "{\"a\":1\v}", `{a:1}`, `{1:1}`, `{null:1}`, `{"a" 1}`, `["a":1]`,
	`{"metadata":{"offset":123`, `{"metadata":{"offset":123,`, `{"metadata":{"offset":123,"eventType":"T`, `{"metadata":{"offset":123,"eventType":"T"}`,
}

// What is valid JSON is what encoding/json says, and so are the fields, wherever
// in the line they are and however they are written.
func FuzzEventScan(f *testing.F) {
	for _, s := range scanSeeds {
		f.Add(s)
	}
	f.Fuzz(checkScan)
}

func checkScan(t *testing.T, line string) {
	got, valid := scanned(line)
	if want := json.Valid([]byte(line)); valid != want {
		t.Fatalf("%.200q: valid %v, json.Valid says %v", line, valid, want)
	}
	if !valid {
		return
	}
	if want := byEncodingJSON([]byte(line)); got != want {
		t.Errorf("%.200q:\n got %+v\nwant %+v", line, got, want)
	}
}

// Not among the fuzzer's seeds: they are so long that it gets nowhere.
func TestScanOfDeepLines(t *testing.T) {
	nested := func(open, inner, end string, depth int) string {
		return strings.Repeat(open, depth) + inner + strings.Repeat(end, depth)
	}
	for _, depth := range []int{jsonscan.MaxDepth, jsonscan.MaxDepth + 1} {
		checkScan(t, nested("[", "", "]", depth))
		checkScan(t, nested(`{"a":`, "1", "}", depth))
		checkScan(t, `{"event":`+nested("[", "", "]", depth-1)+"}")
		checkScan(t, `{"metadata":{"a":`+nested("[", "", "]", depth-2)+"}}")
	}
}

// The offset of a bad line is read from its beginning, but never half of it.
func TestScanOfCutLines(t *testing.T) {
	whole := `{"metadata":{"customerIDString":"c1","offset":29294636,"eventType":"T","eventCreationTime":1719309994000},"event":{}}`
	want := byEncodingJSON([]byte(whole))
	for i := range len(whole) {
		got, valid := scanned(whole[:i])
		if valid {
			t.Fatalf("%q is valid", whole[:i])
		}
		begun := known{Offset: -1}
		for _, f := range []struct {
			upTo string
			set  func()
		}{
			{`"c1",`, func() { begun.CID = want.CID }},
			{`29294636,`, func() { begun.Offset = want.Offset }},
			{`"T",`, func() { begun.Kind = want.Kind }},
			{`1719309994000}`, func() { begun.Created = want.Created }},
		} {
			if i >= strings.Index(whole, f.upTo)+len(f.upTo) {
				f.set()
			}
		}
		if got != begun {
			t.Errorf("%q:\n got %+v\nwant %+v", whole[:i], got, begun)
		}
	}
}

// The reader lives as long as the stream: new strings must not pile up in it.
func TestInternedIsBounded(t *testing.T) {
	var n interned
	for i := range 10 * maxInterned {
		if got, want := n.get(fmt.Append(nil, i)), strconv.Itoa(i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if len(n.known) > maxInterned {
			t.Fatalf("it keeps %d strings", len(n.known))
		}
	}
	before := len(n.known)
	if long := strings.Repeat("x", maxInternedLen+1); n.get([]byte(long)) != long || len(n.known) != before {
		t.Error("it keeps long strings")
	}
}
