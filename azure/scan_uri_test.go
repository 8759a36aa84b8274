package azure

import (
	"strings"
	"testing"
)

// Whatever Defender writes, an address is one that can be asked, or an error that
// does not show it.
func FuzzPackageURI(f *testing.F) {
	for _, seed := range []string{`"https://h/p?token=s"`, `https://h/p`, `"\"https://h\""`, `"`, ``, `"http://h/"`, `"https://h\u0000"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		uri, err := parsePackageURI(value)
		if (err == nil) != strings.HasPrefix(strings.ToLower(uri), "https://") {
			t.Errorf("%q gave %q, %v", value, uri, err)
		}
	})
}
