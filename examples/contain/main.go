// Contain cuts hosts off the network, tells how they stand, lets them go again, and
// keeps a ledger of what is held where: the everyday use of package edr.
//
// Without -live it acts on a simulated CrowdStrike and a simulated Microsoft cloud in
// this process. Without a command it plays a story on them: a host is contained, Falcon
// dies, the release becomes a debt, Falcon comes back, and a sweep pays.
//
// It exits with 0 if all is as wanted, 1 if something failed, 2 if it was called
// wrongly, and 3 if nobody can say how a host stands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "contain:", err)
	}
	os.Exit(exitCode(err))
}

// options are the command line.
type options struct {
	intent edr.Intent
	state  string
	audit  string
	guard  guards
	dryRun bool
	live   bool
	json   bool
	clouds twin.Config
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode tells a script what it must not take for done.
func exitCode(err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if _, usage := errors.AsType[usageError](err); usage {
		return 2
	}
	for _, unsure := range []error{edr.ErrUnknownOutcome, edr.ErrReleaseDebt, edr.ErrAmbiguousHost, edr.ErrWeakIdentity, failover.ErrPartial} {
		if errors.Is(err, unsure) {
			return 3
		}
	}
	// A guard's refusal is of the class Misuse too, and the call was right.
	if resilience.Of(err).Class == resilience.Misuse && !errors.Is(err, edr.ErrGuard) {
		return 2
	}
	if err != nil {
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o := options{clouds: twin.Config{Hosts: 20, ActionTime: agentTime}}
	flags := flag.NewFlagSet("contain", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, `Usage: contain [flags] contain|release|status HOST...
       contain [flags] ledger|sweep
       contain [flags] [demo]

  contain   cut hosts off, each at one vendor; -dry-run tells at which, and does nothing
  release   let hosts go, at every vendor that holds them
  status    who knows a host, and who holds it
  ledger    what is held, or owed, by what this program did or saw
  sweep     compare the ledger with the vendors, and pay what is owed
  demo      all of it, on simulated clouds one of which dies; the default

HOST is a name, or VENDOR:ID where a name is ambiguous, such as falcon/us-1:0a1b2c.

With -live: FALCON_CLIENT_ID, FALCON_CLIENT_SECRET, FALCON_CLOUD, AZURE_TENANT_ID,
AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.

`)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.intent.ID, "id", "cli-"+time.Now().UTC().Format("20060102T150405"), "the id of the case")
	flags.StringVar(&o.intent.Actor, "actor", "examples/contain", "who wants it")
	flags.StringVar(&o.intent.Reason, "reason", "asked on the command line", "why; the vendors' audit shows it")
	flags.StringVar(&o.state, "state", "", "the directory of the ledger, kept between runs; required with -live, and apart in it without")
	flags.StringVar(&o.audit, "audit", "", "append every effect to this file, as JSON lines")
	flags.StringVar(&o.guard.protect, "protect", "", "never contain hosts of names like this, short or full, such as dc-*")
	flags.IntVar(&o.guard.max, "max", 0, "contain so many hosts an hour at most; 0: any number")
	flags.BoolVar(&o.dryRun, "dry-run", false, "with contain: tell what would be done")
	flags.BoolVar(&o.live, "live", false, "use the real clouds")
	flags.BoolVar(&o.json, "json", false, "print one JSON object on the last line")
	p := &program{out: out, report: report{Simulated: true}}
	if err := flags.Parse(args); err != nil {
		p.o = o
		return errors.Join(usageError{err}, p.finish(err))
	}
	name, hosts := flags.Arg(0), flags.Args()
	if name == "" {
		name = "demo"
	} else {
		hosts = hosts[1:]
	}
	p.o, p.report = o, report{Command: name, Simulated: !o.live}
	do, err := o.command(name, hosts)
	if err != nil {
		return errors.Join(err, p.finish(err))
	}
	if !o.dryRun && (name == "contain" || name == "release" || name == "demo") {
		p.line("INTENT: %s, %s: %s (-actor, -id, -reason)", o.intent.Actor, o.intent.ID, o.intent.Reason)
	}
	err = p.within(ctx, func() error { return do(ctx, p, hosts) })
	return errors.Join(err, p.finish(err))
}
