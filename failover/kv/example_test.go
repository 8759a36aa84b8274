package kv_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jurymast/jurymast/failover/kv"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := kv.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	ctx := context.Background()
	rev, err := store.Put(ctx, "cursor", []byte("17"), 0) // 0: create
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.Put(ctx, "cursor", []byte("18"), rev); err != nil { // only if nobody else wrote
		log.Fatal(err)
	}
	e, err := store.Get(ctx, "cursor")
	fmt.Println(string(e.Value), err)
	// Output: 18 <nil>
}
