package falcontest

import (
	"fmt"
	"net/http"
	"time"
)

// action is one action_name. It changes the device, or says why it cannot.
type action struct {
	limit int // ids in one request, as PSFalcon batches them
	apply func(*device, time.Time) (conflict string)
}

// The documented conflict is a host that is already contained or pending. That
// pending states refuse both directions, and that hiding is refused when it is
// already so, is assumed: the stricter answer is the one to be prepared for.
var actions = map[string]action{
	"contain":          {500, func(d *device, now time.Time) string { return d.move(normal, pending, now) }},
	"lift_containment": {500, func(d *device, now time.Time) string { return d.move(contained, liftPending, now) }},
	"hide_host":        {100, func(d *device, now time.Time) string { return d.hide(true, now) }},
	"unhide_host":      {100, func(d *device, now time.Time) string { return d.hide(false, now) }},
}

func (d *device) move(from, to string, now time.Time) string {
	if d.Status != from {
		return "containment status is " + d.Status
	}
	d.set(to, now)
	return ""
}

func (d *device) hide(hidden bool, now time.Time) string {
	switch {
	case d.Hidden && hidden:
		return "host is hidden"
	case !d.Hidden && !hidden:
		return "host is not hidden"
	}
	d.Hidden = hidden
	d.touch(now)
	return ""
}

// performAction answers 202 if at least one host was changed, with the errors of
// the others beside it; otherwise the status is that of the first error.
func (c *cloud) performAction(q *call) {
	name := q.r.URL.Query().Get("action_name")
	a, ok := actions[name]
	if !ok {
		q.reject(http.StatusBadRequest, fmt.Sprintf("invalid action_name %q", name))
		return
	}
	ids, ok := q.body(a.limit)
	if !ok {
		return
	}
	affected, errs := c.fleet.perform(name, a, ids, q.token, q.now)
	status := http.StatusAccepted
	if len(affected) == 0 {
		status = errs[0].Code
	}
	m := q.meta(q.by)
	m.Writes = &writes{ResourcesAffected: len(affected)}
	q.send(status, envelope{m, affected, errs})
}

// affectedEntity is one accepted id of an action.
type affectedEntity struct {
	ID   string `json:"id"`
	Path string `json:"path"`
}

// perform applies the action to one id after the other under one lock, so that
// of two concurrent requests exactly one has the effect.
func (f *fleet) perform(name string, a action, ids []string, t token, now time.Time) ([]affectedEntity, []apiError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	affected, errs := []affectedEntity{}, []apiError{}
	for _, id := range ids {
		d := f.get(id, now)
		if d == nil || !t.sees(d.CID) {
			errs = append(errs, notFound(id))
			continue
		}
		if conflict := a.apply(d, now); conflict != "" {
			errs = append(errs, apiError{
				Code: http.StatusConflict, ID: id,
				Message: fmt.Sprintf("Cannot perform %s on device %s: %s", name, id, conflict),
			})
			continue
		}
		f.effects = append(f.effects, Effect{Time: now, DeviceID: id, Action: name})
		affected = append(affected, affectedEntity{ID: id, Path: "/devices/entities/devices/v1?ids=" + id})
	}
	return affected, errs
}
