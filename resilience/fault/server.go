package fault

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
)

type watchKey struct{}

// Watch returns a context through which [Plan.Handler] tells f what it does to
// the request, before it does it. A recorder around the handler uses it.
func Watch(ctx context.Context, f func(Kind)) context.Context {
	return context.WithValue(ctx, watchKey{}, f)
}

// Handler applies the plan to requests before and after next. A blackholed
// request is held until the client leaves or the server closes.
func (p *Plan) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule := p.Request(r)
		if tell, ok := r.Context().Value(watchKey{}).(func(Kind)); ok {
			tell(rule.Kind)
		}
		switch rule.Kind {
		case Refuse, Reset:
			cut(w)
		case Blackhole:
			// The server notices that the client left only once the body is read.
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			cut(w)
		case Status:
			rule.addHeader(w.Header())
			w.WriteHeader(rule.status())
			_, _ = io.WriteString(w, rule.Body)
		case Latency:
			if sleep(r.Context(), rule.Delay) != nil {
				cut(w) // returning would answer 200
				return
			}
			next.ServeHTTP(w, r)
		case LoseResponse:
			next.ServeHTTP(&answer{}, r)
			_ = sleep(r.Context(), rule.Delay)
			cut(w)
		case Truncate:
			truncate(w, r, next)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func truncate(w http.ResponseWriter, r *http.Request, next http.Handler) {
	var a answer
	next.ServeHTTP(&a, r)
	if a.body.Len() == 0 {
		cut(w) // without a body there is no half of an answer
		return
	}
	for k, v := range a.Header() {
		w.Header()[k] = v
	}
	body := a.body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(max(a.code, http.StatusOK))
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	cut(w)
}

// answer holds back what a handler wrote.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// cut breaks the connection (HTTP/1.1) or the stream (HTTP/2) without an answer.
func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		abort(conn)
		return
	}
	panic(http.ErrAbortHandler)
}

// abort closes with a TCP reset where there is TCP.
func abort(conn net.Conn) {
	raw := conn
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	socket := raw
	if u, ok := raw.(interface{ Unwrap() net.Conn }); ok {
		socket = u.Unwrap()
	}
	if t, ok := socket.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = raw.Close()
}

// Listener wraps l so that new connections are cut at once (Refuse) or accepted
// and never served (Blackhole) while a rule for all hosts says so; which host a
// client wants is not known here, so rules for one host are left to [Plan.Dialer]
// and [Plan.Handler]. To the peer a refusal looks like a reset, because the
// kernel has already accepted.
func (p *Plan) Listener(l net.Listener) net.Listener { return &listener{Listener: l, plan: p} }

type listener struct {
	net.Listener
	plan *Plan
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		switch l.plan.Connect("").Kind {
		case Refuse:
			abort(conn)
		case Blackhole:
			return silent{conn}, nil
		default:
			return conn, nil
		}
	}
}

// silent is a connection whose peer never hears anything.
type silent struct{ net.Conn }

// Read swallows what the peer sends and returns only when the connection ends.
func (s silent) Read(p []byte) (int, error) {
	for {
		if _, err := s.Conn.Read(p); err != nil {
			return 0, err
		}
	}
}

func (s silent) Write(p []byte) (int, error) { return len(p), nil }
