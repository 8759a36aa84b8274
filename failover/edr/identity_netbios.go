package edr

import (
	"strings"
	"unicode/utf8"
)

// netbios is how much of a computer's name fits into its NetBIOS name, which is all
// that Windows tells one of the vendors: of "accounting-laptop-07" it is
// "ACCOUNTING-LAPT".
const netbios = 15

// isCut reports whether short may be what NetBIOS left of the label long. Both are
// in lower case.
func isCut(short, long string) bool {
	return len(long) > len(short) && len(short) >= netbios && strings.HasPrefix(long, short) && utf8.RuneCountInString(short) == netbios
}

// sameLabel reports whether two labels may be of one machine.
func sameLabel(a, b string) bool { return a == b || isCut(a, b) || isCut(b, a) }

// cut is what NetBIOS leaves of a label: what all records of a machine share.
func cut(label string) string {
	if len(label) <= netbios {
		return label
	}
	n := 0
	for i := range label {
		if n == netbios {
			return label[:i]
		}
		n++
	}
	return label
}
