package azure

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// CloudScore is a secure score of a subscription.
type CloudScore struct {
	ID          string
	Name        string // see DefaultScore
	DisplayName string // of the initiative
	// Scored: Microsoft gave both the points reached and the points there are. If not,
	// the numbers below say nothing: a score that is not known is not a score of zero.
	Scored  bool
	Current float64 // points
	Max     float64 // points
	Ratio   float64 // Current of Max, 0 to 1, to four digits
	Weight  float64 // of this subscription in a score of several
	AsOf    time.Time
	Raw     json.RawMessage
}

func parseCloudScore(o lenient.Object) (CloudScore, error) {
	p := o.Object("properties")
	score := p.Object("score")
	s := CloudScore{ID: o.Str("id"), Name: o.Str("name"), DisplayName: p.Str("displayName"), AsOf: time.Now().UTC(), Raw: rawOf(o)}
	if s.ID == "" {
		return CloudScore{}, errors.New("no id")
	}
	s.Weight, _ = p.Number("weight")
	current, ok1 := score.Number("current")
	limit, ok2 := score.Number("max")
	if !ok1 || !ok2 {
		return s, nil
	}
	s.Scored, s.Current, s.Max = true, current, limit
	if ratio, ok := score.Number("percentage"); ok {
		s.Ratio = ratio
	} else if limit > 0 {
		s.Ratio = current / limit
	}
	return s, nil
}

// AssessmentCode is the verdict of an assessment. Only AssessmentHealthy is healthy:
// a word that is not known, or none, is not.
type AssessmentCode string

// Defender for Cloud's verdicts.
const (
	AssessmentHealthy       AssessmentCode = "Healthy"
	AssessmentUnhealthy     AssessmentCode = "Unhealthy"
	AssessmentNotApplicable AssessmentCode = "NotApplicable"
)

// AssessmentStatus is a verdict and why.
type AssessmentStatus struct {
	Code        AssessmentCode
	Cause       string // such as OffByPolicy
	Description string
}

// Assessment is one recommendation, judged for one resource.
type Assessment struct {
	ID          string // ARM id, what Posture.Assessment takes
	Name        string // of the recommendation, the same for all resources
	DisplayName string
	Status      AssessmentStatus
	// ResourceID is the ARM id of what was judged: compare ResourceKey of it. For a
	// Source other than Azure it may be of an Arc machine or a workspace.
	ResourceID string
	Source     string // Azure, OnPremise, OnPremiseSql ...
	AsOf       time.Time
	Raw        json.RawMessage
}

func parseAssessment(o lenient.Object) (Assessment, error) {
	p := o.Object("properties")
	status, resource := p.Object("status"), p.Object("resourceDetails")
	a := Assessment{
		ID: o.Str("id"), Name: o.Str("name"), DisplayName: p.Str("displayName"),
		Status: AssessmentStatus{
			Code:  known(status.Str("code"), []AssessmentCode{AssessmentHealthy, AssessmentUnhealthy, AssessmentNotApplicable}),
			Cause: status.Str("cause"), Description: status.Str("description"),
		},
		// The service has been seen to write these two with capitals (from memory).
		ResourceID: cmp.Or(resource.Str("id"), resource.Str("Id")), Source: cmp.Or(resource.Str("source"), resource.Str("Source")),
		AsOf: time.Now().UTC(), Raw: rawOf(o),
	}
	if a.ID == "" {
		return Assessment{}, errors.New("no id")
	}
	if a.ResourceID == "" {
		a.ResourceID = parent(a.ID, "Microsoft.Security", "assessments")
	}
	return a, nil
}

// PlanTier says whether a plan is on.
type PlanTier string

// Defender for Cloud's tiers.
const (
	PlanFree     PlanTier = "Free"     // off: basic features only
	PlanStandard PlanTier = "Standard" // on
)

// CloudPlan is whether Defender for Cloud watches one kind of resources in a scope.
type CloudPlan struct {
	ID      string
	Name    string // such as VirtualMachines, Containers, CloudPosture
	Tier    PlanTier
	SubPlan string // such as P1, P2; "" is the full plan
	// Coverage of the resources of a subscription, some of which may have a Tier of
	// their own: FullyCovered, PartiallyCovered, NotCovered.
	Coverage      string
	Enabled       time.Time // when the Tier was last set to Standard
	InheritedFrom string    // of a resource: the scope that it has the plan from
	Extensions    []PlanExtension
	AsOf          time.Time
	Raw           json.RawMessage
}

// PlanExtension is a part of a plan.
type PlanExtension struct {
	Name    string // such as AgentlessVmScanning
	Enabled bool
}

func parseCloudPlan(o lenient.Object) (CloudPlan, error) {
	p := o.Object("properties")
	c := CloudPlan{
		ID: o.Str("id"), Name: o.Str("name"), Tier: known(p.Str("pricingTier"), []PlanTier{PlanFree, PlanStandard}),
		SubPlan: p.Str("subPlan"), Coverage: p.Str("resourcesCoverageStatus"), Enabled: p.Time("enablementTime"),
		AsOf: time.Now().UTC(), Raw: rawOf(o),
	}
	if c.ID == "" {
		return CloudPlan{}, errors.New("no id")
	}
	if from := p.Str("inheritedFrom"); !strings.EqualFold(from, "null") { // so it says where there is none
		c.InheritedFrom = from
	}
	for _, e := range p.Objects("extensions") {
		c.Extensions = append(c.Extensions, PlanExtension{e.Str("name"), strings.EqualFold(e.Str("isEnabled"), "true")})
	}
	return c, nil
}
