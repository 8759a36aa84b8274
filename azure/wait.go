package azure

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/jurymast/jurymast/resilience"
)

// The waits between two questions for an action: random by half around these,
// growing from the first to the second. Most actions take minutes; what Defender
// gives up on by itself it gives up on after three days.
const (
	firstPoll = 2 * time.Second
	laterPoll = time.Minute
)

// ActionError is a machine action that did not end well, or, if Action.Status.Open(),
// has not ended yet.
type ActionError struct {
	Action MachineAction // only its ID is known if it could not be read
	err    error         // why it was not waited for any longer
}

// Error names the action and its state.
func (e *ActionError) Error() string {
	s := fmt.Sprintf("azure: machine action %s is not known to have ended", e.Action.ID)
	if a := e.Action; a.Status != "" {
		s = fmt.Sprintf("azure: %s %s of machine %s: %s", a.Type, a.ID, a.MachineID, a.Status)
	}
	if e.Action.HResult != 0 {
		s += fmt.Sprintf(" (%#x)", uint32(e.Action.HResult))
	}
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

// Unwrap gives the end of the context, and what failed last, if that ended a Wait.
func (e *ActionError) Unwrap() error { return e.err }

// Failure makes ActionError Classified.
func (e *ActionError) Failure() resilience.Failure {
	f := resilience.Failure{Class: resilience.Conflict, Sent: resilience.Answered}
	switch {
	case e.err != nil:
		f.Class = resilience.Canceled
	case e.Action.Status == ActionFailed:
		f.Class = resilience.Rejected
	case e.Action.Status == ActionTimeOut:
		f.Class = resilience.Timeout
	}
	return f
}

// Wait asks for a machine action until it has ended, in growing intervals. The id is
// all it needs, so a program that was restarted waits on with an id that it kept. An
// action that did not succeed is an *ActionError, with the action beside it. So is
// the end of ctx, which the error then matches; the action goes on without us.
//
// An outage of Defender does not end the waiting, nor does a quota that is used up:
// give ctx a deadline. App permission: Machine.Read.All.
func (d *Defender) Wait(ctx context.Context, actionID string) (MachineAction, error) {
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstPoll), backoff.WithMaxInterval(laterPoll), backoff.WithMaxElapsedTime(0))
	last := MachineAction{ID: actionID}
	for {
		a, err := d.Action(ctx, actionID)
		switch {
		case err == nil && a.Status == ActionSucceeded:
			return a, nil
		case err == nil && !a.Status.Open(): // also a state that is new to us
			return a, &ActionError{Action: a}
		case err == nil:
			last = a
		case ctx.Err() == nil && !passing(err):
			return last, err
		}
		timer := time.NewTimer(max(waits.NextBackOff(), resilience.Of(err).RetryAfter))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			left := fmt.Errorf("waiting for its end: %w", ctx.Err())
			if err != nil {
				left = fmt.Errorf("%w: %w", left, err)
			} else if cause := context.Cause(ctx); cause != ctx.Err() {
				left = fmt.Errorf("%w: %w", left, cause)
			}
			return last, &ActionError{last, left}
		}
	}
}

// passing reports whether a failed read may succeed later without anybody's help.
func passing(err error) bool {
	switch c := resilience.Of(err).Class; c {
	case resilience.Open, resilience.Saturated, resilience.Malformed:
		return true
	default:
		return c.RetrySame()
	}
}
