package jsonscan_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// FuzzScan: what is valid is what encoding/json says, and content is what it reads.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e-3,{},[],null,true,false,"\u00e9\\\"\n"]}`, ` [ ] `, `{"a":1]`, `"\ud83d"`, `01`, `1.`, `"`, `{"a":`, "\"\x01\"",
		"\"\xff\"", `tru`, `nul`, `-`, `{}{}`, `"0123456789\"01234567"`, strings.Repeat("[", 10_001), strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := jsonscan.Text(b)
		begin := text.Space(0)
		end := text.Value(begin, 0)
		valid := end >= 0 && text.Space(end) == len(b)
		if valid != json.Valid(b) {
			t.Fatalf("valid %v", valid)
		}
		var s string
		if valid && b[begin] == '"' {
			if err := json.Unmarshal(b, &s); err != nil || s != string(jsonscan.Content(b[begin:end])) {
				t.Errorf("%q, want %q, %v", jsonscan.Content(b[begin:end]), s, err)
			}
		}
	})
}
