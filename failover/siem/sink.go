package siem

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Sink takes batches of rows: [microsoft.Sink], [crowdstrike.HEC], [NewHTTP], [NewFile]
// or the user's own. It is used by several goroutines.
//
// [microsoft.Sink]: https://pkg.go.dev/github.com/jurymast/jurymast/failover/microsoft#Sink
// [crowdstrike.HEC]: https://pkg.go.dev/github.com/jurymast/jurymast/failover/crowdstrike#HEC
type Sink interface {
	// Send delivers a batch, once, and says what became of its rows. With a nil
	// error all of them are accepted but those that the Receipt names. An error that
	// matches [ErrRefused] says that none was accepted and that the rows are the
	// reason: the pump halves the batch until it has the row. After any other error
	// the pump sends the batch again, there or to the next sink.
	//
	// The batch and what its methods return must not be kept or changed.
	Send(ctx context.Context, b *Batch) (Receipt, error)
}

// Receipt says what became of the rows of a batch that a sink has answered for, by
// their index. Those that are not named are accepted.
type Receipt struct {
	Rejected []Rejection
	// Unknown are rows of which the sink cannot say whether they are kept: they are
	// sent again.
	Unknown []int
}

// Rejection is a row that a sink will never take.
type Rejection struct {
	Index  int
	Reason string
}

// ErrRefused is matched by the error of a sink that refuses a batch because of what
// is in it: too large, or a row that it does not understand.
var ErrRefused = errors.New("refused because of the rows")

// Batch is rows of one table that go out in one request, at most 1,000,000 bytes
// unless one row alone has more.
type Batch struct {
	Table string
	Rows  int
	// Bytes of the rows as a JSON array, before compression.
	Bytes int
	// Longest is the bytes of the longest row.
	Longest int
	// Oldest and Newest are the times of the first and the last event. They may
	// reach beyond the rows of a batch that was halved.
	Oldest, Newest time.Time

	gz   []byte
	rows []json.RawMessage
}

// Gzip is the rows as one JSON array, compressed: on most batches the bytes as they
// are in the spool, so that they are compressed once.
func (b *Batch) Gzip() ([]byte, error) {
	if b.gz == nil {
		b.gz = compress(b.rows)
	}
	return b.gz, nil
}

// All returns the rows one by one, each a JSON object without a line break.
func (b *Batch) All() ([]json.RawMessage, error) {
	if b.rows == nil && b.Rows > 0 {
		rows, err := split(b.gz, b.Bytes)
		if err != nil {
			return nil, err
		}
		b.rows = rows
	}
	return b.rows, nil
}

// part is some of the rows, as a batch of its own.
func (b *Batch) part(rows []json.RawMessage) *Batch {
	p := &Batch{Table: b.Table, Rows: len(rows), Bytes: len("[]"), Oldest: b.Oldest, Newest: b.Newest, rows: rows}
	for i, r := range rows {
		p.Longest = max(p.Longest, len(r))
		p.Bytes += len(r)
		if i > 0 {
			p.Bytes += len(separator)
		}
	}
	return p
}

// join appends the rows of another batch of the table.
func (b *Batch) join(other *Batch, rows []json.RawMessage) {
	b.rows = append(b.rows, rows...)
	b.Rows += len(rows)
	b.Bytes += other.Bytes - len("[]") + len(separator)
	b.Longest = max(b.Longest, other.Longest)
	if other.Oldest.Before(b.Oldest) {
		b.Oldest = other.Oldest
	}
	if other.Newest.After(b.Newest) {
		b.Newest = other.Newest
	}
}
