package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
)

// program is one run.
type program struct {
	out    io.Writer
	o      options
	report report
	fleet  *edr.Fleet
	clouds *twin.Twin // nil with -live
}

// within opens the clients, the ledger and the fleet, runs do, and closes them.
func (p *program) within(ctx context.Context, do func() error) (err error) {
	fc, az, err := p.clients()
	if p.clouds != nil {
		defer p.clouds.Close()
	}
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, fc.Close(closing), az.Close(closing))
	}()
	cfg := edr.Config{
		Drivers: []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(az)}, // in order of preference
		Guards:  p.o.guard.config(),
	}
	dir := p.o.state
	switch {
	case dir == "": // simulated
		if dir, err = os.MkdirTemp("", "contain"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	case !p.o.live:
		// Simulated vendors know nothing of real hosts: a sweep that compared a real
		// ledger with them would take them for released, and forget them.
		dir = filepath.Join(dir, "simulated")
	}
	store, err := kv.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cfg.Store = store
	if p.o.audit != "" {
		file, err := os.OpenFile(p.o.audit, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		cfg.Audit = edr.AuditTo(file, func(r edr.AuditRecord, err error) { p.line("NOT IN THE AUDIT: %+v: %v", r, err) })
	}
	if p.fleet, err = edr.New(cfg); err != nil {
		return err
	}
	err = do()
	debts, debtErr := p.fleet.Debts(context.WithoutCancel(ctx))
	p.report.Owed = len(debts)
	return errors.Join(err, debtErr)
}

// clients are those of the real clouds, or of simulated ones.
func (p *program) clients() (*falcon.Client, *azure.Client, error) {
	fcfg, acfg, err := p.configs()
	if err != nil {
		return nil, nil, err
	}
	fc, err := falcon.New(fcfg)
	if err != nil {
		return nil, nil, err
	}
	az, err := azure.New(acfg)
	return fc, az, err
}

func (p *program) configs() (falcon.Config, azure.Config, error) {
	if !p.o.live {
		return p.simulated()
	}
	fcfg, err1 := falcon.ConfigFromEnv()
	acfg, err2 := azure.ConfigFromEnv()
	p.line("LIVE: the real clouds")
	return fcfg, acfg, errors.Join(err1, err2)
}

// guards are what the command line forbids.
type guards struct {
	protect string
	max     int
}

// check refuses what would guard nothing, or everything.
func (g guards) check() error {
	if _, err := path.Match(g.protect, ""); err != nil {
		return usagef("-protect %s: %w", g.protect, err)
	}
	if g.max < 0 {
		return usagef("-max %d: want a number of hosts, or 0", g.max)
	}
	return nil
}

func (g guards) config() edr.Guards {
	c := edr.Guards{MaxHosts: g.max}
	if g.protect != "" {
		c.Protected = func(h edr.Host) string {
			names := []string{h.Name}
			for _, r := range h.Records { // vendors differ in what they call it
				names = append(names, r.Hostname, r.FQDN)
			}
			for _, name := range names {
				label, _, _ := strings.Cut(name, ".")
				for _, n := range []string{name, label} {
					if ok, err := path.Match(strings.ToLower(g.protect), strings.ToLower(n)); ok || err != nil {
						return "-protect " + g.protect
					}
				}
			}
			return ""
		}
	}
	return c
}
