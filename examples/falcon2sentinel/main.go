// Falcon2sentinel brings Falcon's event stream to Microsoft Sentinel, and loses
// nothing: package failover/siem with a Falcon source, a spool on disk and a data
// collection rule as sink.
//
// Without -live and without an address it runs on a simulated Falcon and a simulated
// Azure Monitor in this process, and takes the sink down for a while. With -falcon-url,
// -azure-authority and -ingest-url it talks to any servers that speak the protocols.
//
// It exits with 0 if all is delivered, 1 if something failed or is missing, and 2 if
// it was called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "falcon2sentinel:", err)
	}
	os.Exit(exitCode(err))
}

// options are the command line.
type options struct {
	falconURL, authority, ingestURL, ca string
	rule, tables, stream, appID         string
	state                               string
	events                              int
	every, outage                       time.Duration
	live, json                          bool
}

// given reports whether the user names servers.
func (o *options) given() bool { return o.falconURL != "" || o.authority != "" || o.ingestURL != "" }

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if _, usage := errors.AsType[usageError](err); usage {
		return 2
	}
	return 1
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("falcon2sentinel", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, `Usage: falcon2sentinel [flags]

Brings Falcon's event stream to a Log Analytics workspace: on simulated clouds, or with
-live, or with the addresses of servers that speak the protocols.

With -live: FALCON_CLIENT_ID, FALCON_CLIENT_SECRET, FALCON_CLOUD, AZURE_TENANT_ID,
AZURE_CLIENT_ID and AZURE_CLIENT_SECRET. With addresses those are used if they are set,
and the simulators' otherwise. The directory azure has a template of the tables and the
data collection rule.

`)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.live, "live", false, "use the real clouds; needs -ingest-url and -rule")
	flags.StringVar(&o.falconURL, "falcon-url", "", "the address of Falcon's API")
	flags.StringVar(&o.authority, "azure-authority", "", "the address of Entra ID")
	flags.StringVar(&o.ingestURL, "ingest-url", "", "the address of the logs ingestion endpoint")
	flags.StringVar(&o.ca, "ca", "", "a PEM file with the certificates to trust, instead of the system's")
	flags.StringVar(&o.rule, "rule", "", "the immutable id of the data collection rule; default the simulator's")
	flags.StringVar(&o.tables, "tables", "", "sentinel: those of the template in the directory azure, with Microsoft's columns for alerts; events: one, with the events as they are; default sentinel, and events with addresses")
	flags.StringVar(&o.stream, "stream", "Custom-FalconEvents_CL", "with -tables events: the rule's stream")
	flags.StringVar(&o.appID, "app-id", "jurymast", "the name under which Falcon's stream is read")
	flags.StringVar(&o.state, "state", "", "the directory of spool, state and dead letters; required but on simulated clouds")
	flags.IntVar(&o.events, "events", 0, "stop when so many are delivered, since -state was new; default 2,000 on simulated clouds, otherwise never")
	flags.DurationVar(&o.every, "every", 2*time.Millisecond, "simulated: the time between two events")
	flags.DurationVar(&o.outage, "outage", time.Second, "simulated: how long the sink is down")
	flags.BoolVar(&o.json, "json", false, "print one JSON object on the last line")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if err := o.check(flags.Args()); err != nil {
		return usageError{err}
	}
	return (&program{o: o, out: out}).run(ctx)
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.events < 0 || o.every < 0 || o.outage < 0:
		return errors.New("-events, -every and -outage must not be negative")
	case o.live && (o.ingestURL == "" || o.rule == ""):
		return errors.New("-live needs -ingest-url and -rule, as the template in the directory azure prints them")
	case !o.live && o.given() && (o.falconURL == "" || o.authority == "" || o.ingestURL == ""):
		return errors.New("-falcon-url, -azure-authority and -ingest-url go together")
	case (o.live || o.given()) && o.state == "":
		return errors.New("-state is missing: name a directory for what must outlive a crash")
	}
	switch o.tables {
	case "sentinel", "events":
	case "":
		if o.tables = "sentinel"; !o.live && o.given() {
			o.tables = "events"
		}
	default:
		return fmt.Errorf("-tables %q: want sentinel or events", o.tables)
	}
	if o.events == 0 && !o.live && !o.given() {
		o.events = 2000
	}
	return nil
}
