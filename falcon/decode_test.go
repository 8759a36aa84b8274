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
		`{"meta":{},"resources":[{"id":"i","device_id":"d","composite_id":"c","settings":{"ring_assignment_settings":[{"id":"x","delay_hours":"1"}],"scheduler":{"schedules":[{"days":[1]}]},"variants":[7]},"groups":[{"id":"g"}],"recent_logins":[{}],"labels":[{}],"session_id":"s","complete":"true","build":"b","state":"online","evidence":{"alerts":[{}]}}]}`,
		`{"done":true,"events":[{}],"metaData":{"pollAfter":1e9},"warnings":["w",{}]}`,
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
			reads(t, raw, hostRows, func(h Host) string { return h.ID })
			reads(t, raw, alertRows, func(a Alert) string { return a.ID })
			reads(t, raw, caseRows, func(c Case) string { return c.ID })
			reads(t, raw, contentRows, func(p ContentPolicy) string { return p.ID })
			reads(t, raw, deviceContentRows, func(d DeviceContent) string { return d.ID })
			reads(t, raw, groupRows, func(g HostGroup) string { return g.ID })
			reads(t, raw, onlineRows, func(o HostOnline) string { return o.ID })
			reads(t, raw, loginRows, func(l HostLogins) string { return l.ID })
			reads(t, raw, actorRows, func(a Actor) string { return a.ID })
			reads(t, raw, indicatorRows, func(i Indicator) string { return i.ID })
			reads(t, raw, reportRows, func(r Report) string { return r.ID })
			reads(t, raw, iocRows, func(i IOC) string { return i.ID })
			reads(t, raw, rtrSessionRows, func(s *RTRSession) string { return s.ID })
			reads(t, raw, sensorUpdateRows, func(p SensorUpdatePolicy) string { return p.ID })
			reads(t, raw, sensorBuildRows, func(b SensorBuild) string { return b.Build })
			_ = parts.read("fuzz", raw)
		}
		_, _ = a.tagged("fuzz")
		_, _ = a.searched("fuzz")
	})
}

// reads holds that a row without an error is known by its id.
func reads[T any](t *testing.T, raw json.RawMessage, rows rows[T], id func(T) string) {
	t.Helper()
	if r := rows.read("fuzz", raw); r.Err == nil && id(r.Value) == "" {
		t.Errorf("%s gave %+v and no error", raw, r.Value)
	}
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
