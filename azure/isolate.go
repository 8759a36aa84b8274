package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jurymast/jurymast/resilience"
)

// The machine actions that change isolation.
const (
	actionIsolate   = "Isolate"
	actionUnisolate = "Unisolate"
)

// IsolationType is how much of the network is cut.
type IsolationType string

// Defender's kinds of isolation.
const (
	Full      IsolationType = "Full"
	Selective IsolationType = "Selective" // Outlook, Teams and Skype go on
)

// Isolate is a request to isolate or to release a machine.
type Isolate struct {
	Comment string        // required: shown in the action center
	Type    IsolationType // default Full; not used to release
}

// Isolation is the result of Isolate or Unisolate.
type Isolation struct {
	Action MachineAction
	// Already: the action, or its effect, was there before; nothing was sent.
	Already bool
}

// Isolate cuts a machine off the network, apart from Defender's own cloud.
//
// It reads the machine's actions first, and sends nothing if it is isolated, or
// about to be: duplicates have been carried out in an order that left hosts
// isolated (facts/product.md 0.5). For the same reason it is never sent again:
// after a failure that may have been sent, read the actions ([Defender.Isolation]).
func (d *Defender) Isolate(ctx context.Context, machineID string, r Isolate) (Isolation, error) {
	if r.Type == "" {
		r.Type = Full
	}
	body := map[string]string{"Comment": r.Comment, "IsolationType": string(r.Type)}
	return d.change(ctx, opIsolate, machineID, actionIsolate, r.Comment, "/isolate", body)
}

// Unisolate lets a machine back on the network; otherwise as Isolate.
func (d *Defender) Unisolate(ctx context.Context, machineID string, r Isolate) (Isolation, error) {
	return d.change(ctx, opUnisolate, machineID, actionUnisolate, r.Comment, "/unisolate", map[string]string{"Comment": r.Comment})
}

// Isolation returns the newest action that isolated or released a machine and
// was not refused by it; the zero action if there is none. Defender has no
// other word for whether a machine is isolated.
func (d *Defender) Isolation(ctx context.Context, machineID string) (MachineAction, error) {
	if _, err := idPath(opActions, "", machineID); err != nil {
		return MachineAction{}, err
	}
	// No $orderby is documented, and none is needed: the newest come first. The
	// types are told apart here, because a filter with "or" is less sure to work.
	var newest MachineAction
	seen := 0
	for a, err := range d.Actions(Query{Filter: Equals("machineId", machineID), Top: recentActions}).All(ctx) {
		if err != nil {
			return MachineAction{}, err
		}
		seen++
		if a.Type != actionIsolate && a.Type != actionUnisolate {
			continue
		}
		if (a.Status.Open() || a.Status == ActionSucceeded) && a.Created.After(newest.Created) {
			newest = a
		}
	}
	if newest.ID == "" && seen == recentActions {
		return MachineAction{}, fmt.Errorf("azure %s: none of the newest %d actions of machine %s is an isolation: its state is not known", opActions, seen, machineID)
	}
	return newest, nil
}

// recentActions is how far back Isolation looks.
const recentActions = 500

// BusyError: another action of the machine is under way; the wanted one was not
// accepted. Try again when it has ended.
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

const codeActive = "ActiveRequestAlreadyExists"

func (d *Defender) change(ctx context.Context, op, machineID, want, comment, verb string, body any) (Isolation, error) {
	path, err := idPath(op, "/api/machines/", machineID)
	if err != nil {
		return Isolation{}, err
	}
	if comment == "" {
		return Isolation{}, resilience.Misusef("azure %s: Isolate.Comment is empty: Defender wants a reason", op)
	}
	if err := d.c.check(resilience.Effect); err != nil {
		return Isolation{}, fmt.Errorf("azure %s: %w", op, err)
	}
	if is, done, err := d.already(ctx, machineID, want); done || err != nil {
		return is, resilience.BeforeSending(err)
	}
	a, err := send(ctx, d.service, request{
		call: d.call(op, resilience.Effect), method: http.MethodPost, url: d.url(path+verb, nil), body: body,
	}, row(op, parseAction))
	if api, ok := errors.AsType[*APIError](err); ok && api.Code == codeActive {
		if is, done, readErr := d.already(ctx, machineID, want); done || readErr != nil {
			return is, readErr
		}
		return Isolation{}, err
	}
	if err != nil {
		return Isolation{}, err
	}
	return Isolation{Action: a}, nil
}

// already reads whether the machine is, or is about to be, where it is wanted.
func (d *Defender) already(ctx context.Context, machineID, want string) (Isolation, bool, error) {
	newest, err := d.Isolation(ctx, machineID)
	switch {
	case err != nil:
		return Isolation{}, false, err
	case newest.Type == want:
		return Isolation{Action: newest, Already: true}, true, nil
	case newest.Status.Open():
		return Isolation{}, false, &BusyError{newest}
	case newest.ID == "" && want == actionUnisolate:
		return Isolation{Already: true}, true, nil // never isolated
	}
	return Isolation{}, false, nil
}
