package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// writer prints one row for each scenario and implementation.
type writer struct {
	row func(scenario, impl string, s score) error
	end func() error
}

func jsonWriter(w io.Writer) writer {
	type row struct {
		Scenario  string   `json:"scenario"`
		Impl      string   `json:"impl"`
		OKPct     float64  `json:"ok_pct"`
		P50       float64  `json:"p50_ms"`
		P99       float64  `json:"p99_ms"`
		ToPrimary float64  `json:"to_primary"`
		ToBackup  float64  `json:"to_backup"`
		Settled   *float64 `json:"settled_ms"` // null: never
		Back      *float64 `json:"back_ms"`
	}
	lines := json.NewEncoder(w)
	return writer{
		row: func(scenario, impl string, s score) error {
			return lines.Encode(row{
				scenario, impl, round(s.okPct, 100), round(s.p50, 10), round(s.p99, 10),
				s.toPrimary, s.toBackup, orNull(s.settled), orNull(s.back),
			})
		},
		end: func() error { return nil },
	}
}

func tableWriter(w io.Writer) writer {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "scenario\timpl\tok %\tp50 ms\tp99 ms\tworst ms\tto primary\tto backup\tsettled ms\tback ms\t")
	return writer{
		row: func(scenario, impl string, s score) error {
			_, err := fmt.Fprintf(table, "%s\t%s\t%.2f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%s\t%s\t\n", scenario, impl,
				s.okPct, s.p50, s.p99, s.worst, s.toPrimary, s.toBackup, orNever(s.settled), orNever(s.back))
			return err
		},
		end: table.Flush,
	}
}

func round(v, parts float64) float64 { return math.Round(v*parts) / parts }

func orNull(v float64) *float64 {
	if math.IsInf(v, 1) {
		return nil
	}
	return &v
}

func orNever(v float64) string {
	if math.IsInf(v, 1) {
		return "never"
	}
	return fmt.Sprintf("%.0f", v)
}
