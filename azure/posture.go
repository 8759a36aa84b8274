package azure

import (
	"context"
	"net/http"

	"github.com/jurymast/jurymast/resilience"
)

// Posture is Microsoft Defender for Cloud, before Azure Security Center, behind Azure
// Resource Manager. Azure roles: Security Reader; Security Admin to change the
// status of an alert.
//
// There is no second place that knows a tenant's posture, so a failure is an error
// and never an older answer. What is kept carries when it was read, AsOf: judge by it
// how far it still holds.
type Posture struct {
	alerts, scores, assessments, plans *service // one service, asked for four versions
}

// The operations, as they appear in errors, spans and metrics.
const (
	opCloudAlerts   = "posture.alerts.list"
	opCloudAlert    = "posture.alerts.get"
	opCloudAlertSet = "posture.alerts.status"
	opCloudScores   = "posture.scores.list"
	opCloudScore    = "posture.scores.get"
	opAssessments   = "posture.assessments.list"
	opAssessment    = "posture.assessments.get"
	opCloudPlans    = "posture.plans.list"
	opCloudPlan     = "posture.plans.get"
)

// Where Defender for Cloud's things are under a scope (facts/microsoft.md 2.7).
const (
	securityProvider = "/providers/Microsoft.Security"
	alertsKind       = securityProvider + "/alerts"
	scoresKind       = securityProvider + "/secureScores"
	assessmentsKind  = securityProvider + "/assessments"
	plansKind        = securityProvider + "/pricings"
)

func newPosture(c *Client) *Posture {
	return &Posture{
		alerts:      c.management.versioned("2022-01-01"),
		scores:      c.management.versioned("2020-01-01"),
		assessments: c.management.versioned("2025-05-04"),
		plans:       c.management.versioned("2024-01-01"),
	}
}

// Policy is the policy that guards Resource Manager, which Defender for Cloud shares
// with every other of Azure's resource providers.
func (p *Posture) Policy() *resilience.Policy { return p.alerts.policy }

// CloudAlertQuery selects alerts of Defender for Cloud.
type CloudAlertQuery struct {
	// Scope is a subscription's id or /subscriptions/{id}/resourceGroups/{name}.
	Scope string
	// Location is where Defender for Cloud keeps the alerts, such as westeurope. Default
	// all locations.
	Location string
	Cursor   string // of an earlier List of the same query
}

// Alerts lists alerts.
func (p *Posture) Alerts(q CloudAlertQuery) *List[CloudAlert] {
	kind := alertsKind
	if q.Location != "" {
		location, err := armPath(opCloudAlerts, "locations", q.Location)
		if err != nil {
			return failed[CloudAlert](opCloudAlerts, err)
		}
		kind = securityProvider + location + "/alerts"
	}
	return scopeList(p.alerts, opCloudAlerts, ScopeQuery{q.Scope, q.Cursor}, inResourceGroup, kind, parseCloudAlert)
}

// Alert returns one alert by its CloudAlert.ID, or an error that matches ErrNotFound.
func (p *Posture) Alert(ctx context.Context, id string) (CloudAlert, error) {
	path, err := alertPath(opCloudAlert, id)
	if err != nil {
		return CloudAlert{}, err
	}
	return get(ctx, p.alerts, opCloudAlert, path, parseCloudAlert)
}

// SetAlertStatus sets the status of the alert with this CloudAlert.ID to one of the
// four. Doing so twice is doing so once, so a lost answer is asked for again; if
// somebody else changed the status in those seconds, theirs is overwritten.
func (p *Posture) SetAlertStatus(ctx context.Context, id string, status CloudAlertStatus) error {
	path, err := alertPath(opCloudAlertSet, id)
	if err != nil {
		return err
	}
	verb, ok := alertVerbs[status]
	if !ok {
		return resilience.Misusef("azure %s: status %q: want CloudAlertActive, CloudAlertInProgress, CloudAlertResolved or CloudAlertDismissed", opCloudAlertSet, status)
	}
	_, err = send(ctx, p.alerts, request{
		call: p.alerts.call(opCloudAlertSet, resilience.Idempotent), method: http.MethodPost, url: p.alerts.url(path+"/"+verb, nil),
	}, nothing)
	return err
}

var alertVerbs = map[CloudAlertStatus]string{
	CloudAlertActive: "activate", CloudAlertInProgress: "inProgress",
	CloudAlertResolved: "resolve", CloudAlertDismissed: "dismiss",
}

// alertPath keeps a status from being posted to anything but an alert.
func alertPath(op, id string) (string, error) {
	return resourcePath(op, id, "providers", "Microsoft.Security", "locations", "", "alerts", "")
}

// DefaultScore is the name of the secure score of Microsoft's own initiative.
const DefaultScore = "ascScore"

// Scores lists the secure scores of a subscription, one for each initiative.
func (p *Posture) Scores(q ScopeQuery) *List[CloudScore] {
	return scopeList(p.scores, opCloudScores, q, inSubscription, scoresKind, parseCloudScore)
}

// Score returns one secure score of a subscription, by name (see DefaultScore), or an
// error that matches ErrNotFound.
func (p *Posture) Score(ctx context.Context, subscription, name string) (CloudScore, error) {
	path, err := scopePath(opCloudScore, subscription, inSubscription)
	if err == nil {
		path, err = idPath(opCloudScore, path+scoresKind+"/", name)
	}
	if err != nil {
		return CloudScore{}, err
	}
	return get(ctx, p.scores, opCloudScore, path, parseCloudScore)
}

// Assessments lists what Defender for Cloud found about the resources of a scope,
// which may also be one resource or a management group.
func (p *Posture) Assessments(q ScopeQuery) *List[Assessment] {
	return scopeList(p.assessments, opAssessments, q, anywhere, assessmentsKind, parseAssessment)
}

// Assessment returns one assessment by its ID, or an error that matches ErrNotFound.
func (p *Posture) Assessment(ctx context.Context, id string) (Assessment, error) {
	path, err := resourcePath(opAssessment, id, "providers", "Microsoft.Security", "assessments", "")
	if err != nil {
		return Assessment{}, err
	}
	return get(ctx, p.assessments, opAssessment, path, parseAssessment)
}

// Plans lists which of Defender for Cloud's plans are on for a subscription, or for a
// virtual machine, scale set or Arc machine.
func (p *Posture) Plans(q ScopeQuery) *List[CloudPlan] {
	return scopeList(p.plans, opCloudPlans, q, anywhere, plansKind, parseCloudPlan)
}

// Plan returns one plan of a scope by name, such as VirtualMachines, or an error that
// matches ErrNotFound. Plans are only read here: switching one changes the bill.
func (p *Posture) Plan(ctx context.Context, scope, name string) (CloudPlan, error) {
	path, err := scopePath(opCloudPlan, scope, anywhere)
	if err == nil {
		path, err = idPath(opCloudPlan, path+plansKind+"/", name)
	}
	if err != nil {
		return CloudPlan{}, err
	}
	return get(ctx, p.plans, opCloudPlan, path, parseCloudPlan)
}
