package falcon_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/crowdstrike/gofalcon/falcon/client/detects"
	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/go-openapi/runtime"
	"github.com/go-openapi/strfmt"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// gofalcon v0.22.0 still ships detects, a year after their end; a program that has
// not moved is told so, and where to.
func TestWhatIsGoneIsRefusedBeforeItIsSent(t *testing.T) {
	cloud(t, falcontest.Config{}, func(c *falcon.Config) { c.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx := t.Context()
		s := detects.New(c.Transport(), nil)
		_, query := s.QueryDetects(detects.NewQueryDetectsParamsWithContext(ctx))
		_, read := s.GetDetectSummaries(detects.NewGetDetectSummariesParamsWithContext(ctx))
		_, update := s.UpdateDetectsByIdsV2(detects.NewUpdateDetectsByIdsV2ParamsWithContext(ctx))
		// gofalcon has no incidents any more; who has them still, has written them.
		_, incidents := c.Transport().Submit(&runtime.ClientOperation{
			ID: "QueryIncidents", Method: http.MethodGet, PathPattern: "/incidents/queries/incidents/v1", Context: ctx, Schemes: []string{"https"},
			Params: runtime.ClientRequestWriterFunc(func(runtime.ClientRequest, strfmt.Registry) error { return nil }),
		})
		for _, tc := range []struct {
			err  error
			want []string
		}{
			{query, []string{"QueryDetects", "2025-09-30", "Client.Alerts"}},
			{read, []string{"GetDetectSummaries", "2025-09-30", "Client.Alerts"}},
			{update, []string{"UpdateDetectsByIdsV2", "2025-09-30", "Client.Alerts"}},
			{incidents, []string{"QueryIncidents", "2026-03-09", "Client.Cases"}},
		} {
			f := resilience.Of(tc.err)
			if !errors.Is(tc.err, falcon.ErrSunset) || f.Class != resilience.Sunset || f.Sent != resilience.NotSent {
				t.Errorf("got %v (%v, %v)", tc.err, f.Class, f.Sent)
				continue
			}
			for _, want := range tc.want {
				if !strings.Contains(tc.err.Error(), want) {
					t.Errorf("%q has no %s", tc.err, want)
				}
			}
		}
		if len(srv.Requests()) != 0 {
			t.Errorf("sent: %v", srv.Requests())
		}
	})
}

// Falcon says in headers what will go. It is heard once, not with every answer.
func TestTheEndOfAnOperationIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	heard := func(c *falcon.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	cloud(t, falcontest.Config{}, heard, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: http.StatusOK, Path: "/devices/", Body: `{"meta":{"pagination":{"total":0}},"resources":[],"errors":[]}`,
			Header: http.Header{"x-api-deprecation-sunset": {"2027-01-01"}, "X-Api-Deprecation": {"yes", "really"}, "X-Api-Deprecation-A": {"1"}, "X-Api-Deprecation-B": {"2"}, "X-Api-Deprecation-C": {"3"}},
		})
		for range 3 {
			_, _ = c.Hosts.Get(t.Context(), first)
			for range c.Hosts.Query(falcon.HostQuery{}).All(t.Context()) {
			}
			_, _ = hosts.New(c.Transport(), nil).QueryDevicesByFilter(hosts.NewQueryDevicesByFilterParamsWithContext(t.Context()))
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		for i, operation := range []string{"hosts.get", "hosts.query", "QueryDevicesByFilter"} {
			want := "operation=" + operation + ` X-Api-Deprecation="yes, really" X-Api-Deprecation-A=1 X-Api-Deprecation-B=2 X-Api-Deprecation-C=3 X-Api-Deprecation-Sunset=2027-01-01`
			if len(lines) != 3 || !strings.Contains(lines[i], "level=WARN") || !strings.Contains(lines[i], want) {
				t.Errorf("no %s in\n%s", want, log.String())
			}
		}
	})
}
