package edr

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// madeUp is a list of made-up ids.
func madeUp(from, to int) listing {
	var records []Record
	for i := from; i < to; i++ {
		records = append(records, Record{ID: fmt.Sprintf("%032x", i)})
	}
	return listingOf(records)
}

func TestWhatIsPlausibleAfterAList(t *testing.T) {
	for _, tc := range []struct {
		name          string
		before, after listing
		want          bool
	}{
		{"the same", madeUp(0, 1000), madeUp(0, 1000), true},
		{"half is left", madeUp(0, 1000), madeUp(0, 500), true},
		{"less than half is left", madeUp(0, 1000), madeUp(0, 499), false},
		{"none is left", madeUp(0, 1000), nil, false},
		{"as many others", madeUp(0, 1000), madeUp(5000, 6000), false},
		{"many more, all others", madeUp(0, 1000), madeUp(5000, 9000), false},
		{"mostly others", madeUp(0, 1000), madeUp(700, 1700), false},
		{"of as many as can be known, mostly others", madeUp(0, 256), madeUp(129, 400), false},
		{"of as many as can be known, half others", madeUp(0, 256), madeUp(128, 400), true},
		{"many others, most the same", madeUp(0, 1000), madeUp(300, 5000), true},
		{"growth", madeUp(0, 10), madeUp(0, 100000), true},
		{"the first hosts", madeUp(0, 0), madeUp(0, 5000), true},
		{"none after none", madeUp(0, 0), madeUp(0, 0), true},
		{"10 lose 5", madeUp(0, 10), madeUp(0, 5), true},
		{"10 lose 6", madeUp(0, 10), madeUp(0, 4), false},
		{"a small fleet loses all but one", madeUp(0, 9), madeUp(8, 9), true},
		{"a small fleet loses all", madeUp(0, 9), nil, false},
		{"a small fleet is another", madeUp(0, 9), madeUp(20, 29), false},
		{"the only host", madeUp(0, 1), nil, false},
	} {
		b, ok := belief{}.judge(tc.before, time.Unix(0, 0), time.Minute)
		if !ok {
			t.Fatalf("%s: the first list is not believed", tc.name)
		}
		if _, ok := b.judge(tc.after, time.Unix(1, 0), time.Minute); ok != tc.want {
			t.Errorf("%s: %v", tc.name, ok)
		}
	}
}

func TestHowADoubtEnds(t *testing.T) {
	type poll struct {
		minute int
		list   listing
		want   bool
	}
	all, some, fewer := madeUp(0, 1000), madeUp(0, 400), madeUp(0, 150)
	for name, polls := range map[string][]poll{
		"a list that stays so is believed":       {{0, all, true}, {1, some, false}, {6, some, false}, {11, some, true}, {12, some, true}},
		"two polls are enough":                   {{0, all, true}, {1, some, false}, {500, some, true}},
		"and the one after is held against that": {{0, all, true}, {1, some, false}, {11, some, true}, {12, fewer, false}, {13, some, true}},
		"one that goes on falling is not":        {{0, all, true}, {1, some, false}, {11, fewer, false}, {12, fewer, false}, {21, fewer, true}},
		"one that flaps is not":                  {{0, all, true}, {1, some, false}, {8, nil, false}, {12, some, false}, {20, nil, false}, {23, some, false}},
		"one that was well in between is not":    {{0, all, true}, {1, some, false}, {6, all, true}, {11, some, false}, {20, some, false}, {21, some, true}},
		"other hosts each time are not":          {{0, all, true}, {1, madeUp(2000, 3000), false}, {12, madeUp(4000, 5000), false}, {22, madeUp(4000, 5000), true}},
		"a tenth more or less is the same":       {{0, all, true}, {1, some, false}, {11, madeUp(10, 410), true}},
		"growth is another list":                 {{0, all, true}, {1, some, false}, {11, madeUp(0, 450), false}, {21, madeUp(0, 450), true}},
		"none that stays none is believed":       {{0, all, true}, {1, nil, false}, {11, nil, true}, {12, all, true}},
		"little by little, quickly":              {{0, all, true}, {1, madeUp(0, 700), true}, {2, madeUp(0, 490), false}},
		"little by little, slowly":               {{0, all, true}, {10, madeUp(0, 700), true}, {20, madeUp(0, 490), true}},
		"grown and shrunk again":                 {{0, all, true}, {1, madeUp(0, 3000), true}, {2, all, false}},
		"one after the other are others, soon":   {{0, all, true}, {1, madeUp(300, 1300), true}, {2, madeUp(650, 1650), false}},
		"the same, while they grow":              {{0, all, true}, {1, madeUp(300, 1310), true}, {2, madeUp(650, 1670), false}},
	} {
		var b belief
		for _, p := range polls {
			var ok bool
			if b, ok = restart(t, b).judge(p.list, time.Unix(0, 0).Add(time.Duration(p.minute)*time.Minute), 10*time.Minute); ok != p.want {
				t.Errorf("%s: minute %d: %v", name, p.minute, ok)
			}
		}
	}
}

// Two polls of one moment are two.
func TestWhatHasToBeWrittenDown(t *testing.T) {
	now := time.Unix(0, 0)
	b := belief{List: madeUp(0, 20).sketch(), At: now}
	doubted := belief{List: b.List, At: now, Doubt: &doubt{madeUp(0, 5).sketch(), now}}
	for name, other := range map[string]belief{
		"grown":         {List: madeUp(0, 21).sketch(), At: now},
		"others":        {List: madeUp(1, 21).sketch(), At: now},
		"later":         {List: b.List, At: now.Add(time.Second)},
		"doubted":       doubted,
		"doubted anew":  {List: b.List, At: now, Doubt: &doubt{madeUp(0, 5).sketch(), now.Add(time.Second)}},
		"another doubt": {List: b.List, At: now, Doubt: &doubt{madeUp(0, 4).sketch(), now}},
	} {
		if b.equal(other) || other.equal(b) || name != "doubted" && doubted.equal(other) || !other.equal(other) {
			t.Errorf("%s: equal", name)
		}
	}
}

func restart(t interface{ Fatal(...any) }, b belief) (after belief) {
	raw, err := json.Marshal(b)
	if err == nil {
		err = json.Unmarshal(raw, &after)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !b.equal(after) {
		t.Fatal("a restart forgets")
	}
	return after
}

// Small enough that the sample is all of them: the rules hold exactly.
func TestPlausibilityOfAnyLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b belief
		now := time.Unix(0, 0)
		const after = 10 * time.Minute
		for i := range rapid.IntRange(1, 12).Draw(t, "polls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "minutes")) * time.Minute)
			list := rapid.SliceOfNDistinct(rapid.IntRange(0, 60), 0, 40, rapid.ID).Draw(t, "list")
			var records []Record
			for _, id := range list {
				records = append(records, Record{ID: fmt.Sprint(id)})
			}
			before := b
			var ok bool
			b, ok = restart(t, b).judge(listingOf(records), now, after)
			reference := before.List
			kept := reference.kept(listingOf(records))
			switch {
			case i == 0 && !ok:
				t.Fatal("the first list is not believed")
			case ok == (b.Doubt != nil):
				t.Fatal("believed and doubted")
			case i > 0 && len(list) == 0 && reference.Count > 0 && before.Doubt == nil && ok:
				t.Fatal("an empty list is believed at once")
			case i > 0 && reference.Count >= smallFleet && 2*kept < reference.Count && before.Doubt == nil && ok:
				t.Fatalf("%d of %d are left, and believed at once", kept, reference.Count)
			case kept == reference.Count && !ok:
				t.Fatal("nobody is missing, and not believed")
			case ok && before.Doubt != nil && 2*kept < reference.Count && kept == 0 && now.Sub(before.Doubt.Since) < after:
				t.Fatal("believed too early")
			case !ok && !b.List.equal(before.List):
				t.Fatal("a list that is not believed is remembered as if it were")
			}
		}
	})
}

// A sample of a large list estimates what is left of it closely enough.
func TestTheSampleIsFair(t *testing.T) {
	s := madeUp(0, 50000).sketch()
	if s.Count != 50000 || len(s.Sample) != sampleSize || !slices.IsSorted(s.Sample) {
		t.Fatalf("%d hosts, %d in the sample", s.Count, len(s.Sample))
	}
	for _, left := range []int{5000, 25000, 45000} {
		share := float64(s.kept(madeUp(50000-left, 50000))) / sampleSize
		if want := float64(left) / 50000; share < want-0.1 || share > want+0.1 {
			t.Errorf("%.2f seem to be left, and %.2f are", share, want)
		}
	}
	if got := listingOf([]Record{{ID: "a"}, {ID: "a"}}); len(got) != 1 {
		t.Errorf("a host that is listed twice is %d", len(got))
	}
}
