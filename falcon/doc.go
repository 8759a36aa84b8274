// Package falcon is a client for CrowdStrike Falcon that stays usable when
// Falcon does not.
//
// When Falcon fails: a call returns an [*resilience.Error] within its deadline
// that says whether anything may have been sent, what class of failure it was
// and whose fault; wrapped in it is an [*APIError] with Falcon's status,
// messages and trace id if Falcon answered at all. Reads and containment are
// tried again, other effects never unless it is proven that they were not sent.
// A token outage shorter than the life of the token at hand goes unnoticed. The
// event stream ([Stream.Run]) goes on from the last event that was handled,
// however often it breaks.
//
// gofalcon's generated packages write the requests, Jurymast sends them and
// reads the answers: unknown fields are kept, one bad row does not lose a page,
// errors inside a 200 are errors. [Client.Transport] puts any other gofalcon
// service under the same policy and token.
//
// [New] does no I/O. A client without [Client.Run] works, but fetches its first
// token during a call, and after idling longer than a token lives (30 minutes)
// the next call waits for a new one.
package falcon
