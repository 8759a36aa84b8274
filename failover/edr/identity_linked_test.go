package edr

import "testing"

// Which ledger entries are of the host that is to be released.
func TestConcerns(t *testing.T) {
	const long = "accounting-laptop-07"
	f7 := map[string][]recordID{"f": {{"f", "F7"}}}
	for _, tc := range []struct {
		name  string
		q     Query
		meant map[string][]recordID
		entry string
		ours  bool
		known bool
	}{
		{"its record, whatever its name", Hostname(long), f7, "f:F7 kiosk-9", true, true},
		{"its name", Hostname(long), nil, "f:F8 accounting-laptop-07.corp.example", true, true},
		{"another name", Hostname(long), nil, "f:F8 accounting-laptop-08", false, true},
		{"the beginning, of another record", Hostname(long), f7, "f:F8 accounting-lapt", false, true},
		{"the beginning, and no record is known", Hostname(long), nil, "f:F8 accounting-lapt", false, false},
		{"the id", Native("f", "F7"), nil, "f:F7 accounting-lapt", true, true},
		{"another id", Native("f", "F7"), nil, "f:F8 accounting-lapt", false, true},
	} {
		r := rec(tc.entry)
		ours, err := tc.q.concerns(tc.meant, Entry{Provider: r.Provider, HostID: r.ID, Name: name([]Record{r})})
		if ours != tc.ours || (err == nil) != tc.known {
			t.Errorf("%s: %v, %v", tc.name, ours, err)
		}
	}
}

// A pin to a record that is not the one of the other vendor chooses nothing, nor does a
// link that was learned.
func TestAPinElsewhereDoesNotChoose(t *testing.T) {
	link := &Link{Members: []Linked{{Provider: "d", ID: "D1"}, {Provider: "f", ID: "F9"}}, Grade: Exact, Pinned: &Pin{}}
	v := view{links: map[recordID]*Link{{"d", "D1"}: link}}
	if h, against := v.settle(recs("f:F1 ws.corp.example", "d:D1 ws.corp.example", "d:D2 ws.corp.example"), nil); against == "" {
		t.Errorf("%+v", h)
	}
	v.links[recordID{"d", "D1"}].Members[1].ID = "F1"
	if h, against := v.settle(recs("f:F1 ws.corp.example", "d:D1 ws.corp.example", "d:D2 ws.corp.example"), nil); against != "" || h.Records[1].ID != "D1" {
		t.Errorf("%+v, %s", h, against)
	}
	link.Pinned = nil
	if h, against := v.settle(recs("f:F1 ws.corp.example", "d:D1 ws.corp.example", "d:D2 ws.corp.example"), nil); against == "" {
		t.Errorf("%+v", h)
	}
}
