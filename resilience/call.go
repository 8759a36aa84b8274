package resilience

import (
	"context"
	"errors"
	"time"
)

// Kind declares what a call does on the other side. It decides what may happen
// when the answer is lost.
type Kind uint8

const (
	// Effect changes something and must not be sent twice. It is the zero value:
	// a call that forgot to say what it is gets the careful treatment.
	Effect Kind = iota
	// Idempotent changes something; sending it twice leaves the same state.
	Idempotent
	// Read changes nothing.
	Read
)

// String returns "effect", "idempotent" or "read".
func (k Kind) String() string {
	switch k {
	case Idempotent:
		return "idempotent"
	case Read:
		return "read"
	default:
		return "effect"
	}
}

// Call describes one operation. Names are metric labels: use constants.
type Call struct {
	// Name of the operation, such as "hosts.contain". Required.
	Name string
	// Kind says whether the call may be repeated; the zero value is Effect.
	Kind Kind
	// Timeout bounds one attempt instead of Config.Attempt. Negative means no
	// bound of its own, for streams, uploads and long queries.
	Timeout time.Duration
	// Attempts bounds the attempts instead of Config.Retry.Attempts.
	Attempts int
	// Quota, if not nil, is spent instead of Config.Quota: some vendors count
	// each operation by itself.
	Quota *Quota
	// Reserve lets the call use the part of the quota kept for urgent calls.
	Reserve bool
}

type callKey struct{}

// WithCall declares what the requests under ctx are, to policies that otherwise
// go by the HTTP method: [Transport], and the official clients that run over
// falcon.Client.Transport and azure.Client.ClientOptions. A POST that only reads
// is then retried, and allowed to a read-only client.
func WithCall(ctx context.Context, call Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

// CallFrom returns the call that WithCall declared, or otherwise.
func CallFrom(ctx context.Context, otherwise Call) Call {
	if call, ok := ctx.Value(callKey{}).(Call); ok {
		return call
	}
	return otherwise
}

// ErrShare is the cause with which a caller that shares out its own time
// (failover does) ends a context: the time ran out here, not at the user's.
// Do counts it as the dependency's failure and does not report it as
// context.DeadlineExceeded.
var ErrShare = errors.New("the time given to this provider ran out")

// ErrOvertaken is the cause with which a caller that asked several dependencies
// for the same ends the contexts of those that were not the first. It says
// nothing against a dependency that had not been slow yet.
var ErrOvertaken = errors.New("another provider answered first")

type backupKey struct{}

// WithBackup tells the policies under ctx that another provider can take over:
// they retry at most once, at once, and only while the dependency was healthy
// until now. Waiting longer here would only eat the backup's time.
func WithBackup(ctx context.Context) context.Context {
	return context.WithValue(ctx, backupKey{}, true)
}

// WithoutBackup undoes WithBackup for the calls under ctx.
func WithoutBackup(ctx context.Context) context.Context {
	return context.WithValue(ctx, backupKey{}, false)
}

func hasBackup(ctx context.Context) bool {
	b, _ := ctx.Value(backupKey{}).(bool)
	return b
}
