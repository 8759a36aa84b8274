package falcon

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// Whatever comes back is an answer or a classified error, never a panic.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"meta":{"trace_id":"t","pagination":{"offset":"x","next":"n","total":1}},"resources":[{"device_id":"a","groups":["g"]}],"errors":[]}`,
		`{"resources":null,"errors":[{"code":"404","message":null}]}`, `{}`, ``, `null`, `[]`, `<html>`, `{"resources":[1,null,{"device_id":7}]}`,
	} {
		f.Add(s, 200)
		f.Add(s, 503)
	}
	f.Fuzz(func(t *testing.T, body string, status int) {
		a := &answer{status: status, header: http.Header{}, body: []byte(body), at: time.Now()}
		if e := a.apiError("fuzz"); e.Error() == "" {
			t.Error("an error without text")
		}
		env, err := a.open("fuzz")
		if err != nil {
			_ = resilience.Of(err).Class.String()
			return
		}
		for _, raw := range env.Resources {
			r := hostRows.read("fuzz", raw)
			if (r.Err == nil) != (r.Value.ID != "") {
				t.Errorf("%s gave %+v, %v", raw, r.Value, r.Err)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1743638440", "1743638440000", "-1", "1e300", "NaN", "", "soon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d := retryAfter(http.Header{"X-Ratelimit-Retryafter": {value}}, time.Now()); d < 0 || d > resilience.MaxRetryAfter {
			t.Errorf("%q gave %v", value, d)
		}
	})
}

// A process id above 2^53 must not be rounded.
func TestNumbersKeepTheirDigits(t *testing.T) {
	var o lenient.Object
	if err := json.Unmarshal([]byte(`{"pid":9007199254740993}`), &o); err != nil {
		t.Fatal(err)
	}
	if got := o.Str("pid"); got != "9007199254740993" {
		t.Errorf("got %s", got)
	}
}
