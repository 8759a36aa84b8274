package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// The hosts of the play.
const (
	first     = 1 // contained while all is well
	second    = 2 // contained while Falcon is dead
	ambiguous = 3 // has a twin of its own name
)

// report is what the service answered, and what the clouds recorded.
type report struct {
	Mode      string            `json:"mode"`
	Steps     []step            `json:"steps"`
	Failovers int               `json:"failovers"` // as /metrics counts them
	Contained map[string]string `json:"contained"` // host: by whom, as the agents say
	Held      bool              `json:"promises_held"`

	errs []error
}

// step is one request and what came of it.
type step struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Code   int    `json:"code"`
	TookMS int64  `json:"took_ms"`
	answer
}

// answer is what is worth telling of an answer.
type answer struct {
	Outcome    string   `json:"outcome,omitempty"`
	FailedOver bool     `json:"failed_over,omitempty"`
	State      string   `json:"state,omitempty"`
	Error      string   `json:"error,omitempty"`
	Effect     string   `json:"effect,omitempty"`
	Holding    []string `json:"holding,omitempty"`
	Debts      int      `json:"debts,omitempty"`
}

func (a answer) heldBy(provider string) bool { return slices.Equal(a.Holding, []string{provider}) }

// client talks to the service as anybody would.
type client struct {
	url    string
	http   *http.Client
	report *report
	out    io.Writer
}

// play is a client's day: a vendor dies between two containments.
func (r *report) play(ctx context.Context, url string, clouds *twin.Twin, out io.Writer) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := &client{url: url, http: &http.Client{Transport: transport, Timeout: 2 * callTotal}, report: r, out: out}

	contained := c.post(ctx, first, "contain")
	r.promise(contained.Code == 202 && contained.heldBy("falcon/us-1"), "contain: %+v", contained)
	shown := c.get(ctx, twin.Hostname(first))
	r.promise(shown.State == "contain_pending" || shown.State == "contained", "the contained host: %+v", shown)
	unknown := c.get(ctx, "no-such-host")
	r.promise(unknown.Code == 404 && unknown.Error == "host_not_found", "an unknown host: %+v", unknown)
	clouds.Falcon.AddHost(falcontest.Host{Hostname: twin.Hostname(ambiguous), MACAddress: "02-00-00-00-00-99"})
	two := c.post(ctx, ambiguous, "contain")
	r.promise(two.Code == 409 && two.Effect == "none", "an ambiguous host: %+v", two)

	fmt.Fprintln(out, "--- Falcon is dead")
	clouds.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
	over := c.post(ctx, second, "contain")
	r.promise(over.Code == 202 && over.heldBy("defender") && over.FailedOver, "contain without Falcon: %+v", over)
	r.Failovers = c.failovers(ctx)
	r.promise(r.Failovers == 1, "/metrics counts %d failovers of a contain", r.Failovers)
	debt := c.post(ctx, first, "release")
	r.promise(debt.Code == 502 && debt.Error == "release_debt" && debt.Effect == "none" && debt.heldBy("falcon/us-1"), "release without Falcon: %+v", debt)
	healthy := c.do(ctx, http.MethodGet, "/healthz", nil)
	r.promise(healthy.Code == 200 && healthy.Debts == 1, "without Falcon: %+v", healthy)
	r.Contained = r.held(clouds, []int{first}, []int{second})

	fmt.Fprintln(out, "--- Falcon is back")
	clouds.Falcon.Faults().Heal()
	released := step{}
	for end := time.Now().Add(5 * time.Second); released.Code/100 != 2 && time.Now().Before(end); wait(ctx, 100*time.Millisecond) {
		released = c.post(ctx, first, "release") // the same body: asking again is safe
	}
	r.promise(released.Code == 202, "release: %+v", released)
	released = c.post(ctx, second, "release")
	r.promise(released.Code == 202, "release: %+v", released)
	for _, host := range []int{first, second} {
		shown := c.get(ctx, twin.Hostname(host))
		r.promise(shown.State == "not_contained" || shown.State == "release_pending", "the released host: %+v", shown)
	}
	r.check(clouds)
	fmt.Fprintf(out, "contained while Falcon was dead: %v; failovers in /metrics: %d; promises broken: %d\n", r.Contained, r.Failovers, len(r.errs))
}

// check asks the clouds and the agents what really happened.
func (r *report) check(clouds *twin.Twin) {
	did := map[string]int{}
	for _, e := range clouds.Falcon.Effects() {
		did[fmt.Sprintf("falcon %s %s", e.Action, e.DeviceID)]++
	}
	for _, a := range clouds.Azure.Actions() {
		did[fmt.Sprintf("defender %s %s", a.Type, a.MachineID)]++
	}
	for _, want := range []string{
		"falcon contain " + twin.FalconID(first), "falcon lift_containment " + twin.FalconID(first),
		"defender Isolate " + twin.DefenderID(second), "defender Unisolate " + twin.DefenderID(second),
	} {
		r.promise(did[want] == 1, "%d times %s", did[want], want)
	}
	r.promise(len(did) == 4, "the clouds did something else: %v", did)
	r.held(clouds, nil, nil)
}

// held waits, as long as the agents need, until they hold these hosts and no
// others, and tells whose agent holds which.
func (r *report) held(clouds *twin.Twin, falcon, defender []int) map[string]string {
	f, d := clouds.Contained()
	as := func() bool { return slices.Equal(f, falcon) && slices.Equal(d, defender) }
	for end := time.Now().Add(3 * time.Second); !as() && time.Now().Before(end); f, d = clouds.Contained() {
		time.Sleep(20 * time.Millisecond)
	}
	r.promise(as(), "the agents hold %v (Falcon) and %v (Defender), not %v and %v", f, d, falcon, defender)
	by := map[string]string{}
	for _, host := range f {
		by[twin.Hostname(host)] = "falcon"
	}
	for _, host := range d {
		by[twin.Hostname(host)] += "defender"
	}
	return by
}

func (r *report) promise(held bool, format string, args ...any) {
	if !held {
		r.errs = append(r.errs, fmt.Errorf("broken promise: "+format, args...))
	}
}

// broken says which promises did not hold.
func (r *report) broken() error {
	r.Held = len(r.errs) == 0 && len(r.Steps) > 0
	return errors.Join(r.errs...)
}

func (c *client) post(ctx context.Context, host int, verb string) step {
	name := twin.Hostname(host)
	return c.do(ctx, http.MethodPost, "/hosts/"+name+"/"+verb, map[string]string{
		"id": "play-" + verb + "-" + name, "actor": "service example", "reason": "show what happens when a vendor dies",
	})
}

func (c *client) get(ctx context.Context, host string) step {
	return c.do(ctx, http.MethodGet, "/hosts/"+host, nil)
}

func (c *client) do(ctx context.Context, method, path string, body any) step {
	s := step{Method: method, Path: path}
	begin := time.Now()
	code, text, err := c.send(ctx, method, path, body)
	if err == nil {
		err = json.Unmarshal(text, &s.answer)
	}
	c.report.promise(err == nil, "%s %s: %v", method, path, err)
	s.Code, s.TookMS = code, time.Since(begin).Milliseconds()
	c.report.Steps = append(c.report.Steps, s)
	if code < 300 {
		text, _ = json.Marshal(s.answer) // the rest is not worth telling here
	}
	fmt.Fprintf(c.out, "%4d ms  %-4s %-22s %d  %s\n", s.TookMS, method, path, code, bytes.TrimSpace(text))
	return s
}

func (c *client) send(ctx context.Context, method, path string, body any) (int, []byte, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, content)
	if err != nil {
		return 0, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

var failovers = regexp.MustCompile(`(?m)^jurymast_failovers_total\{[^}]*jurymast_operation="contain"[^}]*jurymast_provider="falcon/us-1"[^}]*\} (\d+)`)

// failovers reads how often a contain left Falcon for Defender.
func (c *client) failovers(ctx context.Context) int {
	_, text, err := c.send(ctx, http.MethodGet, "/metrics", nil)
	c.report.promise(err == nil, "GET /metrics: %v", err)
	m := failovers.FindSubmatch(text)
	if m == nil {
		return 0
	}
	fmt.Fprintf(c.out, "         GET  /metrics               %s\n", m[0])
	n, err := strconv.Atoi(string(m[1]))
	c.report.promise(err == nil, "GET /metrics: %v", err)
	return n
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
