package spool_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jurymast/jurymast/failover/siem/spool"
)

// What a stream gives is in the spool before it counts as read, and stays there
// until each sink has it.
func Example() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := spool.Open(dir, spool.Config{CID: "0123", Sinks: []string{"sentinel"}, MaxBytes: 1 << 30})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = s.Close() }()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, c := range []spool.Chunk{
		{Feed: "0123/0", First: 11, Last: 12, Count: 2, Body: []byte(`[{"offset":11},{"offset":12}]`)},
		{Feed: "0123/0", First: 14, Last: 14, Count: 1, Body: []byte(`[{"offset":14}]`)},
	} {
		if err := s.Append(ctx, c); err != nil { // spool.ErrFull: try again later
			log.Fatal(err)
		}
	}
	last, _ := s.Cursor("0123/0")
	fmt.Println("after a crash, read the stream on from", last)

	for c, err := range s.Read(ctx, "sentinel") {
		if err != nil { // a *spool.GapError is not the end
			log.Fatal(err)
		}
		fmt.Printf("deliver %s\n", c.Body)
		if err := s.Ack("sentinel", c.Position); err != nil {
			log.Fatal(err)
		}
		if c.Last == last {
			break // or wait for more, until ctx ends
		}
	}
	stats := s.Stats()
	fmt.Println("delivered all:", stats.Acked["sentinel"] == stats.Durable)
	// Output:
	// after a crash, read the stream on from 14
	// deliver [{"offset":11},{"offset":12}]
	// deliver [{"offset":14}]
	// delivered all: true
}
