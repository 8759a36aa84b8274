package falcon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// detected is an indicator that is right.
func detected(kind falcon.IOCType, value string) falcon.NewIOC {
	return falcon.NewIOC{
		Type: kind, Value: value, Action: falcon.IOCDetect, Severity: falcon.IOCHigh,
		Platforms: []string{"windows"}, AppliedGlobally: true,
	}
}

func domains(n int) (out []falcon.NewIOC) {
	for i := range n {
		out = append(out, detected(falcon.IOCDomain, fmt.Sprintf("%05d.example", i)))
	}
	return out
}

func TestIOCsAreCreated(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		in := domains(450)
		in[7] = falcon.NewIOC{
			Type: falcon.IOCSHA256, Value: strings.Repeat("AB", 32), Action: falcon.IOCAllow, MobileAction: falcon.IOCNoAction, Platforms: []string{"mac", "linux"},
			HostGroups: []string{"g"}, Expiration: time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), Description: "d", Source: "s",
			Filename: "a.exe", Tags: []string{"t"},
		}
		in[8].Type, in[8].Value = falcon.IOCIPv6, "2001:DB8:0::1"
		out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: in, Comment: "why", Retrodetects: true})
		if err != nil || len(out) != 450 {
			t.Fatalf("%d results, %v", len(out), err)
		}
		for i, r := range out {
			if r.Err != nil || r.IOC.ID == "" || r.IOC.Value != in[i].Value {
				t.Fatalf("%d: %+v", i, r)
			}
		}
		sent := iocRequests(srv, http.MethodPost)
		if len(sent) != 3 || sent[0].Query.Encode() != "retrodetects=true" || sent[0].Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d calls: %v %v", len(sent), sent[0].Query, sent[0].Header)
		}
		var body struct {
			Comment    string
			Indicators []json.RawMessage
		}
		if err := json.Unmarshal(sent[0].Body, &body); err != nil || body.Comment != "why" || len(body.Indicators) != 200 {
			t.Fatalf("%v, %d indicators, %q", err, len(body.Indicators), body.Comment)
		}
		for i, want := range map[int]string{
			0: `{"type":"domain","value":"00000.example","action":"detect","severity":"high","platforms":["windows"],"applied_globally":true}`,
			7: `{"type":"sha256","value":"` + strings.Repeat("AB", 32) + `","action":"allow","mobile_action":"no_action","platforms":["mac","linux"],` +
				`"applied_globally":false,"host_groups":["g"],"expiration":"2030-01-02T02:04:05Z","description":"d","source":"s","metadata":{"filename":"a.exe"},"tags":["t"]}`,
		} {
			if got := string(body.Indicators[i]); got != want {
				t.Errorf("%d: sent %s", i, got)
			}
		}
		for _, i := range srv.IOCs() {
			if i.Comment != "why" || !i.Retrodetects {
				t.Fatalf("%+v", i)
			}
		}
	})
}

// Falcon refuses a whole batch for one bad row. The good ones are created all the
// same, and every bad one says what is wrong with it.
func TestOneBadIndicatorDoesNotLoseTheBatch(t *testing.T) {
	old := falcontest.Config{IOCs: []falcontest.IOC{{Type: "domain", Value: "00003.example"}, {Type: "domain", Value: "00030.EXAMPLE"}}}
	cloud(t, old, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		in := domains(45)
		in[12] = detected(falcon.IOCIPv4, "10.0.0.1")           // a warning
		in[31] = detected(falcon.IOCDomain, "00001.EXAMPLE")    // as 1
		in[32] = detected(falcon.IOCAllSubdomains, in[1].Value) // another type
		out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: in, Chunk: 20})
		want := map[int]resilience.Sent{3: resilience.Answered, 12: resilience.Answered, 30: resilience.Answered, 31: resilience.NotSent}
		for i, r := range out {
			sent, bad := want[i]
			if bad != (r.Err != nil) || bad != (r.IOC.ID == "") || bad && resilience.Of(r.Err).Sent != sent {
				t.Errorf("%d: %+v, %v", i, r.IOC, r.Err)
			}
			if duplicate := bad && i != 12; errors.Is(r.Err, falcon.ErrDuplicateIOC) != duplicate {
				t.Errorf("%d: %v", i, r.Err)
			}
			if bad && (!strings.Contains(err.Error(), r.Err.Error()) || !strings.Contains(r.Err.Error(), fmt.Sprintf("Indicators[%d]", i))) {
				t.Errorf("%d is not told: %v", i, err)
			}
		}
		row, ok := errors.AsType[*falcon.RowError](out[12].Err)
		if !ok || row.ID != "10.0.0.1" || !strings.Contains(row.Error(), "value: The address is not public") || len(row.Raw) == 0 {
			t.Errorf("got %v", out[12].Err)
		}
		if len(out) != 45 || len(srv.IOCs()) != 43 || len(iocRequests(srv, http.MethodPost)) != 5 {
			t.Errorf("%d results, %d indicators, %d calls", len(out), len(srv.IOCs()), len(iocRequests(srv, http.MethodPost)))
		}
		// Warnings may be ignored, errors beside them not.
		again, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: []falcon.NewIOC{in[3], in[12]}, IgnoreWarnings: true})
		if again[0].Err == nil || again[1].Err != nil || err == nil || len(srv.IOCs()) != 44 {
			t.Errorf("%v, %v, %v", again[0].Err, again[1].Err, err)
		}
	})
}

// With warnings ignored, a refusal may list them beside the error that it is for:
// they take nothing out.
func TestIgnoredWarningsAccuseNobody(t *testing.T) {
	refusal := `{"meta":{},"errors":[{"code":400,"message":"one is bad"}],"resources":[
		{"row":1,"value":"00000.example","message_type":"warning","message":"hm"},
		{"row":2,"value":"00001.example","message_type":"error","field_name":"value","message":"bad"},
		{"row":2,"value":"00001.example","message_type":"error","field_name":"tags","message":"worse"},
		{"row":3,"value":"00002.example"}, {"row":9,"value":"nobody","message":"x"}, 7]}`
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusBadRequest, Path: iocsPath, Body: refusal, Count: 1})
		out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: domains(4), IgnoreWarnings: true})
		if len(out) != 4 || out[0].Err != nil || out[1].Err == nil || out[2].Err != nil || out[3].Err != nil || len(srv.IOCs()) != 3 {
			t.Errorf("%+v", out)
		}
		if s := fmt.Sprint(err); !strings.Contains(s, "value: bad") || !strings.Contains(s, "tags: worse") {
			t.Errorf("got %v", err)
		}
		// Where there is nothing else, they are what it was refused for.
		alone := `{"meta":{},"errors":[],"resources":[{"value":"00005.example","message_type":"warning","message":"hm"}]}`
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusBadRequest, Path: iocsPath, Body: alone, Count: 1})
		out, _ = c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: domains(7)[4:], IgnoreWarnings: true})
		if len(out) != 3 || out[0].Err != nil || out[1].Err == nil || out[2].Err != nil {
			t.Errorf("alone: %+v", out)
		}
	})
}

// counted calls a function before the n-th request of a method.
type counted struct {
	http.RoundTripper
	method string
	n      int
	before func()
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == c.method && r.URL.Path == iocsPath {
		if c.n--; c.n == 0 {
			c.before()
		}
	}
	return c.RoundTripper.RoundTrip(r)
}

// gofalcon B1: a create is sent again after a 503, or a lost answer. Here the third
// of five calls is lost: what was created, what was not, what is not known and what
// was never sent can be told apart, and a second Create finishes the work.
func TestACreateThatBreaksOffTellsWhere(t *testing.T) {
	var third counted
	count := func(cfg *falcon.Config) {
		third = counted{RoundTripper: cfg.HTTPClient.Transport, method: http.MethodPost, n: 3}
		cfg.HTTPClient = &http.Client{Transport: &third}
	}
	cloud(t, falcontest.Config{}, count, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		third.before = func() { srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: iocsPath, Count: 1}) }
		in := domains(50)
		in[40].Value = in[0].Value
		out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: in, Chunk: 10})
		var again []falcon.NewIOC
		for i, r := range out {
			want := resilience.NotSent
			if i < 30 {
				want = resilience.MaybeSent
			}
			switch {
			case i < 20 && (r.Err != nil || r.IOC.ID == ""):
				t.Errorf("%d: %v", i, r.Err)
			case i >= 20 && (r.Err == nil || resilience.Of(r.Err).Sent != want):
				t.Errorf("%d: %v", i, r.Err)
			}
			if r.Err != nil {
				again = append(again, in[i])
			}
		}
		if resilience.Of(err).Sent != resilience.MaybeSent || !strings.Contains(err.Error(), "Indicators[20] and 9 more, and 19 after them that were not sent") {
			t.Errorf("got %v", err)
		}
		if len(srv.IOCs()) != 30 || len(iocRequests(srv, http.MethodPost)) != 3 {
			t.Errorf("%d indicators, %d calls", len(srv.IOCs()), len(iocRequests(srv, http.MethodPost)))
		}
		out, _ = c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: again})
		for i, r := range out {
			if were := i < 10 || i == 20; errors.Is(r.Err, falcon.ErrDuplicateIOC) != were || !were && r.Err != nil {
				t.Errorf("again, %d: %v", i, r.Err)
			}
		}
		if len(srv.IOCs()) != 49 {
			t.Errorf("%d indicators in the end", len(srv.IOCs()))
		}
	})
}

// A refusal that names none of the rows is that of the call, and no endless loop.
func TestARefusalThatNamesNobody(t *testing.T) {
	cloud(t, falcontest.Config{IOCBatch: 5}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for body, want := range map[string]string{
			"": "too many indicators",
			`{"meta":{},"errors":[],"resources":[{"row":1,"message":"which?"}]}`:                                 "which?",
			`{"meta":{},"errors":[],"resources":[{"row":1,"value":"00001.example","type":"md5","message":"m"}]}`: "m [00001.example]",
			`{"meta":{},"errors":[{"code":400,"message":"no"}],"resources":null}`:                                "no",
			"<html>": "HTTP 400",
		} {
			srv.Faults().Heal()
			srv.ResetRequests()
			if body != "" {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusBadRequest, Path: iocsPath, Body: body})
			}
			out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: domains(12), Chunk: 6})
			if err == nil || !strings.Contains(err.Error(), want) || len(iocRequests(srv, http.MethodPost)) != 1 {
				t.Fatalf("%s: %v, %d calls", body, err, len(iocRequests(srv, http.MethodPost)))
			}
			for i, r := range out {
				sent := resilience.Answered
				if i >= 6 {
					sent = resilience.NotSent
				}
				if resilience.Of(r.Err).Sent != sent || r.Err == nil {
					t.Errorf("%s: %d: %v", body, i, r.Err)
				}
			}
		}
	})
}

// gofalcon C1, C2: a 200 where a 201 is declared is lost, and errors inside a 2xx
// are no errors.
func TestACreateIsReadWhateverTheStatus(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: iocsPath, Body: `{"meta":{},"errors":[{"code":500,"message":"half"}],
			"resources":[{"id":"2","type":"domain","value":"00002.Example"},{"id":"0","value":"2001:db8::1"},
			{"value":"00001.example","message":"no"},{"value":"00003.example"}]}`})
		in := domains(5)
		in[0].Type, in[0].Value = falcon.IOCIPv6, "2001:DB8:0::1"
		out, err := c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: in})
		if len(out) != 5 || out[0].IOC.ID != "0" || out[2].IOC.ID != "2" || out[0].Err != nil || out[2].Err != nil {
			t.Fatalf("%+v", out)
		}
		for i, sent := range map[int]resilience.Sent{1: resilience.Answered, 3: resilience.MaybeSent, 4: resilience.MaybeSent} {
			if out[i].Err == nil || resilience.Of(out[i].Err).Sent != sent {
				t.Errorf("%d: %v", i, out[i].Err)
			}
		}
		if !strings.Contains(out[4].Err.Error(), "half") || resilience.Of(err).Sent != resilience.MaybeSent {
			t.Errorf("%v\n%v", out[4].Err, err)
		}
		srv.Faults().Heal()
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusCreated, Path: iocsPath})
		out, err = c.IOCs.Create(t.Context(), falcon.IOCCreate{Indicators: domains(2), Chunk: 1})
		if resilience.Of(out[0].Err).Sent != resilience.MaybeSent || resilience.Of(out[1].Err).Sent != resilience.NotSent || err == nil {
			t.Errorf("an empty 201: %v, %v", out[0].Err, out[1].Err)
		}
	})
}

// gofalcon's model sends null for lists that are not set, which would clear them.
func TestAnIOCUpdateSendsWhatIsSet(t *testing.T) {
	full := falcontest.IOC{
		ID: iocID(0), Type: "domain", Value: "a.example", Action: "detect", Severity: "low", Platforms: []string{"mac"},
		HostGroups: []string{"g"}, Tags: []string{"t"}, Description: "d", Source: "s", Filename: "f",
		Expiration: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	set := func(s falcon.IOCSeverity) *falcon.IOCSeverity { return &s }
	for name, row := range map[string]struct {
		change falcon.IOCChange
		sent   string
		after  func(*falcontest.IOC)
	}{
		"severity": {falcon.IOCChange{Severity: set(falcon.IOCHigh)}, `"severity":"high"`, func(i *falcontest.IOC) { i.Severity = "high" }},
		"action": {
			falcon.IOCChange{Action: falcon.IOCNoAction, MobileAction: falcon.IOCAllow, Severity: set("")},
			`"action":"no_action","mobile_action":"allow","severity":""`,
			func(i *falcontest.IOC) { i.Action, i.MobileAction, i.Severity = "no_action", "allow", "" },
		},
		"globally": {
			falcon.IOCChange{AppliedGlobally: new(true), HostGroups: []string{}},
			`"applied_globally":true,"host_groups":[]`,
			func(i *falcontest.IOC) { i.AppliedGlobally, i.HostGroups = true, nil },
		},
		"cleared": {
			falcon.IOCChange{Expiration: &time.Time{}, Description: new(""), Source: new(""), Tags: []string{}},
			`"expiration":null,"description":"","source":"","tags":[]`,
			func(i *falcontest.IOC) { i.Expiration, i.Description, i.Source, i.Tags = time.Time{}, "", "", nil },
		},
		"lists": {
			falcon.IOCChange{
				Platforms: []string{"linux"}, HostGroups: []string{"h"}, Tags: []string{"u"}, Filename: "x",
				Expiration: new(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)),
			},
			`"platforms":["linux"],"host_groups":["h"],"expiration":"2031-01-01T00:00:00Z","metadata":{"filename":"x"},"tags":["u"]`,
			func(i *falcontest.IOC) {
				i.Platforms, i.HostGroups, i.Tags, i.Filename = []string{"linux"}, []string{"h"}, []string{"u"}, "x"
				i.Expiration = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
			},
		},
	} {
		cloud(t, falcontest.Config{IOCs: []falcontest.IOC{full}}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			want := srv.IOCs()[0]
			row.after(&want)
			want.Comment = "why"
			row.change.ID = full.ID
			out, err := c.IOCs.Update(t.Context(), falcon.IOCUpdate{Changes: []falcon.IOCChange{row.change}, Comment: "why", IgnoreWarnings: true})
			if err != nil || len(out) != 1 || out[0].IOC.ID != full.ID {
				t.Fatalf("%s: %+v, %v", name, out, err)
			}
			r := iocRequests(srv, http.MethodPatch)[0]
			if got, want := string(r.Body), `{"comment":"why","indicators":[{"id":"`+full.ID+`",`+row.sent+`}]}`; got != want || r.Query.Encode() != "ignore_warnings=true" {
				t.Errorf("%s: sent %s with %v", name, got, r.Query)
			}
			got := srv.IOCs()[0]
			want.Modified = got.Modified
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
			}
		})
	}
}

func TestIOCUpdatesAreRefusedOneByOneAndRepeated(t *testing.T) {
	cloud(t, listed(30), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var changes []falcon.IOCChange
		for i := range 30 {
			changes = append(changes, falcon.IOCChange{ID: iocID(i), Description: new("new")})
		}
		changes[17].ID = "unknown"
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPatch, Count: 1})
		out, err := c.IOCs.Update(t.Context(), falcon.IOCUpdate{Changes: changes, Chunk: 10})
		for i, r := range out {
			if bad := i == 17; bad != (r.Err != nil) || !bad && (r.IOC.ID != iocID(i) || r.IOC.Description != "new") {
				t.Errorf("%d: %+v", i, r)
			}
		}
		row, ok := errors.AsType[*falcon.RowError](err)
		if len(out) != 30 || !ok || row.ID != "unknown" || resilience.Of(err).Sent != resilience.Answered || !strings.Contains(err.Error(), "Changes[17]") {
			t.Errorf("%d results, %v", len(out), err)
		}
		// A look into the past would be made twice.
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPatch, Count: 1})
		out, err = c.IOCs.Update(t.Context(), falcon.IOCUpdate{Changes: changes[:1], Retrodetects: true})
		if err == nil || resilience.Of(out[0].Err).Sent != resilience.MaybeSent {
			t.Errorf("%v", err)
		}
	})
}
