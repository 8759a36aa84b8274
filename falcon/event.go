package falcon

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
)

// Event is one line of Falcon's event stream. Types that Jurymast does not know
// come like any other; [Event.Detection], [Event.Audit] and
// [Event.RemoteSession] read the common ones.
//
// An Event is plain data of its own: it may be kept, and read by any number of
// goroutines.
type Event struct {
	// Partition of the stream that it came from. Offsets count per partition.
	Partition int
	// Offset in the partition: rising, with gaps if the stream is filtered, and
	// the same for every appId. -1 if the line had none that could be read, with
	// or without Err: such an offset must not be stored.
	Offset int64
	// Type as Falcon spells it, such as EppDetectionSummaryEvent.
	Type string
	// CID is the customer id, metadata.customerIDString.
	CID string
	// Created is metadata.eventCreationTime, in UTC: milliseconds since 1970 on
	// the wire; seconds, strings and RFC 3339 are understood too. Zero if missing.
	Created time.Time
	// Raw is the whole line without its end, byte for byte, so that numbers above
	// 2^53 keep their digits. With Err it is the line's first 4 KiB at most.
	Raw json.RawMessage
	// Err matches ErrEventMalformed or ErrEventTooLong, and is nil for every event
	// that could be read. It holds nothing of the line. The fields above are then
	// what could be read before the fault.
	Err error
}

// What Event.Err can be. The stream goes on after such a line.
var (
	// ErrEventMalformed: the line is not valid JSON, or is no event: Falcon's own
	// error messages look like that (no metadata with a type or an offset).
	ErrEventMalformed = errors.New("the line is not an event")
	// ErrEventTooLong: the line was longer than allowed and has been skipped.
	ErrEventTooLong = errors.New("the event is too long")
)

// Falcon writes times as seconds or milliseconds, depending on the event's type
// and age (facts/falcon.md 2.5). Up to this they are seconds: as milliseconds it
// is 1973, as seconds the year 5138.
const maxEpochSeconds = 1e11

// maxEpochMillis is the end of year 9999, after which a time has no JSON.
const maxEpochMillis = 253402300799999

// eventTime reads a time in any form that was seen in events; zero for 0, for
// negative ones and for anything else.
func eventTime(text string) time.Time {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return epochTime(n)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f > 0 && f <= maxEpochMillis { // 1700000000.5
		if f <= maxEpochSeconds {
			f *= 1000
		}
		return epochMillis(int64(math.Round(f)))
	}
	for _, layout := range []string{time.RFC3339, time.DateTime} { // the second: events kept by others (Panther)
		if t, err := time.Parse(layout, text); err == nil && t.Unix() > 0 && t.UnixMilli() <= maxEpochMillis {
			return t.UTC()
		}
	}
	return time.Time{}
}

func epochTime(n int64) time.Time {
	if n <= maxEpochSeconds {
		return epochMillis(max(n, 0) * 1000)
	}
	return epochMillis(n)
}

func epochMillis(ms int64) time.Time {
	if ms <= 0 || ms > maxEpochMillis {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
