package azure

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// A row that is let through is one JSON object, and the same one but for what was cut
// and for the original time.
func FuzzIngestRow(f *testing.F) {
	f.Add([]byte(`{"TimeGenerated":"2020-01-01T00:00:00Z","Text":"0123456789012345678901234567890","N":9007199254740993}`), 20)
	f.Add([]byte(` {"a":"\ud83d\ude00\ud83d\ude00\ud83d\ude00\ud83d\ude00\ud83d\ude00","b":"\ud83d\u00e9ééééééééé","Seen":1}`), 16)
	f.Add([]byte(`{},{}`), 100)
	f.Add([]byte("{\"a\":\"\xff\xfe0123456789abcdef\\\\\\\"\"}"), 15)
	f.Fuzz(func(t *testing.T, raw []byte, limit int) {
		limit = len(truncated) + max(limit, -limit, 0)%100
		target := IngestTarget{MaxBytes: 1000, MaxField: limit, OriginalTime: "Seen"}
		row, cut, err := target.row(raw, time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))
		var before, after map[string]json.RawMessage
		if json.Unmarshal(raw, &before) != nil || before == nil {
			if err == nil {
				t.Fatalf("%q was let through", raw)
			}
			return
		}
		if err != nil {
			if len(raw) < 500 {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if err := json.Unmarshal(row, &after); err != nil || len(row) > 998 {
			t.Fatalf("%q became %q: %v", raw, row, err)
		}
		for name, was := range before {
			is := after[name]
			if bytes.Equal(is, was) {
				continue
			}
			var long, short string
			if !cut || json.Unmarshal(was, &long) != nil || json.Unmarshal(is, &short) != nil {
				if name == "Seen" { // there twice, once escaped
					continue
				}
				t.Fatalf("%q: %q became %q", name, was, is)
			}
			text, marked := strings.CutSuffix(short, truncated)
			if !marked || !strings.HasPrefix(long, text) || len(short) > limit || len(long) <= limit || !utf8.ValidString(text) {
				t.Fatalf("%q: %q became %q", name, long, short)
			}
			if len(short) < limit-6 && len(long) > limit {
				t.Fatalf("%q: cut to %d of %d", name, len(short), limit)
			}
		}
	})
}

func TestTruncate(t *testing.T) {
	for _, test := range []struct {
		raw, want string
		limit     int
	}{
		{`"0123456789abcdef"`, `"0123456789abcdef"`, 16},
		{`"0123456789abcdef"`, `"0...[truncated]"`, 15},
		{`"éé0123456789abc"`, `"...[truncated]"`, 15}, // no half of a character
		{`"éé0123456789abc"`, `"é...[truncated]"`, 16},
		{`"\ud83d\ude000123456789abcd"`, `"...[truncated]"`, 17},
		{`"\ud83d\ude000123456789abcdef"`, `"\ud83d\ude00...[truncated]"`, 18},
		{`"\ud83d0123456789abcdef"`, `"\ud83d...[truncated]"`, 17}, // half a pair becomes U+FFFD
		{`"\n\n\n\n0123456789abcdef"`, `"\n\n...[truncated]"`, 16},
		{`"` + "\xff\xff0123456789abcdef" + `"`, `"` + "\xff...[truncated]" + `"`, 19},
	} {
		short, _ := truncate([]byte(test.raw), test.limit)
		if string(short) != test.want {
			t.Errorf("%q to %d: %q, want %q", test.raw, test.limit, short, test.want)
		}
	}
}

func TestSeveralFieldsAreCut(t *testing.T) {
	target := IngestTarget{MaxBytes: 1000, MaxField: 15, OriginalTime: "Seen"}
	row, cut, err := target.row([]byte(` {"a":"0123456789abcdef", "b":1, "c":"fedcba98765432109876", "TimeGenerated":"2020-01-01T00:00:00Z"}`), time.Now())
	want := `{"Seen":"2020-01-01T00:00:00Z","a":"0...[truncated]", "b":1, "c":"f...[truncated]", "TimeGenerated":"2020-01-0...`
	want = strings.Replace(want, `"2020-01-0...`, `"2...[truncated]"}`, 1)
	if err != nil || !cut || string(row) != want {
		t.Errorf("%s, %v", row, err)
	}
}

func TestAnOriginalTimeThatIsThereStays(t *testing.T) {
	raw := []byte(`{"TimeGenerated":"2020-01-01T00:00:00Z","Seen":"2019-01-01T00:00:00Z"}`)
	target := IngestTarget{MaxBytes: 1000, MaxField: maxField, OriginalTime: "Seen"}
	if row, _, err := target.row(raw, time.Now()); err != nil || !bytes.Equal(row, raw) {
		t.Errorf("%s, %v", row, err)
	}
}

func TestBigAnswersToQueriesAreRead(t *testing.T) {
	c, err := New(Config{TenantID: "t", ClientID: "c", ClientSecret: "s"})
	if err != nil || c.Logs.wire.MaxBody < 104<<20 {
		t.Errorf("%v", err)
	}
}

func FuzzTimespan(f *testing.F) {
	for _, s := range []string{"00:00:01", "-1.02:03:04.5", "106750.23:59:59.999999999", "1.5", ":::", "1.2.3:4:5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := parseTimespan(s); ok && (d < 0) != strings.HasPrefix(s, "-") && d != 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}

func TestTimespan(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"00:00:00": 0, "23:59:59": 24*time.Hour - time.Second, "1.00:00:00": 24 * time.Hour, "-00:00:00.0000001": -100,
		"106750.23:59:59.9999999": 106751*24*time.Hour - 100,
	} {
		if d, ok := parseTimespan(s); !ok || d != want {
			t.Errorf("%s is %v, %v", s, d, ok)
		}
	}
	for _, s := range []string{"", "1", "1:2", "24:00:00", "00:60:00", "00:00:60", "106751.00:00:00", "1:2:3:4", "1.:2:3", "0:0:1.1234567890", "+1:00:00", "--1:00:00"} {
		if d, ok := parseTimespan(s); ok {
			t.Errorf("%s is %v", s, d)
		}
	}
}
