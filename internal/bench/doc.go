// Package bench measures Jurymast's policies beside the same stages built from
// failsafe-go and, by hand, from gobreaker, backoff and context: what a call
// costs (the benchmarks of this package), what an outage costs (the program in
// outage), and how many allocations a call may make (a test, so that a change
// that adds one is noticed).
//
// It is a module of its own so that the peers stay out of the library's
// dependencies. Every benchmark is named by impl=, so that
//
//	go test -run '^$' -bench . -count 6 | benchstat -col /impl -
//
// sets the implementations side by side.
package bench
