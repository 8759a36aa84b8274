package siem

import "time"

// rhythm is how often something speaks that used to.
//
// Of events the longest pause of late is learned, for each hour of the day (UTC) in
// which a pause may begin: one that begins in the evening lasts the night, one that
// begins in the morning does not. A pause is what passed here or on the clock of the
// events, whichever is longer, so that a backlog that is read in a moment teaches
// nothing wrong. Heartbeats come by a clock and know no night: for them there is one
// longest pause. Pauses are forgotten by a tenth a day.
type rhythm struct {
	last    time.Time // when it was heard last
	beats   int64
	between pause // signs of life, once there are heartbeats

	events        int64
	first, newest int64 // when events happened, milliseconds
	hours, days   int64 // in which there were some
	hour          int64 // the newest of them, since 1970
	pauses        [24]pause

	silent time.Time // since when; zero: it is not
}

type pause struct {
	longest time.Duration
	days    int64 // on which there was one
	day     int64 // the last of them, since 1970
}

func (p *pause) learn(day int64, d time.Duration) {
	if day > p.day {
		p.longest -= p.longest / 10
		p.day = day
		p.days++
	}
	p.longest = max(p.longest, d)
}

const (
	hourMs = int64(time.Hour / time.Millisecond)
	dayMs  = 24 * hourMs

	enoughBeats = 10
	// Events must have come often, and in the hours of a day and a half of work, to
	// be missed: what comes once, in however many events, has no rhythm.
	enoughEvents = 50
	enoughHours  = 12
	// hourDays is on how many days an hour must have been seen to count alone.
	hourDays = 3
	weekDays = 8 // on which a week end was among them

	leastBeat  = 3 * time.Minute
	leastPause = 5 * time.Minute
	nightPause = 16 * time.Hour     // of what is not known for a day yet
	mostMore   = 4 * 24 * time.Hour // than usual
	mostPause  = 30 * 24 * time.Hour
)

// known says whether enough was learned to miss it.
func (r *rhythm) known() bool {
	return r.beats >= enoughBeats || r.events >= enoughEvents && r.hours >= enoughHours
}

// usual is the longest pause of late that began about this hour, and silence what is
// too long for one.
func (r *rhythm) usual(begun int64) (usual, silence time.Duration) {
	if r.beats >= enoughBeats {
		usual = r.between.longest
		return usual, max(leastBeat, usual+min(3*usual, mostMore))
	}
	h := hourOf(begun)
	for i := range r.pauses {
		near := i == h || i == (h+1)%24 || i == (h+23)%24
		if near || r.pauses[h].days < hourDays {
			usual = max(usual, r.pauses[i].longest)
		}
	}
	more := 5 * usual
	if r.days >= weekDays {
		more = 2 * usual
	}
	silence = max(leastPause, usual+min(more, mostMore))
	if r.newest-r.first < dayMs {
		silence = max(silence, nightPause)
	}
	return usual, silence
}

// hourOf the day is a time in milliseconds.
func hourOf(ms int64) int { return int(max(ms, 0) % dayMs / hourMs) }

// learn takes in a pause. One that was too long counts as twice what is silence, and at
// any hour: an outage does not become usual at once, and a new rhythm does in the end.
func (r *rhythm) learn(begun int64, d time.Duration) {
	d = min(d, mostPause)
	if _, silence := r.usual(begun); r.known() && d > silence {
		d = min(d, 2*silence)
		for i := range r.pauses {
			r.pauses[i].longest = max(r.pauses[i].longest, d)
		}
	}
	if r.beats > 0 {
		r.between.learn(begun/dayMs, d)
	} else {
		r.pauses[hourOf(begun)].learn(begun/dayMs, d)
	}
}

// sign is a sign of life. since is from when on it could be heard; zero: how long it
// took says nothing.
func (r *rhythm) sign(now, since time.Time) {
	if !since.IsZero() {
		r.learn(since.UnixMilli(), now.Sub(since))
	}
	r.last = now
}

// spoke is some events at once.
func (r *rhythm) spoke(now, since time.Time, s *burst) {
	today := now.UnixMilli()
	first, newest := min(s.first, today), min(s.newest, today)
	begun, longest := s.from, s.pause
	if d := first - r.newest; r.events > 0 && d > longest {
		begun, longest = r.newest, d
	}
	d := time.Duration(min(longest, int64(mostPause/time.Millisecond))) * time.Millisecond
	if here := now.Sub(since); !since.IsZero() && here > d {
		begun, d = since.UnixMilli(), here
	}
	if d > 0 && r.beats == 0 { // else the heartbeats tell
		r.learn(begun, d)
	}
	if r.events == 0 {
		r.first, r.newest = first, first
	}
	if hour := newest / hourMs; hour > r.hour {
		r.hours++
		if hour/24 > r.hour/24 {
			r.days++
		}
		r.hour = hour
	}
	r.events += s.events
	r.newest = max(r.newest, newest)
	r.last = now
}

// burst is the events of one type in one Put, times in milliseconds.
type burst struct {
	name          string
	events        int64
	first, newest int64
	pause, from   int64 // the longest one between two of them, and its beginning
}

func (s *burst) see(ms int64) {
	if s.events == 0 {
		s.first, s.newest = ms, ms
	}
	s.events++
	if d := ms - s.newest; d > 0 {
		if d > s.pause {
			s.pause, s.from = d, s.newest
		}
		s.newest = ms
	}
}

// tally counts the events of one Put by their types. It is there to be cheap: no lock,
// and for an event of the type of the one before it one comparison of names.
type tally struct {
	all  burst
	seen []burst
	at   int
}

func (t *tally) add(e *Event) {
	ms := e.Time.UnixMilli()
	t.all.see(ms)
	if e.Type == "" {
		return
	}
	if t.at >= len(t.seen) || t.seen[t.at].name != e.Type {
		if t.at = t.find(e.Type); t.at < 0 {
			t.at = t.find(others)
		}
	}
	t.seen[t.at].see(ms)
}

// find returns the place of a type, or -1 if there is none left.
func (t *tally) find(name string) int {
	for i := range t.seen {
		if t.seen[i].name == name {
			return i
		}
	}
	if len(t.seen) >= mostTypes && name != others {
		return -1
	}
	t.seen = append(t.seen, burst{name: name})
	return len(t.seen) - 1
}
