// The command outage plays the outage of one provider to 200 callers that have
// a second one, and reports what the callers felt and what the sick provider
// was sent: once for Jurymast's policies with their default Config, once for
// failsafe-go and once for gobreaker and backoff by hand.
//
// Each caller makes a call every 100 ms; one whose call took longer makes the
// next at once. The providers live in this process. The primary is healthy for
// 2 s, then sick for 4 to 6 s in the way of the scenario, then healthy for 3 s.
// Every implementation gets the same length of sickness and the same service
// times; the repetitions are interleaved, and medians are reported.
//
//	ok_pct      calls answered, of those that began while the primary was sick
//	p50_ms      their duration; failed calls count too
//	p99_ms      (the table has the worst call too: calls that were under way when the
//	            sickness began do not count)
//	to_primary  requests and refused connections that the sick primary saw
//	to_backup   requests that the backup saw in that time
//	settled_ms  from the first to the tenth of a second of the sickness from which
//	            on callers' p99 stays within twice the backup's own, with at most
//	            1 % errors; a tenth in which nobody could begin a call does not count
//	back_ms     after healing, to the tenth of a second of whose answers more than
//	            90 % are the primary's
//
// A time that never came is null. In the scenario flaky the sick primary fails one
// request in ten with a 503, in healthy none.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "outage:", err)
		}
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("outage", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("scenario", "all", "`name` of the scenario: "+names()+" or all")
	reps := flags.Int("reps", 5, "repetitions of each scenario and implementation; about 10 s each")
	seed := flags.Uint64("seed", 1, "for the service times and the length of the sickness")
	asJSON := flags.Bool("json", false, "one JSON object a line instead of a table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*name)
	if err != nil {
		return err
	}
	if *reps < 1 {
		return fmt.Errorf("-reps is %d, must be at least 1", *reps)
	}

	own := backupP99(ctx, *seed)
	fmt.Fprintf(stderr, "the backup's own p99 is %v\n", own.Round(100*time.Microsecond))
	format := tableWriter
	if *asJSON {
		format = jsonWriter
	}
	out := format(stdout)
	for _, s := range chosen {
		scores := make([][]score, len(impls))
		for rep := range *reps {
			for i, impl := range impls {
				fmt.Fprintf(stderr, "%s %s %d/%d\n", s.name, impl.name, rep+1, *reps)
				r, err := play(ctx, impl, s, plan(*seed, rep))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, impl.name, err)
				}
				scores[i] = append(scores[i], r.score(own))
			}
		}
		for i, impl := range impls {
			if err := out.row(s.name, impl.name, median(scores[i])); err != nil {
				return err
			}
		}
	}
	return out.end()
}
