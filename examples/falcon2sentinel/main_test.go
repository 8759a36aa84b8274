package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSimulated(t *testing.T) {
	for _, tables := range []string{"sentinel", "events"} {
		t.Run(tables, func(t *testing.T) {
			var out bytes.Buffer
			if err := run(t.Context(), []string{"-events", "300", "-every", "100us", "-outage", "200ms", "-tables", tables, "-json"}, &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var r report
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if r.Distinct != 300 || r.Lost != 0 || r.Delivered != r.Distinct+r.Duplicates || r.EventsPerS <= 0 || r.P99FreshnessMS <= 0 || !r.Simulated {
				t.Errorf("%+v\n%s", r, &out)
			}
			if !strings.Contains(out.String(), "SIMULATED") || !strings.Contains(out.String(), "the sink is down") {
				t.Errorf("%s", &out)
			}
		})
	}
}

// What is delivered counts for a second run over the same directory.
func TestARunEndsWithWhatWasDeliveredBefore(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		var out bytes.Buffer
		err := run(t.Context(), []string{"-events", "100", "-every", "0", "-outage", "0", "-state", dir}, &out)
		if strings.Contains(out.String(), "delivered 100 rows") {
			continue
		}
		// The second run's simulated workspace is a new one, and holds nothing.
		if err == nil || !strings.Contains(err.Error(), "100 events are not delivered") {
			t.Errorf("%v\n%s", err, &out)
		}
	}
}

func TestUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"unexpected argument": {"now"},
		"-live needs":         {"-live", "-state", "x"},
		"go together":         {"-falcon-url", "https://localhost", "-state", "x"},
		"-state is missing":   {"-falcon-url", "https://a", "-azure-authority", "https://b", "-ingest-url", "https://c"},
		"-tables":             {"-tables", "all"},
		"negative":            {"-events", "-1"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != 2 {
			t.Errorf("%q: %v", args, err)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, &out); exitCode(err) != 0 || !strings.Contains(out.String(), "-azure-authority") {
		t.Errorf("%v\n%s", err, &out)
	}
}
