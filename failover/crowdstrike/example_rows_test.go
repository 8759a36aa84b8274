package crowdstrike_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/siem"
)

// logins is a Mapping of one's own: logins go to a table with three columns, all else
// is mapped as by default. A row may be written in any way that gives a JSON object.
func logins(e *siem.Event, rows *siem.Rows) error {
	if e.Type != "AuthActivityAuditEvent" {
		return crowdstrike.SentinelRows(e, rows)
	}
	var line struct {
		Event struct{ OperationName, UserID string }
	}
	if err := json.Unmarshal(e.Raw, &line); err != nil {
		return err // to the dead letters
	}
	row, err := json.Marshal(map[string]any{
		"TimeGenerated": e.Time, "JurymastId": e.ID, "User": line.Event.UserID, "What": line.Event.OperationName,
	})
	if err != nil {
		return err
	}
	rows.Add("logins", row)
	return nil
}

// A Mapping of one's own, for the events that matter.
func ExampleSentinelRows_own() {
	dir, err := os.MkdirTemp("", "siem")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	p, err := siem.Open(siem.Config{
		Dir: dir, Mapping: logins,
		Sources: []siem.Source{once(`{"event":{"OperationName":"userAuthenticate","UserId":"ann@example.com"}}`)},
		Sinks:   []failover.Member[siem.Sink]{{ID: "screen", Value: screen(stop)}}, // or microsoft.Sink, with a stream for logins
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = p.Run(ctx)
	if err := p.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// logins ann@example.com userAuthenticate
}

// once is a source of one event.
type once string

func (once) Name() string { return "once" }

func (s once) Read(ctx context.Context, in *siem.Intake) error {
	if err := in.Put(ctx, "0", siem.Event{Offset: 1, Type: "AuthActivityAuditEvent", Raw: json.RawMessage(s)}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// screen prints rows, and ends the example.
type screen func()

func (s screen) Send(_ context.Context, b *siem.Batch) (siem.Receipt, error) {
	rows, err := b.All()
	for _, row := range rows {
		var r struct{ User, What string }
		if err := json.Unmarshal(row, &r); err != nil {
			return siem.Receipt{}, err
		}
		fmt.Println(b.Table, r.User, r.What)
	}
	s()
	return siem.Receipt{}, err
}
