package main

import (
	"context"
	"time"
)

// The bounds that every implementation is given.
const (
	attemptTimeout = 250 * time.Millisecond
	totalTimeout   = 2 * time.Second
	openFor        = time.Second
)

// What the peers are given besides. Jurymast keeps its defaults here.
const (
	retries     = 2
	firstDelay  = 20 * time.Millisecond
	maxDelay    = time.Second
	jitter      = 0.2
	minCalls    = 20
	failureRate = 0.5
	window      = time.Second
)

// client is one caller's way to an answer: the primary's, or else the backup's.
type client func(context.Context) (source, error)

// impl makes a client for all callers of a run.
type impl struct {
	name string
	new  func(primary, backup *provider) (client, error)
}

var impls = []impl{
	{"jurymast", jurymast},
	{"failsafe-go", failsafeGo},
	{"by-hand", byHand},
}
