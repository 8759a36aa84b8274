package falcon

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jurymast/jurymast/internal/lenient"
)

// Errors of outputs. What came of the output before is beside them.
var (
	// ErrRTROutput: the output is larger than RTROptions.MaxOutput.
	ErrRTROutput = errors.New("the output is larger than RTROptions.MaxOutput")
	// ErrRTRGap: Falcon gave a later part of the output than was asked for.
	ErrRTRGap = errors.New("a part of the output is missing")
	// ErrRTRUnfinished: RTROptions.Patience ended before the command.
	ErrRTRUnfinished = errors.New("the command has not ended")
)

// RTROutput is what a command wrote.
type RTROutput struct {
	// RequestID is what RTRSession.Wait asks by; "" if the command did not get one.
	RequestID string
	Stdout    string
	Stderr    string
	// Complete: the command has ended and this is all of its output.
	Complete bool
	// QueuedOffline: the host is offline, and the command runs when it is back, if
	// the session is not closed before. There is no output; Wait may ask for it then.
	QueuedOffline bool
}

// part is one of Falcon's answers about a command: a part of its output.
type part struct {
	session        string
	number         int64
	complete       bool
	stdout, stderr string
}

var parts = rows[part]{id: "session_id", parse: object(func(o lenient.Object, raw json.RawMessage) (part, error) {
	complete := o.Str("complete")
	if complete != "true" && complete != "false" {
		return part{}, errors.New("it does not say whether the command is complete")
	}
	return part{
		session: o.Str("session_id"), number: o.Int("sequence_id"), complete: complete == "true", // Go leaves a number of 0 out
		stdout: o.Str("stdout"), stderr: o.Str("stderr"),
	}, nil
})}

func (p part) empty() bool { return p.stdout == "" && p.stderr == "" }

// stitch puts the parts of an output together.
//
// An answer with text carries the number of the part that follows, which is the one
// to ask for next, whatever it is; the last one carries none. That is what those
// found who tried, and what gofalcon does. By Falcon's documentation a part has its
// own number, and the next one more. The first part tells which it is.
type stitch struct {
	limit          int
	stdout, stderr strings.Builder
	next           int64 // the part to ask for
	order          order
}

// order is how parts are numbered.
type order uint8

const (
	unknownOrder order = iota
	byNext             // with the part that follows
	byOwn              // with their own number
)

// take adds the answer to a question for the next part. It tells whether there may
// be more at once, and whether the output is complete.
func (s *stitch) take(p part) (more, done bool, err error) {
	ahead := p.number > s.next
	switch {
	case ahead && s.order == byOwn:
		return false, false, fmt.Errorf("%w: asked for part %d, Falcon gave part %d", ErrRTRGap, s.next, p.number)
	case p.complete && s.order == byOwn && p.number > 0 && p.number == s.next-1:
		return false, true, nil // again, now that it is known to be the last
	case p.complete:
	case ahead:
		s.order = byNext
	case p.empty(), s.order == byNext, p.number < s.next:
		return false, false, nil // not there yet, or an earlier one again
	default:
		s.order, p.number = byOwn, s.next+1
	}
	if s.stdout.Len()+s.stderr.Len()+len(p.stdout)+len(p.stderr) > s.limit {
		return false, false, fmt.Errorf("%w (%d bytes)", ErrRTROutput, s.limit)
	}
	s.stdout.WriteString(p.stdout)
	s.stderr.WriteString(p.stderr)
	s.next = p.number
	return !p.empty(), p.complete, nil
}
