// Package resilience puts one [Policy] around one dependency, so that when the
// dependency fails the caller gets a quick, classified answer that says whether
// anything may have happened on the other side.
//
// When the other side fails: calls that cannot have had an effect, and calls
// that may be repeated, are tried again inside the deadline; an effect that may
// have been sent never is. Once the recent calls say that the dependency is
// sick, the breaker answers at once with [ErrOpen] and lets one caller at a time
// try again, or, with [Policy.Run], a probe in the callers' place. Callers who
// have a backup ([WithBackup]) are also refused while an operation is much slower
// than it usually is, or silent. Every failure is an [*Error] with the timeline of
// its attempts, its [Class] and what is known of the request ([NotSent],
// [Answered], [MaybeSent]). [Policy.Explain] tells the state of the dependency and
// why, [Error.Explain] the story of one call.
//
// # Order
//
// The stages of [Do] are fixed, outermost first:
//
//	total deadline -> concurrency limit -> retry -> quota -> breaker -> attempt timeout
//
// The limit's queue counts against the deadline, and every attempt passes quota
// and breaker. [Hedge] stands outside: it asks several policies.
//
// # HTTP
//
// [Transport] puts a policy around an http.Client; [RoundTrip] is the same for
// other clients. Under it a [Wire] proves what left, pins the hosts, bounds the
// answers and reads what they say of the vendor's quota.
//
// # Telemetry
//
// Metrics go to the global OpenTelemetry meter, spans to the global tracer, unless
// Config names others.
//
//	jurymast.call.duration        histogram, s  jurymast.policy, .operation, .outcome         a call, with all attempts and waits
//	jurymast.attempts             counter, 1    jurymast.policy, .operation, .outcome         attempts made
//	jurymast.breaker.state        gauge, 1      jurymast.policy                               0 closed, 1 half open, 2 open
//	jurymast.budget.remaining     gauge, 1      jurymast.policy [, .operation]                share of the quota left, 0 to 1
//	http.client.request.duration  histogram, s  http.request.method, http.response.status_code,
//	                                            error.type, server.address, server.port       a request, to the headers
//
// The outcome is "ok" or the name of a [Class], so a policy with 20 operations
// has at most 20 x 19 series of each of the first two, and usually 20 x 3. State is
// one series a policy; budget one, and one for each operation with a quota of its
// own. HTTP has one series for each method, host and status that occurred.
// Whatever callers do, a policy knows at most 200 operations and 200 HTTP series:
// further operations are "_OTHER", further hosts are left out. Gauges are read when
// metrics are collected and end with the policy. All are recorded with the
// caller's context, so that exemplars lead to its trace.
//
// Every attempt is one CLIENT span named by the operation, child of the caller's
// span, with the HTTP attributes of the semantic conventions (url.path without the
// query, which may name hosts; never url.full), error.type = the class,
// jurymast.sent and jurymast.vendor.trace_id. Every failed attempt, also one that
// was refused and has no span, is an event jurymast.attempt.failed on the caller's
// span, with the delay before the next one or the reason why there is none.
// Config.Logger hears the same under the same keys: breaker changes at Warn and
// Info, failed attempts at Debug.
//
// The package imports no vendor's SDK; vendors' errors tell their class through
// [Classified].
package resilience
