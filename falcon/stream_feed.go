package falcon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jurymast/jurymast/internal/safe"
)

// feed reads one partition as long as its session lasts.
type feed struct {
	run     *streaming
	session session
	heard   atomic.Int64 // when it last sent something, Unix ns
	busy    atomic.Bool  // Handle is under way: the silence is our own
	silent  int          // connections in a row that were given up for silence
}

var errSilent = errors.New("the feed sent nothing, not even a heartbeat")

// read reads until the session is over, Handle fails or reading ends. A connection
// that breaks is opened again in the same session: while it lasts, Falcon offers
// nothing else under the name. ctx is Handle's: a partition that breaks must not
// disturb what another one is storing.
func (f *feed) read(ctx, reading context.Context) error {
	over, endSession := context.WithCancelCause(reading)
	var keeper sync.WaitGroup
	defer keeper.Wait()
	defer endSession(nil)
	keeper.Go(func() { f.keep(over, endSession) })
	waits := streamWaits()
	for {
		began := time.Now()
		err := f.connection(ctx, over)
		switch {
		case over.Err() != nil:
			return context.Cause(over)
		case err == errHandle || sessionOver(err) || f.silent > 2:
			return err
		}
		wait := waits.after(began, err)
		f.run.c.cfg.Logger.Info("falcon stream: a partition is opened again",
			"appId", f.run.cfg.AppID, "partition", f.session.partition, "error", err, "again_in", wait)
		select {
		case <-over.Done():
			return context.Cause(over)
		case <-time.After(wait):
		}
	}
}

// sessionOver reports that the feed refused the session: a new one must be asked for.
func sessionOver(err error) bool {
	api, ok := errors.AsType[*APIError](err)
	return ok && api.Status >= 400 && api.Status < 500 && api.Status != http.StatusTooManyRequests && api.Status != http.StatusRequestTimeout
}

// connection opens the feed and reads until it breaks.
func (f *feed) connection(ctx, session context.Context) (err error) {
	conn, cut := context.WithCancelCause(session)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cut(nil)
	f.hear()
	watcher.Go(func() { f.watch(conn, cut) })
	defer func() {
		if cause := context.Cause(conn); errors.Is(cause, errSilent) {
			err = cause
			f.silent++
		}
	}()
	resp, err := f.run.c.open(conn, f.session, f.query())
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := newLineReader(heard{resp.Body, f}, f.session.partition, f.run.cfg.MaxLine)
	var batch []Event
	for {
		ev, heartbeat, err := lines.next()
		if err != nil {
			return fmt.Errorf("partition %d of the feed ended: %w", f.session.partition, err)
		}
		f.silent = 0
		switch {
		case heartbeat:
			if err := f.alive(); err != nil {
				return err
			}
		case !f.known(ev):
			batch = append(batch, ev)
		}
		if len(batch) == 0 || len(batch) < f.run.cfg.MaxBatch && lines.buffered() {
			continue
		}
		if err := f.handle(ctx, batch); err != nil {
			return err
		}
		batch = make([]Event, 0, len(batch)) // Handle may keep the old one
	}
}

// heard notes that a feed sends something, also in the middle of a long line.
type heard struct {
	io.Reader
	feed *feed
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.feed.hear()
	return n, err
}

func (f *feed) hear() { f.heard.Store(time.Now().UnixNano()) }

// known reports that an event was handled before: offsets are inclusive. Of a line
// that could not be read the offset cannot be trusted: better twice than never.
func (f *feed) known(ev Event) bool {
	last, ok := f.run.handled(f.session.partition)
	return ok && ev.Err == nil && ev.Offset >= 0 && ev.Offset <= last
}

func (f *feed) handle(ctx context.Context, batch []Event) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.busy.Store(true)
	err := func() (err error) {
		defer safe.Catch(&err, "StreamConfig.Handle")
		return f.run.cfg.Handle(ctx, batch)
	}()
	f.hear()
	f.busy.Store(false)
	f.run.acknowledge(f.session.partition, batch, err)
	if err != nil {
		return errHandle
	}
	return nil
}

func (f *feed) alive() error {
	if f.run.cfg.Heartbeat == nil {
		return nil
	}
	err := func() (err error) {
		defer safe.Catch(&err, "StreamConfig.Heartbeat")
		f.run.cfg.Heartbeat(f.session.partition)
		return nil
	}()
	if err != nil {
		f.run.acknowledge(f.session.partition, nil, err)
		return errHandle
	}
	return nil
}

// errHandle: Handle failed, see streaming.failed.
var errHandle = errors.New("the events were not handled")

func (f *feed) query() map[string][]string {
	q := f.session.feed.Query()
	switch last, ok := f.run.handled(f.session.partition); {
	case ok:
		q.Set("offset", strconv.FormatInt(last+1, 10)) // inclusive
	case f.run.cfg.Newest:
		q.Set("whence", "2")
	default:
		q.Set("offset", "0")
	}
	if types := f.run.cfg.EventTypes; len(types) > 0 {
		q.Set("eventType", strings.Join(types, ","))
	}
	return q
}

// keep renews the session when nine tenths of its time have gone, and tries again
// until it is over: in gofalcon one failure is the end (hazard D10).
func (f *feed) keep(session context.Context, end context.CancelCauseFunc) {
	renew := time.NewTimer(f.session.interval * 9 / 10)
	defer renew.Stop()
	for {
		select {
		case <-session.Done():
			return
		case <-renew.C:
		}
		err := f.run.c.renew(session, f.session)
		if api, ok := errors.AsType[*APIError](err); ok && api.Status == http.StatusNotFound {
			end(fmt.Errorf("the session of partition %d is gone: %w", f.session.partition, err))
			return
		}
		if err != nil {
			renew.Reset(max(time.Second, f.session.interval/50))
		} else {
			renew.Reset(f.session.interval * 9 / 10)
		}
	}
}

// watch cuts a connection that has been silent for too long (hazard D9).
func (f *feed) watch(conn context.Context, cut context.CancelCauseFunc) {
	limit := f.run.cfg.Silence
	look := time.NewTimer(limit)
	defer look.Stop()
	for {
		select {
		case <-conn.Done():
			return
		case <-look.C:
		}
		quiet := time.Since(time.Unix(0, f.heard.Load()))
		if !f.busy.Load() && quiet >= limit {
			cut(fmt.Errorf("partition %d: %w for %v", f.session.partition, errSilent, quiet.Round(time.Second)))
			return
		}
		look.Reset(max(limit-quiet, limit/10))
	}
}
