// Service is a small HTTP service around a fleet: hosts are contained, released
// and looked up over HTTP, whichever of CrowdStrike and Microsoft answers, with
// Prometheus metrics, a durable ledger and errors that say what is known of the
// effect. Without -listen it plays a client against itself while a simulated
// Falcon dies, and exits non-zero if anything it promises did not hold.
//
// It has no authentication: put yours in front before anyone else can reach it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	listen, state string
	live, asJSON  bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, `Usage: service [-json] [-state DIR]
       service -listen ADDR [-state DIR] [-live]

Service contains, releases and shows hosts over HTTP, at whichever vendor answers, and
without -listen it plays a client against itself while one of two simulated clouds dies.
With -live it reads the real clouds, with FALCON_CLIENT_ID, FALCON_CLIENT_SECRET,
FALCON_CLOUD, AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.

`)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.listen, "listen", "", "stay up and serve on this address, such as 127.0.0.1:8080")
	flags.StringVar(&o.state, "state", "", "the directory of the ledger (default: a temporary one, removed at the end)")
	flags.BoolVar(&o.live, "live", false, "with -listen: use the real clouds, read-only")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object on the last line")
	err := flags.Parse(args)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.live && o.listen == "":
		err = errors.New("-live needs -listen ADDR: the service plays only with simulated clouds")
	}
	return o, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	opt, err := parse(args, stderr)
	if err != nil {
		return err
	}
	cfg := config{state: opt.state, log: slog.New(slog.NewJSONHandler(stderr, nil))}
	if cfg.state == "" {
		if cfg.state, err = os.MkdirTemp("", "jurymast-service-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.state)) }()
		fmt.Fprintf(stdout, "the ledger is in %s and will be REMOVED at the end: name a directory with -state to keep it\n", cfg.state)
	}
	var clouds *twin.Twin
	if opt.live {
		fmt.Fprintln(stdout, "LIVE: the real clouds, read-only")
		err = cfg.live()
	} else {
		fmt.Fprintln(stdout, "SIMULATED: a Falcon and a Microsoft cloud in this process")
		clouds, err = cfg.simulated()
	}
	if err != nil {
		return err
	}
	if clouds != nil {
		defer clouds.Close()
	}
	app, err := start(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.close(ctx)) }()

	if opt.listen != "" {
		err = app.serve(ctx, opt.listen, stdout, func(ctx context.Context, _ string) { <-ctx.Done() })
		return errors.Join(err, printJSON(stdout, opt, map[string]bool{"live": opt.live, "stopped": err == nil}))
	}
	r := &report{Mode: "simulated"}
	err = app.serve(ctx, "127.0.0.1:0", stdout, func(ctx context.Context, url string) { r.play(ctx, url, clouds, stdout) })
	err = errors.Join(err, r.broken())
	return errors.Join(err, printJSON(stdout, opt, r))
}

func printJSON(stdout io.Writer, opt options, v any) error {
	if !opt.asJSON {
		return nil
	}
	return json.NewEncoder(stdout).Encode(v)
}

// live makes cfg one for the real clouds. To let the service act, set ReadOnly to
// false, keep the ledger with -state, and put authentication in front.
func (cfg *config) live() error {
	var err1, err2 error
	cfg.falcon, err1 = falcon.ConfigFromEnv()
	cfg.azure, err2 = azure.ConfigFromEnv()
	cfg.falcon.ReadOnly, cfg.azure.ReadOnly = true, true
	return errors.Join(err1, err2)
}

// simulated makes cfg one for two clouds in this process.
func (cfg *config) simulated() (*twin.Twin, error) {
	clouds, err := twin.New(twin.Config{ActionTime: 200 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	// In a real program the defaults are better; here nobody wants to wait.
	quick := resilience.Config{
		Attempt: 2 * time.Second, Total: 5 * time.Second,
		Retry:   resilience.Retry{Base: 20 * time.Millisecond, Max: 100 * time.Millisecond},
		Breaker: resilience.Breaker{OpenFor: 200 * time.Millisecond, MaxOpenFor: 400 * time.Millisecond},
	}
	cfg.falcon = falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1",
		HTTPClient: clouds.Falcon.Client(), Policy: quick,
	}
	cfg.azure = azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: clouds.Azure.Client(), Policy: quick,
	}
	return clouds, nil
}

// serve answers requests while during runs, and then lets those under way end.
func (a *app) serve(ctx context.Context, addr string, stdout io.Writer, during func(ctx context.Context, url string)) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 2 * callTotal, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	serving, failed := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed(srv.Serve(l))
	}()
	fmt.Fprintf(stdout, "listening on http://%s\n", l.Addr())
	during(serving, "http://"+l.Addr().String())

	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTotal+5*time.Second)
	defer cancel()
	err = srv.Shutdown(grace)
	<-ended
	if cause := context.Cause(serving); ctx.Err() == nil && !errors.Is(cause, http.ErrServerClosed) {
		err = errors.Join(err, cause)
	}
	return err
}
