package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience/fault"
)

// demo plays what a bad day looks like.
func demo(ctx context.Context, p *program, _ []string) error {
	name := []string{twin.Hostname(7)}
	act := func(what string, do command, hosts []string, wanted error) error {
		p.line("\n$ contain %s", what)
		switch err := do(ctx, p, hosts); {
		case wanted == nil && err != nil:
			return err
		case wanted != nil && exitCode(err) != exitCode(wanted):
			return fmt.Errorf("%s: %w, which is not %w", what, err, wanted)
		case err != nil:
			p.line("  error: %v", err)
		}
		wait(ctx, 2*agentTime)
		return ctx.Err()
	}
	if err := act("contain "+name[0], contain, name, nil); err != nil {
		return err
	}
	if err := act("status "+name[0], status, name, nil); err != nil {
		return err
	}
	p.line("\nOUTAGE: Falcon refuses every connection")
	p.clouds.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
	other := []string{twin.Hostname(8)}
	if err := act("contain "+other[0], contain, other, nil); err != nil {
		return err
	}
	if err := act("release "+name[0], release, name, edr.ErrReleaseDebt); err != nil {
		return err
	}
	if err := act("ledger", ledger, nil, nil); err != nil {
		return err
	}
	p.line("\nHEALED: Falcon answers again")
	p.clouds.Falcon.Faults().Heal()
	wait(ctx, 2*breakerTime)
	if err := act("sweep", sweep, nil, nil); err != nil {
		return err
	}
	if err := act("release "+other[0], release, other, nil); err != nil {
		return err
	}
	if err := act("sweep", sweep, nil, nil); err != nil {
		return err
	}
	p.report.Ledger = nil // that of the outage
	if err := act("ledger", ledger, nil, nil); err != nil {
		return err
	}
	if f, d := p.clouds.Contained(); len(f)+len(d) > 0 || len(p.report.Ledger) > 0 {
		return fmt.Errorf("the machines themselves say: held by Falcon %v, by Defender %v; the ledger has %d entries", f, d, len(p.report.Ledger))
	}
	p.line("\nthe machines themselves say that nobody holds them any more")
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
