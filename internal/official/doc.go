// Package official holds Microsoft's own Go clients under Jurymast's policies:
// azlogs, which sends logs, and armsecurity, which reads Defender for Cloud, both
// as released. Retries, breakers and tokens must be Jurymast's.
//
// It is a module of its own so that nobody depends on those clients who does not
// use them.
package official
