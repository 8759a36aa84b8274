package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// source is the provider that answered.
type source uint8

const (
	nobody source = iota
	fromPrimary
	fromBackup
)

// provider is one vendor's API as a client sees it: it takes its time and gives
// an answer, unless it is sick.
type provider struct {
	me               source
	fastest, slowest time.Duration
	seed             uint64
	sickness         sickness // nil: never sick

	sick     atomic.Bool
	requests atomic.Uint64
}

// newPrimary takes 10-12 ms.
func newPrimary(seed uint64, s sickness) *provider {
	return &provider{me: fromPrimary, fastest: 10 * time.Millisecond, slowest: 12 * time.Millisecond, seed: seed, sickness: s}
}

// newBackup takes 15-18 ms, so that it is worth being with the primary.
func newBackup(seed uint64) *provider {
	return &provider{me: fromBackup, fastest: 15 * time.Millisecond, slowest: 18 * time.Millisecond, seed: seed + 1}
}

// read is a request to the provider, or a connection that it refused.
func (p *provider) read(ctx context.Context) (source, error) {
	// The nth request draws the same numbers whoever sends it.
	draw := rand.New(rand.NewPCG(p.seed, p.requests.Add(1)))
	took := p.fastest + time.Duration(draw.Int64N(int64(p.slowest-p.fastest)))
	if p.sickness != nil && p.sick.Load() {
		return p.sickness(ctx, p, draw, took)
	}
	return p.serve(ctx, took)
}

func (p *provider) serve(ctx context.Context, took time.Duration) (source, error) {
	t := time.NewTimer(took)
	defer t.Stop()
	select {
	case <-t.C:
		return p.me, nil
	case <-ctx.Done():
		return nobody, context.Cause(ctx)
	}
}

// sickness is what becomes of a request while the provider is sick.
type sickness func(ctx context.Context, p *provider, draw *rand.Rand, took time.Duration) (source, error)

func refuse(context.Context, *provider, *rand.Rand, time.Duration) (source, error) {
	return nobody, fmt.Errorf("GET https://vendor/: %w",
		&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
}

func blackhole(ctx context.Context, _ *provider, _ *rand.Rand, _ time.Duration) (source, error) {
	<-ctx.Done()
	return nobody, context.Cause(ctx)
}

func unavailable(context.Context, *provider, *rand.Rand, time.Duration) (source, error) {
	return nobody, statusError(503)
}

func slow(ctx context.Context, p *provider, _ *rand.Rand, took time.Duration) (source, error) {
	return p.serve(ctx, 10*took)
}

func flaky(ctx context.Context, p *provider, draw *rand.Rand, took time.Duration) (source, error) {
	if draw.IntN(10) == 0 {
		return nobody, statusError(503)
	}
	return p.serve(ctx, took)
}

// statusError is an answer with an HTTP status. As a vendor's package would, it
// tells Jurymast its class.
type statusError int

func (e statusError) Error() string               { return fmt.Sprintf("HTTP %d", int(e)) }
func (e statusError) Failure() resilience.Failure { return resilience.OfStatus(int(e)) }
