package falcon

import (
	"net/url"
	"strings"
	"testing"
)

// Whatever a Next-Page header says, the request that comes of it, or of a cursor
// made of it, is one of this operation.
func FuzzNextPage(f *testing.F) {
	for _, s := range []string{
		"/intel/combined/indicators/v1?next_page=x&filter=type%3A%27url%27%2B_marker%3A%3C%271%27", "intel/combined/indicators/v1?a=b#c",
		"//evil.example/intel/combined/indicators/v1?a=b", "https://api.crowdstrike.com/intel/combined/indicators/v1?a=b",
		`\\evil.example/intel/combined/indicators/v1?a`, "/intel/combined/indicators/v1?a=b%0d%0aHost: evil&c=%23&d=?", "/intel%2Fcombined/indicators/v1?a={ids}",
		"https:intel/combined/indicators/v1?a=b", "/../oauth2/token?a", ":", "?a=b", "",
	} {
		f.Add(s)
	}
	c, err := New(Config{ClientID: "id", ClientSecret: "secret", Cloud: "us-1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		query, err := nextQuery(c.base.Load(), header)
		if err != nil {
			return
		}
		for _, evil := range []string{"evil", "@", "//"} {
			if u, _ := url.Parse(header); strings.Contains(u.Host, evil) {
				t.Errorf("%q was followed", header)
			}
		}
		want, err := url.ParseQuery(query)
		if err != nil || len(want) == 0 {
			t.Fatalf("%q gave the query %q", header, query)
		}
		op, err := (&IndicatorQuery{}).page(t.Context(), "fuzz", byQuery+query)
		if err != nil {
			t.Fatalf("%q gave a token that is none: %v", header, err)
		}
		w, err := c.write(op.op)
		if err != nil {
			t.Fatal(err)
		}
		got, err := url.ParseQuery(w.query)
		if w.method != "GET" || w.path != indicatorsPath || len(w.body) != 0 || err != nil || got.Encode() != want.Encode() {
			t.Errorf("%q gave %s %s?%s, %v", header, w.method, w.path, w.query, err)
		}
	})
}
