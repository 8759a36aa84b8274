package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/resilience"
)

// callTotal bounds one request: the fleet answers within it, whatever the vendors do.
const callTotal = 30 * time.Second

type config struct {
	falcon falcon.Config
	azure  azure.Config
	state  string // directory of the ledger
	log    *slog.Logger
	guards edr.Guards // before every containment
	// reconcile is how long a lost answer is read back. Default: the fleet's.
	reconcile time.Duration
}

// app is everything that is open while the service runs.
type app struct {
	handler http.Handler
	log     *slog.Logger
	closers []func(context.Context) error // in the order in which they were opened
}

// start opens the ledger, the metrics and both clients, keeps their tokens warm (the
// backup's too, so that a failover does not begin with a login) and the ledger true. It
// needs no vendor to be up.
func start(cfg config) (_ *app, err error) {
	a := &app{log: cfg.log}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(context.Background()))
		}
	}()

	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	a.closers = append(a.closers, meters.Shutdown)

	store, err := kv.Open(cfg.state)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, func(context.Context) error { return store.Close() })

	cfg.falcon.Logger, cfg.falcon.Policy.MeterProvider = cfg.log, meters
	fc, err := falcon.New(cfg.falcon)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, fc.Close)

	cfg.azure.Logger, cfg.azure.Policy.MeterProvider = cfg.log, meters
	az, err := azure.New(cfg.azure)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, az.Close)

	fleet, err := edr.New(edr.Config{
		Drivers: []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(az)}, // in order of preference
		Store:   store, Total: callTotal, ReconcileFor: cfg.reconcile, Logger: cfg.log, MeterProvider: meters,
		Guards: cfg.guards,
	})
	if err != nil {
		return nil, err
	}

	ctx, stop := context.WithCancel(context.Background())
	var warm sync.WaitGroup
	warm.Go(func() { _ = fc.Run(ctx) }) // ends with ctx's error
	warm.Go(func() { _ = az.Run(ctx) })
	warm.Go(func() { _ = fleet.Run(ctx) }) // pays what is owed, settles what is unknown
	a.closers = append(a.closers, func(context.Context) error { stop(); warm.Wait(); return nil })

	s := &service{
		fleet: fleet, log: cfg.log,
		policies: map[string]*resilience.Policy{fc.Name(): fc.Policy(), az.Defender.Name(): az.Defender.Policy()},
	}
	a.handler = s.routes(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return a, nil
}

// close closes what start opened, the last first, within five seconds even if
// ctx has ended.
func (a *app) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var errs []error
	for _, c := range slices.Backward(a.closers) {
		errs = append(errs, c(ctx))
	}
	return errors.Join(errs...)
}
