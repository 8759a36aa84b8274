package falcon

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// How many hosts one call changes, as PSFalcon does; Falcon documents no limits.
const (
	hideIDs = 100
	tagIDs  = 500
)

// Hide takes hosts out of all lists, as the console's delete does; a hidden host
// that reports again stays hidden. It may be repeated: hosts that are hidden are
// left alone. It returns how many were hidden by this call. What Falcon refused of
// single hosts is joined in the error as *RowErrors, and the others are hidden all
// the same; a call that fails is the end, and the error says after how many ids.
// Scope: Hosts write.
func (h *Hosts) Hide(ctx context.Context, ids ...string) (count int, err error) {
	return h.setHidden(ctx, "hosts.hide", "hide_host", true, ids)
}

// Unhide brings hidden hosts back; otherwise as Hide.
func (h *Hosts) Unhide(ctx context.Context, ids ...string) (count int, err error) {
	return h.setHidden(ctx, "hosts.unhide", "unhide_host", false, ids)
}

func (h *Hosts) setHidden(ctx context.Context, name, action string, hidden bool, ids []string) (int, error) {
	call := resilience.Call{Name: name, Kind: resilience.Idempotent}
	count, err := changeAll(ctx, h.c, call, ids, hideIDs, func(chunk []string) *capture {
		return actionOf(ctx, action, chunk)
	}, func(a *answer) (changed, error) { return a.writes(name) })
	return count, h.unlessHidden(ctx, hidden, err)
}

// unlessHidden reads back the hosts about which Falcon says that there is a
// conflict, and leaves out of the error those that are as wanted.
func (h *Hosts) unlessHidden(ctx context.Context, hidden bool, err error) error {
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	conflicts := map[string]error{}
	var ids []string
	var left []error
	for _, e := range all.Unwrap() {
		row, isRow := e.(*RowError)
		if api, ok := errors.AsType[*APIError](e); ok && isRow && api.Status == http.StatusConflict {
			conflicts[row.ID] = e
			ids = append(ids, row.ID)
			continue
		}
		left = append(left, e)
	}
	for host, err := range h.Details(ids...).All(ctx) {
		switch row, isRow := err.(*RowError); {
		case err == nil && host.Hidden == hidden:
			delete(conflicts, host.ID)
		case err != nil && !isRow:
			left = append(left, err)
		case isRow:
			conflicts[row.ID] = errors.Join(conflicts[row.ID], err)
		}
	}
	for _, id := range ids {
		left = append(left, conflicts[id])
	}
	return errors.Join(left...)
}

// tagPrefix is how the tags begin that can be given to hosts through the API; those
// of the installer begin otherwise and cannot be changed.
const tagPrefix = "FalconGroupingTags/"

// AddTags gives tags, which begin with FalconGroupingTags/, to hosts and returns how
// many hosts were changed. It may be repeated; errors are as those of Hide.
// Scope: Hosts write.
func (h *Hosts) AddTags(ctx context.Context, tags []string, ids ...string) (count int, err error) {
	return h.tag(ctx, "hosts.add_tags", "add", tags, ids)
}

// RemoveTags takes tags from hosts; otherwise as AddTags.
func (h *Hosts) RemoveTags(ctx context.Context, tags []string, ids ...string) (count int, err error) {
	return h.tag(ctx, "hosts.remove_tags", "remove", tags, ids)
}

func (h *Hosts) tag(ctx context.Context, name, action string, tags, ids []string) (int, error) {
	if len(tags) == 0 {
		return 0, resilience.Misusef("falcon %s: no tags: pass at least one", name)
	}
	for _, t := range tags {
		if !strings.HasPrefix(t, tagPrefix) || t == tagPrefix {
			return 0, resilience.Misusef("falcon %s: tag %q: want %sNAME", name, t, tagPrefix)
		}
	}
	call := resilience.Call{Name: name, Kind: resilience.Idempotent}
	return changeAll(ctx, h.c, call, ids, tagIDs, func(chunk []string) *capture {
		p := hosts.NewUpdateDeviceTagsParamsWithContext(ctx)
		p.Body = &models.DeviceapiUpdateDeviceTagsRequestV1{Action: &action, DeviceIds: chunk, Tags: tags}
		op := &capture{}
		_, _, _ = hosts.New(op, nil).UpdateDeviceTags(p)
		return op
	}, func(a *answer) (changed, error) { return a.tagged(name) })
}

// tagged reads the answer to a change of tags, which has a row for every host.
func (a *answer) tagged(operation string) (changed, error) {
	env, err := a.open(operation)
	if err != nil {
		return changed{}, err
	}
	out := changed{refused: a.refused(operation, env)}
	for _, raw := range env.Resources {
		o, err := lenient.Read(raw)
		if err != nil {
			return out, a.malformed(operation, err)
		}
		id, said := o.Str("device_id"), o.Str("error")
		switch {
		case o.Str("updated") == "true":
			out.count++
		case said != "" || o.Int("code") >= 400:
			out.refused = append(out.refused, rowError(operation, a, apiMessage{Code: float64(o.Int("code")), Message: said, ID: id}))
		default:
			out.refused = append(out.refused, &RowError{Operation: "falcon " + operation, ID: id, Raw: raw, Err: errNotUpdated})
		}
	}
	return out, nil
}

var errNotUpdated = errors.New("it was not changed, and Falcon does not say why")
