package failover

import (
	"fmt"
	"strings"
	"time"
)

// Result is what came of a call, filled also when there is an error.
type Result[T any] struct {
	Value  T
	Served []Served // who answered, in order of preference
	Gaps   []Gap    // who did not, and is missing in Value
}

// Served tells who answered.
type Served struct {
	By       string // the provider's id
	At       time.Time
	FellOver bool // a more preferred provider has failed, in this call or before, or is cordoned
}

// Gap is a provider that is missing, and why.
type Gap struct {
	Provider string
	Err      error
}

// String names the provider and the reason.
func (g Gap) String() string { return fmt.Sprintf("%s: %v", g.Provider, g.Err) }

func joinGaps(gaps []Gap) string {
	parts := make([]string, len(gaps))
	for i, g := range gaps {
		parts[i] = g.String()
	}
	return strings.Join(parts, "; ")
}

func gapErrors(gaps []Gap) []error {
	out := make([]error, len(gaps))
	for i, g := range gaps {
		out[i] = g.Err
	}
	return out
}

// Complete reports that nobody is missing.
func (r Result[T]) Complete() bool { return len(r.Gaps) == 0 }

// Whole is nil if nobody is missing, and otherwise a [*MissingError], for callers that
// must not act on a part: an automation stops where a dashboard shows the gaps.
func (r Result[T]) Whole() error {
	if r.Complete() {
		return nil
	}
	return &MissingError{Gaps: r.Gaps}
}

// MissingError says who is missing in a result. It matches ErrPartial.
type MissingError struct{ Gaps []Gap }

// Error names who is missing, and why.
func (e *MissingError) Error() string {
	return fmt.Sprintf("the result is not whole: %s", joinGaps(e.Gaps))
}

// Is matches ErrPartial.
func (e *MissingError) Is(target error) bool { return target == ErrPartial }

// Unwrap gives the reasons.
func (e *MissingError) Unwrap() []error { return gapErrors(e.Gaps) }

// By is the provider that served the result, the preferred one if there are
// several, "" if none did.
func (r Result[T]) By() string {
	if len(r.Served) == 0 {
		return ""
	}
	return r.Served[0].By
}

// Outcome is what became of an effect at one provider.
type Outcome uint8

// The outcomes. An error is nil for Accepted, Applied and Already only.
const (
	Unset       Outcome = iota // nothing was tried
	NotSent                    // proven not to have left this process
	Unknown                    // may have been sent, and could not be read back
	Accepted                   // the provider will do it
	Applied                    // the provider did it
	Already                    // it was so before
	Refused                    // the provider answered that it will not
	Failed                     // the provider tried and failed
	Unsupported                // the provider cannot
)

var outcomeNames = [...]string{
	"unset", "not_sent", "unknown", "accepted", "applied",
	"already", "refused", "failed", "unsupported",
}

// String returns the outcome as telemetry and ledgers name it.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("failover.Outcome(%d)", uint8(o))
}

// OK reports that what was wanted is so, or will be.
func (o Outcome) OK() bool { return o == Accepted || o == Applied || o == Already }

// MayHold reports that the effect is, or may be, in force and has to be undone.
func (o Outcome) MayHold() bool { return o.OK() || o == Unknown }

// MarshalText writes the outcome's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the outcome's name.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomeNames {
		if name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("failover: unknown outcome %q", text)
}
