package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

type scenario struct {
	name     string
	sickness sickness
}

var scenarios = []scenario{
	{"refuse", refuse},
	{"blackhole", blackhole},
	{"503", unavailable},
	{"slow", slow},
	{"flaky", flaky},
	{"healthy", nil},
}

func names() string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

func choose(name string) ([]scenario, error) {
	if name == "all" {
		return scenarios, nil
	}
	for _, s := range scenarios {
		if s.name == name {
			return []scenario{s}, nil
		}
	}
	return nil, fmt.Errorf("there is no scenario %q: use %s or all", name, names())
}

// course is how one run goes: how long the primary is healthy, sick and healed.
type course struct {
	seed                  uint64
	healthy, sick, healed time.Duration
}

// plan gives every implementation the same course in one repetition, and each
// repetition another: what probes on a fixed beat must not be lucky.
func plan(seed uint64, rep int) course {
	draw := rand.New(rand.NewPCG(seed, uint64(rep)))
	return course{
		seed:    draw.Uint64(),
		healthy: 2 * time.Second,
		sick:    4*time.Second + time.Duration(draw.IntN(21))*bin,
		healed:  3 * time.Second,
	}
}
