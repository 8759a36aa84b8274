package siem

import "context"

// watch knows how often each source speaks.
type watch struct{}

func newWatch() *watch { return &watch{} }

func (w *watch) event(source string, e *Event)   {}
func (w *watch) heard(feed string)               {}
func (w *watch) failed(source string, err error) {}
func (w *watch) run(ctx context.Context) error   { <-ctx.Done(); return context.Cause(ctx) }
