package edrtest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/edr/edrtest"
)

// quarantine is the code under test: it contains a host and says to whom to turn.
func quarantine(ctx context.Context, fleet *edr.Fleet, host, ticket string) string {
	res, err := fleet.Contain(ctx, edr.Hostname(host), edr.Intent{ID: ticket, Actor: "playbook", Reason: "malware"})
	switch {
	case errors.Is(err, edr.ErrUnknownOutcome):
		return fmt.Sprintf("%s may be contained: look at %v", host, res.Value.Holding())
	case err != nil:
		return host + " is not contained: call somebody"
	}
	return fmt.Sprintf("%s contained by %v", host, res.Value.Holding())
}

// A unit test of code that contains a host over two vendors: the first is down, then
// both are.
func ExampleFake() {
	// The serial number says that both vendors mean one machine.
	a := edrtest.NewFake("a", edr.Record{ID: "a-17", Hostname: "ws-042", Serial: "5CD0421"})
	b := edrtest.NewFake("b", edr.Record{ID: "b-99", Hostname: "ws-042", Serial: "5CD0421"})
	fleet, err := edr.New(edr.Config{Drivers: []edr.Driver{a.Driver(), b.Driver()}, Volatile: true})
	if err != nil {
		log.Fatal(err)
	}
	a.Down()
	fmt.Println(quarantine(context.Background(), fleet, "ws-042", "case-1"))
	fmt.Println("held:", a.Held("a-17"), b.Held("b-99"), "effects:", a.Effects("a-17").Isolated, b.Effects("b-99").Isolated)

	b.Release("b-99") // an analyst, in the console
	b.Down()
	fmt.Println(quarantine(context.Background(), fleet, "ws-042", "case-2"))
	// Output:
	// ws-042 contained by [b]
	// held: false true effects: 0 1
	// ws-042 is not contained: call somebody
}

// A third party's driver runs the suite in a test of its own; of a vendor that can be
// simulated, the suite wants to know what goes wrong and what was carried out.
func ExampleConformance() {
	_ = func(t *testing.T) { // TestConformance
		edrtest.Conformance(t, func(t *testing.T) edrtest.Vendor {
			vendor := edrtest.NewFake("acme", edr.Record{ID: "1", Hostname: "ws-001"}, edr.Record{ID: "2", Hostname: "ws-002"})
			return edrtest.Vendor{
				Driver: vendor.Driver(), // acme.EDR(client)
				Hosts:  [2]edr.Record{{ID: "1", Hostname: "ws-001"}, {ID: "2", Hostname: "ws-002"}},
				Down:   vendor.Down, LoseAnswers: vendor.LoseAnswers, Hang: vendor.Hang,
				Contain: vendor.Contain, Held: vendor.Held, Effects: vendor.Effects,
			}
		})
	}
}
