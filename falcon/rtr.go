package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	rtr "github.com/crowdstrike/gofalcon/falcon/client/real_time_response"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// RTR is Falcon's Real Time Response: a shell on a host, here for the commands
// that only read. Scope: Real time response read. A read-only client refuses it,
// because a session and its commands are acts on the host, and in Falcon's audit.
type RTR struct {
	c      *Client
	shared sharing
}

// ErrHostOffline: Falcon cannot reach the host now, so there is no session.
// RTROptions.QueueOffline waits for the host instead. The error matches
// ErrNotFound too, because Falcon answers 404 to it.
var ErrHostOffline = errors.New("the host is not connected to Falcon now")

// ErrRTRSession: the session has ended, and what ran in it with it. Open another.
var ErrRTRSession = errors.New("the RTR session has ended")

// Codes of Falcon's RTR messages: a status and two digits more.
const (
	codeNoSession = 40002 // Could not find existing session
	codeNoComms   = 40401 // Could not establish sensor comms
	codeOffline   = 40407 // Sensor appears to be offline
)

// explained adds to an error what Falcon's codes mean.
func explained(err error) error {
	api, ok := errors.AsType[*APIError](err)
	if !ok {
		return err
	}
	for _, m := range api.Messages {
		switch m.Code {
		case codeNoSession:
			return fmt.Errorf("%w: %w", ErrRTRSession, err)
		case codeNoComms, codeOffline:
			return fmt.Errorf("%w: %w", ErrHostOffline, err)
		}
	}
	return err
}

// RTROptions are how a session is opened and its commands are waited for. The
// zero value is usable.
type RTROptions struct {
	// QueueOffline queues the session, and its commands, for a host that is
	// offline: see RTROutput.QueuedOffline. Otherwise such a host is ErrHostOffline.
	QueueOffline bool
	// Origin is what Falcon's audit shows as the session's origin; default "jurymast".
	Origin string
	// Connect is how long Falcon tries to reach the host, rounded up to seconds;
	// default 30 s, at most 5 minutes.
	Connect time.Duration
	// MaxOutput bounds stdout and stderr of one command together, in bytes; default
	// 16 MiB. Beyond it is ErrRTROutput.
	MaxOutput int
	// Patience is how long the end of a command is waited for, beside the caller's
	// context; default 15 minutes. After it is ErrRTRUnfinished.
	Patience time.Duration
}

const (
	defaultConnect   = 30 * time.Second
	maxConnect       = 5 * time.Minute
	defaultMaxOutput = 16 << 20
	defaultPatience  = 15 * time.Minute
)

func (o *RTROptions) setDefaults() error {
	if o.Origin == "" {
		o.Origin = userAgent
	}
	if o.Connect == 0 {
		o.Connect = defaultConnect
	}
	if o.MaxOutput == 0 {
		o.MaxOutput = defaultMaxOutput
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	switch {
	case o.Connect < 0 || o.Connect > maxConnect:
		return fmt.Errorf("RTROptions.Connect %v: want up to %v, or 0 for %v", o.Connect, maxConnect, defaultConnect)
	case o.MaxOutput < 0:
		return fmt.Errorf("RTROptions.MaxOutput %d: want bytes, or 0 for %d", o.MaxOutput, defaultMaxOutput)
	case o.Patience < 0:
		return fmt.Errorf("RTROptions.Patience %v: want a time, or 0 for %v", o.Patience, defaultPatience)
	}
	return nil
}

// RTRSession is a shell on one host. Falcon ends it ten minutes after its last
// use; Run keeps it alive while it waits. It is safe for concurrent use, but
// commands that run at the same time share one working directory.
type RTRSession struct {
	ID            string
	HostID        string
	OfflineQueued bool // the host is offline: commands wait for it
	WorkingDir    string
	Created       time.Time
	Raw           json.RawMessage

	c        *Client
	opts     RTROptions
	shared   *sharing
	released bool // no longer counted in shared
	gone     bool
}

func parseRTRSession(o lenient.Object, raw json.RawMessage) (*RTRSession, error) {
	s := &RTRSession{
		ID: o.Str("session_id"), HostID: o.Str("device_id"), OfflineQueued: o.Str("offline_queued") == "true",
		WorkingDir: o.Str("pwd"), Created: o.Time("created_at"), Raw: raw,
	}
	if s.ID == "" {
		return nil, errors.New("no session_id")
	}
	return s, nil
}

var rtrSessionRows = rows[*RTRSession]{id: "session_id", parse: object(parseRTRSession)}

func initRequest(hostID string, o RTROptions) *models.DomainInitRequest {
	return &models.DomainInitRequest{DeviceID: &hostID, Origin: &o.Origin, QueueOffline: &o.QueueOffline}
}

// Open opens a session on a host, or joins the one that this API client has there
// already: sessions of one Client on one host are closed by the last who closes,
// but another program with the same API client loses them with it. Close it.
// When the error says that the call may have been sent, Falcon may have a session
// that nobody uses, which it ends by itself.
func (r *RTR) Open(ctx context.Context, hostID string, opts RTROptions) (*RTRSession, error) {
	const name = "rtr.open"
	if err := checkID(name, hostID); err != nil {
		return nil, err
	}
	if err := opts.setDefaults(); err != nil {
		return nil, resilience.Misusef("falcon %s: %w", name, err)
	}
	turn, err := r.shared.turn(ctx, hostID)
	if err != nil {
		return nil, fmt.Errorf("falcon %s: waiting for another session of this host: %w", name, err)
	}
	defer turn.end()

	seconds := int64((opts.Connect + time.Second - 1) / time.Second)
	p := rtr.NewRTRInitSessionParamsWithContext(ctx)
	p.Body, p.Timeout, p.TimeoutDuration = initRequest(hostID, opts), &seconds, nil
	var op capture
	_, _ = rtr.New(&op, nil).RTRInitSession(p)
	// Idempotent: the session that is there is given again. Falcon may use all of
	// the time it is given, and its answer has to come back.
	call := resilience.Call{Name: name, Kind: resilience.Idempotent, Timeout: time.Duration(seconds)*time.Second + 10*time.Second}
	s, err := single(ctx, r.c, call, &op, rtrSessionRows)
	if s != nil {
		s.c, s.opts, s.shared = r.c, opts, &r.shared
	}
	switch {
	case err != nil && s != nil && turn.users(s.ID) == 0: // nobody would close it
		return nil, errors.Join(explained(err), afterwards(ctx, s.delete))
	case err != nil:
		return nil, explained(err)
	case s.HostID != "" && s.HostID != hostID:
		return nil, fmt.Errorf("falcon %s: asked for host %s, Falcon answered for %s", name, hostID, s.HostID)
	}
	s.HostID = hostID
	turn.join(s.ID)
	return s, nil
}

// Refresh makes Falcon count the session's ten idle minutes from now on. Run does
// it by itself. ErrRTRSession means that it came too late.
func (s *RTRSession) Refresh(ctx context.Context) error {
	const name = "rtr.refresh"
	p := rtr.NewRTRPulseSessionParamsWithContext(ctx)
	p.Body = initRequest(s.HostID, s.opts)
	var op capture
	_, _ = rtr.New(&op, nil).RTRPulseSession(p)
	now, err := single(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Idempotent}, &op, rtrSessionRows)
	if err == nil && now.ID != s.ID { // Falcon goes by the host
		return fmt.Errorf("falcon %s: %w: host %s has %s now, not %s", name, ErrRTRSession, s.HostID, now.ID, s.ID)
	}
	return explained(err)
}

// Close ends the session on Falcon, unless others of this Client still use it.
// One that has ended already is no error. If Close fails it can be called again.
func (s *RTRSession) Close(ctx context.Context) error {
	turn, err := s.shared.turn(ctx, s.HostID)
	if err != nil {
		return fmt.Errorf("falcon rtr.close: waiting for another session of this host: %w", err)
	}
	defer turn.end()
	if !s.released {
		s.released = true
		turn.leave(s.ID)
	}
	if s.gone || turn.users(s.ID) > 0 {
		return nil
	}
	if err := s.delete(ctx); err != nil {
		return err
	}
	s.gone = true
	return nil
}

// leaving is how long a session is being closed whose caller has left.
const leaving = 10 * time.Second

// afterwards runs what closes a session, also when ctx has ended.
func afterwards(ctx context.Context, do func(context.Context) error) error {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaving)
	defer cancel()
	return resilience.NotCallers(ctx, do(closing))
}

func (s *RTRSession) delete(ctx context.Context) error {
	const name = "rtr.close"
	p := rtr.NewRTRDeleteSessionParamsWithContext(ctx)
	p.SessionID = s.ID
	var op capture
	_, _ = rtr.New(&op, nil).RTRDeleteSession(p)
	w, err := s.c.write(op.op)
	if err != nil {
		return err
	}
	// The answer is a 204 without a body.
	_, err = send(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Idempotent}, w, func(*answer) (struct{}, error) {
		return struct{}{}, nil
	})
	if err = explained(err); errors.Is(err, ErrNotFound) || errors.Is(err, ErrRTRSession) {
		return nil
	}
	return err
}

// Run opens a session on a host, runs one command in it as [RTRSession.Run] does,
// and closes the session, also when ctx has ended: that may then take ten seconds.
// A host that is offline is ErrHostOffline. If the session could not be closed the
// error says so, and the output is there all the same.
func (r *RTR) Run(ctx context.Context, hostID, command string) (RTROutput, error) {
	if _, err := readOnly(command); err != nil {
		return RTROutput{}, err
	}
	s, err := r.Open(ctx, hostID, RTROptions{})
	if err != nil {
		return RTROutput{}, err
	}
	out, err := s.Run(ctx, command)
	if out.QueuedOffline { // closing takes it out of the queue
		err = errors.Join(fmt.Errorf("falcon rtr.run: %w", ErrHostOffline), err)
	}
	if closeErr := afterwards(ctx, s.Close); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("falcon rtr.run: the session was not closed, Falcon ends it when it is idle: %w", closeErr))
	}
	return out, err
}
