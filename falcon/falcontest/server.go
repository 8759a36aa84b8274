// Package falcontest is a CrowdStrike Falcon cloud to test against, in process:
// real HTTP over TLS, with tokens, scopes, quotas, region redirects, the paging
// families, the containment state machine and the event streams of the real one.
//
//	srv, err := falcontest.NewServer(falcontest.Config{Hosts: []falcontest.Host{{Hostname: "ws-042"}}})
//	...
//	defer srv.Close()
//	client := srv.Client() // trusts the server, reaches it as api.crowdstrike.com
//
// A client comes in by [Server.URL], by the real host names through
// [Server.Client], or unmodified through the CONNECT proxy of [Server.Proxy].
// When the cloud is told to fail ([Server.Faults]) it fails on the wire; an
// effect whose answer was lost is still listed by [Server.Effects].
//
// Answers follow recordings of the real API where there are any. Where there
// are none the comment at the operation says what was assumed.
package falcontest

import (
	"net/http"

	"github.com/jurymast/jurymast/internal/sim"
)

// Server is a running simulated cloud. It is safe for concurrent use. The
// embedded server gives the ways in (URL, Client, CAPEM, Proxy), the faults
// (Faults), the record (Requests, ResetRequests) and Close.
type Server struct {
	*sim.Server
	cloud *cloud
}

// Request is one request as the server saw it.
type Request = sim.Request

// NewServer starts a cloud. The caller must Close it.
func NewServer(cfg Config) (*Server, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	c := newCloud(cfg)
	if err := c.fill(); err != nil {
		return nil, err
	}
	s, err := sim.Start(sim.Config{
		Hosts: hostNames(cfg.Cloud), Handler: http.HandlerFunc(c.serve),
		Faults: cfg.Faults, Now: cfg.Now, InMemory: cfg.InMemory,
	})
	if err != nil {
		return nil, err
	}
	return &Server{Server: s, cloud: c}, nil
}

// RevokeTokens makes every token issued so far answer 401.
func (s *Server) RevokeTokens() { s.cloud.tokens.revokeAll() }

// Tokens returns how many tokens were issued so far.
func (s *Server) Tokens() int { return s.cloud.tokens.count() }
