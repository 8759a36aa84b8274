package siem_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
)

// The README shows the body of this function; a test keeps them the same.
func falconToSentinel(ctx context.Context, fc *falcon.Client, az *azure.Client, hec *falcon.HEC, endpoint, rule string) error {
	sentinel, err := microsoft.Sink(az, microsoft.SinkConfig{Endpoint: endpoint, RuleID: rule, Streams: crowdstrike.SentinelStreams()})
	if err != nil {
		return err
	}
	pump, err := siem.Open(siem.Config{
		Dir:      "/var/lib/soar/events", // spool, state and dead letters
		Sources:  []siem.Source{crowdstrike.Events(fc, crowdstrike.EventsConfig{AppID: "soc-1"})},
		Mapping:  crowdstrike.SentinelRows, // the tables of Microsoft's own connector
		Sinks:    []failover.Member[siem.Sink]{sentinel, crowdstrike.HEC(hec, crowdstrike.HECConfig{})},
		Backfill: true, // Sentinel gets later what went to Falcon's SIEM
		Logger:   slog.Default(),
	})
	if err != nil {
		return err
	}
	go func() {
		for range time.Tick(time.Minute) {
			fmt.Println(pump.Status().Problems(), pump.Freshness(), pump.Gaps()) // empty, fresh, none: or it is said
		}
	}()
	return errors.Join(pump.Run(ctx), pump.Close())
}

// once is a source of the user's own: it reads on behind what is durable already.
type once []string

func (once) Name() string { return "orders" }

func (s once) Read(ctx context.Context, in *siem.Intake) error {
	next, _ := in.Cursor("all")
	for ; int(next) < len(s); next++ {
		e := siem.Event{Offset: next + 1, Time: time.Now(), Type: "order", Raw: []byte(s[next])}
		if err := in.Put(ctx, "all", e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func Example() {
	dir, err := os.MkdirTemp("", "siem")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, err := siem.NewFile(siem.FileConfig{Dir: dir + "/out", Name: "example"})
	if err != nil {
		panic(err)
	}
	pump, err := siem.Open(siem.Config{
		Dir:     dir + "/state",
		Sources: []siem.Source{once{`{"order":1}`, `{"order":2}`, `{"order":`}},
		Sinks:   []failover.Member[siem.Sink]{file},
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	go func() {
		for pump.Status().Delivery.Events < 3 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		stop()
	}()
	_ = pump.Run(ctx)
	st := pump.Status()
	fmt.Println(st.Delivery.Rows, "rows,", st.Dead, "dead letter")
	if err := pump.Close(); err != nil {
		panic(err)
	}
	for letter, err := range siem.DeadLetters(dir + "/state") {
		fmt.Println(letter.ID, letter.Raw, err)
	}
	// Output:
	// 2 rows, 1 dead letter
	// orders:all:3 {"order": <nil>
}

var _ = falconToSentinel
