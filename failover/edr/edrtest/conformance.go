// Package edrtest tests drivers of package edr, and what is built on them.
//
// [Conformance] is the suite that every driver passes, a third party's too: it plays
// the vendor's side through a [Vendor], whose functions make the vendor fail, lose an
// answer, or hang, and tell what was really carried out. [Fake] is a vendor in memory
// for unit tests of code that contains hosts.
package edrtest

import (
	"runtime/debug"
	"testing"
	"testing/synctest"

	"github.com/jurymast/jurymast/failover/edr"
)

// Vendor is a driver, and what the suite needs to play the other side of it. Driver
// and Hosts are required; a function that is nil skips the checks that need it.
//
// The functions that break something return what heals it, and are never in force
// together. They are called by the goroutine of the test.
type Vendor struct {
	Driver edr.Driver
	// Hosts are two that exist, are not held, and have names that differ. Of their
	// records the suite uses ID, Hostname, and FQDN, which may be empty.
	Hosts [2]edr.Record

	// Down makes every call fail before the vendor does anything: a refused
	// connection, a 503 from a gateway that says so.
	Down func() (heal func())
	// LoseAnswers lets the vendor carry out isolations, releases and scans, and loses
	// the answers. Reads are answered.
	LoseAnswers func() (heal func())
	// Hang makes every call wait, reads too, until its context ends.
	Hang func() (heal func())
	// Contain isolates a host behind the API's back, as an analyst does in the console.
	Contain func(id string)
	// Held is the truth: whether the host is cut off at this moment.
	Held func(id string) bool
	// Effects is what the vendor carried out on the host because its API was asked to,
	// one that was already so included.
	Effects func(id string) Effects
}

// Conformance runs the suite that every driver has to pass. new makes a vendor for each
// check; it cleans up by t.Cleanup. The checks run in real time, in which an isolation
// has half a minute to be carried out; see ConformanceInBubble.
func Conformance(t *testing.T, new func(t *testing.T) Vendor) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.on(t, func() Vendor { return new(t) }) })
	}
}

// ConformanceInBubble is Conformance with each check in a bubble of testing/synctest,
// for vendors that need no socket: time is virtual there, so that nothing is waited
// for, and a goroutine that is left behind fails the check.
func ConformanceInBubble(t *testing.T, new func(t *testing.T) Vendor) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.on(t, func() Vendor { return new(t) }) })
		})
	}
}

// check is one promise of package edr's interfaces.
type check struct {
	name string
	run  func(*bench)
}

func (c check) on(t testing.TB, vendor func() Vendor) {
	t.Helper()
	defer func() { // one check's, and the others go on
		if p := recover(); p != nil {
			t.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	v := vendor()
	if v.Driver.Find == nil || v.Driver.Isolate == nil || v.Hosts[0].ID == "" || v.Hosts[1].ID == "" || v.Hosts[0].ID == v.Hosts[1].ID {
		t.Fatalf("Vendor: Driver.Find, Driver.Isolate and two Hosts of different IDs are required")
	}
	c.run(&bench{TB: t, Vendor: v, again: vendor})
}

var checks = []check{
	{"the provider's id is there and stays the same", providerIsStable},
	{"a fleet takes the driver and its limits", fleetTakesIt},
	{"a host is found by its name in either case", foundByName},
	{"a host is found by its full name", foundByFullName},
	{"an unknown name yields nothing", unknownName},
	{"the empty query yields every host once", allHosts},
	{"a host is found by its id", foundByID},
	{"an unknown id yields nothing and no error", unknownID},
	{"a list that is broken off ends", brokenOff},
	{"a list that fails ends with one error", listFails},
	{"a state that cannot be read is an error", stateFails},
	{"the state of a record is the state of the host", stateOfRecords},

	{"isolate holds this host and no other", isolateHolds},
	{"isolate again is already so and sends nothing", isolateTwice},
	{"isolate that fails before sending is not sent", isolateNotSent},
	{"isolate whose answer is lost may have been sent, and once", isolateLost},
	{"isolate of an unknown id fails, and says that nothing was done", isolateUnknown},
	{"release lets the host go", releaseLetsGo},
	{"release again is already so and sends nothing", releaseTwice},
	{"release of a host that was never held sends nothing", releaseNeverHeld},
	{"release that fails before sending is not sent", releaseNotSent},
	{"release whose answer is lost may have been sent, and once", releaseLost},
	{"release during an isolation leaves the host free", releaseDuringIsolation},
	{"a containment made elsewhere is seen and can be undone", madeElsewhere},

	{"held lists exactly the hosts that are held", heldIsExact},
	{"held that fails ends with one error", heldFails},
	{"probe tells whether the vendor works", probeTells},
	{"scan is asked for once", scanOnce},
	{"scan that fails before sending is not sent", scanNotSent},
	{"scan whose answer is lost may have been sent, and once", scanLost},

	{"a context that has ended stops every call before it is sent", canceled},
	{"a vendor that hangs is left when the context ends", hangs},
	{"calls at the same time do not disturb each other", concurrent},
	{"no goroutine is left behind", noGoroutines},
}
