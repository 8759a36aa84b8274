package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
)

type command func(context.Context, *program, []string) error

// command is what a name means, if it and its hosts make sense.
func (o options) command(name string, hosts []string) (command, error) {
	commands := map[string]struct {
		do    command
		hosts bool
	}{
		"contain": {contain, true}, "release": {release, true}, "status": {status, true},
		"ledger": {ledger, false}, "sweep": {sweep, false}, "demo": {demo, false},
	}
	c, ok := commands[name]
	switch {
	case !ok:
		return nil, usagef("there is no command %q: want contain, release, status, ledger, sweep or demo", name)
	case c.hosts && len(hosts) == 0:
		return nil, usagef("%s needs the names of hosts", name)
	case !c.hosts && len(hosts) > 0:
		return nil, usagef("%s takes no hosts", name)
	case slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(h, "-") }):
		// After the command nothing is a flag any more: a -dry-run there would be no dry run.
		return nil, usagef("flags go before the command: contain [flags] %s HOST...", name)
	case o.guard.check() != nil:
		return nil, o.guard.check()
	case o.dryRun && name != "contain":
		return nil, usagef("-dry-run is for contain")
	case o.live && name == "demo":
		return nil, usagef("the demo breaks a cloud: it is for simulated ones")
	case o.live && o.state == "":
		return nil, usagef("-live needs -state DIR: what is contained must be known after this program has ended")
	}
	return c.do, nil
}

// each does something to every host, also if it fails for one.
func each(p *program, hosts []string, do func(edr.Query) error) error {
	var errs []error
	for _, name := range hosts {
		errs = append(errs, do(query(name)))
	}
	return errors.Join(errs...)
}

// query is what a HOST means: a name, or a vendor's own id where a name is ambiguous.
func query(host string) edr.Query {
	if provider, id, native := strings.Cut(host, ":"); native {
		return edr.Native(provider, id)
	}
	return edr.Hostname(host)
}

func contain(ctx context.Context, p *program, hosts []string) error {
	return each(p, hosts, func(q edr.Query) error {
		if p.o.dryRun {
			plan, err := p.fleet.Plan(ctx, q)
			p.plan(q, plan, err)
			return err
		}
		res, err := p.fleet.Contain(ctx, q, p.o.intent)
		p.effect(q, "contained", res, err)
		return err
	})
}

func release(ctx context.Context, p *program, hosts []string) error {
	return each(p, hosts, func(q edr.Query) error {
		res, err := p.fleet.Release(ctx, q, p.o.intent)
		if err == nil {
			err = res.Whole() // who could not be asked may hold it
		}
		p.effect(q, "released", res, err)
		return err
	})
}

// status shows a host at every vendor. If it cannot be found, what the ledger knows of
// it is still worth showing.
func status(ctx context.Context, p *program, hosts []string) error {
	return each(p, hosts, func(q edr.Query) error {
		found, err := p.fleet.Find(ctx, q)
		state, stateErr := p.fleet.State(ctx, q)
		stands := found.Value.State()
		fromLedger := stateErr == nil && state.Value.FromLedger
		if stands == edr.StateUnknown && fromLedger {
			stands = state.Value.State
		}
		if err == nil {
			p.line("%s: %s (%s%s)", found.Value.Name, stands, found.Value.Grade, because(found.Value.Evidence))
			for _, r := range found.Value.Records {
				p.line("  %-12s %s%s, last seen %s", r.Provider, r.State, inLedger(r), when(r.LastSeen))
			}
		}
		p.missing(found.Gaps)
		if fromLedger {
			p.line("  %-12s %s, by the ledger, as of %s", state.Value.Provider, state.Value.State, when(state.Value.AsOf))
		}
		if err == nil && stands == edr.StateUnknown {
			err = fmt.Errorf("host %s: whether it is held is not known: %w", q, edr.ErrUnknownOutcome)
		}
		p.report.host(q, stands.String(), found.By(), found.Gaps, err)
		return err
	})
}

func ledger(ctx context.Context, p *program, _ []string) error {
	var errs []error
	n := 0
	for e, err := range p.fleet.Ledger(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n++
		what := ""
		if e.Debt() {
			what = "OWED"
		}
		p.entry(what, e)
		p.report.Ledger = append(p.report.Ledger, e)
	}
	if n == 0 && len(errs) == 0 {
		p.line("nothing is held, and nothing is owed")
	}
	return errors.Join(errs...)
}

func sweep(ctx context.Context, p *program, _ []string) error {
	res, err := p.fleet.Sweep(ctx)
	s := res.Value
	for _, of := range []struct {
		what    string
		entries []edr.Entry
	}{
		{"held", s.Held},
		{"seen", s.Adopted},
		{"not yet shown", s.Pending},
		{"NOT CONTAINED", s.NotDone},
		{"let go by somebody else", s.Ended},
		{"released", s.Released},
	} {
		for _, e := range of.entries {
			p.entry(of.what, e)
		}
	}
	owed, unread := 0, 0
	for _, d := range slices.Concat(s.Debts, s.Unread) {
		if d.Debt() {
			owed++
			p.entry("OWED", d.Entry)
		} else {
			unread++
			p.entry("not known", d.Entry)
		}
		if d.Err != nil {
			p.line("  %v", d.Err)
		}
	}
	p.missing(res.Gaps)
	p.report.Missing = gaps(res.Gaps)
	if err == nil {
		err = res.Whole() // who could not be asked may hold hosts that nobody asked for here
	}
	errs := []error{err}
	if owed > 0 {
		errs = append(errs, fmt.Errorf("%d hosts may still be cut off: %w", owed, edr.ErrReleaseDebt))
	}
	if unread > 0 {
		errs = append(errs, fmt.Errorf("%d hosts could not be asked for: %w", unread, edr.ErrUnknownOutcome))
	}
	if n := len(s.NotDone); n > 0 {
		errs = append(errs, fmt.Errorf("%d hosts that were to be contained are not", n))
	}
	return errors.Join(errs...)
}

func gaps(of []failover.Gap) map[string]string {
	out := map[string]string{}
	for _, g := range of {
		out[g.Provider] = g.Err.Error()
	}
	return out
}
