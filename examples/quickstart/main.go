// Quickstart shows Jurymast's main job. It starts a CrowdStrike and a Microsoft
// cloud in this process, with one fleet of hosts enrolled in both, lets callers
// read host states, makes Falcon go dark in the middle, contains a host all the
// same, and releases it when Falcon is back. It needs no network and no
// credentials, and exits non-zero if anything it promises did not hold.
//
// With -live and credentials in the environment it reads the real clouds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/jurymast/jurymast/failover/twin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), `Usage: quickstart [-json]
       quickstart -live [-host NAME [-yes -state DIR [-release]]]

Without -live: two simulated clouds in this process, one of which dies.
With -live: reads the real clouds, with FALCON_CLIENT_ID, FALCON_CLIENT_SECRET,
FALCON_CLOUD, AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.

`)
		flags.PrintDefaults()
	}
	asJSON := flags.Bool("json", false, "print one JSON object on the last line")
	var l live
	isLive := flags.Bool("live", false, "use the real clouds; read only unless -yes")
	flags.StringVar(&l.host, "host", "", "with -live: show this host's state")
	flags.BoolVar(&l.yes, "yes", false, "with -live and -host: really contain the host")
	flags.BoolVar(&l.release, "release", false, "with -live, -host and -yes: release it instead")
	flags.StringVar(&l.state, "state", "", "with -yes: the directory of the ledger, kept between runs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *isLive {
		return l.run(ctx, out)
	}
	report, err := simulate(ctx, out, twin.Config{Hosts: 200})
	if err != nil {
		return err
	}
	report.table(out)
	if *asJSON {
		line, err := json.Marshal(report)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(line))
	}
	return report.broken()
}
