package azuretest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jurymast/jurymast/resilience/fault"
)

// The identity a [Server] accepts where [Config] names no other.
const (
	TenantID     = "7a3c1d5e-0b2f-4c68-9d14-5e6f7a8b9c0d"
	ClientID     = "1f9e8d7c-6b5a-4938-8271-605f4e3d2c1b"
	ClientSecret = "azuretest~client~secret"
)

// Config describes the simulated tenant. The zero value is usable.
type Config struct {
	TenantID     string // default [TenantID]
	ClientID     string // default [ClientID]
	ClientSecret string // default [ClientSecret]

	// Roles are the app roles consented to, such as "Machine.Read.All" and
	// "Machine.Isolate". They are written into each token when it is issued; nil
	// means every role the server knows, an empty slice none.
	Roles []string

	// Machines are there from the start; empty fields get the defaults [Machine]
	// documents.
	Machines []Machine

	// Alerts and Indicators are Defender for Endpoint's, there from the start; empty
	// fields get the defaults that [DefenderAlert] and [DefenderIndicator] document.
	Alerts     []DefenderAlert
	Indicators []DefenderIndicator

	// ActionTime is how long a machine action takes: it is Pending for the first
	// half, InProgress for the second and then ends. Default 1s.
	ActionTime time.Duration

	// TokenLife is how long a token is valid. The wire counts whole seconds.
	// Default 3599s.
	TokenLife time.Duration

	// MinuteQuota and HourQuota are the calls allowed for each API operation in
	// any minute and in any hour; some operations are allowed fewer. Default 100 and
	// 1500; negative means no limit.
	MinuteQuota, HourQuota int

	// GraphAlerts and GraphIncidents are there from the start; Hunt answers advanced
	// hunting queries, and may be called by many at once. Graph is the rest of
	// Microsoft Graph security.
	GraphAlerts    []GraphAlert
	GraphIncidents []GraphIncident
	Hunt           func(query string) HuntTable
	Graph          Graph

	// ARM is Azure Resource Manager.
	ARM ARM

	// CloudAlerts, CloudScores, Assessments and CloudPlans are what Defender for Cloud
	// knows from the start; Availability and HealthEvents what Azure says of itself.
	CloudAlerts  []CloudAlert
	CloudScores  []CloudScore
	Assessments  []Assessment
	CloudPlans   []CloudPlan
	Availability []Availability
	HealthEvents []HealthEvent

	// Sentinel is Microsoft Sentinel.
	Sentinel Sentinel

	// Collections are the data collection rules that take logs. Rows tells what they
	// stored.
	Collections []Collection

	// LogQuery answers the queries to Log Analytics; nil means that no workspace has
	// data. It may be called by several goroutines at once.
	LogQuery func(LogQuery) LogAnswer

	// Faults is the script of what goes wrong; nil starts with an empty plan.
	Faults *fault.Plan

	// Now is the clock of tokens, quotas and actions. Default [time.Now].
	Now func() time.Time

	// InMemory serves over in-process pipes, for testing/synctest: no socket is
	// opened and only [Server.Client] reaches the server.
	InMemory bool
}

func (c Config) withDefaults() (Config, error) {
	if c.ActionTime < 0 || c.TokenLife < 0 {
		return c, errors.New("azuretest: Config.ActionTime and Config.TokenLife must not be negative")
	}
	setDefault(&c.TenantID, TenantID)
	setDefault(&c.ClientID, ClientID)
	setDefault(&c.ClientSecret, ClientSecret)
	setDefault(&c.ActionTime, time.Second)
	setDefault(&c.TokenLife, 3599*time.Second)
	setDefault(&c.MinuteQuota, 100)
	setDefault(&c.HourQuota, 1500)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Roles == nil {
		c.Roles = append([]string{
			roleMachineRead, roleMachineReadWrite, roleMachineIsolate, roleMachineScan, roleMachineForensics,
			roleAlertRead, roleAlertReadWrite, roleTi, roleTiAll, roleLogRead,
		}, graphRoles...)
	}
	c.Roles = slices.Clone(c.Roles)
	setDefault(&c.ARM.PageSize, 50)
	c.Sentinel = c.Sentinel.withDefaults()
	c.Graph.withDefaults()
	return c, nil
}

// setDefault gives v the value def if it has none.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// fill puts into the cloud what is there from the start.
func (s *Server) fill() (err error) {
	cfg := s.cfg
	for i, m := range cfg.Machines {
		if m.ID == "" && m.ComputerDNSName == "" {
			return fmt.Errorf("azuretest: Config.Machines[%d] has neither ID nor ComputerDNSName", i)
		}
		if !s.machines.put(m.withDefaults(cfg.Now())) {
			return fmt.Errorf("azuretest: Config.Machines[%d] repeats an ID", i)
		}
	}
	s.fillCloud(cfg)
	for _, a := range cfg.Alerts {
		s.AddAlert(a)
	}
	for i, v := range cfg.Indicators {
		if v.Value == "" {
			return fmt.Errorf("azuretest: Config.Indicators[%d] has no Value", i)
		}
		s.AddIndicator(v)
	}
	for _, w := range cfg.Sentinel.Workspaces {
		s.workspaces = append(s.workspaces, &workspace{Workspace: w})
	}
	for _, a := range cfg.GraphAlerts {
		s.AddGraphAlert(a)
	}
	for _, i := range cfg.GraphIncidents {
		s.AddGraphIncident(i)
	}
	s.collections, err = newCollections(cfg.Collections)
	return err
}
