package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jurymast/jurymast/resilience"
)

// ActionResult is what became of the request for a machine action.
type ActionResult struct {
	Action MachineAction
	// Already: the action, or its effect, was there before; nothing was sent, or
	// Defender answered that it is in progress.
	Already bool
}

// wanted is a machine action to be asked for.
type wanted struct {
	op, machineID string
	field         string // of the input that has the comment, for errors
	verb          string
	body          map[string]string
	// there reads whether it is there already, or what stands in its way.
	there func(context.Context) (ActionResult, bool, error)
}

// ask asks for an action, and never twice: it reads what is there first, sends once,
// and reads again if Defender answers that something is in progress.
func (d *Defender) ask(ctx context.Context, w wanted) (ActionResult, error) {
	path, err := idPath(w.op, "/api/machines/", w.machineID)
	if err != nil {
		return ActionResult{}, err
	}
	if w.body["Comment"] == "" {
		return ActionResult{}, resilience.Misusef("azure %s: %s is empty: Defender wants a reason", w.op, w.field)
	}
	if err := d.c.check(resilience.Effect); err != nil {
		return ActionResult{}, fmt.Errorf("azure %s: %w", w.op, err)
	}
	if found, done, err := w.there(ctx); done || err != nil {
		return found, resilience.BeforeSending(err)
	}
	a, err := send(ctx, d.service, request{
		call: d.call(w.op, resilience.Effect), method: http.MethodPost, url: d.url(path+w.verb, nil), body: w.body,
	}, row(w.op, parseAction))
	if api, ok := errors.AsType[*APIError](err); ok && api.Code == codeActive {
		return d.active(ctx, w, err)
	}
	if err != nil {
		return ActionResult{}, err
	}
	return ActionResult{Action: a}, nil
}

const codeActive = "ActiveRequestAlreadyExists"

// active finds what Defender meant by "already in progress". Whatever it finds, the
// answer was that nothing was done.
func (d *Defender) active(ctx context.Context, w wanted, refused error) (ActionResult, error) {
	found, done, err := w.there(ctx)
	if _, busy := errors.AsType[*BusyError](err); done || busy {
		return found, err
	}
	if err == nil {
		var recent []MachineAction
		recent, err = d.recent(ctx, w.machineID)
		for _, a := range recent {
			if a.Status.Open() {
				return ActionResult{}, &BusyError{a}
			}
		}
	}
	if err != nil {
		return ActionResult{}, fmt.Errorf("%w (and what is in progress could not be read: %w)", refused, err)
	}
	return ActionResult{}, refused // it has ended in between
}

// recentActions is how far back a machine's actions are read.
const recentActions = 500

// recent is a machine's newest actions, the newest first. An action that cannot be
// read may be the one that matters, so it is an error.
func (d *Defender) recent(ctx context.Context, machineID string) ([]MachineAction, error) {
	if _, err := idPath(opActions, "", machineID); err != nil {
		return nil, err
	}
	// No $orderby is documented, and none is needed: the newest come first. The
	// types are told apart by who asks, because a filter with "or" is less sure to work.
	var out []MachineAction
	for a, err := range d.Actions(Query{Filter: Equals("machineId", machineID), Top: recentActions}).All(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// BusyError: another action of the machine is under way; the wanted one was not
// accepted. Try again when it has ended ([Defender.Wait]).
type BusyError struct{ Action MachineAction }

// Error names the action that stands in the way.
func (e *BusyError) Error() string {
	return fmt.Sprintf("azure: machine %s is busy: %s %s is %s: try again when it has ended",
		e.Action.MachineID, e.Action.Type, e.Action.ID, e.Action.Status)
}

// Failure makes BusyError Classified.
func (e *BusyError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Conflict, Sent: resilience.Answered}
}
