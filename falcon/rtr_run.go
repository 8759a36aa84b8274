package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	rtr "github.com/crowdstrike/gofalcon/falcon/client/real_time_response"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

const (
	// pulse is how often a session that waits is refreshed. Whether asking for
	// output keeps it alive is not known.
	pulse = 4 * time.Minute
	// rtrIdle is how long Falcon keeps a session that is not used.
	rtrIdle = 10 * time.Minute
)

// The waits between two questions for output: random by half around these, growing
// from the first to the second. Ten minutes are some eighty calls.
const (
	firstAsk = 500 * time.Millisecond
	laterAsk = 10 * time.Second
)

// request is Falcon's answer to a command.
type request struct {
	id, session string
	queued      bool
}

var requests = rows[request]{id: "cloud_request_id", parse: object(func(o lenient.Object, raw json.RawMessage) (request, error) {
	r := request{id: o.Str("cloud_request_id"), session: o.Str("session_id"), queued: o.Str("queued_command_offline") == "true"}
	if r.id == "" {
		return request{}, errors.New("no cloud_request_id")
	}
	return r, nil
})}

// Run runs a command that only reads, such as `ls C:\Windows`, and returns what it
// wrote; others are refused before anything is sent. It waits as long as ctx and
// RTROptions.Patience allow and refreshes the session meanwhile. On an error the
// output has what came until then, and RequestID, if there is one, for Wait:
// Falcon goes on with a command whose caller has left.
//
// A command is never sent twice. Even reading is no small thing to repeat: `cd ..`
// moves on, and each command stands in Falcon's audit. So if the answer to it is
// lost, whether it runs is not known, its output cannot be asked for, and the error
// says so (resilience.MaybeSent).
func (s *RTRSession) Run(ctx context.Context, command string) (RTROutput, error) {
	const name = "rtr.run"
	base, err := readOnly(command)
	if err != nil {
		return RTROutput{}, err
	}
	command = strings.TrimSpace(command)
	// Without omitempty: what is not set would be sent as null.
	var id int32
	var persist bool
	p := rtr.NewRTRExecuteCommandParamsWithContext(ctx)
	p.Body = &models.DomainCommandExecuteRequest{
		BaseCommand: &base, CommandString: &command, SessionID: &s.ID, DeviceID: &s.HostID, ID: &id, Persist: &persist,
	}
	var op capture
	_, _ = rtr.New(&op, nil).RTRExecuteCommand(p)
	req, err := single(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Effect}, &op, requests)
	err = explained(err)
	out := RTROutput{RequestID: req.id, QueuedOffline: req.queued}
	switch {
	case req.id == "" && err != nil && resilience.Of(err).Sent == resilience.MaybeSent:
		return out, fmt.Errorf("%s: whether it runs is not known, and without its request id its output cannot be asked for: %w", base, err)
	case err != nil:
		return out, err
	case req.session != "" && req.session != s.ID:
		return out, fmt.Errorf("falcon %s: sent to session %s, Falcon answered for %s", name, s.ID, req.session)
	case req.queued:
		return out, nil
	}
	return s.Wait(ctx, req.id)
}

// Wait waits for the output of a command of this session, given the RequestID that
// Run returned: of one that Run did not see the end of, or that was queued for a
// host that was offline. Otherwise as Run.
func (s *RTRSession) Wait(ctx context.Context, requestID string) (RTROutput, error) {
	const name = "rtr.wait"
	if requestID == "" {
		return RTROutput{}, resilience.Misusef("falcon %s: the request id is empty: pass RTROutput.RequestID", name)
	}
	w := waiting{s: s, id: requestID, begun: time.Now(), stitch: stitch{limit: s.opts.MaxOutput}}
	w.answered, w.pulsed = w.begun, w.begun
	w.waits = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstAsk), backoff.WithMaxInterval(laterAsk), backoff.WithMaxElapsedTime(0))
	err := w.run(ctx)
	out := RTROutput{RequestID: requestID, Stdout: w.stitch.stdout.String(), Stderr: w.stitch.stderr.String(), Complete: err == nil}
	if err != nil {
		err = fmt.Errorf("falcon %s: request %s: %w", name, requestID, err)
	}
	return out, err
}

// waiting is one Wait.
type waiting struct {
	s        *RTRSession
	id       string
	stitch   stitch
	waits    *backoff.ExponentialBackOff
	begun    time.Time
	answered time.Time // when Falcon last gave an answer
	pulsed   time.Time
}

// run asks until the output is complete.
func (w *waiting) run(ctx context.Context) error {
	for {
		var more, done bool
		p, err := w.s.ask(ctx, w.id, w.stitch.next)
		if err == nil {
			more, done, err = w.stitch.take(p)
		}
		wait := time.Duration(0)
		switch {
		case done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			w.answered = time.Now()
		case !passing(err) || time.Since(w.answered) > rtrIdle:
			return err
		default:
			wait = resilience.Of(err).RetryAfter
		}
		if more {
			w.waits.Reset()
		} else {
			wait = max(wait, w.waits.NextBackOff())
		}
		left := w.s.opts.Patience - time.Since(w.begun)
		if left <= 0 {
			return errors.Join(fmt.Errorf("%w after %v", ErrRTRUnfinished, w.s.opts.Patience), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, left)):
		}
		if time.Since(w.pulsed) >= pulse {
			if err := w.s.Refresh(ctx); err != nil && !passing(err) {
				return err
			} else if err == nil {
				w.pulsed = time.Now()
			}
		}
	}
}

// passing reports whether an error may pass: asking again costs nothing but time,
// giving up would cost the output.
func passing(err error) bool {
	class := resilience.Of(err).Class
	return class.RetrySame() || class == resilience.Open || class == resilience.Saturated
}

// ask asks for one part of a command's output.
func (s *RTRSession) ask(ctx context.Context, requestID string, number int64) (part, error) {
	const name = "rtr.status"
	p := rtr.NewRTRCheckCommandStatusParamsWithContext(ctx)
	p.CloudRequestID, p.SequenceID = requestID, number
	var op capture
	_, _ = rtr.New(&op, nil).RTRCheckCommandStatus(p)
	out, err := single(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Read}, &op, parts)
	if err == nil && out.session != "" && out.session != s.ID {
		err = fmt.Errorf("falcon %s: the output is of session %s, not of %s", name, out.session, s.ID)
	}
	return out, err
}
