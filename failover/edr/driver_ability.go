package edr

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jurymast/jurymast/resilience"
)

// Ability is an ability that a driver may lack, for [Config].Require.
type Ability string

// The abilities. To find and to isolate hosts is required of every driver.
const (
	AbilityHeld  Ability = "held"  // Driver.Held
	AbilityProbe Ability = "probe" // Driver.Probe
	AbilityScan  Ability = "scan"  // Driver.Scan
)

// ErrUnsupported is matched by the gap of a vendor that lacks an ability.
var ErrUnsupported = errors.New("unsupported")

// unsupportedError is a vendor that lacks an ability. Nothing was sent.
type unsupportedError struct {
	provider string
	ability  Ability
}

func (e *unsupportedError) Error() string {
	return fmt.Sprintf("%v: the driver of %s has no ability %q", ErrUnsupported, e.provider, e.ability)
}

func (e *unsupportedError) Is(target error) bool { return target == ErrUnsupported }

func (e *unsupportedError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Misuse, Sent: resilience.NotSent}
}

// has reports whether a driver has an ability.
func (d Driver) has(a Ability) bool {
	switch a {
	case AbilityHeld:
		return d.Held != nil
	case AbilityProbe:
		return d.Probe != nil
	case AbilityScan:
		return d.Scan != nil
	}
	return false
}

// checkAbilities finds the driver that lacks what is required.
func checkAbilities(drivers []Driver, required []Ability) error {
	all := []Ability{AbilityHeld, AbilityProbe, AbilityScan}
	for i, a := range required {
		if !slices.Contains(all, a) {
			return fmt.Errorf("edr: Config.Require[%d] is %q: want some of %q", i, a, all)
		}
		for k, d := range drivers {
			if !d.has(a) {
				return fmt.Errorf("edr: Config.Drivers[%d] (%s) lacks the ability %q that Config.Require names: leave the driver out, or do not require it", k, d.Provider, a)
			}
		}
	}
	return nil
}
