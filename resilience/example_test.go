package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
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

// Two clients of one credential spend one quota.
func ExampleQuotaSet() {
	var quotas resilience.QuotaSet
	for _, client := range []string{"soar", "siem"} {
		quota, err := quotas.Get("ticketing", resilience.Window{Calls: 600, Per: time.Minute})
		if err != nil {
			log.Fatal(err)
		}
		policy, err := resilience.New(client, resilience.Config{Quota: quota})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(policy.Name(), quota.Remaining())
	}
	// Output:
	// soar 1
	// siem 1
}

// A read is asked of the next region when the first takes unusually long, or fails.
func ExampleHedge() {
	regions := []string{"eu", "us"}
	var endpoints []*resilience.Policy
	for _, region := range regions {
		policy, err := resilience.New("ticketing."+region, resilience.Config{})
		if err != nil {
			log.Fatal(err)
		}
		endpoints = append(endpoints, policy)
	}
	call := resilience.Call{Name: "ticket.get", Kind: resilience.Read}
	answer, err := resilience.Hedge(context.Background(), endpoints, call, func(ctx context.Context, i int) (string, error) {
		if regions[i] == "eu" {
			return "", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
		}
		return "ticket 7, from " + regions[i], nil
	})
	fmt.Println(answer, err)
	// Output: ticket 7, from us <nil>
}

// With a probe and Run, no caller has to try a dependency that may still be sick.
func ExamplePolicy_Run() {
	policy, err := resilience.New("ticketing", resilience.Config{
		Probe: func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://tickets.example/health", http.NoBody)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // when the program ends
	fmt.Println(policy.Run(ctx))
	// Output: context canceled
}

// Explain tells people, and status pages, what the policy is doing and why.
func ExamplePolicy_Explain() {
	policy, err := resilience.New("ticketing", resilience.Config{Breaker: resilience.Breaker{LastFailed: 1}})
	if err != nil {
		log.Fatal(err)
	}
	call := resilience.Call{Name: "ticket.get", Kind: resilience.Read, Attempts: 1}
	_, _ = resilience.Do(context.Background(), policy, call, func(context.Context) (int, error) {
		return 0, errors.New("connection lost")
	})
	why := policy.Explain()
	fmt.Println(why.State, "because", why.Reason)
	fmt.Println(why.Failures[0].Operation, why.Failures[0].Class)
	// Output:
	// open because 1 of the last 1 calls failed
	// ticket.get unknown
}
