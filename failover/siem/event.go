package siem

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
)

// Event is what happened once, as its source tells it.
type Event struct {
	// ID is the same whenever and by whomever the event is read again: queries
	// remove duplicates by it. Default "feed:offset".
	ID string
	// Offset is the event's place in its feed. Offsets rise, and may have holes.
	Offset uint64
	// Time is when it happened. Default: when it was put into the spool.
	Time time.Time
	// Type as the source spells it, such as EppDetectionSummaryEvent.
	Type string
	// Raw is the event, one JSON object.
	Raw json.RawMessage
	// Valid says that whoever read Raw has made sure of that. Otherwise the pump does.
	Valid bool

	// Source and Feed are set by the pump.
	Source, Feed string
}

// id fills in what identifies the event.
func (e *Event) id() string {
	if e.ID == "" {
		e.ID = e.Feed + ":" + strconv.FormatUint(e.Offset, 10)
	}
	return e.ID
}

// Source is where events come from: [crowdstrike.Events], [microsoft.Alerts] or the
// user's own.
//
// [crowdstrike.Events]: https://pkg.go.dev/github.com/jurymast/jurymast/failover/crowdstrike#Events
// [microsoft.Alerts]: https://pkg.go.dev/github.com/jurymast/jurymast/failover/microsoft#Alerts
type Source interface {
	// Name tells the source from the others of the pump, for good: cursors are kept
	// under it. 1 to 64 of a-z, 0-9, '.', '-' and '_'.
	Name() string
	// Read puts events into the spool until ctx ends, and returns then. Any other
	// end, with an error or without, is followed by a new Read, after a pause of a
	// second to a minute.
	Read(ctx context.Context, in *Intake) error
}
