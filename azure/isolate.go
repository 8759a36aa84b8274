package azure

import (
	"context"
	"fmt"
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

// Isolate cuts a machine off the network, apart from Defender's own cloud.
//
// It reads the machine's actions first, and sends nothing if it is isolated, or
// about to be: duplicates have been carried out in an order that left hosts
// isolated (facts/product.md 0.5). For the same reason it is never sent again:
// after a failure that may have been sent, read the actions ([Defender.Isolation]).
func (d *Defender) Isolate(ctx context.Context, machineID string, r Isolate) (ActionResult, error) {
	if r.Type == "" {
		r.Type = Full
	}
	return d.ask(ctx, d.isolation(opIsolate, machineID, actionIsolate, "/isolate", map[string]string{
		"Comment": r.Comment, "IsolationType": string(r.Type),
	}))
}

// Unisolate lets a machine back on the network; otherwise as Isolate.
func (d *Defender) Unisolate(ctx context.Context, machineID string, r Isolate) (ActionResult, error) {
	return d.ask(ctx, d.isolation(opUnisolate, machineID, actionUnisolate, "/unisolate", map[string]string{"Comment": r.Comment}))
}

// Isolation returns the newest action that isolated or released a machine and
// was not refused by it; the zero action if there is none. Defender has no
// other word for whether a machine is isolated.
func (d *Defender) Isolation(ctx context.Context, machineID string) (MachineAction, error) {
	recent, err := d.recent(ctx, machineID)
	if err != nil {
		return MachineAction{}, err
	}
	var newest MachineAction
	for _, a := range recent {
		if changesIsolation(a) && (newest.ID == "" || a.Created.After(newest.Created)) {
			newest = a
		}
	}
	if newest.ID == "" && len(recent) == recentActions {
		return MachineAction{}, fmt.Errorf("azure %s: none of the newest %d actions of machine %s is an isolation: its state is not known", opActions, len(recent), machineID)
	}
	return newest, nil
}

// isolation is what Isolate and Unisolate ask for.
func (d *Defender) isolation(op, machineID, want, verb string, body map[string]string) wanted {
	return wanted{
		op: op, machineID: machineID, field: "Isolate.Comment", verb: verb, body: body,
		there: func(ctx context.Context) (ActionResult, bool, error) { return d.already(ctx, machineID, want) },
	}
}

// already reads whether the machine is, or is about to be, where it is wanted.
func (d *Defender) already(ctx context.Context, machineID, want string) (ActionResult, bool, error) {
	newest, err := d.Isolation(ctx, machineID)
	switch {
	case err != nil:
		return ActionResult{}, false, err
	case newest.Type == want:
		return ActionResult{Action: newest, Already: true}, true, nil
	case newest.Status.Open():
		return ActionResult{}, false, &BusyError{newest}
	case newest.ID == "" && want == actionUnisolate:
		return ActionResult{Already: true}, true, nil // never isolated
	}
	return ActionResult{}, false, nil
}
