// The command siem takes events from Falcon's event stream to the Logs Ingestion API
// of Microsoft Sentinel, by three programs in turn, and reports what each of them did
// in a second, what it cost, and what it lost:
//
//	jurymast  examples/falcon2sentinel: a durable spool between the two
//	loop      a loop written by hand, without durability: the practical upper bound
//	otel      an OpenTelemetry collector with a persistent queue that is synced; it has
//	          no Falcon source and gets the events as lines over TCP, without TLS; it
//	          posts OTLP without a token and checks no line
//
// Source and sink are in this process and speak the real protocols over TLS on
// loopback. They trust nobody's word: each event has an offset, each row that is
// acknowledged is counted by it, and what has not arrived in the end is lost. The
// contenders are processes of their own, and only theirs is the CPU time and the memory
// that are reported; the rate is wall time, and source and sink work on the same cores.
//
//	events_per_s       between the first event sent and the last that arrived
//	cpu_s_per_million  user and system time of the contender, its start included
//	peak_rss_mb        the highest mark of its resident memory; 0 where there is no /proc.
//	                   The collector maps its queue's file, which counts when it is read
//	lost               events that did not arrive although everything had time to
//	duplicates         rows that arrived again
//	p99_freshness_ms   from an event's creation to its acknowledgement; without -rate
//	                   events are created when the contender takes them
//
// Scenarios (-run):
//
//	throughput   all is well
//	poison       one event is refused with 400 whatever it is sent with
//	kill         kill -9 at a random point under load, and started again: -kills times
//	             (others than jurymast three times). What had been pushed into the
//	             collector's socket is gone with it: no push without a cursor is safe
//	kill-outage  the same in an outage of the sink at 20,000 events a second
//	full         the state is on a disk of 60 MB, which an outage of 12 s at 40,000
//	             events a second fills (needs root)
//	backlog      an outage of -outage at full speed, then the drain
//
// It exits with 1 if Jurymast could not be measured, lost something, delivered what
// never was, or did not set aside exactly the poison event.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is what the flags say.
type bench struct {
	partitions, events int
	rate               float64
	kills, reps        int
	seed               uint64
	outage, settle     time.Duration
	templates          []template
	stderr             io.Writer
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.stderr, format+"\n", args...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "siem:", err)
		os.Exit(2)
	case !ok:
		os.Exit(1)
	}
}

// run measures; ok says that Jurymast kept its promises.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (ok bool, err error) {
	b := &bench{stderr: stderr}
	flags := flag.NewFlagSet("siem", flag.ContinueOnError)
	flags.SetOutput(stderr)
	chosen := flags.String("run", "throughput,poison", "`scenarios`: throughput, kill, kill-outage, poison, full, backlog")
	who := flags.String("contenders", "loop,otel,jurymast", "`names`, in the order in which they are measured")
	flags.IntVar(&b.partitions, "partitions", 2, "of the event stream")
	flags.IntVar(&b.events, "events", 500_000, "of all partitions together, at most")
	flags.Float64Var(&b.rate, "rate", 0, "events a `second`; 0: as fast as they are taken")
	flags.IntVar(&b.kills, "kills", 50, "in each of the scenarios kill and kill-outage")
	flags.IntVar(&b.reps, "reps", 1, "of the throughput, interleaved; the median rate is reported")
	flags.Uint64Var(&b.seed, "seed", 1, "of the events and of the points at which contenders are killed")
	flags.DurationVar(&b.outage, "outage", 30*time.Second, "of the backlog")
	flags.DurationVar(&b.settle, "settle", 15*time.Second, "how long nothing may move before the rest counts as lost; for jurymast at least a minute")
	asJSON := flags.Bool("json", false, "end with one JSON object instead of a table")
	all := []*contender{loopContender(), otelContender(), jurymastContender()}
	for _, c := range all {
		flags.StringVar(&c.bin, c.name, "", "`program` to run as "+c.name+" instead of building it")
	}
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	switch {
	case b.partitions < 1 || b.partitions > maxPartitions:
		return false, fmt.Errorf("-partitions is %d: want 1 to %d", b.partitions, maxPartitions)
	case b.events < 1000 || b.events > b.partitions*perPartition:
		return false, fmt.Errorf("-events is %d: want 1,000 to %d", b.events, b.partitions*perPartition)
	case b.kills < 1 || b.reps < 1 || b.rate < 0:
		return false, errors.New("-kills and -reps must be at least 1, -rate must not be negative")
	}
	contenders, err := pick(*who, all, func(c *contender) string { return c.name })
	if err != nil {
		return false, fmt.Errorf("-contenders: %w", err)
	}
	todo, err := pick(*chosen, scenarios, func(s scenario) string { return s.name })
	if err != nil {
		return false, fmt.Errorf("-run: %w", err)
	}

	dir, err := os.MkdirTemp("", "siem-bin-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, c := range contenders {
		b.say("building %s", c.name)
		if c.build(ctx, dir); c.err != nil {
			b.say("%s: %v", c.name, c.err)
		}
	}
	b.say("seed %d", b.seed)
	b.templates = newTemplates(8192, b.seed)
	report := newReport(b)
	for _, s := range todo {
		if err := b.scenario(ctx, s, contenders, report); err != nil {
			return false, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	report.judge(contenders)
	return len(report.Failures) == 0, report.write(stdout, *asJSON)
}

// scenario plays one for all contenders.
func (b *bench) scenario(ctx context.Context, s scenario, contenders []*contender, report *report) error {
	reps := 1
	if s.name == "throughput" {
		reps = b.reps
	}
	runs := map[string][]outcome{}
	for rep := range reps {
		for _, c := range contenders {
			why := s.skip(c)
			switch {
			case c.err != nil:
				runs[c.name] = []outcome{{Error: c.err.Error()}}
				continue
			case why != "":
				continue
			}
			b.say("%s %s %d/%d", s.name, c.name, rep+1, reps)
			o, err := s.run(ctx, b, c)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				o.Error = err.Error()
			}
			runs[c.name] = append(runs[c.name], o)
		}
	}
	for _, c := range contenders {
		if all := runs[c.name]; len(all) > 0 {
			report.add(s.name, c.name, all)
		}
	}
	return nil
}

// pick finds what a list of names is about.
func pick[T any](list string, all []T, name func(T) string) (out []T, err error) {
	for want := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(v T) bool { return name(v) == strings.TrimSpace(want) })
		if i < 0 {
			return nil, fmt.Errorf("there is no %q", want)
		}
		out = append(out, all[i])
	}
	return out, nil
}
