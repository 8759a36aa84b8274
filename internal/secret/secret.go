// Package secret has a string that does not print itself.
package secret

import "log/slog"

// Secret is a string that fmt, encoding/json and slog show as [redacted].
// Convert it to string to use it.
type Secret string

const redacted = "[redacted]"

// String hides the secret.
func (Secret) String() string { return redacted }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return `"` + redacted + `"` }

// MarshalText hides the secret from JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
