package falcon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crowdstrike/gofalcon/falcon/client/content_update_policies"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/resilience"
)

// ErrNotShown: Falcon answered that it did what was asked, and the policy in its
// answer does not show it. It may have been done or not: read the policy again.
var ErrNotShown = errors.New("the answer says that it is done, and the policy in it does not show it")

// ContentOverride is what Pause, Allow and Revert are about. The zero value is all
// categories of the policy.
//
// How Falcon takes an override of single categories, and how it shows one, is not
// documented. The defaults follow its other actions; the fields are for what turns
// out otherwise. What Falcon understood is seen in the policy that comes back, and
// an action that it does not show is an ErrNotShown.
type ContentOverride struct {
	// Categories are overridden, and the others left; default all. system_critical
	// cannot be paused: pausing all leaves it out, and Pin holds it.
	Categories []ContentCategory
	// Parameters are sent as action_parameters; default each of Categories as name
	// and value, and nothing if there are none.
	Parameters map[string]string
	// Shown is the ContentRing.Override that tells it was done; default pause for
	// Pause, allow for Allow and none for Revert.
	Shown string
}

// Pause stops new content for the hosts of a policy, at once and whatever its rings
// say, until Allow or Revert. What they have they keep. It may be repeated. The policy is
// as Falcon shows it then. Scope: Content Update Policies write.
func (s *Content) Pause(ctx context.Context, id string, o ContentOverride) (ContentPolicy, error) {
	return s.override(ctx, resilience.Call{Name: "content.pause", Kind: resilience.Idempotent, Reserve: true}, "override-pause", id, o, cmp.Or(o.Shown, "pause"))
}

// Allow lets content come to the hosts of a policy whose rings are paused; otherwise
// as Pause.
func (s *Content) Allow(ctx context.Context, id string, o ContentOverride) (ContentPolicy, error) {
	return s.override(ctx, resilience.Call{Name: "content.allow", Kind: resilience.Idempotent}, "override-allow", id, o, cmp.Or(o.Shown, "allow"))
}

// Revert ends an override: the rings of the policy count again. It is never sent
// twice, for it is not known whether a second time reverts more. Otherwise as Pause.
func (s *Content) Revert(ctx context.Context, id string, o ContentOverride) (ContentPolicy, error) {
	return s.override(ctx, resilience.Call{Name: "content.revert", Kind: resilience.Effect}, "override-revert", id, o, o.Shown)
}

func (s *Content) override(ctx context.Context, call resilience.Call, action, id string, o ContentOverride, want string) (ContentPolicy, error) {
	if slices.Contains(o.Categories, "") {
		return ContentPolicy{}, resilience.Misusef("falcon %s: one of ContentOverride.Categories is empty: pass such as RapidResponse", call.Name)
	}
	parameters := o.Parameters
	if parameters == nil {
		parameters = named(o.Categories)
	}
	return s.act(ctx, call, action, id, parameters, func(p ContentPolicy) error {
		categories := o.Categories
		if len(categories) == 0 {
			for _, r := range p.Rings {
				if r.Category != SystemCritical || action == "override-revert" {
					categories = append(categories, r.Category)
				}
			}
		}
		return p.shows(categories, func(r ContentRing) error {
			if !strings.EqualFold(r.Override, want) {
				return fmt.Errorf("its override is %q and not %q", r.Override, want)
			}
			return nil
		})
	})
}

// shows tells which of the categories is not as it should be. No category at all
// shows nothing.
func (p ContentPolicy) shows(categories []ContentCategory, right func(ContentRing) error) error {
	if len(categories) == 0 {
		return errors.New("it has no categories")
	}
	for _, c := range categories {
		r, ok := p.Ring(c)
		if !ok {
			return fmt.Errorf("%s is missing", c)
		}
		if err := right(r); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

// named are the parameters of an action on categories.
func named(categories []ContentCategory) map[string]string {
	out := map[string]string{}
	for _, c := range categories {
		out[string(c)] = string(c)
	}
	return out
}

// Pin keeps categories of a policy at the given versions, which PinVersions lists,
// in one call. Whether Falcon takes hosts back that are ahead of the version is not
// documented; Devices shows it. It may be repeated. Scope: Content Update Policies
// write.
func (s *Content) Pin(ctx context.Context, id string, versions map[ContentCategory]string) (ContentPolicy, error) {
	const name = "content.pin"
	parameters := map[string]string{}
	for c, v := range versions {
		if c == "" || v == "" {
			return ContentPolicy{}, resilience.Misusef("falcon %s: the category %q has the version %q, and both must be set: Unpin ends a pin", name, c, v)
		}
		parameters[string(c)] = v
	}
	if len(versions) == 0 {
		return ContentPolicy{}, resilience.Misusef("falcon %s: no category has a version: pass such as SystemCritical with one of PinVersions", name)
	}
	call := resilience.Call{Name: name, Kind: resilience.Idempotent, Reserve: true}
	return s.act(ctx, call, "set-pinned-content-version", id, parameters, func(p ContentPolicy) error {
		return p.shows(slices.Sorted(maps.Keys(versions)), func(r ContentRing) error {
			if r.PinnedVersion != versions[r.Category] {
				return fmt.Errorf("it is pinned to %q and not %q", r.PinnedVersion, versions[r.Category])
			}
			return nil
		})
	})
}

// Unpin lets categories of a policy take new versions again, as their rings say. It
// may be repeated. Scope: Content Update Policies write.
func (s *Content) Unpin(ctx context.Context, id string, categories ...ContentCategory) (ContentPolicy, error) {
	const name = "content.unpin"
	if len(categories) == 0 || slices.Contains(categories, "") {
		return ContentPolicy{}, resilience.Misusef("falcon %s: one of the categories is empty, or there are none", name)
	}
	call := resilience.Call{Name: name, Kind: resilience.Idempotent}
	return s.act(ctx, call, "remove-pinned-content-version", id, named(categories), func(p ContentPolicy) error {
		return p.shows(categories, func(r ContentRing) error {
			if r.PinnedVersion != "" {
				return fmt.Errorf("it is pinned to %q", r.PinnedVersion)
			}
			return nil
		})
	})
}

// Enable makes a policy count. It may be repeated. Scope: Content Update Policies
// write.
func (s *Content) Enable(ctx context.Context, id string) (ContentPolicy, error) {
	return s.enable(ctx, "content.enable", "enable", id, true)
}

// Disable makes a policy count no longer: its hosts take the next one that has one
// of their groups, or the default one, whose rings may be earlier. It may be
// repeated. Scope: Content Update Policies write.
func (s *Content) Disable(ctx context.Context, id string) (ContentPolicy, error) {
	return s.enable(ctx, "content.disable", "disable", id, false)
}

func (s *Content) enable(ctx context.Context, name, action, id string, want bool) (ContentPolicy, error) {
	call := resilience.Call{Name: name, Kind: resilience.Idempotent}
	return s.act(ctx, call, action, id, nil, func(p ContentPolicy) error {
		if p.Enabled != want {
			return fmt.Errorf("enabled is %t", p.Enabled)
		}
		return nil
	})
}

// AddHostGroup gives a policy to the hosts of a group, by its id. It may be
// repeated. Scope: Content Update Policies write.
func (s *Content) AddHostGroup(ctx context.Context, id, group string) (ContentPolicy, error) {
	return s.group(ctx, "content.add_host_group", "add-host-group", id, group, true)
}

// RemoveHostGroup takes a policy from the hosts of a group; otherwise as
// AddHostGroup.
func (s *Content) RemoveHostGroup(ctx context.Context, id, group string) (ContentPolicy, error) {
	return s.group(ctx, "content.remove_host_group", "remove-host-group", id, group, false)
}

func (s *Content) group(ctx context.Context, name, action, id, group string, want bool) (ContentPolicy, error) {
	if strings.TrimSpace(group) == "" {
		return ContentPolicy{}, resilience.Misusef("falcon %s: the host group's id is empty: pass PolicyGroup.ID, or one of Host.Groups", name)
	}
	call := resilience.Call{Name: name, Kind: resilience.Idempotent}
	return s.act(ctx, call, action, id, map[string]string{"group_id": group}, func(p ContentPolicy) error {
		if p.HasGroup(group) != want {
			return fmt.Errorf("that it has the group %s is %t", group, !want)
		}
		return nil
	})
}

// act sends an action on one policy and looks whether the answer shows it: a 200
// alone is no proof, some actions do nothing and answer with it. Whether the answer
// shows it says nothing of Falcon's health, so it does not fail the attempt.
func (s *Content) act(ctx context.Context, call resilience.Call, action, id string, parameters map[string]string, shows func(ContentPolicy) error) (ContentPolicy, error) {
	if err := checkPolicyID(call.Name, id); err != nil {
		return ContentPolicy{}, err
	}
	p := content_update_policies.NewPerformContentUpdatePoliciesActionParamsWithContext(ctx)
	p.ActionName = action
	p.Body = &models.MsaEntityActionRequestV2{Ids: []string{id}, ActionParameters: []*models.MsaspecActionParameter{}} // nil would be null
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[name]
		p.Body.ActionParameters = append(p.Body.ActionParameters, &models.MsaspecActionParameter{Name: &name, Value: &value})
	}
	var op capture
	_, _ = content_update_policies.New(&op, nil).PerformContentUpdatePoliciesAction(p)
	w, err := s.c.write(op.op)
	if err != nil {
		return ContentPolicy{}, err
	}
	type result struct {
		policy  ContentPolicy
		refused []error
		answer  *answer
	}
	r, err := send(ctx, s.c, call, w, func(a *answer) (result, error) {
		env, err := a.open(call.Name)
		if err != nil {
			return result{}, err
		}
		r := result{answer: a}
		for _, raw := range env.Resources {
			if row := contentRows.read(call.Name, raw); row.Err != nil {
				r.refused = append(r.refused, row.Err)
			} else if row.Value.ID == id {
				r.policy = row.Value
			}
		}
		r.refused = append(r.refused, a.refused(call.Name, env)...)
		return r, nil
	})
	if err != nil {
		return ContentPolicy{}, err
	}
	wrong := errors.New("it is not in the answer")
	if r.policy.ID != "" {
		wrong = shows(r.policy)
	}
	if wrong != nil {
		r.refused = append(r.refused, &APIError{
			Operation: call.Name, Status: r.answer.status, TraceID: r.answer.traceID(), err: fmt.Errorf("%w: %w", ErrNotShown, wrong),
			class: resilience.Malformed, sent: resilience.MaybeSent,
		})
	}
	return r.policy, errors.Join(r.refused...)
}
