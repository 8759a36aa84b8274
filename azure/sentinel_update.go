package azure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// ErrConflict is matched by the error of a change that others overtook again and
// again. Nothing was changed; try later.
var ErrConflict = errors.New("others changed it each time")

// rounds is how often a change is applied to what others have made of the incident.
const rounds = 5

// UpdateIncident changes an incident. change gets it as it stands and sets the fields that
// shall be different; an error of change ends the update with it. If nothing is
// different, nothing is sent.
//
// Sentinel's PUT replaces the whole incident. So it is read first, everything that
// change did not touch goes back as it came, and the etag guards it: if somebody was
// faster, it is read again and change is called again, up to five times, then the
// error matches [ErrConflict]. change must therefore say how the fields shall be, and
// have no effects of its own.
func (w *SentinelWorkspace) UpdateIncident(ctx context.Context, id string, change func(*SentinelIncident) error) (SentinelIncident, error) {
	return w.update(ctx, opIncidentUpdate, id, change)
}

// Closing is why an incident is closed.
type Closing struct {
	Classification SentinelClassification // required
	// Reason, if any, must go with the classification: SuspiciousActivity with
	// TruePositive, SuspiciousButExpected with BenignPositive, IncorrectAlertLogic or
	// InaccurateData with FalsePositive, none with Undetermined.
	Reason  SentinelReason
	Comment string
}

// CloseIncident closes an incident, or changes why it was closed; otherwise as
// UpdateIncident.
func (w *SentinelWorkspace) CloseIncident(ctx context.Context, id string, r Closing) (SentinelIncident, error) {
	as := func(i *SentinelIncident) error {
		i.Status = SentinelClosed
		i.Classification, i.ClassificationReason, i.ClassificationComment = r.Classification, r.Reason, r.Comment
		return nil
	}
	probe := SentinelIncident{}
	_ = as(&probe)
	if _, err := probe.changes(opIncidentClose, SentinelIncident{}); err != nil {
		return SentinelIncident{}, err // before anything is read
	}
	return w.update(ctx, opIncidentClose, id, as)
}

func (w *SentinelWorkspace) update(ctx context.Context, op, id string, change func(*SentinelIncident) error) (SentinelIncident, error) {
	path, err := w.path(op, "incidents", id)
	if err != nil {
		return SentinelIncident{}, err
	}
	if err := w.s.c.check(resilience.Idempotent); err != nil {
		return SentinelIncident{}, fmt.Errorf("azure %s: %w", op, err)
	}
	now, err := get(ctx, w.s.service, opIncident, path, parseSentinelIncident)
	if err != nil {
		return SentinelIncident{}, resilience.BeforeSending(err)
	}
	for round := 1; ; round++ {
		if now.ETag == "" {
			return SentinelIncident{}, resilience.BeforeSending(fmt.Errorf("azure %s: incident %s has no etag: a change could undo those of others", op, id))
		}
		want := now
		want.Labels = slices.Clone(now.Labels)
		if err := change(&want); err != nil {
			return SentinelIncident{}, err
		}
		changes, err := want.changes(op, now)
		if err != nil {
			return SentinelIncident{}, err
		}
		if len(changes) == 0 {
			return now, nil
		}
		done, err := w.put(ctx, op, path, now.ETag, now.with(changes))
		if !overtaken(err) {
			return done, err
		}
		unsure := resilience.Of(err).Sent == resilience.MaybeSent
		if round == rounds && !unsure {
			return SentinelIncident{}, fmt.Errorf("azure %s: %w: %w", op, ErrConflict, err)
		}
		again, readErr := w.again(ctx, path, round)
		switch {
		case readErr != nil:
			return SentinelIncident{}, fmt.Errorf("%w: then: %w", err, readErr)
		case unsure && again.has(want, changes):
			// An earlier attempt was carried out and its answer lost: it was we who
			// were faster.
			return again, nil
		case again.ETag == now.ETag && resilience.Of(err).Status == http.StatusConflict:
			return SentinelIncident{}, err // a conflict of another kind
		case round == rounds:
			return SentinelIncident{}, fmt.Errorf("azure %s: %w: %w", op, ErrConflict, err)
		}
		now = again
	}
}

// again reads an incident that somebody else has just changed, after a pause that
// takes writers out of step.
func (w *SentinelWorkspace) again(ctx context.Context, path string, round int) (SentinelIncident, error) {
	t := time.NewTimer(rand.N(time.Duration(round) * 200 * time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return SentinelIncident{}, context.Cause(ctx)
	case <-t.C:
	}
	return get(ctx, w.s.service, opIncident, path, parseSentinelIncident)
}

// overtaken: Sentinel is said to answer a stale etag with 409 or 412; which is not
// known (facts/microsoft.md 2.4).
func overtaken(err error) bool {
	api, ok := errors.AsType[*APIError](err)
	return ok && (api.Status == http.StatusPreconditionFailed || api.Status == http.StatusConflict)
}

// with is the properties of an incident with some of them changed: unknown ones stay.
func (i SentinelIncident) with(changes lenient.Object) lenient.Object {
	var o lenient.Object
	_ = json.Unmarshal(i.Raw, &o)
	p := o.Object("properties")
	maps.Copy(p, changes)
	maps.DeleteFunc(p, func(name string, raw json.RawMessage) bool { return changes[name] != nil && string(raw) == "null" })
	return p
}

// has reports that an incident is as it was wanted in the fields that were changed.
func (i SentinelIncident) has(want SentinelIncident, changes lenient.Object) bool {
	is, wanted := i.writable(), want.writable()
	for name := range changes {
		if !bytes.Equal(is[name], wanted[name]) {
			return false
		}
	}
	return true
}
