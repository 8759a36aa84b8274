package failover_test

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// A list fails over only before its first item; after it, the error says so.
func ExampleStream() {
	group, err := failover.NewGroup(failover.Config{Capability: "alerts"},
		failover.Member[string]{ID: "falcon/us-1", Value: "falcon"},
		failover.Member[string]{ID: "defender/eu", Value: "defender"},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	list := func(_ context.Context, vendor string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			switch {
			case vendor == "falcon":
				yield("", errors.New("falcon is down"))
			case yield("alert 1", nil) && yield("alert 2", nil):
				yield("", errors.New("defender is down too"))
			}
		}
	}
	call := failover.Call{Name: "list", Kind: resilience.Read}
	for alert, err := range failover.Stream(context.Background(), group, call, list) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(alert)
	}
	// Output:
	// alert 1
	// alert 2
	// the list is not complete: defender/eu broke off after 2 items: defender is down too
}
