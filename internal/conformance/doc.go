// Package conformance holds Jurymast to what the vendors' own SDKs get wrong.
//
// It is a table for each vendor. A row is one hazard, and is played three times
// against the simulated cloud: the SDK as shipped must misbehave when the hazard
// is brought about, must behave when it is not (or the row proves nothing), and
// Jurymast must behave when it is. README.md is written from the verdicts.
//
// When a new release of an SDK behaves, its row fails and says so: take the row
// out, or pin the version it is about. The package is a module of its own, so
// that what only the SDKs need stays out of the library's dependencies.
package conformance
