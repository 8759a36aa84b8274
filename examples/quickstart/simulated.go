package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// victim is the host to contain; the callers read all the others.
const victim = 42

// story tells what happens, with the time since it began.
type story struct {
	out   io.Writer
	begin time.Time
	mu    sync.Mutex
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%5.1fs  %s\n", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}

// simulate plays the outage and reports what the clouds recorded.
func simulate(ctx context.Context, out io.Writer, cfg twin.Config) (*report, error) {
	clouds, err := twin.New(cfg)
	if err != nil {
		return nil, err
	}
	defer clouds.Close()
	s := &story{out: out, begin: time.Now()}
	s.tell("SIMULATED: a Falcon and a Microsoft cloud in this process, %d hosts enrolled in both", clouds.Hosts())

	// In a real program attempts may take longer; here nobody wants to wait.
	policy := resilience.Config{
		Attempt: time.Second, Total: 4 * time.Second,
		Breaker: resilience.Breaker{OpenFor: time.Second, MaxOpenFor: 2 * time.Second},
	}
	fc, err := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: clouds.Falcon.Client(), Policy: policy,
	})
	if err != nil {
		return nil, err
	}
	az, err := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: clouds.Azure.Client(), Policy: policy,
	})
	if err != nil {
		return nil, err
	}
	fleet, err := edr.New(edr.Config{
		Drivers:  []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(az)}, // in order of preference
		Volatile: true,                                                 // a real program keeps its ledger: kv.Open(dir)
		Total:    10 * time.Second, ReconcileFor: 2 * time.Second, Hold: 2 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	// Run keeps both tokens warm, the backup's too.
	ctx, stop := context.WithCancel(ctx)
	var tokens sync.WaitGroup
	tokens.Go(func() { _ = fc.Run(ctx) })
	tokens.Go(func() { _ = az.Run(ctx) })

	r := &report{clouds: clouds}
	err = play(ctx, s, fleet, r)

	stop()
	tokens.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return r, errors.Join(err, fc.Close(closing), az.Close(closing))
}

func play(ctx context.Context, s *story, fleet *edr.Fleet, r *report) error {
	hosts, err := fleet.Hosts(ctx)
	if err != nil {
		return err
	}
	r.Hosts = len(hosts.Value)
	s.tell("the fleet: %d hosts, merged from %d vendors", len(hosts.Value), len(hosts.Served))

	callers := startCallers(ctx, fleet, s, r.clouds.Hosts())
	defer callers.stop()
	wait(ctx, 4*time.Second)

	r.clouds.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole})
	s.tell("OUTAGE: Falcon is a black hole: connections open, nothing ever answers")
	name := twin.Hostname(victim)
	intent := edr.Intent{ID: "quickstart-1", Actor: "quickstart", Reason: "show that containment survives the vendor"}
	begin := time.Now()
	contained, err := fleet.Contain(ctx, edr.Hostname(name), intent)
	if err != nil {
		return fmt.Errorf("contain: %w", err)
	}
	s.tell("CONTAINED %s by %s in %v (%v)", name, contained.By(), time.Since(begin).Round(time.Millisecond), contained.Value.Outcome)
	for _, gap := range contained.Gaps {
		s.tell("  not by %s: %v", gap.Provider, resilience.Of(gap.Err).Class)
	}
	wait(ctx, 3*time.Second)
	r.noteContained()
	s.tell("the machine itself says: held by %s", r.ContainedBy)

	r.clouds.Falcon.Faults().Heal()
	s.tell("HEALED: Falcon answers again")
	if !callers.servedBy("falcon", 10*time.Second) {
		return errors.New("ten seconds after healing, nobody is back on Falcon")
	}
	s.tell("callers are back on Falcon")
	released, err := fleet.Release(ctx, edr.Hostname(name), intent)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	s.tell("RELEASED %s everywhere (%v)", name, released.Value.Outcome)
	wait(ctx, 2*time.Second)
	callers.stop()
	r.noteEnd(callers)
	return ctx.Err()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
