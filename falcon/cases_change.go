package falcon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/crowdstrike/gofalcon/falcon/client/cases"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/resilience"
)

// ErrVersion: the case is no longer what CaseChange.ExpectedVersion says. Somebody
// else changed it: read it, and decide again.
var ErrVersion = errors.New("the case is of another version")

// CaseChange is what to change of a case. Fields left zero stay as they are.
type CaseChange struct {
	Name        string
	Description string
	Status      CaseStatus
	Severity    int64  // 1 to 100, as Case.Severity
	AssignTo    string // the uuid of a user of the console
	Unassign    bool
	Fields      map[string][]string // the values of custom fields, by their ids

	// ExpectedVersion is the Version of the case that the change was decided on: if
	// it is another by now, nothing is changed. 0 changes whatever is there.
	ExpectedVersion int64
}

// Update changes a case, and returns it as it is then.
//
// With an ExpectedVersion the change is made at most once, to the state that it was
// decided on, so that it is tried again like a read. If somebody else was first
// the error matches ErrVersion. When an answer was lost and the second try met
// another version, the case is read back: with the change in it, and one version
// further, it is taken for the change that was asked for. Two callers who make the
// very same change cannot be told apart in that moment: who wants to claim a case
// gives AssignTo a user of its own.
//
// Without an ExpectedVersion it is an effect and never sent twice: the second
// would undo what somebody did in between, having seen the first.
//
// Scope: Cases write.
func (s *Cases) Update(ctx context.Context, id string, change CaseChange) (Case, error) {
	const name = "cases.update"
	fields, err := change.fields()
	if err == nil && id == "" {
		err = errEmptyCaseID
	}
	if err != nil {
		return Case{}, resilience.Misusef("falcon %s: %w", name, err)
	}
	p := cases.NewEntitiesCasesPatchV2ParamsWithContext(ctx)
	p.Body = &models.OperationsUpdateCaseRequest{ID: &id, ExpectedVersion: change.ExpectedVersion, Fields: fields}
	var op capture
	_, _ = cases.New(&op, nil).EntitiesCasesPatchV2(p)
	call := resilience.Call{Name: name, Kind: resilience.Effect}
	if change.ExpectedVersion != 0 {
		call.Kind = resilience.Idempotent
	}
	out, err := single(ctx, s.c, call, op.onlySet(), caseRows)
	refused, ok := errors.AsType[*resilience.Error](err)
	if !ok || change.ExpectedVersion == 0 || refused.Class != resilience.Conflict && refused.Class != resilience.Rejected {
		return out, err
	}
	// With which status Falcon refuses another version is not known; that the case
	// has another one by now can be seen.
	now, readErr := s.one(ctx, id)
	switch {
	case readErr == nil && maybeDone(err) && now.Version == change.ExpectedVersion+1 && change.in(now):
		return now, nil
	case readErr == nil && now.Version != change.ExpectedVersion:
		return Case{}, fmt.Errorf("falcon %s: %w: %d and not %d: %w", name, ErrVersion, now.Version, change.ExpectedVersion, err)
	case refused.Class == resilience.Conflict:
		err = fmt.Errorf("falcon %s: %w: %w", name, ErrVersion, err)
	}
	return Case{}, errors.Join(err, readErr)
}

var errEmptyCaseID = errors.New("the case's id is empty: pass one as in Case.ID")

// maybeDone tells of a refusal that a try before the refused one may have done what
// was asked.
func maybeDone(err error) bool {
	e, ok := errors.AsType[*resilience.Error](err)
	return ok && e.Sent == resilience.MaybeSent && e.Attempts[len(e.Attempts)-1].Sent == resilience.Answered
}

func (c *CaseChange) fields() (*models.OperationsCaseFieldChanges, error) {
	switch {
	case c.Severity < 0 || c.Severity > 100:
		return nil, fmt.Errorf("CaseChange.Severity %d: want 1 to 100", c.Severity)
	case c.AssignTo != "" && c.Unassign:
		return nil, errors.New("CaseChange.AssignTo and Unassign exclude each other")
	case c.ExpectedVersion < 0:
		return nil, fmt.Errorf("CaseChange.ExpectedVersion %d: want that of a Case, or 0", c.ExpectedVersion)
	case c.Name == "" && c.Description == "" && c.Status == "" && c.Severity == 0 && c.AssignTo == "" && !c.Unassign && len(c.Fields) == 0:
		return nil, errors.New("CaseChange is empty: set what to change")
	}
	if err := c.Status.check("CaseChange.Status"); err != nil {
		return nil, err
	}
	out := &models.OperationsCaseFieldChanges{
		Name: ifSet(c.Name), Description: ifSet(c.Description), Status: ifSet(string(c.Status)), AssignedToUserUUID: ifSet(c.AssignTo),
	}
	if c.Severity != 0 {
		out.Severity = &c.Severity
	}
	if c.Unassign {
		out.RemoveUserAssignment = &c.Unassign
	}
	for _, id := range slices.Sorted(maps.Keys(c.Fields)) {
		values := c.Fields[id]
		if values == nil {
			values = []string{} // an empty list takes the values away, null may not
		}
		out.CustomFields = append(out.CustomFields, &models.SdkCustomField{ID: &id, Values: values})
	}
	return out, nil
}

// in tells whether a case has all that the change asked for.
func (c *CaseChange) in(is Case) bool {
	has := func(want, got string) bool { return want == "" || want == got }
	for id, values := range c.Fields {
		if !slices.Equal(values, is.Fields[id]) {
			return false
		}
	}
	return has(c.Name, is.Name) && has(c.Description, is.Description) && has(string(c.Status), string(is.Status)) &&
		has(c.AssignTo, is.AssignedTo) && (!c.Unassign || is.AssignedTo == "") && (c.Severity == 0 || c.Severity == is.Severity)
}

// one reads a single case.
func (s *Cases) one(ctx context.Context, id string) (Case, error) {
	for c, err := range s.Get(id).All(ctx) {
		if err != nil || c.ID == id {
			return c, err
		}
	}
	return Case{}, ErrNotFound // not reached: an id gives its case or an error
}

// AddAlerts puts alerts into the evidence of a case and returns it as it is then.
// An alert that is in it stays in it once, so that it is safe to repeat. What
// Falcon refused of single alerts is joined in the error as *RowErrors, and the
// others are in it all the same. Scope: Cases write.
func (s *Cases) AddAlerts(ctx context.Context, id string, alertIDs ...string) (Case, error) {
	p := cases.NewEntitiesAlertEvidencePostV1ParamsWithContext(ctx)
	p.Body = &models.OperationsAddAlertsToCaseRequest{ID: &id, Alerts: alertSelectors(alertIDs)}
	var op capture
	_, _ = cases.New(&op, nil).EntitiesAlertEvidencePostV1(p)
	return s.set(ctx, "cases.add_alerts", id, alertIDs, &op, func(c Case) bool { return hasAll(c.Alerts, alertIDs) })
}

// AddEvents puts events into the evidence of a case; otherwise as AddAlerts.
func (s *Cases) AddEvents(ctx context.Context, id string, eventIDs ...string) (Case, error) {
	p := cases.NewEntitiesEventEvidencePostV1ParamsWithContext(ctx)
	p.Body = &models.OperationsAddEventsToCaseRequest{ID: &id, Events: eventSelectors(eventIDs)}
	var op capture
	_, _ = cases.New(&op, nil).EntitiesEventEvidencePostV1(p)
	return s.set(ctx, "cases.add_events", id, eventIDs, &op, func(c Case) bool { return hasAll(c.Events, eventIDs) })
}

// AddTags tags a case and returns it as it is then. It is safe to repeat. Scope:
// Cases write.
func (s *Cases) AddTags(ctx context.Context, id string, tags ...string) (Case, error) {
	p := cases.NewEntitiesCaseTagsPostV1ParamsWithContext(ctx)
	p.Body = &models.OperationsAddTagsToCaseRequest{ID: &id, Tags: tags}
	var op capture
	_, _ = cases.New(&op, nil).EntitiesCaseTagsPostV1(p)
	return s.set(ctx, "cases.add_tags", id, tags, &op, func(c Case) bool { return hasAll(c.Tags, tags) })
}

// RemoveTags takes tags off a case; otherwise as AddTags.
func (s *Cases) RemoveTags(ctx context.Context, id string, tags ...string) (Case, error) {
	p := cases.NewEntitiesCaseTagsDeleteV1ParamsWithContext(ctx)
	p.ID, p.Tag = id, tags
	var op capture
	_, _ = cases.New(&op, nil).EntitiesCaseTagsDeleteV1(p)
	return s.set(ctx, "cases.remove_tags", id, tags, &op, func(c Case) bool {
		return !slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(c.Tags, t) })
	})
}

// set sends a change of a case's sets, which hold nothing twice (assumed). Should
// Falcon refuse what is there already, the second try of a change whose answer was
// lost is refused: the case is then read back, and done looks at it.
func (s *Cases) set(ctx context.Context, name, id string, members []string, op *capture, done func(Case) bool) (Case, error) {
	switch {
	case id == "":
		return Case{}, resilience.Misusef("falcon %s: %w", name, errEmptyCaseID)
	case len(members) == 0 || slices.Contains(members, ""):
		return Case{}, resilience.Misusef("falcon %s: one of the ids or tags is empty, or there are none", name)
	}
	out, err := single(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Idempotent}, op, caseRows)
	if maybeDone(err) {
		if now, readErr := s.one(ctx, id); readErr == nil && done(now) {
			return now, nil
		}
	}
	return out, err
}

func hasAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
}
