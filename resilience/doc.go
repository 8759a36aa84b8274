// Package resilience puts one [Policy] around one dependency, so that when the
// dependency fails the caller gets a quick, classified answer that says whether
// anything may have happened on the other side.
//
// When the other side fails: calls that cannot have had an effect, and calls
// that may be repeated, are tried again inside the deadline; an effect that may
// have been sent never is. Once the recent calls say that the dependency is
// sick, the breaker answers at once with [ErrOpen] and lets one caller at a time
// try again. Callers who have a backup ([WithBackup]) are also refused while an
// operation is much slower than it usually is, or silent. Every failure is an [*Error] with the timeline of its attempts, its
// [Class] and what is known of the request ([NotSent], [Answered], [MaybeSent]).
//
// # Order
//
// The stages of [Do] are fixed, outermost first:
//
//	total deadline -> concurrency limit -> retry -> quota -> breaker -> attempt timeout
//
// The limit's queue counts against the deadline, and every attempt passes quota
// and breaker.
//
// # Metrics
//
// Recorded with the global OpenTelemetry meter unless Config names another.
//
//	jurymast.call.duration  histogram, s   {jurymast.policy, jurymast.operation, jurymast.outcome}
//	jurymast.attempts       counter, 1     {jurymast.policy, jurymast.operation, jurymast.outcome}
//
// The outcome is "ok" or the name of a [Class]: a policy with 20 operations has
// at most 20 x 18 series of each. Every attempt is one CLIENT span, child of the
// caller's span.
//
// The package imports no vendor's SDK; vendors' errors tell their class through
// [Classified].
package resilience
