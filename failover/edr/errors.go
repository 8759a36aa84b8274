package edr

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Errors to tell apart with errors.Is.
var (
	// ErrHostNotFound: no vendor that answered knows the host.
	ErrHostNotFound = errors.New("host not found")
	// ErrAmbiguousHost: more than one machine may be meant. See AmbiguousHostError.
	ErrAmbiguousHost = errors.New("ambiguous host")
	// ErrWeakIdentity: the vendors' records may be of different machines. See
	// WeakIdentityError.
	ErrWeakIdentity = errors.New("weak identity")
	// ErrUnknownOutcome: an effect may be in force, and nobody could say.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrReleaseDebt: a host may still be contained somewhere. See DebtError.
	ErrReleaseDebt = errors.New("release debt")
)

// NotFoundError says where the host was looked for.
type NotFoundError struct {
	Query Query
	Gaps  []failover.Gap // vendors that could not be asked
}

// Error names the host and the vendors that could not be asked.
func (e *NotFoundError) Error() string {
	s := fmt.Sprintf("edr: no host %s", e.Query)
	if len(e.Gaps) > 0 {
		return s + " at the vendors that answered; not asked: " + join(e.Gaps)
	}
	return s + " at any vendor: check the name, and that its agent is installed"
}

// Is matches ErrHostNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrHostNotFound }

// Unwrap gives the errors of the vendors that could not be asked.
func (e *NotFoundError) Unwrap() []error { return gapErrors(e.Gaps) }

// Failure makes NotFoundError Classified.
func (e *NotFoundError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.NotFound, Sent: resilience.NotSent}
}

// AmbiguousHostError lists the machines that may be meant.
type AmbiguousHostError struct {
	Query      Query
	Candidates []Record
	Why        string
}

// Error lists the candidates and how to choose.
func (e *AmbiguousHostError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "edr: host %s is ambiguous: %s:", e.Query, e.Why)
	for _, r := range e.Candidates {
		fmt.Fprintf(&b, " %s:%s (%s, last seen %s)", r.Provider, r.ID, r.Hostname, r.LastSeen.Format("2006-01-02 15:04"))
	}
	b.WriteString("; say which with edr.Native(provider, id)")
	return b.String()
}

// Is matches ErrAmbiguousHost.
func (e *AmbiguousHostError) Is(target error) bool { return target == ErrAmbiguousHost }

// WeakIdentityError: nothing contradicts that the records are of one machine, and
// too little says so to act on it.
type WeakIdentityError struct {
	Host Host
	Want Grade
}

// Error names the records, what is known of both, and how to go on.
func (e *WeakIdentityError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "edr: host %s is of grade %s and not %s:", e.Host.Name, e.Host.Grade, e.Want)
	for _, r := range e.Host.Records {
		fmt.Fprintf(&b, " %s:%s", r.Provider, r.ID)
	}
	if len(e.Host.Evidence) > 0 {
		fmt.Fprintf(&b, " agree in %s only", strings.Join(e.Host.Evidence, ", "))
	} else {
		b.WriteString(" agree in the short name only")
	}
	b.WriteString("; name one of them with edr.Native(provider, id), or lower Config.MinIdentity")
	return b.String()
}

// Is matches ErrWeakIdentity.
func (e *WeakIdentityError) Is(target error) bool { return target == ErrWeakIdentity }

// Failure makes WeakIdentityError Classified.
func (e *WeakIdentityError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Conflict, Sent: resilience.NotSent}
}

// Failure makes AmbiguousHostError Classified.
func (e *AmbiguousHostError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Conflict, Sent: resilience.NotSent}
}

// errNotEnrolled: one vendor does not know a host that another does, so it is no
// ErrHostNotFound.
var errNotEnrolled error = &notEnrolled{}

type notEnrolled struct{}

func (*notEnrolled) Error() string { return "the host is not enrolled here" }

func (*notEnrolled) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.NotFound, Sent: resilience.NotSent}
}

// unknownError is an effect whose answer was lost and could not be read back.
type unknownError struct {
	provider string
	next     bool // another provider may be asked
	err      error
}

func (e *unknownError) Error() string {
	return fmt.Sprintf("%v: %s may hold it: %v", ErrUnknownOutcome, e.provider, e.err)
}
func (e *unknownError) Unwrap() []error { return []error{ErrUnknownOutcome, e.err} }
func (e *unknownError) TryNext() bool   { return e.next }

// DebtError lists what a release could not undo. The ledger keeps it: release
// the host again when the vendor is back.
type DebtError struct {
	Host  string
	Debts []failover.Gap
}

// Error names the host and the vendors.
func (e *DebtError) Error() string {
	return fmt.Sprintf("edr: %s may still be contained: %s: release it again when the vendor answers", e.Host, join(e.Debts))
}

// Is matches ErrReleaseDebt.
func (e *DebtError) Is(target error) bool { return target == ErrReleaseDebt }

// Unwrap gives the vendors' errors.
func (e *DebtError) Unwrap() []error { return gapErrors(e.Debts) }

func gapErrors(gaps []failover.Gap) []error {
	out := make([]error, len(gaps))
	for i, g := range gaps {
		out[i] = g.Err
	}
	return out
}

func join(gaps []failover.Gap) string {
	parts := make([]string, len(gaps))
	for i, g := range gaps {
		parts[i] = g.String()
	}
	return strings.Join(parts, "; ")
}
