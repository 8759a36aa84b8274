package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// A call says what it is, and gets an error that says what may have happened.
func ExampleDo() {
	policy, err := resilience.New("ticketing", resilience.Config{Attempt: 2 * time.Second, Total: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	call := resilience.Call{Name: "ticket.create", Kind: resilience.Effect}
	_, err = resilience.Do(context.Background(), policy, call, func(ctx context.Context) (int, error) {
		return 0, errors.New("connection lost")
	})
	if failure, ok := errors.AsType[*resilience.Error](err); ok {
		fmt.Println(failure.Sent, len(failure.Attempts), failure.Stopped)
	}
	// Output: maybe_sent 1 not retried after: unknown
}

func ExampleNew() {
	// The zero Config is a production default.
	policy, err := resilience.New("ticketing", resilience.Config{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(policy.Name(), policy.State())

	_, err = resilience.New("ticketing", resilience.Config{Attempt: time.Minute})
	fmt.Println(err)
	// Output:
	// ticketing closed
	// resilience: policy ticketing: Attempt (1m0s) must not exceed Total (30s)
}

func ExampleTransport() {
	policy, err := resilience.New("ticketing", resilience.Config{})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &resilience.Transport{Policy: policy}}
	resp, err := client.Get("https://tickets.example/api/v1/tickets/7")
	if err != nil {
		log.Print(err)
		return
	}
	defer resp.Body.Close()
}

func ExampleNewQuota() {
	quota, err := resilience.NewQuota(
		resilience.Window{Calls: 100, Per: time.Minute},
		resilience.Window{Calls: 1500, Per: time.Hour},
	)
	if err != nil {
		log.Fatal(err)
	}
	// Policies that spend the same vendor quota share one.
	policy, err := resilience.New("ticketing", resilience.Config{Quota: quota})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(policy.Name())
	// Output: ticketing
}
