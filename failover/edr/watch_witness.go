package edr

import "time"

// witness is what one vendor can say of a host's protection.
type witness uint8

// From the weakest to the strongest word; the order is that of the truth table.
const (
	absent  witness = iota // the vendor answered and does not know the host
	muted                  // its agent has been silent while the host lived, or all have been silent
	weak                   // its agent runs and does less than it should: the vendor says so
	blind                  // it cannot tell: it did not answer, its record is too old, or may be of another machine
	covered                // its agent runs
)

// pulse is what the heartbeats say of a host.
type pulse uint8

const (
	beating pulse = iota // it runs
	stopped              // it ran, and does not now
	unheard              // nothing is known: no heartbeats, or it sends none
)

// freshFor is how old a heartbeat of a machine that runs may be: they come every
// minute, and take some to be found.
const freshFor = time.Hour

// verdicts is the truth table: what two vendors and the heartbeats, together, make of a
// host. The stronger vendor comes first; a third one that has less to say changes
// nothing.
//
// Protected takes both. One is enough for SingleCovered, whatever the other cannot tell.
// Unprotected takes proof on both sides: that the host runs, and that nobody covers it;
// a host that is off is Unknown, and so is one of which a vendor that may cover it
// cannot tell.
var verdicts = map[[2]witness][3]Protection{ // beating, stopped, unheard
	// The agents' word that they run outweighs heartbeats that have stopped.
	{covered, covered}: {Protected, Protected, Protected},
	{covered, blind}:   {SingleCovered, SingleCovered, SingleCovered},
	{covered, weak}:    {SingleCovered, SingleCovered, SingleCovered},
	{covered, muted}:   {SingleCovered, SingleCovered, SingleCovered},
	{covered, absent}:  {SingleCovered, SingleCovered, SingleCovered},

	{blind, blind}:  {ProtectionUnknown, ProtectionUnknown, ProtectionUnknown},
	{blind, weak}:   {ProtectionUnknown, ProtectionUnknown, ProtectionUnknown},
	{blind, muted}:  {ProtectionUnknown, ProtectionUnknown, ProtectionUnknown},
	{blind, absent}: {ProtectionUnknown, ProtectionUnknown, ProtectionUnknown},

	// An agent that runs, however weakly, shows that the host does, unless heartbeats
	// show that it has stopped since.
	{weak, weak}:   {Unprotected, ProtectionUnknown, Unprotected},
	{weak, muted}:  {Unprotected, ProtectionUnknown, Unprotected},
	{weak, absent}: {Unprotected, ProtectionUnknown, Unprotected},

	// 19 July 2024: no agent speaks. It takes a heartbeat to tell it from a host that
	// is off, or gone.
	{muted, muted}:   {Unprotected, ProtectionUnknown, ProtectionUnknown},
	{muted, absent}:  {Unprotected, ProtectionUnknown, ProtectionUnknown},
	{absent, absent}: {Unprotected, ProtectionUnknown, ProtectionUnknown},
}

// verdict is what any number of vendors and the heartbeats say: two that say most
// decide. A single vendor's fleet has no second word.
func verdict(words []witness, beat pulse) Protection {
	first, second := absent, absent
	for _, w := range words {
		if w > first {
			first, second = w, first
		} else {
			second = max(second, w)
		}
	}
	return verdicts[[2]witness{first, second}][beat]
}

// word is a vendor's word on a host by its record. life is the newest sign of life that
// anybody has of the host, and every how old the record of a running agent may be:
// an agent is silent only if the host lived on without it.
func word(r Record, every time.Duration, life, now time.Time, silentAfter time.Duration) witness {
	behind := life.Sub(r.LastSeen)
	switch {
	case r.LastSeen.IsZero():
		return blind
	case now.Sub(life) > silentAfter || behind > 2*every:
		return muted
	case behind > every:
		return blind // it may be late, or dead
	case r.Impaired != "":
		return weak
	}
	return covered
}

// beat is what a heartbeat says. One that lags behind other signs of life has itself
// failed.
func beat(last, life, now time.Time) pulse {
	switch {
	case last.IsZero():
		return unheard
	case now.Sub(last) <= freshFor:
		return beating
	case life.Sub(last) > freshFor:
		return unheard
	}
	return stopped
}
