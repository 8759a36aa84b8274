package microsoft_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/microsoft"
)

// What is missing in the answer must not look like machines that are off.
func TestHeartbeats(t *testing.T) {
	const now = "2026-11-24T13:00:00.1234567Z"
	for _, tc := range []struct {
		name    string
		rows    [][]any
		partial string
		fails   string // what the error says; "" if it is read
	}{
		{"two machines, one without a name", [][]any{{"srv-1.corp.example", now}, {nil, now}, {"", now}, {"SRV-2", now}}, "", ""},
		{"a time that cannot be read", [][]any{{"srv-1", "yesterday"}}, "", "srv-1"},
		{"no time", [][]any{{"srv-1", nil}}, "", "srv-1"},
		{"an incomplete result", [][]any{{"srv-1", now}}, "a shard is down", "a shard is down"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked azuretest.LogQuery
			srv, err := azuretest.NewServer(azuretest.Config{InMemory: true, LogQuery: func(q azuretest.LogQuery) azuretest.LogAnswer {
				asked = q
				return azuretest.LogAnswer{Partial: tc.partial, Tables: []azuretest.LogTable{{
					Columns: []azuretest.Column{{Name: "Computer", Type: "string"}, {Name: "Last", Type: "datetime"}}, Rows: tc.rows,
				}}}
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			c, err := azure.New(azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: srv.Client()})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close(context.Background()) }()
			last, err := microsoft.Heartbeats(c, "11111111-2222-3333-4444-555555555555")(t.Context())
			if !strings.HasPrefix(asked.Query, "Heartbeat |") || asked.Timespan != "P7D" {
				t.Errorf("asked %+v", asked)
			}
			if tc.fails != "" {
				if err == nil || len(last) != 0 || !strings.Contains(err.Error(), tc.fails) {
					t.Errorf("%s: %v, %v", tc.name, last, err)
				}
				_, partial := errors.AsType[*azure.PartialQueryError](err)
				if partial != (tc.partial != "") {
					t.Errorf("%s: %v", tc.name, err)
				}
				return
			}
			want, _ := time.Parse(time.RFC3339Nano, now)
			if err != nil || len(last) != 2 || !last["srv-1.corp.example"].Equal(want) || !last["SRV-2"].Equal(want) {
				t.Errorf("%s: %v, %v", tc.name, last, err)
			}
		})
	}
}
