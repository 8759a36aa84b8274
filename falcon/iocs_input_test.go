package falcon_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
)

// What cannot be right is said before anything is sent, by index and field.
func TestIOCMisuse(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		create := func(change func(*falcon.NewIOC)) error {
			in := domains(3)
			change(&in[2])
			out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: in})
			if out != nil {
				t.Errorf("results of what was not sent: %v", out)
			}
			return err
		}
		value := func(kind falcon.IOCType, value string) error {
			return create(func(n *falcon.NewIOC) { n.Type, n.Value = kind, value })
		}
		update := func(changes ...falcon.IOCChange) error {
			_, err := c.IOCs.Update(t.Context(), falcon.IOCUpdate{Changes: changes})
			return err
		}
		_, chunk := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: domains(1), Chunk: -1})
		_, none := c.IOCs.Create(t.Context(), falcon.IOCCreate{})
		_, empty := c.IOCs.Delete(t.Context(), "x", "a", "")
		_, nobody := c.IOCs.Delete(t.Context(), "x")
		for _, row := range []struct {
			want string
			err  error
		}{
			{"Indicators[2].Type \"sha1\"", value("sha1", strings.Repeat("a", 40))},
			{"Indicators[2].Value", value(falcon.IOCSHA256, strings.Repeat("a", 63))},
			{"64 hex digits", value(falcon.IOCSHA256, strings.Repeat("g", 64))},
			{"32 hex digits", value(falcon.IOCMD5, strings.Repeat("a", 64))},
			{"1 to 200", value(falcon.IOCDomain, "")},
			{"1 to 200", value(falcon.IOCDomain, strings.Repeat("a", 201))},
			{"without scheme", value(falcon.IOCAllSubdomains, "https://evil.example")},
			{"one ipv4 address", value(falcon.IOCIPv4, "1.2.3.4/24")},
			{"one ipv4 address", value(falcon.IOCIPv4, "::1")},
			{"one ipv6 address", value(falcon.IOCIPv6, "1.2.3.4")},
			{"one ipv6 address", value(falcon.IOCIPv6, "fe80::1%eth0")},
			{"Indicators[2].Action: required", create(func(n *falcon.NewIOC) { n.Action = "" })},
			{"Indicators[2].Action \"block\"", create(func(n *falcon.NewIOC) { n.Action = "block" })},
			{"Indicators[2].Severity: required", create(func(n *falcon.NewIOC) { n.Severity = "" })},
			{"Indicators[2].Severity \"5\"", create(func(n *falcon.NewIOC) { n.Severity = "5" })},
			{"Indicators[2].Platforms: at least", create(func(n *falcon.NewIOC) { n.Platforms = nil })},
			{"Indicators[2].Platforms \"Windows\"", create(func(n *falcon.NewIOC) { n.Platforms = []string{"mac", "Windows"} })},
			{"exactly one", create(func(n *falcon.NewIOC) { n.HostGroups = []string{"g"} })},
			{"exactly one", create(func(n *falcon.NewIOC) { n.AppliedGlobally = false })},
			{"HostGroups: one of", create(func(n *falcon.NewIOC) { n.AppliedGlobally, n.HostGroups = false, []string{""} })},
			{"Changes[0].ID: required", update(falcon.IOCChange{Filename: "x"})},
			{"Changes[0]: nothing is set", update(falcon.IOCChange{ID: "a"})},
			{"Changes[1].ID: Changes[0]", update(falcon.IOCChange{ID: "a", Filename: "x"}, falcon.IOCChange{ID: "a", Filename: "y"})},
			{"Changes[0].Platforms", update(falcon.IOCChange{ID: "a", Platforms: []string{}})},
			{"Changes[0].AppliedGlobally", update(falcon.IOCChange{ID: "a", AppliedGlobally: new(true), HostGroups: []string{"g"}})},
			{"Changes[0].Severity", update(falcon.IOCChange{ID: "a", Severity: new(falcon.IOCSeverity("x"))})},
			{"Changes is empty", update()},
			{"Chunk is -1", chunk},
			{"Indicators is empty", none},
			{"one of the ids is empty", empty},
			{"or there are none", nobody},
		} {
			if row.err == nil || resilience.Of(row.err).Class != resilience.Misuse || !strings.Contains(row.err.Error(), row.want) {
				t.Errorf("%s: %v", row.want, row.err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Errorf("sent: %v", srv.Requests())
		}
		_, all := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: make([]falcon.NewIOC, 2)})
		if !strings.Contains(all.Error(), "Indicators[0].Type") || !strings.Contains(all.Error(), "Indicators[1].Type") {
			t.Errorf("one at a time: %v", all)
		}
	})
	cloud(t, falcontest.Config{}, func(c *falcon.Config) { c.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: domains(3), Chunk: 1})
		if !errors.Is(err, falcon.ErrReadOnly) || len(srv.Requests()) != 0 || slices.ContainsFunc(out, func(r falcon.IOCResult) bool { return resilience.Of(r.Err).Sent != resilience.NotSent }) {
			t.Errorf("%v, %v", out, err)
		}
	})
}

func TestIOCScopes(t *testing.T) {
	cloud(t, falcontest.Config{Scopes: []string{"ioc:read"}}, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
		if _, errs := gather(t, c.IOCs.Query(falcon.IOCQuery{}), idOfIOC); len(errs) != 0 {
			t.Error(errs)
		}
		out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: domains(1)})
		if resilience.Of(err).Class != resilience.Denied || resilience.Of(out[0].Err).Sent != resilience.Answered {
			t.Errorf("%v", err)
		}
	})
}
