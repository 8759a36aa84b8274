package siem

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// DeadLetter is what could not be delivered as it is: a line of a file in
// Config.Dir/dead, where it stays until somebody takes it away.
type DeadLetter struct {
	At     time.Time `json:"at"`
	Feed   string    `json:"feed,omitempty"`
	Offset uint64    `json:"offset,omitempty"` // 0: not known
	ID     string    `json:"id,omitempty"`     // Event.ID
	Table  string    `json:"table,omitempty"`
	Sink   string    `json:"sink,omitempty"` // who refused the row; empty: it came to none
	Reason string    `json:"reason"`
	// Row is the row that was refused; Raw the event that no row could be made of.
	Row json.RawMessage `json:"row,omitempty"`
	Raw string          `json:"raw,omitempty"`
}

// bury writes a letter and returns after it is synced; while there is no room, it
// waits.
func (p *Pump) bury(ctx context.Context, letter DeadLetter) error {
	letter.At = time.Now().UTC()
	line, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("siem: a dead letter: %w", err)
	}
	if err := p.dead.write(ctx, line); err != nil {
		return err
	}
	p.counts.dead.Add(1)
	p.config.Logger.WarnContext(ctx, "siem: dead letter", "feed", letter.Feed, "id", letter.ID, "table", letter.Table, "sink", letter.Sink, "reason", letter.Reason)
	return nil
}
