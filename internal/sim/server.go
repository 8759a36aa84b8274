// Package sim is what Jurymast's simulated clouds share: a TLS server with its
// own certificate authority, three ways to reach it, scripted faults and a
// record of every request.
//
// When the simulated side fails it fails on the wire: connections are refused,
// packets vanish, answers are lost. Nothing is faked inside the client.
package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/resilience/fault"
)

// Config says what to serve.
type Config struct {
	// Hosts are the names the certificate covers and the clients of this server
	// route to it; the first is the name used when there is no socket. Required.
	Hosts []string
	// Plain are further hosts, which Client reaches by plain http, on port 80.
	Plain []string
	// Handler answers the requests. Required.
	Handler http.Handler
	// Faults is the script of what goes wrong; nil means nothing ever does.
	Faults *fault.Plan
	// Now is the server's clock; nil means time.Now.
	Now func() time.Time
	// InMemory serves over in-process pipes, for testing/synctest: no socket is
	// opened and only Client reaches the server.
	InMemory bool
}

// Server is a running simulated cloud. It is safe for concurrent use.
type Server struct {
	cfg      Config
	ca       *authority
	http     *http.Server
	listener net.Listener
	pipe     *pipeListener // nil unless InMemory
	proxy    *proxy        // nil until Proxy is called
	record   recorder
	conns    connSet
	done     sync.WaitGroup

	mu      sync.Mutex
	clients []*http.Transport
	closed  bool
}

// Start serves until Close.
func Start(cfg Config) (*Server, error) {
	if len(cfg.Hosts) == 0 || cfg.Handler == nil {
		return nil, errors.New("sim: Config.Hosts and Config.Handler are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Faults == nil {
		cfg.Faults = fault.NewPlan(1)
	}
	ca, err := newAuthority(cfg.Now())
	if err != nil {
		return nil, err
	}
	cert, err := ca.issue(cfg.Hosts)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, ca: ca}
	s.conns.init()
	if cfg.InMemory {
		s.pipe = newPipeListener()
		s.listener = s.pipe
	} else if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	cfg.Faults.OnRefuse(s.conns.closeAll)
	s.http = &http.Server{
		Handler:   s.record.wrap(cfg.Now, cfg.Faults.Handler(cfg.Handler)),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, Time: cfg.Now},
		ErrorLog:  log.New(io.Discard, "", 0), // cut connections are the point
	}
	listener := s.conns.listener(cfg.Faults.Listener(s.listener))
	s.done.Go(func() { _ = s.http.ServeTLS(listener, "", "") })
	return s, nil
}

// URL is the base URL of the server, without a trailing slash.
func (s *Server) URL() string {
	if s.pipe != nil {
		return "https://" + s.cfg.Hosts[0]
	}
	return "https://" + s.listener.Addr().String()
}

// CAPEM is the certificate authority in PEM form, for SSL_CERT_FILE.
func (s *Server) CAPEM() []byte { return append([]byte(nil), s.ca.pem...) }

// Client returns a new client that trusts the server and reaches it under every
// name of Config.Hosts and Config.Plain; other names fail. Faults that strike connections act as
// the kernel would: a refusal is ECONNREFUSED, a black hole never connects.
func (s *Server) Client() *http.Client {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: s.ca.pool(), MinVersion: tls.VersionTLS12, Time: s.cfg.Now},
		DialContext:       s.cfg.Faults.Dialer(s.dial),
		ForceAttemptHTTP2: true,
		MaxIdleConns:      256, MaxIdleConnsPerHost: 256,
	}
	s.mu.Lock()
	s.clients = append(s.clients, transport)
	s.mu.Unlock()
	return &http.Client{Transport: transport}
}

func (s *Server) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, port, _ := net.SplitHostPort(addr); port == "80" && slices.Contains(s.cfg.Plain, host) {
		// The server speaks nothing but TLS: the client does not see it.
		conn, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, &tls.Config{RootCAs: s.ca.pool(), ServerName: s.cfg.Hosts[0], MinVersion: tls.VersionTLS12, Time: s.cfg.Now}), nil
	}
	if !s.serves(addr) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}}
	}
	return s.connect(ctx)
}

func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	if s.pipe != nil {
		return s.pipe.dial(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.listener.Addr().String())
}

// serves reports whether addr, a host and port, is one of the server's.
func (s *Server) serves(addr string) bool {
	if s.pipe == nil && addr == s.listener.Addr().String() {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	for _, h := range s.cfg.Hosts {
		if strings.EqualFold(h, host) {
			return true
		}
		if suffix, ok := strings.CutPrefix(h, "*"); ok && strings.HasSuffix(strings.ToLower(host), strings.ToLower(suffix)) {
			return true
		}
	}
	return false
}

// Proxy starts (once) a CONNECT proxy that leads every name of Config.Hosts to
// this server and refuses the rest, so that unmodified clients reach it through
// HTTPS_PROXY. It has no in-memory form.
func (s *Server) Proxy() (*url.URL, error) {
	if s.pipe != nil {
		return nil, errors.New("sim: no proxy in front of an in-memory server")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, http.ErrServerClosed
	}
	if s.proxy == nil {
		p, err := startProxy(s)
		if err != nil {
			return nil, err
		}
		s.proxy = p
	}
	return s.proxy.url(), nil
}

// Faults is the plan in force.
func (s *Server) Faults() *fault.Plan { return s.cfg.Faults }

// Requests returns what arrived so far, oldest first.
func (s *Server) Requests() []Request { return s.record.all() }

// ResetRequests forgets the record.
func (s *Server) ResetRequests() { s.record.reset() }

// Close cuts every connection and waits for the server's goroutines.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	clients, p := s.clients, s.proxy
	s.mu.Unlock()
	// The connections first: http.Server.Close writes TLS's farewell to each under
	// its lock, and a client in memory that does not read would hold it for ever.
	_ = s.listener.Close()
	s.conns.closeAll()
	_ = s.http.Close()
	if p != nil {
		p.close()
	}
	s.done.Wait()
	s.record.serving.close()
	for _, t := range clients {
		t.CloseIdleConnections()
	}
}
