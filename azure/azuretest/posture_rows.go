package azuretest

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// CloudScore is a secure score of a subscription.
type CloudScore struct {
	Subscription string // default [SubscriptionID]
	Name         string // default "ascScore"
	DisplayName  string // default "ASC score"
	Current      float64
	Max          float64 // 0: there is no score yet, and no number on the wire (assumed)
	Weight       int
}

func (c CloudScore) id() string {
	return "/subscriptions/" + c.Subscription + "/providers/Microsoft.Security/secureScores/" + c.Name
}

// SetCloudScore adds a score, in place of the one that has its name.
func (s *Server) SetCloudScore(c CloudScore) {
	setDefault(&c.Subscription, SubscriptionID)
	setDefault(&c.Name, "ascScore")
	setDefault(&c.DisplayName, "ASC score")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cloud.scores = put(s.cloud.scores, c, CloudScore.id)
}

func (s *Server) listCloudScores(r *http.Request) (any, error) {
	scope := scopeOf(r, "Microsoft.Security")
	return listRows(s, r, &s.cloud.scores, func(c CloudScore) bool { return within(c.id(), scope) }, wireCloudScore)
}

func (s *Server) getCloudScore(r *http.Request) (any, error) {
	return getRow(s, &s.cloud.scores, func(c CloudScore) bool { return strings.EqualFold(c.id(), r.URL.Path) }, "The secure score", wireCloudScore)
}

func wireCloudScore(c CloudScore) any {
	properties := map[string]any{"displayName": c.DisplayName}
	if c.Max != 0 {
		properties["weight"] = c.Weight
		properties["score"] = map[string]float64{"current": c.Current, "max": c.Max, "percentage": math.Round(c.Current/c.Max*1e4) / 1e4}
	}
	return map[string]any{"id": c.id(), "name": c.Name, "type": "Microsoft.Security/secureScores", "properties": properties}
}

// Assessment is one recommendation of Defender for Cloud, judged for one resource.
type Assessment struct {
	ResourceID  string // ARM id of what was judged
	Name        string // a GUID, the same for all resources
	DisplayName string
	Code        string // "Healthy", "Unhealthy", "NotApplicable"; empty is left out
	Cause       string
	Description string
	Source      string // default "Azure"
}

func (a Assessment) id() string {
	return a.ResourceID + "/providers/Microsoft.Security/assessments/" + a.Name
}

// SetAssessment adds an assessment, in place of the one of the same resource and name.
func (s *Server) SetAssessment(a Assessment) {
	setDefault(&a.Source, "Azure")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cloud.assessments = put(s.cloud.assessments, a, Assessment.id)
}

func (s *Server) listAssessments(r *http.Request) (any, error) {
	scope := scopeOf(r, "Microsoft.Security")
	return listRows(s, r, &s.cloud.assessments, func(a Assessment) bool { return within(a.ResourceID, scope) }, wireAssessment)
}

func (s *Server) getAssessment(r *http.Request) (any, error) {
	return getRow(s, &s.cloud.assessments, func(a Assessment) bool { return strings.EqualFold(a.id(), r.URL.Path) }, "The assessment", wireAssessment)
}

func wireAssessment(a Assessment) any {
	status := map[string]string{}
	for name, value := range map[string]string{"code": a.Code, "cause": a.Cause, "description": a.Description} {
		if value != "" {
			status[name] = value
		}
	}
	return map[string]any{
		"id": a.id(), "name": a.Name, "type": "Microsoft.Security/assessments",
		"properties": map[string]any{
			"resourceDetails": map[string]string{"source": a.Source, "id": a.ResourceID}, "displayName": a.DisplayName, "status": status,
		},
	}
}

// CloudPlan is a plan of Defender for Cloud in a scope.
type CloudPlan struct {
	Scope      string // ARM id of a subscription or a resource
	Name       string // such as "VirtualMachines"
	Tier       string // "Free" (default), "Standard"
	SubPlan    string
	Coverage   string // default "NotCovered" for Free, "FullyCovered" for Standard
	Enabled    time.Time
	Inherited  string   // of a resource: the scope that it has the plan from
	Extensions []string // that are on
}

func (c CloudPlan) id() string { return c.Scope + "/providers/Microsoft.Security/pricings/" + c.Name }

// SetCloudPlan adds a plan, in place of the one of the same scope and name.
func (s *Server) SetCloudPlan(c CloudPlan) {
	setDefault(&c.Tier, "Free")
	coverage := "NotCovered"
	if c.Tier == "Standard" {
		coverage = "FullyCovered"
	}
	setDefault(&c.Coverage, coverage)
	c.Extensions = slices.Clone(c.Extensions)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cloud.plans = put(s.cloud.plans, c, CloudPlan.id)
}

// listCloudPlans lists the plans of exactly this scope. The real list has no pages.
func (s *Server) listCloudPlans(r *http.Request) (any, error) {
	if err := noFilter(r); err != nil {
		return nil, err
	}
	scope := scopeOf(r, "Microsoft.Security")
	s.mu.Lock()
	defer s.mu.Unlock()
	out := armPage[any]{Value: []any{}}
	for _, c := range s.cloud.plans {
		if strings.EqualFold(c.Scope, scope) {
			out.Value = append(out.Value, wireCloudPlan(c))
		}
	}
	return out, nil
}

func (s *Server) getCloudPlan(r *http.Request) (any, error) {
	return getRow(s, &s.cloud.plans, func(c CloudPlan) bool { return strings.EqualFold(c.id(), r.URL.Path) }, "The plan", wireCloudPlan)
}

func wireCloudPlan(c CloudPlan) any {
	properties := map[string]any{"pricingTier": c.Tier, "freeTrialRemainingTime": "PT0S"}
	if c.SubPlan != "" {
		properties["subPlan"] = c.SubPlan
	}
	if !c.Enabled.IsZero() {
		properties["enablementTime"] = stamp(c.Enabled)
	}
	if strings.Contains(c.Scope, "/providers/") {
		properties["inherited"], properties["inheritedFrom"] = "False", "null"
		if c.Inherited != "" {
			properties["inherited"], properties["inheritedFrom"] = "True", c.Inherited
		}
	} else {
		properties["enforce"], properties["resourcesCoverageStatus"] = "False", c.Coverage
	}
	var extensions []map[string]string
	for _, name := range c.Extensions {
		extensions = append(extensions, map[string]string{"name": name, "isEnabled": "True"})
	}
	if extensions != nil {
		properties["extensions"] = extensions
	}
	return map[string]any{"id": c.id(), "name": c.Name, "type": "Microsoft.Security/pricings", "properties": properties}
}
