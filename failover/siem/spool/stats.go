package spool

// Stats is what a spool holds at a moment.
type Stats struct {
	Segments int   // files
	Bytes    int64 // of all segments; the reserve, the cursors and quarantine/ are not in it
	// Oldest is the position from which on everything is there; what was below is
	// delivered and removed. 0 if there is no segment.
	Oldest uint64
	// Durable is the newest position that is synced; 0 if there was never one.
	Durable uint64
	// Acked is the newest position that each of Config.Sinks acknowledged. A sink at
	// Durable has delivered all there is.
	Acked map[string]uint64
	// Events is how many events those chunks had, of those that the sink has read,
	// since the spool was made.
	Events map[string]uint64
}

// Stats tells what the spool holds, from memory, also after Close.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{
		Segments: len(s.segments), Bytes: s.bytes(), Durable: s.durable,
		Acked: make(map[string]uint64, len(s.sinks)), Events: make(map[string]uint64, len(s.sinks)),
	}
	if len(s.segments) > 0 {
		stats.Oldest = s.segments[0].after + 1
	}
	for name, k := range s.sinks {
		stats.Events[name] = k.events
		stats.Acked[name] = min(k.acked, s.durable) // a sink had what is rotten now
	}
	return stats
}
