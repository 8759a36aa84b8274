package resilience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Config sets up a [Policy]. The zero value is a production default.
type Config struct {
	// Attempt bounds one attempt. Default 10 s; negative means unbounded.
	Attempt time.Duration
	// Total bounds the whole call: waiting in the queue, all attempts and the
	// delays between them. Default 30 s; negative means only the caller's context.
	Total time.Duration
	// Concurrency bounds the calls under way; further ones wait inside their
	// deadline. Default 256; negative means unbounded.
	Concurrency int
	Retry       Retry
	Breaker     Breaker
	// Quota, if not nil, is asked before every attempt. Policies that spend the
	// same vendor quota share one (see [QuotaSet]).
	Quota *Quota
	// Probe, if not nil, is a cheap read of the dependency for [Policy.Run], which
	// makes it while the breaker is open. A nil error, or any answer that does not
	// count against the breaker, is a sign of life.
	Probe func(context.Context) error
	// OnStateChange, if not nil, hears every change of the breaker, in order and
	// outside its lock. It must not block for long, because calls wait for it; if it
	// panics, Logger hears of it.
	OnStateChange func(StateChange)

	TracerProvider trace.TracerProvider // default: the global one
	MeterProvider  metric.MeterProvider // default: the global one
	Logger         *slog.Logger         // default: discards
}

// Policy guards one dependency. It is safe for concurrent use, holds no
// goroutine and no timer, and needs no closing.
type Policy struct {
	name     string
	cfg      Config
	limit    limit
	budget   budget
	breaker  *breaker
	seen     operations
	failures failures
	metrics  *instruments
	tracing  tracing
}

// New returns a policy for the dependency called name, which appears in errors
// and metrics. An inconsistent Config is refused with an error that names the
// fields.
func New(name string, cfg Config) (*Policy, error) {
	if name == "" {
		return nil, errors.New("resilience: the policy needs a name")
	}
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("resilience: policy %s: %w", name, err)
	}
	p := &Policy{name: name, cfg: cfg, limit: newLimit(cfg.Concurrency)}
	p.budget.init(cfg.Retry.Budget)
	p.tracing = newTracing(cfg.TracerProvider)
	p.breaker = newBreaker(cfg.Breaker, cfg.Attempt/2, p.stateChanged)
	meters := cfg.MeterProvider
	if meters == nil {
		meters = otel.GetMeterProvider()
	}
	var err error
	if p.metrics, err = newInstruments(name, meters); err != nil {
		return nil, fmt.Errorf("resilience: policy %s: MeterProvider: %w", name, err)
	}
	if err := p.observe(meters); err != nil {
		return nil, fmt.Errorf("resilience: policy %s: MeterProvider: %w", name, err)
	}
	return p, nil
}

// Inherit fills what c leaves open of logger and telemetry from parent: the
// policies of one client report to the same place.
func (c Config) Inherit(parent Config) Config {
	def(&c.Logger, parent.Logger)
	def(&c.TracerProvider, parent.TracerProvider)
	def(&c.MeterProvider, parent.MeterProvider)
	return c
}

// Name returns the name of the dependency.
func (p *Policy) Name() string { return p.name }

// State returns the breaker's state.
func (p *Policy) State() State { return p.breaker.state() }

func (p *Policy) stateChanged(c StateChange) {
	c.Policy = p.name
	level := slog.LevelInfo
	if c.To == Opened {
		level = slog.LevelWarn
	}
	p.cfg.Logger.Log(context.Background(), level, "breaker "+c.To.String(), string(keyPolicy), p.name,
		string(keyBreakerState), c.To.String(), string(keyReason), c.Reason)
	if p.cfg.OnStateChange == nil {
		return
	}
	defer func() { // it is heard in the middle of somebody's call
		if v := recover(); v != nil {
			p.cfg.Logger.Error("OnStateChange panicked", string(keyPolicy), p.name, string(keyReason), fmt.Sprint(v))
		}
	}()
	p.cfg.OnStateChange(c)
}

// setDefaults is the only place where defaults are set.
func (c *Config) setDefaults() {
	def(&c.Attempt, 10*time.Second)
	def(&c.Total, 30*time.Second)
	def(&c.Concurrency, 256)
	def(&c.Retry.Attempts, 3)
	def(&c.Retry.Base, 250*time.Millisecond)
	def(&c.Retry.Max, 5*time.Second)
	def(&c.Retry.Budget, 0.2)
	def(&c.Breaker.Window, max(10*time.Second, 2*c.Attempt))
	def(&c.Breaker.MinCalls, 20)
	def(&c.Breaker.FailureRate, 0.5)
	def(&c.Breaker.LastFailed, 10)
	def(&c.Breaker.OpenFor, 5*time.Second)
	def(&c.Breaker.MaxOpenFor, time.Minute)
	def(&c.Breaker.Probes, 2)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Total > 0 && c.Attempt > c.Total {
		wrong("Attempt (%v) must not exceed Total (%v)", c.Attempt, c.Total)
	}
	if c.Retry.Attempts < 1 {
		wrong("Retry.Attempts is %d: use 1 for no retries", c.Retry.Attempts)
	}
	if c.Retry.Base < 0 || c.Retry.Max < c.Retry.Base {
		wrong("Retry.Max (%v) must be at least Retry.Base (%v), and both positive", c.Retry.Max, c.Retry.Base)
	}
	if c.Total > 0 && c.Retry.worst() > c.Total {
		wrong("the delays of Retry (Attempts %d, Base %v, Max %v) may add up to %v, more than Total (%v)",
			c.Retry.Attempts, c.Retry.Base, c.Retry.Max, c.Retry.worst(), c.Total)
	}
	if !(c.Retry.Budget <= 1) { // also NaN
		wrong("Retry.Budget is %v: it is a share of the calls, at most 1", c.Retry.Budget)
	}
	b := c.Breaker
	if !(b.FailureRate > 0 && b.FailureRate <= 1) { // also NaN
		wrong("Breaker.FailureRate is %v: it is a share, above 0 and at most 1", b.FailureRate)
	}
	if b.MinCalls < 1 || b.Probes < 1 {
		wrong("Breaker.MinCalls (%d) and Breaker.Probes (%d) must be at least 1", b.MinCalls, b.Probes)
	}
	if b.MinCalls > math.MaxInt32 || b.Probes > math.MaxInt32 {
		wrong("Breaker.MinCalls (%d) and Breaker.Probes (%d) must be at most %d", b.MinCalls, b.Probes, math.MaxInt32)
	}
	if b.SlowCall < 0 || c.Attempt > 0 && b.SlowCall >= c.Attempt {
		wrong("Breaker.SlowCall (%v) must be shorter than Attempt (%v), or no call is ever slow, and positive", b.SlowCall, c.Attempt)
	}
	if b.InFlight < 0 {
		wrong("Breaker.InFlight is %d: use 0 for no such rule", b.InFlight)
	}
	if b.InFlight > 0 && c.Attempt < 0 {
		wrong("Breaker.InFlight (%d) needs Attempt, which is unbounded", b.InFlight)
	}
	if b.InFlight > 0 && c.Concurrency > 0 && b.InFlight > c.Concurrency {
		wrong("Breaker.InFlight (%d) must not exceed Concurrency (%d), or it is never reached", b.InFlight, c.Concurrency)
	}
	if b.LastFailed > lastCalls {
		wrong("Breaker.LastFailed is %d: it counts among the last %d calls", b.LastFailed, lastCalls)
	}
	if b.OpenFor < 0 || b.MaxOpenFor < b.OpenFor {
		wrong("Breaker.MaxOpenFor (%v) must be at least Breaker.OpenFor (%v), and both positive", b.MaxOpenFor, b.OpenFor)
	}
	if b.Window < time.Second || b.Window < 2*c.Attempt {
		wrong("Breaker.Window (%v) must be at least 1s and twice Attempt (%v), or a timeout leaves it before the next one comes", b.Window, c.Attempt)
	}
	return errors.Join(errs...)
}
