package azure

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/jurymast/jurymast/resilience"
)

// ErrSunset is matched by the failure of an operation that Microsoft has taken out
// of service. If Config.RefuseRetiring made it, nothing was sent.
var ErrSunset = errors.New("taken out of service by Microsoft")

// sunset is the announced end of an operation.
type sunset struct {
	on, instead string
	// named: the operation is about ids, so that a 404 may be about one of them.
	named bool
}

// defenderSunsets: see facts/microsoft.md 2.2. Microsoft's own pages and its message
// do not agree on what ends; the machines and indicators have nothing to move to.
var defenderSunsets = map[string]sunset{
	opAlerts:       {"2027-02-01", alertsInstead, false},
	opAlertUpdate:  {"2027-02-01", alertsInstead, true},
	opAlertsUpdate: {"2027-02-01", alertsInstead, true},
}

const alertsInstead = "the alerts of Microsoft Graph (alerts_v2)"

// sunset warns of an operation that is about to end, once, or refuses it.
func (s *service) sunset(op string) error {
	end, announced := s.sunsets[op]
	if !announced {
		return nil
	}
	if s.c.cfg.RefuseRetiring {
		return &sunsetError{fmt.Errorf("azure %s: %w: it ends on %s and Config.RefuseRetiring is set: use %s", op, ErrSunset, end.on, end.instead)}
	}
	if _, before := s.told.LoadOrStore(op, true); !before {
		s.c.cfg.Logger.Warn("azure: Microsoft has announced the end of an operation", "operation", op, "on", end.on, "instead", end.instead)
	}
	return nil
}

type sunsetError struct{ error }

func (e *sunsetError) Unwrap() error { return e.error }

// Failure makes it resilience.Classified.
func (e *sunsetError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Sunset, Sent: resilience.NotSent}
}

// codeNoResource is Defender's 404 about an id.
const codeNoResource = "ResourceNotFound"

// gone judges a refusal of an operation whose end is announced: a 404 that is not
// about an id says that there is no such operation any more.
func (s *service) gone(e *APIError) *APIError {
	end, announced := s.sunsets[e.Operation]
	if !announced {
		return e
	}
	if e.Status == http.StatusNotFound && !(end.named && e.Code == codeNoResource) {
		e.class = resilience.Sunset
	}
	if errors.Is(e, ErrSunset) {
		e.Hint = "its end was announced for " + end.on + ": use " + end.instead
	}
	return e
}
