package falcon

import (
	"time"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// scan picks the metadata out of a line in the same pass in which it checks that
// the line is JSON. Metadata may come first, as Falcon sends it, or anywhere. A
// key that comes twice counts as it came last, as in encoding/json.
type scan struct {
	line  jsonscan.Text
	names *interned

	offset    int64
	kind, cid string
	created   time.Time
}

// run reports whether the line is valid JSON. The fields are set even if it is
// not, as far as it could be read.
func (s *scan) run() bool {
	s.forget()
	i := s.line.Space(0)
	if s.isObject(i) {
		i = s.top(i)
	} else {
		i = s.line.Value(i, 0)
	}
	return i >= 0 && s.line.Space(i) == len(s.line)
}

func (s *scan) isObject(i int) bool { return i >= 0 && i < len(s.line) && s.line[i] == '{' }

func (s *scan) forget() {
	s.offset, s.kind, s.cid, s.created = -1, "", "", time.Time{}
}

func (s *scan) top(i int) int {
	i, more := s.line.Open(i, '}')
	for more {
		name, at := s.line.Key(i)
		var end int
		if at < 0 || string(jsonscan.Unquoted(name)) != "metadata" {
			end = s.line.Value(at, 1)
		} else if s.forget(); s.isObject(at) {
			end = s.metadata(at)
		} else {
			end = s.line.Value(at, 1)
		}
		i, more = s.line.Next(end, '}')
	}
	return i
}

func (s *scan) metadata(i int) int {
	i, more := s.line.Open(i, '}')
	for more {
		name, at := s.line.Key(i)
		end := s.line.Value(at, 2)
		if i, more = s.line.Next(end, '}'); i >= 0 { // only now: a number could have been cut
			s.field(jsonscan.Unquoted(name), s.line[at:end])
		}
	}
	return i
}

// field takes one of the metadata's fields. Another type than expected costs the
// field (hazard D8).
func (s *scan) field(name, value []byte) {
	switch string(name) {
	case "offset":
		n, ok := wholeNumber(jsonscan.Content(value))
		if s.offset = n; !ok {
			s.offset = -1
		}
	case "eventType":
		s.kind = s.names.get(jsonscan.Content(value))
	case "customerIDString":
		s.cid = s.names.get(jsonscan.Content(value))
	case "eventCreationTime":
		text := jsonscan.Content(value)
		if n, ok := wholeNumber(text); ok {
			s.created = epochTime(n)
		} else {
			s.created = eventTime(string(text))
		}
	}
}

// wholeNumber reads digits and nothing else; more than 18 could overflow.
func wholeNumber(text []byte) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 18 {
		return 0, false
	}
	for _, c := range text {
		if !jsonscan.IsDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// interned keeps the few strings that every event repeats, so that they are not
// made anew each time. When it is full it forgets all: a stream of ever new
// strings must not make it grow.
type interned struct{ known map[string]string }

const (
	maxInterned    = 256
	maxInternedLen = 128
)

func (n *interned) get(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) > maxInternedLen {
		return s
	}
	if n.known == nil || len(n.known) >= maxInterned {
		n.known = make(map[string]string)
	}
	n.known[s] = s
	return s
}
