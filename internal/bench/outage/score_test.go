package main

import (
	"bytes"
	"math"
	"testing"
	"time"
)

var never = math.Inf(1)

// calls returns n records that begin at the given time.
func calls(n int, at, took time.Duration, from source) []record {
	records := make([]record, n)
	for i := range records {
		records[i] = record{at: at, took: took, from: from}
	}
	return records
}

func join(parts ...[]record) []record {
	var all []record
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestSettled(t *testing.T) {
	const long, bound = 3 * bin, 40 * time.Millisecond
	good := func(n int) []record { return calls(200, time.Duration(n)*bin, 17*time.Millisecond, fromBackup) }
	for _, tc := range []struct {
		name    string
		records []record
		want    float64
	}{
		{"at once", join(good(0), good(1), good(2)), 0},
		{"slow at first", join(calls(200, 0, bound+1, fromBackup), good(1), good(2)), 100},
		{"slow again", join(good(0), calls(200, bin, bound+1, fromBackup), good(2)), 200},
		{"two of 200 may be slow", join(good(0), good(1)[2:], calls(2, bin, time.Second, fromBackup), good(2)), 0},
		{"more than 1 % errors", join(good(0), good(1)[3:], calls(3, bin, 0, nobody), good(2)), 200},
		{"nobody could begin a call", join(good(0), good(2)), 200},
		{"bad to the end", join(good(0), good(1)), never},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := settled(tc.records, 0, long, bound); got != tc.want {
				t.Errorf("%v ms, want %v", got, tc.want)
			}
		})
	}
}

func TestBack(t *testing.T) {
	answers := func(n, primary, backup, failed int) []record {
		// Begun in the bin before, answered in the nth.
		at, took := time.Duration(n)*bin-time.Millisecond, 17*time.Millisecond
		return join(calls(primary, at, took, fromPrimary), calls(backup, at, took, fromBackup), calls(failed, at, took, nobody))
	}
	for _, tc := range []struct {
		name    string
		records []record
		want    float64
	}{
		{"at once", answers(0, 91, 9, 0), 0},
		{"later", join(answers(0, 1, 99, 0), answers(1, 90, 10, 0), answers(2, 91, 9, 0)), 200},
		{"failed calls are no answers", answers(0, 10, 0, 190), 0},
		{"nobody answers", answers(0, 0, 0, 200), never},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := back(tc.records, 0, 3*bin); got != tc.want {
				t.Errorf("%v ms, want %v", got, tc.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 2, 3}, 2.5},
		{[]float64{never, 100, 200}, 200},
		{[]float64{never, 100, never}, never},
		{[]float64{never, never}, never},
	} {
		var scores []score
		for _, v := range tc.values {
			scores = append(scores, score{back: v})
		}
		if got := median(scores).back; got != tc.want {
			t.Errorf("median of %v is %v, want %v", tc.values, got, tc.want)
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	s := score{okPct: 99.991, p50: 17.149, p99: 86.66, toPrimary: 7, toBackup: 10025, settled: 300, back: never}
	if err := jsonWriter(&b).row("refuse", "jurymast", s); err != nil {
		t.Fatal(err)
	}
	want := `{"scenario":"refuse","impl":"jurymast","ok_pct":99.99,"p50_ms":17.1,"p99_ms":86.7,"to_primary":7,"to_backup":10025,"settled_ms":300,"back_ms":null}` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b.String(), want)
	}
}
