package falcontest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// RTRResult is what a simulated command writes.
type RTRResult struct {
	Stdout, Stderr string
	Takes          time.Duration // until it ends, and until its output is there
}

// RTRSession is a Real Time Response session as it is now.
type RTRSession struct {
	ID       string
	DeviceID string
	Created  time.Time
	Queued   bool     // for a host that was offline
	Open     bool     // neither deleted nor idle for too long
	Commands []string // that were accepted, as they were written
}

// RTRCommand says what commands do on hosts. Without it they write nothing and end
// at once. It is called once for each command, when it begins to run.
func (s *Server) RTRCommand(run func(hostID, command string) RTRResult) {
	s.cloud.rtr.mu.Lock()
	defer s.cloud.rtr.mu.Unlock()
	s.cloud.rtr.run = run
}

// RTRSessions returns every session there was, oldest first.
func (s *Server) RTRSessions() []RTRSession {
	c := s.cloud
	now := c.cfg.Now()
	c.rtr.mu.Lock()
	defer c.rtr.mu.Unlock()
	var out []RTRSession
	for _, x := range c.rtr.sessions {
		shown := x.RTRSession
		shown.Open, shown.Commands = c.alive(x, now), slices.Clone(x.Commands)
		out = append(out, shown)
	}
	return out
}

// rtr is the sessions and the commands in them.
type rtr struct {
	mu       sync.Mutex
	run      func(hostID, command string) RTRResult
	sessions []*rtrSession
	commands map[string]*rtrCommand // by cloud request id
}

type rtrSession struct {
	RTRSession
	used    time.Time
	deleted bool
}

type rtrCommand struct {
	id      string
	session *rtrSession
	base    string
	line    string
	started bool
	begun   time.Time // zero: the host is offline
	result  RTRResult
}

func (s *rtr) init() {
	s.run = func(string, string) RTRResult { return RTRResult{} }
	s.commands = map[string]*rtrCommand{}
}

// alive reports whether a session can still be used. That asking for output is no
// use, and that a queued session does not end by itself, is assumed.
func (c *cloud) alive(s *rtrSession, now time.Time) bool {
	return !s.deleted && (s.Queued || now.Sub(s.used) < c.cfg.RTRIdle)
}

// The real words and codes of what RTR refuses.
const (
	noSession = 40002
	noCommand = 40007
	noComms   = 40401
)

// refuse answers with a code of RTR's own, whose first three digits are the status.
// That was seen for 40401 and is assumed of the others.
func (q *call) refuse(code int, message string) {
	q.send(code/100, envelope{q.meta(q.by), []string{}, []apiError{{Code: code, Message: message}}})
}

func (q *call) noSession() { q.refuse(noSession, "Could not find existing session") }

// rtrBody is the body of all of RTR's posts.
type rtrBody struct {
	DeviceID string `json:"device_id"`
	Queue    bool   `json:"queue_offline"`
	Session  string `json:"session_id"`
	Base     string `json:"base_command"`
	Line     string `json:"command_string"`
}

func (q *call) rtrBody() (b rtrBody, ok bool) {
	if err := json.NewDecoder(q.r.Body).Decode(&b); err != nil {
		q.reject(http.StatusBadRequest, "Bad request")
		return b, false
	}
	return b, true
}

// reach tells whether a host is there for the token, and whether it is online. That
// one of unknown state answers is assumed.
func (c *cloud) reach(q *call, id string) (known, online bool) {
	c.fleet.mu.Lock()
	defer c.fleet.mu.Unlock()
	d := c.fleet.get(id, q.now)
	if d == nil || !q.token.sees(d.CID) {
		return false, false
	}
	return true, !slices.Contains(presence(d, q.now).values("state"), "offline")
}

// openRTR gives the session that the API client has on the host, or a new one. The
// answer to an unknown host is assumed. The host answers at once.
func (c *cloud) openRTR(q *call) {
	b, ok := q.rtrBody()
	if !ok {
		return
	}
	if _, ok := q.number("timeout", 30, 1, 300); !ok {
		return
	}
	known, online := c.reach(q, b.DeviceID)
	switch {
	case !known:
		q.reject(http.StatusNotFound, "No device found for id "+b.DeviceID)
		return
	case !online && !b.Queue:
		q.refuse(noComms, "Could not establish sensor comms")
		return
	}
	c.rtr.mu.Lock()
	s := c.session(b.DeviceID, q.now)
	if s == nil {
		s = &rtrSession{RTRSession: RTRSession{ID: c.nextTrace(), DeviceID: b.DeviceID, Created: q.now}} // a UUID like any other
		c.rtr.sessions = append(c.rtr.sessions, s)
	}
	s.used, s.Queued = q.now, !online
	shown := s.object()
	c.rtr.mu.Unlock()
	q.send(http.StatusCreated, envelope{q.meta(q.by), []object{shown}, []apiError{}})
}

// session is the open session of a host, nil if there is none. The caller holds the
// lock.
func (c *cloud) session(deviceID string, now time.Time) *rtrSession {
	for _, s := range c.rtr.sessions {
		if s.DeviceID == deviceID && c.alive(s, now) {
			return s
		}
	}
	return nil
}

func (s *rtrSession) object() object {
	return object{
		{"session_id", s.ID},
		{"scripts", []object{}}, // descriptions of the commands, which are many
		{"existing_aid_sessions", 1},
		{"created_at", s.Created.UTC().Format(time.RFC3339Nano)},
		{"pwd", `C:\`},
		{"offline_queued", s.Queued},
	}
}

// refreshRTR goes by the host. That it opens no session where there is none is
// assumed.
func (c *cloud) refreshRTR(q *call) {
	b, ok := q.rtrBody()
	if !ok {
		return
	}
	c.rtr.mu.Lock()
	defer c.rtr.mu.Unlock()
	s := c.session(b.DeviceID, q.now)
	if s == nil {
		q.noSession()
		return
	}
	s.used = q.now
	q.send(http.StatusCreated, envelope{q.meta(q.by), []object{s.object()}, []apiError{}})
}

func (c *cloud) closeRTR(q *call) {
	c.rtr.mu.Lock()
	defer c.rtr.mu.Unlock()
	id := q.r.URL.Query().Get("session_id")
	i := slices.IndexFunc(c.rtr.sessions, func(s *rtrSession) bool { return s.ID == id && c.alive(s, q.now) })
	if i < 0 {
		q.noSession()
		return
	}
	c.rtr.sessions[i].deleted = true
	q.w.WriteHeader(http.StatusNoContent)
}

// readCommands are those of the read scope.
var readCommands = strings.Fields(`cat cd clear csrutil env eventlog filehash getsid help history ifconfig ipconfig ls mount
	netstat ps pwd reg users`)

// commandRTR accepts a command of the read scope. That the line begins with the base
// command is assumed to be checked.
func (c *cloud) commandRTR(q *call) {
	b, ok := q.rtrBody()
	if !ok {
		return
	}
	if first, _, _ := strings.Cut(b.Base, " "); !slices.Contains(readCommands, first) || !strings.HasPrefix(b.Line, b.Base) {
		q.refuse(noCommand, "Command not found")
		return
	}
	c.rtr.mu.Lock()
	i := slices.IndexFunc(c.rtr.sessions, func(s *rtrSession) bool { return s.ID == b.Session && c.alive(s, q.now) })
	if i < 0 {
		c.rtr.mu.Unlock()
		q.noSession()
		return
	}
	s := c.rtr.sessions[i]
	s.used, s.Commands = q.now, append(s.Commands, b.Line)
	id := c.nextTrace()
	cmd := &rtrCommand{id: id, session: s, base: b.Base, line: b.Line}
	c.rtr.commands[id] = cmd
	c.rtr.mu.Unlock()
	c.begin(q, cmd)
	q.send(http.StatusCreated, envelope{q.meta(q.by), []object{{
		{"session_id", s.ID},
		{"cloud_request_id", id},
		{"queued_command_offline", cmd.begun.IsZero()},
	}}, []apiError{}})
}

// begin runs a command that does not run yet, if its host is online.
func (c *cloud) begin(q *call, cmd *rtrCommand) {
	_, online := c.reach(q, cmd.session.DeviceID)
	c.rtr.mu.Lock()
	run, first := c.rtr.run, online && !cmd.started
	cmd.started = cmd.started || first
	c.rtr.mu.Unlock()
	if !first {
		return
	}
	result := run(cmd.session.DeviceID, cmd.line) // it may ask the server
	c.rtr.mu.Lock()
	defer c.rtr.mu.Unlock()
	cmd.begun, cmd.result = q.now, result
	cmd.session.Queued, cmd.session.used = false, q.now
}

// statusRTR gives one part of a command's output. Before the command has ended, and
// where there is no part, it is one without text and number, as was seen for the
// first. A part carries the number of the next one, the last carries none, as was
// seen too; Config.RTROwnOrder does as the documentation says. That the output of a
// session ends with it is assumed.
func (c *cloud) statusRTR(q *call) {
	number, ok := q.number("sequence_id", 0, 0, 1<<31-1)
	if !ok {
		return
	}
	c.rtr.mu.Lock()
	cmd := c.rtr.commands[q.r.URL.Query().Get("cloud_request_id")]
	gone := cmd == nil || !c.alive(cmd.session, q.now)
	c.rtr.mu.Unlock()
	if gone {
		q.noSession()
		return
	}
	c.begin(q, cmd)
	c.rtr.mu.Lock()
	shown := cmd.part(number, q.now, c.cfg)
	c.rtr.mu.Unlock()
	q.send(http.StatusOK, envelope{q.meta(q.by), []object{shown}, []apiError{}})
}

func (cmd *rtrCommand) part(number int, now time.Time, cfg Config) object {
	out, errs, size := []rune(cmd.result.Stdout), []rune(cmd.result.Stderr), cfg.RTRPart
	cut := func(s []rune) string { return string(s[min(number*size, len(s)):min((number+1)*size, len(s))]) }
	last := max(0, (max(len(out), len(errs))-1)/size)
	ended := !cmd.begun.IsZero() && now.Sub(cmd.begun) >= cmd.result.Takes
	var stdout, stderr string
	if ended {
		stdout, stderr = cut(out), cut(errs)
	}
	o := object{
		{"session_id", cmd.session.ID},
		{"task_id", cmd.id},
		{"complete", ended && number == last},
		{"stdout", stdout},
		{"stderr", stderr},
		{"base_command", cmd.base},
	}
	switch {
	case !ended || number > last:
	case cfg.RTROwnOrder && number > 0:
		o = append(o, member{"sequence_id", number})
	case !cfg.RTROwnOrder && number < last:
		o = append(o, member{"sequence_id", number + 1})
	}
	return o
}
