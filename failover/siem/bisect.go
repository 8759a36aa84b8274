package siem

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/internal/wait"
)

// deliver brings a batch to a sink, if necessary in halves, and what no sink takes to
// the dead letters.
func (s *sender) deliver(ctx context.Context, b *Batch) (elsewhere bool, err error) {
	if b.Rows == 0 {
		return false, nil
	}
	for delay := firstWait; ; delay = min(2*delay, maxWait) {
		a, by, err := s.try(ctx, b)
		switch {
		case ctx.Err() != nil && (err != nil || a.refused != nil):
			return false, context.Cause(ctx)
		case err == nil && a.refused == nil:
			s.health.delivering()
			s.refused.end()
			rest, err := s.accepted(ctx, b, by, a.receipt)
			return rest || by != s.pump.primary(), err
		case err == nil && b.Rows > 1:
			return s.halves(ctx, b)
		case err == nil && !s.refused.suspicious():
			s.refused.one()
			return false, s.pump.buryRow(ctx, b, 0, by, a.refused.Error())
		case err == nil:
			err = a.refused
		}
		s.health.stuck(ctx, err)
		if err := wait.For(ctx, max(wait.Jitter(delay), retryAfter(err))); err != nil {
			return false, err
		}
	}
}

func (s *sender) halves(ctx context.Context, b *Batch) (elsewhere bool, err error) {
	rows, err := b.All()
	if err != nil {
		return false, err
	}
	half := len(rows) / 2
	for _, part := range [][]json.RawMessage{rows[:half], rows[half:]} {
		there, err := s.deliver(ctx, b.part(part))
		if err != nil {
			return elsewhere, err
		}
		elsewhere = elsewhere || there
	}
	return elsewhere, nil
}

// accepted deals with the rows that the receipt names.
func (s *sender) accepted(ctx context.Context, b *Batch, by string, r Receipt) (elsewhere bool, err error) {
	s.count.Add(int64(b.Rows - len(r.Rejected) - len(r.Unknown)))
	for _, x := range r.Rejected {
		if err := s.pump.buryRow(ctx, b, x.Index, by, x.Reason); err != nil {
			return false, err
		}
	}
	if len(r.Unknown) == 0 {
		return false, nil
	}
	rows, err := b.All()
	if err != nil {
		return false, err
	}
	var again []json.RawMessage
	for _, i := range r.Unknown {
		if i >= 0 && i < len(rows) {
			again = append(again, rows[i])
		}
	}
	if err := wait.For(ctx, wait.Jitter(firstWait)); err != nil {
		return false, err
	}
	return s.deliver(ctx, b.part(again))
}

// buryRow puts a row of a batch into the dead letters.
func (p *Pump) buryRow(ctx context.Context, b *Batch, index int, sink, reason string) error {
	rows, err := b.All()
	if err != nil {
		return err
	}
	if index < 0 || index >= len(rows) {
		return nil
	}
	return p.bury(ctx, DeadLetter{Table: b.Table, Sink: sink, Reason: reason, Row: rows[index]})
}

var errReceipt = errors.New("siem: the sink's receipt names rows that are not in the batch")

// callSink holds a sink to its contract.
func callSink(ctx context.Context, sink Sink, b *Batch) (r Receipt, err error) {
	defer safe.Catch(&err, "Sink.Send")
	if r, err = sink.Send(ctx, b); err != nil {
		return r, err
	}
	named := map[int]bool{}
	for _, x := range r.Rejected {
		named[x.Index] = true
	}
	for _, i := range r.Unknown {
		named[i] = true
	}
	for i := range named {
		if i < 0 || i >= b.Rows {
			return r, errReceipt
		}
	}
	if len(named) != len(r.Rejected)+len(r.Unknown) {
		return r, errReceipt // twice
	}
	return r, nil
}

// streak counts rows that were refused one by one, with none accepted between them.
// It is then more likely the table or the rule that is wrong than the rows: they are
// tried again for a while, in which somebody may mend it, before the dead letters
// take them.
type streak struct {
	rows  int
	since time.Time
}

const (
	streakRows = 20
	streakTime = 10 * time.Minute
)

func (s *streak) one() {
	if s.rows == 0 {
		s.since = time.Now()
	}
	s.rows++
}

func (s *streak) end() { *s = streak{} }

func (s *streak) suspicious() bool {
	return s.rows >= streakRows && time.Since(s.since) < streakTime
}
