package edr_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/edr/edrtest"
	"github.com/jurymast/jurymast/failover/kv"
)

var (
	whyNot = func(h edr.Host) string { // ask your CMDB
		if strings.HasPrefix(h.Name, "dc-") {
			return "domain controller"
		}
		return ""
	}
	askOnCall    = func(context.Context, edr.Host, edr.Intent) error { return nil }
	pageSomebody = func(_ context.Context, owed []edr.Debt) { log.Print(owed) }
)

// The README shows the body of this function; a test keeps them the same.
func runDayAndNight(ctx context.Context, drivers []edr.Driver, store kv.Store, file io.Writer, hosts []edr.Query, intent edr.Intent) error {
	fleet, err := edr.New(edr.Config{
		Drivers: drivers, Store: store,
		Guards: edr.Guards{ // before every containment; a refusal matches edr.ErrGuard, and nothing is sent
			Protected: whyNot,                    // such as "domain controller"; "" lets it pass
			MaxHosts:  50, Window: 1 * time.Hour, // the blast radius; a restart does not forget it
			Approve: askOnCall,
		},
		Audit:  edr.AuditTo(file, nil), // who, why, where, what came of it
		OnDebt: pageSomebody,           // hosts that may be cut off although somebody let them go
	})
	if err != nil {
		return err
	}
	go fleet.Run(ctx) // pays release debt, settles what is unknown, sees what analysts contain, learns links

	ready, err := fleet.Readiness(ctx, "defender") // how many hosts it could take over, which not and why, in what time
	fmt.Println(ready.Value, ready.Gaps, err)
	cover, err := fleet.Protection(ctx) // covered by both, by one, by none, or not known: never green by default
	fmt.Println(cover.Value.Protected, cover.Value.Unknown, cover.Gaps, err)
	job, err := fleet.Bulk(ctx, edr.Bulk{ID: "wave-1", Verb: edr.VerbContain, Hosts: hosts, Intent: intent})
	fmt.Println(job.Done, job.Failed, job.Left, err) // call it again after a crash: it goes on
	fmt.Println(fleet.Explain())                     // with whom calls begin, why, and what a failback needs
	return nil
}

func ExampleFleet_Bulk() {
	host := edr.Record{Hostname: "ws-001", Serial: "5CG1234567"}
	dc := edr.Record{Hostname: "dc-01", Serial: "5CG7654321"}
	falcon, defender := edrtest.NewFake("falcon", host, dc), edrtest.NewFake("defender", host)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	err := runDayAndNight(ctx, []edr.Driver{falcon.Driver(), defender.Driver()}, kv.NewMemory(), os.Stderr,
		[]edr.Query{edr.Hostname("ws-001"), edr.Hostname("dc-01")}, edr.Intent{ID: "case-4711", Actor: "soar", Reason: "worm"})
	fmt.Println(falcon.Held("ws-001"), falcon.Held("dc-01"), err)
	// Output:
	// defender can contain 1 of 2 hosts, in a time that is not known; 1 not_enrolled [] <nil>
	// 1 0 [] <nil>
	// 1 1 0 <nil>
	// edr: calls begin with falcon
	//   falcon: current; failures in a row: 0
	//   defender: failures in a row: 0
	// true false <nil>
}
