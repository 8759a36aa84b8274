package lenient_test

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// FuzzRead: an object has the members that encoding/json finds, and a list the
// elements.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":{"c":[1,2]},"a":"again"}`, ` {} `, `null`, `[]`, `[1, "x",null,{"a":[]} ]`, `{"a":1`, `{"\u0061":1,"a":2}`, `{"a":1}x`, `x`, ``, `"s"`, `[1,]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(b, &want)
		got, err := lenient.Read(b)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, want %v", err, wantErr)
		}
		if err == nil && !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%s, want %s", got, want)
		}
		if !json.Valid(b) {
			return
		}
		var list []json.RawMessage
		isList := json.Unmarshal(b, &list) == nil && list != nil
		elements, ok := lenient.List(b)
		if ok != isList || len(elements) != len(list) {
			t.Fatalf("%d elements, %v, want %d, %v", len(elements), ok, len(list), isList)
		}
		for i := range list {
			if string(elements[i]) != string(list[i]) {
				t.Errorf("%s, want %s", elements[i], list[i])
			}
		}
	})
}

// A field of another type than expected costs that field.
func TestFieldsOfAnyType(t *testing.T) {
	o, err := lenient.Read([]byte(`{"s":"x\n","n":9007199254740993,"t":true,"z":null,"o":{"s":"in"},"l":["a","b"],"mixed":["a",1],
		"os":[{"s":"1"},2,null,{"s":"3"}],"at":"2026-11-24T10:00:00.5Z","num":"12",
		"f":0.6033,"fs":"1.5","nan":"NaN","inf":"Infinity","huge":1e999}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"s": "x\n", "n": "9007199254740993", "t": "true", "z": "", "o": "", "l": "", "none": "", "num": "12"} {
		if got := o.Str(name); got != want {
			t.Errorf("Str(%s) %q, want %q", name, got, want)
		}
	}
	if o.Int("n") != 9007199254740993 || o.Int("num") != 12 || o.Int("s") != 0 || o.Int("none") != 0 {
		t.Error("numbers")
	}
	for name, want := range map[string]float64{"f": 0.6033, "num": 12, "fs": 1.5} {
		if got, ok := o.Number(name); !ok || got != want {
			t.Errorf("Number(%s) %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"s", "t", "z", "o", "nan", "inf", "huge", "none"} {
		if n, ok := o.Number(name); ok || n != 0 {
			t.Errorf("Number(%s) %v, %v", name, n, ok)
		}
	}
	if o.Object("o").Str("s") != "in" || o.Object("l") != nil || o.Object("none").Str("x") != "" {
		t.Error("objects")
	}
	if os := o.Objects("os"); len(os) != 2 || os[1].Str("s") != "3" || o.Objects("s") != nil {
		t.Errorf("%v", os)
	}
	if l := o.Strs("l"); len(l) != 2 || o.Strs("mixed") != nil || o.Strs("s") != nil {
		t.Errorf("%v", l)
	}
	if at := o.Time("at"); !at.Equal(time.Date(2026, 11, 24, 10, 0, 0, 5e8, time.UTC)) || !o.Time("s").IsZero() {
		t.Error(at)
	}
}
