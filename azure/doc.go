// Package azure is a client for Microsoft's security APIs that stays usable
// when they, or Entra ID, do not.
//
// When Microsoft fails: a call returns an [*resilience.Error] within its deadline
// that says whether anything may have been sent, what class of failure it was
// and whose fault; wrapped in it is an [*APIError] with Microsoft's status, code
// and request id if there was an answer. Reads are tried again; an isolation is
// never sent twice. A token outage shorter than the life of the token at hand
// goes unnoticed.
//
// Credentials are factories ([CredentialFactory]), because azidentity serves its
// cached token until five minutes before expiry even after a 401: a refresh or a
// 401 makes a fresh instance. [Client.ClientOptions] and [Client.Credential] put
// any official Azure client under the same policy and tokens.
//
// [New] does no I/O. A client without [Client.Run] works, but fetches its first
// token during a call, and after idling longer than a token lives (an hour or
// more) the next call waits for a new one.
package azure
