// Package azure is a client for Microsoft's security APIs that stays usable
// when they, or Entra ID, do not.
//
// When Microsoft fails: a call returns an [*resilience.Error] within its deadline
// that says whether anything may have been sent, what class of failure it was
// and whose fault; wrapped in it is an [*APIError] with Microsoft's status, code
// and request id if there was an answer. Reads are tried again, and what can be
// repeated without harm; what cannot is sent again only if it is proven that it never
// left. A list ends at the failure, and goes on from its Cursor.
//
// # The APIs
//
// A [Client] has one field for each API. Each API is a failure domain of its own,
// with its own breaker ([Client.Policies] has them all); Resource Manager is one for
// all that is behind it.
//
//   - [Client.Defender], Defender for Endpoint: machines, isolation, scans, alerts,
//     indicators. After a lost answer to an isolation, [Defender.Isolation] says what
//     came of it; [Defender.Wait] outlasts an outage. If a regional host cannot be
//     reached, Config.DefenderAlternates take its place.
//   - [Client.Graph], the alerts and incidents of Defender XDR, and hunting. Updates
//     are repeated, comments are not: after a failure read them. A hunt that may lack
//     rows says so ([ErrHuntTruncated]).
//   - [Client.Sentinel], incidents and threat intelligence of a workspace
//     ([Sentinel.In]). Ids are the caller's ([StableGUID]), so that what is created
//     again is there once; etags keep a change from undoing another's. The upload of
//     STIX objects says of each what became of it, and fails apart from incidents.
//   - [Client.Logs], Azure Monitor's logs, to write and to ask. [Ingestor.Upload] says of each row whether
//     it is accepted, rejected, unsent or unknown; each endpoint fails by itself.
//     [Logs.Query] takes an incomplete answer for an error.
//   - [Client.Posture], Defender for Cloud: alerts, scores, assessments, plans. A
//     failure is an error and never an older answer.
//   - [Client.ServiceHealth], what Azure says of itself. It fails together with what it
//     reports on; nothing here acts on it.
//   - [Client.ClientOptions], [Client.ARMOptions] and [Client.Credential] put any
//     official Azure client under the same policies, one for each host, and tokens. It
//     gets the last answer as it came, and makes its own error of it.
//
// # Tokens
//
// A token outage shorter than the life of the token at hand goes unnoticed; a longer
// one fails the calls that need a token, as resilience.Credential, and counts against
// no API. Credentials are factories ([CredentialFactory]), because azidentity serves
// its cached token until five minutes before expiry even after a 401: a refresh or a
// 401 makes a fresh instance.
//
// [New] does no I/O. A client without [Client.Run] works, but fetches its first
// token during a call, and after idling longer than a token lives (an hour or
// more) the next call waits for a new one.
//
// Package azuretest is all of this, simulated, to test against.
package azure
