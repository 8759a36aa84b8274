package conformance

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the verdicts into README.md")

const readme = "README.md"

// table is one vendor's part of README.md, between its two markers.
type table struct {
	vendor string
	lines  []string
}

func newTable(vendor string) *table { return &table{vendor: vendor} }

func (b *table) add(name string, v verdict) {
	plain := strings.NewReplacer("|", "\\|", "<", "&lt;")
	b.lines = append(b.lines, fmt.Sprintf("| %s | %s | behaves |\n", plain.Replace(name), plain.Replace(string(v))))
}

// compare holds README.md against the verdicts of this run, or writes them there.
func (b *table) compare(t *testing.T, rows int) {
	if t.Failed() {
		return
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+b.vendor+" -->\n", "<!-- end of "+b.vendor+" -->\n"
	before, rest, ok1 := strings.Cut(string(text), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no section for %s", readme, b.vendor)
	}
	is := "| hazard | the SDK | Jurymast |\n|---|---|---|\n" + strings.Join(b.lines, "")
	switch {
	case len(b.lines) < rows: // a part of the table only, as with -run or -race
		for _, line := range b.lines {
			if !strings.Contains(was, line) {
				t.Errorf("%s does not say: %s", readme, line)
			}
		}
	case is == was:
	case *update:
		if err := os.WriteFile(readme, []byte(before+begin+is+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		for _, line := range b.lines {
			if !strings.Contains(was, line) {
				t.Logf("found: %s", line)
			}
		}
		t.Errorf("%s does not say what was found: run go test -update", readme)
	}
}
