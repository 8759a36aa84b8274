package sim

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// proxy is an HTTP CONNECT proxy in front of one server.
type proxy struct {
	server   *Server
	listener net.Listener
	http     *http.Server
	conns    connSet
	done     sync.WaitGroup // the server
	pumps    gate
}

func startProxy(s *Server) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{server: s, listener: l}
	p.conns.init()
	p.http = &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	p.done.Go(func() { _ = p.http.Serve(p.conns.listener(l)) })
	return p, nil
}

func (p *proxy) url() *url.URL { return &url.URL{Scheme: "http", Host: p.listener.Addr().String()} }

func (p *proxy) close() {
	_ = p.http.Close()
	p.conns.closeAll()
	p.done.Wait()
	p.pumps.close()
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || !p.server.serves(r.Host) {
		http.Error(w, "jurymast simulator: not a host of this cloud: "+r.Host, http.StatusForbidden)
		return
	}
	// The context of a hijacked request is of no use; the copies end when either side closes.
	far, err := p.server.dial(context.WithoutCancel(r.Context()), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	near, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	p.pump(far, near, buf)
	p.pump(near, far, far)
}

// pump copies from src, read through r, until it ends, and then closes both
// ends, which stops the other direction.
func (p *proxy) pump(dst, src net.Conn, r io.Reader) {
	shut := func() { _, _ = dst.Close(), src.Close() }
	if !p.pumps.enter() {
		shut()
		return
	}
	go func() {
		defer p.pumps.leave()
		defer shut()
		_, _ = io.Copy(dst, r)
	}()
}
