package falcon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/jurymast/jurymast/resilience"
)

// ErrSunset is matched by the refusal of an operation that Falcon has taken out of
// service. Its text says since when and what took its place; nothing was sent.
var ErrSunset = errors.New("taken out of service by Falcon")

// sunsets are the services that are gone (facts/falcon.md 2.4 and 2.8). gofalcon
// goes on shipping a service after its end.
var sunsets = []struct{ path, since, instead string }{
	{"/detects/", "2025-09-30", "the alerts service, Client.Alerts"},
	{"/incidents/", "2026-03-09", "the cases service, Client.Cases, whose model is another"},
}

// sunset refuses a request to a service that is gone: its answer (405, 404 or 500)
// would not say so.
func sunset(operation, path string) error {
	for _, s := range sunsets {
		if strings.HasPrefix(path, s.path) {
			return &sunsetError{fmt.Errorf("falcon %s: %w: %s ended on %s, use %s", operation, ErrSunset, s.path, s.since, s.instead)}
		}
	}
	return nil
}

type sunsetError struct{ error }

func (e *sunsetError) Unwrap() error { return e.error }

// Failure makes it resilience.Classified.
func (e *sunsetError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Sunset, Sent: resilience.NotSent}
}

// deprecation begins the names of the headers by which Falcon announces the end of
// an operation. Only that is known of them (facts/falcon.md 2.1).
const deprecation = "X-Api-Deprecation"

// announce logs what Falcon says of the end of an operation, once for each.
func (c *Client) announce(operation string, h http.Header) {
	var said []any
	for name, values := range h {
		if strings.HasPrefix(name, deprecation) {
			said = append(said, slog.String(name, strings.Join(values, ", ")))
		}
	}
	if said == nil {
		return
	}
	if _, before := c.announced.LoadOrStore(operation, true); before {
		return
	}
	slices.SortFunc(said, func(a, b any) int { return strings.Compare(a.(slog.Attr).Key, b.(slog.Attr).Key) })
	c.cfg.Logger.Warn("falcon: Falcon announces the end of an operation", append([]any{"operation", operation}, said...)...)
}
