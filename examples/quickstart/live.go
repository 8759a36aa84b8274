package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/falcon"
)

// live is what was asked of the real clouds.
type live struct {
	host    string
	yes     bool
	release bool
	state   string
}

func (l live) check() error {
	switch {
	case (l.yes || l.release) && l.host == "":
		return errors.New("-yes and -release need -host NAME: nothing is contained without a name")
	case l.release && !l.yes:
		return errors.New("-release needs -yes")
	case l.yes && l.state == "":
		return errors.New("-yes needs -state DIR: the ledger of what was contained must outlive this program")
	}
	return nil
}

func (l live) run(ctx context.Context, out io.Writer) (err error) {
	if err := l.check(); err != nil {
		return err
	}
	fcfg, err1 := falcon.ConfigFromEnv()
	acfg, err2 := azure.ConfigFromEnv()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	fcfg.ReadOnly, acfg.ReadOnly = !l.yes, !l.yes
	fc, err := falcon.New(fcfg)
	if err != nil {
		return err
	}
	az, err := azure.New(acfg)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, fc.Close(closing), az.Close(closing))
	}()
	cfg := edr.Config{Drivers: []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(az)}, Volatile: true}
	if l.yes {
		store, err := kv.Open(l.state)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		cfg.Store = store
	}
	fleet, err := edr.New(cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "LIVE: %v, read only: %v\n", fleet.Providers(), !l.yes)
	if l.host == "" {
		return l.list(ctx, out, fleet)
	}
	return l.one(ctx, out, fleet)
}

func (l live) list(ctx context.Context, out io.Writer, fleet *edr.Fleet) error {
	res, err := fleet.Hosts(ctx)
	for _, gap := range res.Gaps {
		fmt.Fprintln(out, "missing:", gap)
	}
	if err != nil {
		return err
	}
	both := 0
	for _, h := range res.Value {
		if len(h.Records) > 1 {
			both++
		}
	}
	fmt.Fprintf(out, "%d hosts; %d of them are enrolled in both and can fail over\n", len(res.Value), both)
	return nil
}

func (l live) one(ctx context.Context, out io.Writer, fleet *edr.Fleet) error {
	q := edr.Hostname(l.host)
	found, err := fleet.Find(ctx, q)
	if err != nil {
		return err
	}
	for _, r := range found.Value.Records {
		fmt.Fprintf(out, "%s %s: %s, last seen %s, %v\n", r.Provider, r.ID, r.Hostname, r.LastSeen.Format(time.RFC3339), r.State)
	}
	if !l.yes {
		fmt.Fprintln(out, "read only: add -yes and -state DIR to contain it")
		return nil
	}
	intent := edr.Intent{ID: "quickstart-" + time.Now().UTC().Format("20060102T150405"), Actor: "quickstart", Reason: "asked on the command line"}
	do := fleet.Contain
	if l.release {
		do = fleet.Release
	}
	res, err := do(ctx, q, intent)
	for _, gap := range res.Gaps {
		fmt.Fprintln(out, "missing:", gap)
	}
	fmt.Fprintf(out, "%v by %s\n", res.Value.Outcome, res.By())
	return err
}
