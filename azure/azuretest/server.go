// Package azuretest is a Microsoft cloud to test against: Entra ID's token
// service and Microsoft Defender for Endpoint, simulated over real TLS HTTP with
// their quotas, error envelopes, slow machine actions and odd JSON.
//
// Clients reach it by base URL ([Server.URL]), through a client that routes the
// vendor's host names to it ([Server.Client]) or through a CONNECT proxy
// ([Server.Proxy]). When the simulated side fails it fails on the wire, as the
// fault plan says. Time is the caller's: with Config.InMemory the server runs
// inside a testing/synctest bubble. Ids follow from the order of the calls, so a
// test that repeats its calls sees the same ids.
package azuretest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
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

// Request is one request as the server saw it.
type Request = sim.Request

// Server is a running simulated Microsoft cloud. It is safe for concurrent use.
// Close it when done.
type Server struct {
	*sim.Server
	cfg      Config
	entra    http.Handler
	imds     http.Handler
	products []*product

	mu       sync.Mutex
	counters map[string]int // ids given out so far, by kind
	tokens   map[string]*token
	machines machineList
	actions  []*actionRecord // in the order accepted
	failNext []string        // how the next accepted actions end

	workspaces []*workspace
	graphData  graphData

	armThrottle  armThrottle
	unregistered []string // resource providers
	cloud        cloud
	began        time.Time
	collections  []*collection
	alerts       []DefenderAlert
	indicators   []DefenderIndicator // in the order they were made
	retired      int                 // status of what Retire has ended; 0: nothing
	// What every token must have been requested with, see ChallengeCAE.
	demanded  map[string]any
	challenge string
}

// The first name is what the server is called where there is no socket. It
// belongs to no product, so that path alone decides who answers there.
const (
	baseHost  = "azuretest.example"
	loginHost = "login.microsoftonline.com"
)

// NewServer starts a simulated cloud that serves until Close. It fails if cfg is
// inconsistent or no socket can be opened.
func NewServer(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, counters: map[string]int{}, tokens: map[string]*token{}, began: cfg.Now(),
		unregistered: slices.Clone(cfg.ARM.Unregistered),
	}
	if s.collections, err = newCollections(cfg.Collections); err != nil {
		return nil, err
	}
	for i, m := range cfg.Machines {
		if m.ID == "" && m.ComputerDNSName == "" {
			return nil, fmt.Errorf("azuretest: Config.Machines[%d] has neither ID nor ComputerDNSName", i)
		}
		if !s.machines.put(m.withDefaults(cfg.Now())) {
			return nil, fmt.Errorf("azuretest: Config.Machines[%d] repeats an ID", i)
		}
	}
	s.fillCloud(cfg)
	for _, a := range cfg.Alerts {
		s.AddAlert(a)
	}
	for i, v := range cfg.Indicators {
		if v.Value == "" {
			return nil, fmt.Errorf("azuretest: Config.Indicators[%d] has no Value", i)
		}
		s.AddIndicator(v)
	}
	s.entra, s.imds = s.entraHandler(), s.imdsHandler()
	for _, w := range cfg.Sentinel.Workspaces {
		s.workspaces = append(s.workspaces, &workspace{Workspace: w})
	}
	for _, a := range cfg.GraphAlerts {
		s.AddGraphAlert(a)
	}
	for _, i := range cfg.GraphIncidents {
		s.AddGraphIncident(i)
	}
	s.products = []*product{s.defender(), s.graph(), s.arm(), s.threatIntel(), s.ingestion(), s.logQuery()}
	hosts := []string{baseHost, loginHost}
	for _, p := range s.products {
		hosts = append(hosts, p.hosts...)
	}
	s.Server, err = sim.Start(sim.Config{
		Hosts: hosts, Plain: []string{imdsHost},
		Handler: http.HandlerFunc(s.route),
		Faults:  cfg.Faults, Now: cfg.Now, InMemory: cfg.InMemory,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// route picks the product by host name, or by path where the client came by
// base URL.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(hostname(r.Host))
	if host == imdsHost {
		s.imds.ServeHTTP(w, r)
		return
	}
	for _, p := range s.products {
		if p.serves(host) {
			p.mux.ServeHTTP(w, r)
			return
		}
	}
	if host != loginHost {
		for _, p := range s.products {
			if p.servesPath(r.URL.Path) {
				p.mux.ServeHTTP(w, r)
				return
			}
		}
	}
	s.entra.ServeHTTP(w, r)
}

func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// nextID returns a GUID that follows from the tenant, the kind of thing named
// and how many of that kind came before. s.mu must not be held.
func (s *Server) nextID(kind string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextIDLocked(kind)
}

func (s *Server) nextIDLocked(kind string) string {
	s.counters[kind]++
	return guid(fmt.Sprintf("%s/%s/%d", s.cfg.TenantID, kind, s.counters[kind]))
}
