package falcon_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
)

// A page of more rows than Falcon takes, or of fewer than one, is refused before
// anything is sent, by its field.
func TestLimitsAreChecked(t *testing.T) {
	for field, of := range map[string]struct {
		most int
		list func(*falcon.Client, int) func(context.Context) error
	}{
		"AlertQuery.Limit": {1000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Alerts.Query(falcon.AlertQuery{Limit: n}).All)
		}},
		"HostQuery.Limit": {10_000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Hosts.Query(falcon.HostQuery{Limit: n}).All)
		}},
		"HostScroll.Limit": {10_000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Hosts.Scroll(falcon.HostScroll{Limit: n}).All)
		}},
		"HostGroupQuery.Limit": {5000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.HostGroups.Query(falcon.HostGroupQuery{Limit: n}).All)
		}},
		"IOCQuery.Limit": {2000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.IOCs.Query(falcon.IOCQuery{Limit: n}).All)
		}},
		"IndicatorQuery.Limit": {10_000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Intel.Indicators(falcon.IndicatorQuery{Limit: n}).All)
		}},
		"ActorQuery.Limit": {5000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Intel.Actors(falcon.ActorQuery{Limit: n}).All)
		}},
		"ReportQuery.Limit": {5000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Intel.Reports(falcon.ReportQuery{Limit: n}).All)
		}},
		"CaseQuery.Limit": {10_000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Cases.Query(falcon.CaseQuery{Limit: n}).All)
		}},
		"PolicyQuery.Limit": {5000, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Content.Policies(falcon.PolicyQuery{Limit: n}).All)
		}},
		"DeviceContentQuery.Limit": {100, func(c *falcon.Client, n int) func(context.Context) error {
			return firstError(c.Content.Devices(falcon.DeviceContentQuery{Limit: n}).All)
		}},
	} {
		t.Run(field, func(t *testing.T) {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				for _, n := range []int{-1, of.most + 1} {
					if err := of.list(c, n)(t.Context()); resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), field) {
						t.Errorf("%d: %v", n, err)
					}
				}
				if n := len(srv.Requests()); n != 0 {
					t.Errorf("%d requests", n)
				}
				if err := of.list(c, of.most)(t.Context()); err != nil {
					t.Errorf("the most there may be: %v", err)
				}
			})
		})
	}
}

// firstError is what a list gives first.
func firstError[T any](all func(context.Context) iter.Seq2[T, error]) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, err := range all(ctx) {
			return err
		}
		return nil
	}
}
