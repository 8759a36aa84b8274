package sim

import (
	"context"
	"net"
	"sync"
)

// connSet knows the open connections, so that a refusal cuts them at once.
type connSet struct {
	mu    sync.Mutex
	conns map[*trackedConn]struct{}
}

func (c *connSet) init() { c.conns = map[*trackedConn]struct{}{} }

func (c *connSet) closeAll() {
	c.mu.Lock()
	conns := make([]*trackedConn, 0, len(c.conns))
	for conn := range c.conns {
		conns = append(conns, conn)
	}
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

func (c *connSet) listener(l net.Listener) net.Listener { return &trackedListener{l, c} }

type trackedListener struct {
	net.Listener
	set *connSet
}

func (l *trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: conn, set: l.set}
	l.set.mu.Lock()
	l.set.conns[t] = struct{}{}
	l.set.mu.Unlock()
	return t, nil
}

type trackedConn struct {
	net.Conn
	set *connSet
}

// Unwrap gives the socket to those who must set its options.
func (t *trackedConn) Unwrap() net.Conn { return t.Conn }

func (t *trackedConn) Close() error {
	t.set.mu.Lock()
	delete(t.set.conns, t)
	t.set.mu.Unlock()
	return t.Conn.Close()
}

// pipeListener accepts the far ends of in-process pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: ctx.Err()}
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
