package siem

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"
)

// DeadLetter is what could not be delivered as it is: a line of a file in
// Config.Dir/dead, where it stays until [Pump.Replay] delivers it or somebody takes
// the file away. At 1 GiB of them the pump waits as for a full disk.
type DeadLetter struct {
	At     time.Time `json:"at"`
	Feed   string    `json:"feed,omitempty"`
	Offset uint64    `json:"offset,omitempty"` // 0: not known
	ID     string    `json:"id,omitempty"`     // Event.ID
	Time   time.Time `json:"time,omitzero"`    // Event.Time, of an event that no row could be made of
	Type   string    `json:"type,omitempty"`   // Event.Type
	Table  string    `json:"table,omitempty"`
	Sink   string    `json:"sink,omitempty"` // who refused the row; empty: it came to none
	Reason string    `json:"reason"`
	// Row is the row that was refused; Raw the event that no row could be made of. A
	// Raw that is no UTF-8 is raw_base64 in the file.
	Row json.RawMessage `json:"row,omitempty"`
	Raw string          `json:"raw,omitempty"`
}

// letterLine is a letter in its file: a JSON string holds no bytes that are not UTF-8.
type letterLine struct {
	DeadLetter
	Bytes []byte `json:"raw_base64,omitempty"`
}

const (
	deadName  = "dead"
	deadFile  = 64 << 20 // bytes at which the next file begins
	deadLimit = 1 << 30
)

func deadDir(dir string) string { return filepath.Join(dir, "dead") }

func openDead(dir string) (*lines, error) {
	l, err := openLines(linesConfig{dir: deadDir(dir), name: deadName, maxFile: deadFile, limit: deadLimit})
	if err != nil {
		return nil, err
	}
	// Restored from a backup, perhaps.
	if err := os.Chmod(deadDir(dir), 0o700); err != nil {
		return nil, fmt.Errorf("others may read the dead letters, and it cannot be changed: %w", err)
	}
	return l, nil
}

func (letter *DeadLetter) line() ([]byte, error) {
	line := letterLine{DeadLetter: *letter}
	if !utf8.ValidString(line.Raw) {
		line.Bytes, line.Raw = []byte(line.Raw), ""
	}
	if y := line.Time.Year(); y < 0 || y > 9999 { // JSON has none such
		line.Time = time.Time{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the row stays as it is
	if err := e.Encode(line); err != nil {
		return nil, fmt.Errorf("siem: a dead letter: %w", err)
	}
	return b.Bytes(), nil
}

// bury writes a letter and returns after it is synced; while there is no room, it
// waits.
func (p *Pump) bury(ctx context.Context, letter DeadLetter) error {
	letter.At = time.Now().UTC()
	line, err := letter.line()
	if err != nil {
		return err
	}
	if err := p.dead.write(ctx, line); err != nil {
		return err
	}
	p.counts.dead.Add(1)
	p.config.Logger.WarnContext(ctx, "siem: dead letter", "feed", letter.Feed, "id", letter.ID, "table", letter.Table, "sink", letter.Sink, "reason", letter.Reason)
	return nil
}
