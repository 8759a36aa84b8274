// Officialsdk is for programs that already use gofalcon or the Azure SDK. It
// puts gofalcon's own services, and a client built on azcore, under Jurymast's
// policies and tokens, makes both clouds fail, and shows that the official
// clients keep working, or fail with an error that says whether anything was
// sent. It exits non-zero if the clouds' own records say otherwise.
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
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/falcon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "officialsdk:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("officialsdk", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), `Usage: officialsdk [-json] [-live]

Officialsdk runs gofalcon's services and an azcore client under Jurymast's policies and
tokens, against two simulated clouds that fail, and checks what was sent and what was not.
With -live it reads the real clouds instead, with FALCON_CLIENT_ID, FALCON_CLIENT_SECRET,
FALCON_CLOUD, AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.

`)
		flags.PrintDefaults()
	}
	asJSON := flags.Bool("json", false, "print one JSON object on the last line")
	live := flags.Bool("live", false, "read the real clouds; nothing can be changed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	mode := simulated
	if *live {
		mode = readLive
	}
	report, err := mode(ctx, out)
	if *asJSON && report != nil {
		line, jsonErr := json.Marshal(report)
		if jsonErr != nil {
			return jsonErr
		}
		fmt.Fprintln(out, string(line))
	}
	return err
}

// liveReport is what the real clouds answered.
type liveReport struct {
	Mode     string `json:"mode"`
	Hosts    int64  `json:"hosts"`
	Groups   int64  `json:"host_groups"`
	Machines int    `json:"machines_on_first_page"`
}

// readLive reads a little of everything. The clients are read-only: whatever
// changes something is refused before it leaves, by the official clients too.
func readLive(ctx context.Context, out io.Writer) (_ any, err error) {
	fcfg, err1 := falcon.ConfigFromEnv()
	acfg, err2 := azure.ConfigFromEnv()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	fcfg.ReadOnly, acfg.ReadOnly = true, true
	o, err := newOfficial(fcfg, acfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close(ctx)) }()

	r := &liveReport{Mode: "live"}
	fmt.Fprintln(out, "LIVE: reading the real clouds, read-only")
	if r.Hosts, err = o.countHosts(ctx); err != nil {
		return nil, explained("gofalcon hosts", err)
	}
	if r.Groups, err = o.countGroups(ctx); err != nil {
		return nil, explained("gofalcon host_group", err)
	}
	if r.Machines, err = o.defender.machines(ctx); err != nil {
		return nil, explained("azcore Defender", err)
	}
	fmt.Fprintf(out, "gofalcon: %d hosts, %d host groups; azcore: %d machines on Defender's first page\n", r.Hosts, r.Groups, r.Machines)
	return r, nil
}

// close gives the clients five seconds, even if ctx has ended.
func (o *official) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(o.falcon.Close(ctx), o.azure.Close(ctx))
}
