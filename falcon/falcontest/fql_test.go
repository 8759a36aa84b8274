package falcontest

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	now := time.Date(2026, 8, 10, 12, 0, 0, 0, time.UTC)
	d := &device{version: 9, Host: Host{
		DeviceID: "a1", Hostname: "WS-042", Platform: "Windows", OSVersion: "Windows 11", ProductType: "Workstation", Status: "normal",
		LocalIP: "10.0.0.7", Groups: []string{"g1", "g2"}, SerialNumber: "it's", FirstSeen: now.AddDate(0, -2, 0), LastSeen: now.Add(-8 * 24 * time.Hour),
	}}
	o := details(d, now)
	for filter, want := range map[string]bool{
		"hostname:'WS-042'":                              true,
		`hostname:"WS-042"`:                              true,
		"hostname:'ws-042'":                              false, // exact means case too
		"hostname:~'ws 042'":                             true,
		"hostname:~'ws'":                                 true,
		"hostname:~'s-042'":                              false,
		"hostname:!~'ws'":                                false,
		"hostname:!'WS-042'":                             false,
		"hostname:!'other'":                              true,
		"hostname:['x','WS-042']":                        true,
		"hostname:!['x','WS-042']":                       false,
		"hostname:!['x','y']":                            true,
		"hostname:'WS*'":                                 true,
		"hostname:'*42'":                                 true,
		"hostname:'W*-*2'":                               true,
		"hostname:'W*5*2'":                               false,
		"hostname:'WS-042*'":                             true,
		"hostname:'WS-04*42'":                            false, // the parts may not overlap
		"hostname:*'*S-0*'":                              true,
		"hostname:!*'*S-0*'":                             false,
		`hostname:'WS-04\*'`:                             false,
		`serial_number:'it\'s'`:                          true,
		`serial_number:"it's"`:                           true,
		"groups:'g2'":                                    true,
		"groups:!'g2'":                                   false,
		"groups:'g3'":                                    false,
		"tags:'x'":                                       false,
		"tags:!'x'":                                      true,
		"machine_domain:null":                            true,
		"machine_domain:!NULL":                           false,
		"hostname:!null":                                 true,
		"hostname:[null,'x']":                            false,
		"hostname:*":                                     true,
		"machine_domain:*":                               false,
		"machine_domain:!*":                              true,
		"last_seen:>'2026-08-01T00:00:00Z'":              true,
		"last_seen:>'2026-08-01T02:00:00.5+02:00'":       true,
		"last_seen:<='2026-08-02T12:00:00Z'":             true,
		"last_seen:>='2026-08-02T12:00:00Z'":             true,
		"last_seen:>'2026-08-02T12:00:00Z'":              false,
		"last_seen:<'2026-08-03'":                        true,
		"last_seen:>'now-7d'":                            false,
		"last_seen:<=now-7d":                             true,
		"last_seen:>'now-2w'":                            true,
		"last_seen:<'now'":                               true,
		"last_seen:<'now+1h'":                            true,
		"first_seen:<'now-1M'":                           true,
		"first_seen:<'now-1y'":                           false,
		"hostname:>'now-1d'":                             false, // a name has no place in time
		"hostname:<'now-1d'":                             false,
		"meta.version:<10":                               true, // as numbers
		"meta.version:>'10'":                             false,
		"platform_id:<5":                                 true,
		"platform_id:>-1.5":                              true,
		"os_version:>'Windows 10'":                       true,
		"device_policies.prevention.applied:true":        true,
		"device_policies.prevention.policy_type:'x'":     false,
		"policies.policy_type:'prevention'":              true,
		"device_policies:null":                           true,
		"status:'normal'+platform_name:'Windows'":        true,
		"status:'normal'+platform_name:'Mac'":            false,
		"status:'contained',platform_name:'Windows'":     true,
		"status:'x',hostname:'y',hostname:'z'":           false,
		"hostname:'WS-042',status:'x'+status:'y'":        true, // + binds tighter
		"(hostname:'WS-042',status:'x')+status:'y'":      false,
		" ( status : 'normal' ) + hostname : ! [ 'a' ] ": true,
		"((((status:'normal'))))":                        true,
	} {
		e, err := parseFilter(filter, knownField)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := e.match(o, now); got != want {
			t.Errorf("%s (%s): %v", filter, e, got)
		}
	}
}

func TestBadFilter(t *testing.T) {
	for filter, pos := range map[string]int{
		"":                               0,
		"hostname":                       8,
		"hostname:":                      9,
		"hostname:x":                     9,
		"hostname:'x":                    9,
		"hostname:'x'+":                  13,
		"hostname:'x',":                  13,
		"hostname:'x' status:'y'":        13,
		"hostname:'x')":                  12,
		"(hostname:'x'":                  13,
		"hostname:[]":                    10,
		"hostname:['x'":                  13,
		"hostname:['x',]":                14,
		"hostname:>['x','y']":            19,
		"hostname:>'x*'":                 14,
		"hostname:!>'x'":                 14,
		"hostname:>null":                 14,
		"hostname:~['a',null]":           20,
		"hostname:nowhere":               9,
		"last_seen:>now-7q":              11,
		"status:'x'+nosuchfield:'y'":     11,
		"hostname.nosuch:'y'":            0,
		"nosuch.hostname:'y'":            0,
		"*":                              0,
		strings.Repeat("(", 200) + "a:1": 101,
	} {
		_, err := parseFilter(filter, knownField)
		var bad *filterError
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", filter, err)
		} else if bad.pos != pos {
			t.Errorf("%s: %v, want it at %d", filter, err, pos)
		}
	}
}

// Whatever is sent, parsing ends without a panic, and what parses prints as a
// filter that parses to the same and matches the same.
func FuzzFQL(f *testing.F) {
	for _, seed := range []string{
		"hostname:'WS-042'", "a:!['x',\"y*\"]+(b:>='now-7d',c:null)", `a:*'\*\'\\'`, "a:*,b:!*", "a:~'b c'", "a:>-1.5+b:true", "((a:'b'", "a:['",
	} {
		f.Add(seed)
	}
	now := time.Date(2026, 8, 10, 12, 0, 0, 0, time.UTC)
	o := object{{"a", "x"}, {"b", []string{"y", "2026-01-01T00:00:00Z"}}, {"c", object{{"d", "1"}}}}
	f.Fuzz(func(t *testing.T, src string) {
		e, err := parseFilter(src, nil)
		if err != nil {
			var bad *filterError
			if !errors.As(err, &bad) || bad.pos < 0 || bad.pos > len(src) {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		matched := e.match(o, now)
		if strings.Count(src, "(") > maxNesting/3 {
			return // printed with more parentheses than may be nested
		}
		again, err := parseFilter(e.String(), nil)
		if err != nil {
			t.Fatalf("%q prints as %q: %v", src, e, err)
		}
		if again.String() != e.String() || again.match(o, now) != matched {
			t.Fatalf("%q prints as %q and that as %q", src, e, again)
		}
	})
}
