package siem

import "context"

type Lease struct{}

func (l *Lease) delivered(feed string) (uint64, bool) { return 0, false }

func (l *Lease) hold(ctx context.Context, run func(context.Context) error) error { return run(ctx) }
