// Package failover asks several providers for the same thing and says who
// answered, what is missing, and what may have happened twice.
//
// When a provider fails: a read goes on to the next one; an effect does so only
// if it is proven that the failed provider did not act. Each provider gets a
// share of the time that is left, so one that never answers cannot eat the
// others' share. Every result carries who served it and which providers are
// missing, also when there is an error.
//
// A provider that keeps failing is not asked first any more. A [Group] remembers
// its current provider: it leaves it after Config.SwitchAfter failures in a row, or
// when its breaker refuses calls, and comes back after Config.FailbackAfter good
// probes ([Group.Run]) or trial reads; between two changes there is at least
// Config.Hold. Only failures that speak against the provider's health count.
// [Group.Explain] tells where it stands and why.
//
// The package knows no vendor. A [Group] holds the providers of one capability
// in order of preference; the capability packages (edr) are built on it, and
// driver packages (crowdstrike, microsoft) bring the vendors.
//
// # Metrics
//
//	jurymast.failovers          counter, 1  {jurymast.capability, jurymast.operation, jurymast.provider}
//	jurymast.failover.switches  counter, 1  {jurymast.capability, jurymast.provider, jurymast.provider.next}
//
// The first counts how often a call left a provider for the next; the provider is
// the one that was left. A capability with 10 operations and 3 providers has at most
// 30 series. The second counts the changes of the current provider; the provider is
// the one left, the next the one taken. 3 providers have at most 6 series.
package failover
