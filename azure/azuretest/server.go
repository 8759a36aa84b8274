// Package azuretest is a Microsoft cloud to test against: Entra ID's token service,
// Defender for Endpoint, Graph security, Sentinel, Defender for Cloud, logs
// ingestion and Log Analytics, simulated over real TLS HTTP with their quotas, error
// envelopes, slow machine actions and odd JSON.
//
// Clients reach it by base URL ([Server.URL]), through a client that routes the
// vendor's host names to it ([Server.Client]) or through a CONNECT proxy
// ([Server.Proxy]). When the simulated side fails it fails on the wire, as the
// fault plan says. Time is the caller's: with Config.InMemory the server runs
// inside a testing/synctest bubble. Ids follow from the order of the calls, so a
// test that repeats its calls sees the same ids.
package azuretest

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

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
	if err := s.fill(); err != nil {
		return nil, err
	}
	s.entra, s.imds = s.entraHandler(), s.imdsHandler()
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
