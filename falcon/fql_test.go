package falcon_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
)

func TestFQL(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.FixedZone("", 3600))
	for want, f := range map[string]falcon.FQL{
		``:                                  {},
		`hostname:'ws-042'`:                 falcon.Equals("hostname", "ws-042"),
		`hostname:'it\'s \\ a \*'`:          falcon.Equals("hostname", `it's \ a *`),
		`status:!'normal'`:                  falcon.NotEquals("status", "normal"),
		`platform_name:['Linux','Mac']`:     falcon.In("platform_name", "Linux", "Mac"),
		`platform_name:!['Linux']`:          falcon.NotIn("platform_name", "Linux"),
		`hostname:*'ws-*\''`:                falcon.Like("hostname", "ws-*'"),
		`last_seen:>'2026-11-24T07:00:00Z'`: falcon.After("last_seen", at),
		`last_seen:<'2026-11-24T07:00:00Z'`: falcon.Before("last_seen", at),
		`severity:>=50`:                     falcon.AtLeast("severity", 50),
		`severity:<=-5`:                     falcon.AtMost("severity", -5),
		`a:'1'+b:'2'`:                       falcon.And(falcon.Equals("a", "1"), falcon.FQL{}, falcon.Equals("b", "2")),
		`a:'1',b:'2'`:                       falcon.Or(falcon.Equals("a", "1"), falcon.Equals("b", "2")),
		`(a:'1',b:'2')+c.d:'3'`:             falcon.And(falcon.Or(falcon.Equals("a", "1"), falcon.Equals("b", "2")), falcon.Equals("c.d", "3")),
		`a:'1'+b:'2',c:'3'`:                 falcon.Or(falcon.And(falcon.Equals("a", "1"), falcon.Equals("b", "2")), falcon.Equals("c", "3")),
		`(a:'1',b:'2')+c:'3',d:'4'`:         falcon.Or(falcon.And(falcon.Or(falcon.Equals("a", "1"), falcon.Equals("b", "2")), falcon.Equals("c", "3")), falcon.Equals("d", "4")),
		`a:'1',b:~'2'`:                      falcon.Verbatim(`a:'1',b:~'2'`),
		`(a:'1',b:~'2')+c:'3'`:              falcon.And(falcon.Verbatim(`a:'1',b:~'2'`), falcon.Equals("c", "3")),
	} {
		if f.String() != want || f.Err() != nil {
			t.Errorf("got %s, %v; want %s", f, f.Err(), want)
		}
	}
	for name, f := range map[string]falcon.FQL{
		"no name":       falcon.Equals("", "x"),
		"a quote":       falcon.Equals("a:'x'+b", "x"),
		"no values":     falcon.In("a"),
		"within others": falcon.And(falcon.Equals("a", "1"), falcon.Or(falcon.NotIn("b"), falcon.Equals("c", "2"))),
	} {
		if f.String() != "" || resilience.Of(f.Err()).Class != resilience.Misuse {
			t.Errorf("%s: %q, %v", name, f, f.Err())
		}
	}
}

// Whatever the values are, the filter is one that Falcon's grammar accepts, and
// the whole of the value is in it.
func FuzzFQL(f *testing.F) {
	for _, s := range []string{"ws-042", "it's", `\`, `\'`, "*", "'+hostname:*'", "\x00", "ü"} {
		f.Add("hostname", s, s)
	}
	f.Fuzz(func(t *testing.T, field, a, b string) {
		e := falcon.And(falcon.Or(falcon.Equals(field, a), falcon.NotIn("x.y", a, b)), falcon.Like("z", b), falcon.AtLeast("n", int64(len(a))))
		if e.Err() != nil {
			if e.String() != "" {
				t.Errorf("an invalid filter is sent as %s", e)
			}
			return
		}
		if err := falcontest.CheckFilter(e.String()); err != nil {
			t.Errorf("%s: %v", e, err)
		}
		if n := strings.Count(e.String(), "+"); n != 2+strings.Count(field+a+a+b+b, "+") {
			t.Errorf("%s has %d conditions", e, n)
		}
	})
}
