// Package edr acts on endpoints through several EDR vendors at once: find a
// host, contain it once where that works, release it everywhere.
//
// When a vendor fails: [Fleet.Contain] takes the next one, but only if it is
// proven that the failed vendor did nothing, or after its answer was lost and
// could not be read back; then the [Containment] says that both may hold, and
// [Fleet.Release] undoes both. What could not be released is a [DebtError], kept
// in the ledger until a later Release succeeds. Reads say which vendor is
// missing in them.
//
// # What fails over and what cannot
//
// A host can fail over only to a vendor whose agent runs on it. Its name must be
// unique at every vendor that answers, and what they know of it must not
// contradict; otherwise [AmbiguousHostError] lists the candidates. What they know
// must also agree in more than the name ([Grade]); otherwise it is a
// [WeakIdentityError]. [Native] says which one is meant.
//
// A vendor joins as a [Driver], a struct of small abilities; see the packages
// crowdstrike and microsoft.
package edr
