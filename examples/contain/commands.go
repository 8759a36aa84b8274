package main

import (
	"context"
	"errors"
	"fmt"

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
		errs = append(errs, do(edr.Hostname(name)))
	}
	return errors.Join(errs...)
}

func contain(ctx context.Context, p *program, hosts []string) error {
	return each(p, hosts, func(q edr.Query) error {
		if p.o.dryRun {
			plan, err := p.fleet.Plan(ctx, q)
			if err == nil {
				p.line("%s: would be contained by %s", plan.Value.Host.Name, or(plan.Value.Providers, ", else by "))
				p.missing(plan.Gaps)
			}
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
		p.effect(q, "released", res, err)
		return err
	})
}

// status shows a host at every vendor. If it cannot be found, what the ledger knows of
// it is still worth showing.
func status(ctx context.Context, p *program, hosts []string) error {
	return each(p, hosts, func(q edr.Query) error {
		found, err := p.fleet.Find(ctx, q)
		if err == nil {
			p.line("%s: %s (%s%s)", found.Value.Name, found.Value.State(), found.Value.Grade, because(found.Value.Evidence))
			for _, r := range found.Value.Records {
				p.line("  %-12s %s%s, last seen %s", r.Provider, r.State, inLedger(r), when(r.LastSeen))
			}
		}
		p.missing(found.Gaps)
		state, stateErr := p.fleet.State(ctx, q)
		if stateErr == nil && state.Value.FromLedger {
			p.line("  %-12s %s, by the ledger, as of %s", state.Value.Provider, state.Value.State, when(state.Value.AsOf))
		}
		p.report.host(q, found.Value.State().String(), found.By(), found.Gaps, err)
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
		p.entry("", e)
		p.report.Ledger = append(p.report.Ledger, e)
	}
	if n == 0 {
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
	for _, d := range append(s.Debts, s.Unread...) {
		p.entry("OWED", d.Entry)
		if d.Err != nil {
			p.line("  %v", d.Err)
		}
	}
	p.missing(res.Gaps)
	p.report.Missing = gaps(res.Gaps)
	p.report.Owed = len(s.Debts)
	if err == nil && len(s.Debts) > 0 {
		err = fmt.Errorf("%d hosts may still be cut off: %w", len(s.Debts), edr.ErrReleaseDebt)
	}
	return err
}

func gaps(of []failover.Gap) map[string]string {
	out := map[string]string{}
	for _, g := range of {
		out[g.Provider] = g.Err.Error()
	}
	return out
}
