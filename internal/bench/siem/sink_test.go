package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// testSink is a sink that expects ten events of each of two partitions.
func testSink(t *testing.T) (*sink, *events, string, *http.Client) {
	t.Helper()
	ev := newEvents(newTemplates(8, 1), 2, 10)
	for p := range 2 {
		for i := range 10 {
			ev.happen(p, i, ev.epoch)
		}
	}
	s := newSink(newLedger(ev), 1)
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	return s, ev, server.URL, server.Client()
}

func line(ev *events, partition, i int) string {
	return strings.TrimSpace(string(ev.append(nil, partition, i)))
}

func TestSinkRefusesWhatAzureRefuses(t *testing.T) {
	s, ev, url, client := testSink(t)
	s.poison = offsetOf(1, 7)
	good := line(ev, 0, 3)
	padded := func(n int) string { return "[" + good + strings.Repeat(" ", n-len(good)-2) + "]" }
	for name, tc := range map[string]struct {
		body  []byte
		token string
		want  int
	}{
		"the largest":      {zipped(padded(maxBody)), entraToken, http.StatusNoContent},
		"too large":        {zipped(padded(maxBody + 1)), entraToken, http.StatusRequestEntityTooLarge},
		"no array":         {zipped(good), entraToken, http.StatusBadRequest},
		"cut":              {zipped("[" + good[:len(good)-40]), entraToken, http.StatusBadRequest},
		"broken inside":    {zipped("[" + good + ",," + good + "]"), entraToken, http.StatusBadRequest},
		"no rows":          {zipped("[]"), entraToken, http.StatusBadRequest},
		"rows without ids": {zipped(`[{"a":1}]`), entraToken, http.StatusBadRequest},
		"no gzip":          {[]byte("[" + good + "]"), entraToken, http.StatusBadRequest},
		"half a gzip":      {zipped("[" + good + "]")[:200], entraToken, http.StatusBadRequest},
		"poison":           {zipped("[" + line(ev, 1, 6) + "," + line(ev, 1, 7) + "]"), entraToken, http.StatusBadRequest},
		"another's token":  {zipped("[" + good + "]"), falconToken, http.StatusUnauthorized},
	} {
		before, _ := s.ledger.now()
		got := fakeRequest(client, url, tc.body, tc.token)
		after, _ := s.ledger.now()
		if got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
		if counted := after.Delivered - before.Delivered; (counted != 0) != (got == http.StatusNoContent) {
			t.Errorf("%s: answered %d and counted %d rows", name, got, counted)
		}
	}
}

// An event is found in each of the ways in which contenders send it, and none twice.
func TestScanFindsEveryEventOnce(t *testing.T) {
	_, ev, _, _ := testSink(t)
	want := []int64{offsetOf(0, 1), offsetOf(1, 2), offsetOf(0, 3)}
	raw := []string{line(ev, 0, 1), line(ev, 1, 2), line(ev, 0, 3)}
	quoted := make([]string, len(raw))
	for i, l := range raw {
		quoted[i] = fmt.Sprintf(`{"body":{"stringValue":%q}}`, l)
	}
	var withID, onlyID []string
	for i, o := range want {
		id := fmt.Sprintf(`"JurymastId":"%s:%d:%d"`, cid, o/perPartition-1, o)
		withID = append(withID, strings.TrimSuffix(raw[i], "}")+","+id+"}")
		onlyID = append(onlyID, fmt.Sprintf(`{%s,"CompositeId":"%s:ind:0:1"}`, id, cid))
	}
	for name, rows := range map[string][]string{"raw": raw, "in a string": quoted, "with an id": withID, "by id alone": onlyID} {
		got, err := scan(nil, []byte("["+strings.Join(rows, ",")+"]"))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	wrong := fmt.Sprintf(`[{"id":"%s:1:%d"}]`, cid, offsetOf(0, 1))
	if got, _ := scan(nil, []byte(wrong)); len(got) != 1 || got[0] != -1 {
		t.Errorf("an id whose partition is not the offset's: %v, want one row of no event", got)
	}
}

// Any bytes may come.
func FuzzScan(f *testing.F) {
	ev := newEvents(newTemplates(2, 1), 1, 1)
	ev.happen(0, 0, ev.epoch)
	f.Add([]byte("[" + line(ev, 0, 0) + "]"))
	f.Add(fmt.Appendf(nil, `"%s:0:1`, cid))
	f.Add([]byte(`{"x":"\"offset\":1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		offsets, err := scan(nil, body)
		if err == nil && len(offsets) > bytes.Count(body, []byte(":")) {
			t.Errorf("%d offsets", len(offsets))
		}
	})
}

// Templates are what the numbers are about: 1.2 to 1.3 KB, six to one under gzip.
func TestEventsAreOfTheSizeThatIsReported(t *testing.T) {
	ev := newEvents(newTemplates(4096, 1), 1, 4096)
	var lines []byte
	for i := range 4096 {
		ev.happen(0, i, ev.epoch)
		lines = ev.append(lines, 0, i)
	}
	if avg := len(lines) / 4096; avg < 1200 || avg > 1300 {
		t.Errorf("%d bytes an event", avg)
	}
	if ratio := float64(len(lines)) / float64(len(zipped(string(lines)))); ratio < 5.5 || ratio > 8 {
		t.Errorf("gzip makes %.1f to one of them", ratio)
	}
}

// A row of an event that has not happened yet is invented as much as one of an event
// that never will.
func TestRowsOfNoEventAreForeign(t *testing.T) {
	ev := newEvents(newTemplates(1, 1), 1, 2)
	ev.happen(0, 0, ev.epoch)
	l := newLedger(ev)
	l.add([]int64{offsetOf(0, 0), offsetOf(0, 1), offsetOf(0, 2), offsetOf(1, 0), -1}, ev.epoch)
	if c, _ := l.now(); c != (counts{Delivered: 5, Distinct: 1, Foreign: 4}) {
		t.Errorf("counted %+v", c)
	}
}
