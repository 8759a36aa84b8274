// Package edr acts on endpoints through several EDR vendors at once: find a
// host, contain it once where that works, release it everywhere, and say what is
// not known.
//
// When a vendor fails: [Fleet.Contain] takes the next one, but only if it is
// proven that the failed vendor did nothing, or after its answer was lost and
// could not be read back; then the [Effect] says that both may hold, and
// [Fleet.Release] undoes both. What could not be released is a [DebtError], kept
// in the ledger, told to Config.OnDebt, and tried again by [Fleet.Run]. Reads say
// which vendor is missing in them.
//
// When this process fails: what it was about to do is in the ledger before it is
// sent. A process that is killed at any moment leaves entries that the next
// [Fleet.Sweep] settles by reading the vendors, and goes on with releases, and with a
// [Bulk], where they stopped.
//
// # What fails over and what cannot
//
// A host can fail over only to a vendor whose agent runs on it. Its name must be
// unique at every vendor that answers, and what they know of it must not
// contradict; otherwise [AmbiguousHostError] lists the candidates. What they know
// must also agree in more than the name ([Grade]); otherwise it is a
// [WeakIdentityError]. [Native] says which one is meant, and a [Link], learned while all
// is well or pinned from a CMDB, which records of other vendors are the same machine: so
// an alert of a vendor that is down still leads to the host at the other.
//
// # The rooms
//
//	contain, release, act, scan   effects, and the rules by which they fail over
//	guard, audit                  who stops them, who hears of them
//	ledger                        what is held where: settled, swept, owed, overlaid on reads
//	find, state, identity         which records are one machine, and links between them
//	watch                         readiness, protection, lists that cannot be true
//	bulk                          many hosts, each once
//	run                           all that happens in the background, if Fleet.Run is called
//
// A vendor joins as a [Driver], a struct of small abilities; see the packages
// crowdstrike and microsoft, and edrtest, whose suite a driver must pass.
//
// # Metrics
//
//	jurymast.edr.release_debt  gauge, {host}  {jurymast.provider}
//
// is how many hosts were to be released and may still be contained, at the last sweep.
// Those of the package failover count for the capability edr.
package edr
