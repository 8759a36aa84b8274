package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/crowdstrike/gofalcon/falcon/client/host_group"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// victim is the host to contain.
const victim = 1

// vendor is one simulated cloud and the calls that its official client makes.
type vendor struct {
	name     string
	api      string // where its paths begin; tokens are elsewhere
	cloud    simulator
	hangUp   func() // closes the client's idle connections
	state    func() resilience.State
	effects  func() int         // on the victim, by the cloud's record
	official func(error) string // the official client's own error in there, if any
	notFound string             // what that is for something that does not exist

	read, missing, act, readBack func(context.Context) error
}

// simulator is what both clouds offer.
type simulator interface {
	Faults() *fault.Plan
	RevokeTokens()
	Tokens() int
	Requests() []falcontest.Request
	ResetRequests()
}

func simulated(ctx context.Context, out io.Writer) (_ any, err error) {
	clouds, err := twin.New(twin.Config{Hosts: 3})
	if err != nil {
		return nil, err
	}
	defer clouds.Close()
	fmt.Fprintf(out, "SIMULATED: a Falcon and a Microsoft cloud in this process, %d hosts enrolled in both\n\n", clouds.Hosts())

	// In a real program the defaults are better; here nobody wants to wait.
	quick := resilience.Config{
		Attempt: time.Second, Total: 4 * time.Second,
		Retry: resilience.Retry{Base: 20 * time.Millisecond, Max: 100 * time.Millisecond},
	}
	toFalcon, toAzure := clouds.Falcon.Client(), clouds.Azure.Client()
	o, err := newOfficial(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: toFalcon, Policy: quick,
	}, azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: toAzure, Policy: quick,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close(ctx)) }()

	r := &report{Mode: "simulated"}
	for _, v := range []vendor{o.gofalcon(clouds, toFalcon), o.azcore(clouds, toAzure)} {
		r.play(ctx, v)
	}
	r.table(out)
	return r, errors.Join(r.broken...)
}

func (o *official) gofalcon(clouds *twin.Twin, client *http.Client) vendor {
	id := twin.FalconID(victim)
	return vendor{
		name: "gofalcon", api: "/devices/", cloud: clouds.Falcon,
		hangUp: client.CloseIdleConnections, state: o.falcon.Policy().State,
		effects: func() int { return len(clouds.Falcon.Effects()) },
		official: func(err error) string {
			if e, ok := errors.AsType[*host_group.GetHostGroupsNotFound](err); ok {
				return fmt.Sprintf("%T", e)
			}
			return ""
		},
		notFound: "*host_group.GetHostGroupsNotFound",
		read:     func(ctx context.Context) error { _, err := o.contained(ctx, id); return err },
		missing:  func(ctx context.Context) error { return o.group(ctx, "no such group") },
		act:      func(ctx context.Context) error { return o.contain(ctx, id) },
		readBack: func(ctx context.Context) error { return mustHold(o.contained(ctx, id)) },
	}
}

func (o *official) azcore(clouds *twin.Twin, client *http.Client) vendor {
	id := twin.DefenderID(victim)
	return vendor{
		name: "azcore", api: "/api/", cloud: clouds.Azure,
		hangUp: client.CloseIdleConnections, state: func() resilience.State { return o.azure.Policies()["azure."+defenderHost].State() },
		effects: func() int { return len(clouds.Azure.Actions()) },
		official: func(err error) string {
			if e, ok := errors.AsType[*azcore.ResponseError](err); ok {
				return "*azcore.ResponseError " + e.ErrorCode
			}
			return ""
		},
		notFound: "*azcore.ResponseError ResourceNotFound",
		read:     func(ctx context.Context) error { return o.defender.machine(ctx, id) },
		missing:  func(ctx context.Context) error { return o.defender.machine(ctx, strings.Repeat("0", 40)) },
		act:      func(ctx context.Context) error { return o.defender.isolate(ctx, id, "officialsdk example") },
		readBack: func(ctx context.Context) error { return mustHold(o.defender.isolated(ctx, id)) },
	}
}

func mustHold(held bool, err error) error {
	if err == nil && !held {
		return errors.New("the host is not held")
	}
	return err
}

// step is one call while something is wrong: what its caller got, and what the
// cloud recorded of it.
type step struct {
	Client   string `json:"client"`
	Wrong    string `json:"wrong"`
	Call     string `json:"call"`
	Result   string `json:"result"` // ok, or the class of the failure
	Sent     string `json:"sent,omitempty"`
	Official string `json:"official_error,omitempty"`
	Answers  []int  `json:"answers"` // 0: the answer was lost
	Effects  int    `json:"effects"`
}

type report struct {
	Mode  string `json:"mode"`
	Steps []step `json:"steps"`
	Held  bool   `json:"promises_held"`

	broken []error
}

// play makes one cloud fail in every way, and says what each must lead to.
func (r *report) play(ctx context.Context, v vendor) {
	faults := v.cloud.Faults()

	r.step(ctx, v, "nothing", "read", v.read, step{Result: "ok", Answers: []int{200}})
	r.step(ctx, v, "it does not exist", "read", v.missing,
		step{Result: "not_found", Sent: "answered", Official: v.notFound, Answers: []int{404}})

	faults.Add(fault.Rule{Kind: fault.Status, Path: v.api, Count: 2})
	r.step(ctx, v, "a short 503 storm", "read", v.read, step{Result: "ok", Answers: []int{503, 503, 200}})

	faults.Add(fault.Rule{Kind: fault.LoseResponse, Path: v.api, Count: 1})
	r.step(ctx, v, "the answer is lost", "contain", v.act, // done once, and not sent again
		step{Result: "broken", Sent: "maybe_sent", Answers: []int{0}, Effects: 1})
	r.step(ctx, v, "so it is read back", "read", v.readBack, step{Result: "ok", Answers: []int{200}})

	v.hangUp()
	gone := faults.Add(fault.Rule{Kind: fault.Refuse})
	r.step(ctx, v, "nobody listens", "contain", v.act, step{Result: "refused", Sent: "not_sent"})
	gone()

	r.promise(v.cloud.Tokens() == 1, "%s: %d tokens, not one for everything", v.name, v.cloud.Tokens())
	v.cloud.RevokeTokens()
	r.step(ctx, v, "the token is revoked", "read", v.read, step{Result: "ok", Answers: []int{401, 200}})
	r.promise(v.cloud.Tokens() == 2, "%s: %d tokens, not one more", v.name, v.cloud.Tokens())

	healed := faults.Add(fault.Rule{Kind: fault.Status, Path: v.api})
	for i := 0; i < 20 && v.state() != resilience.Opened; i++ {
		_ = v.read(ctx)
	}
	r.step(ctx, v, "a long 503 storm", "contain", v.act, step{Result: "open", Sent: "not_sent"})
	healed()
}

// step makes one call and compares what came of it with what may.
func (r *report) step(ctx context.Context, v vendor, wrong, name string, call func(context.Context) error, may ...step) {
	v.cloud.ResetRequests()
	before := v.effects()
	err := call(ctx)
	got := step{Client: v.name, Wrong: wrong, Call: name, Result: "ok", Answers: []int{}, Effects: v.effects() - before}
	if err != nil {
		f := explain(err)
		got.Result, got.Sent, got.Official = f.Class.String(), f.Sent.String(), v.official(err)
	}
	for _, q := range v.cloud.Requests() {
		if strings.HasPrefix(q.Path, v.api) {
			got.Answers = append(got.Answers, q.Status)
		}
	}
	r.Steps = append(r.Steps, got)
	r.promise(slices.ContainsFunc(may, got.like), "%s, %s: %+v is not in %+v: %v", v.name, wrong, got, may, err)
}

// like reports that the same came of both.
func (s step) like(t step) bool {
	return s.Result == t.Result && s.Sent == t.Sent && s.Official == t.Official &&
		s.Effects == t.Effects && slices.Equal(s.Answers, t.Answers)
}

func (r *report) promise(held bool, format string, args ...any) {
	if !held {
		r.broken = append(r.broken, fmt.Errorf("broken promise: "+format, args...))
	}
}

func (r *report) table(out io.Writer) {
	r.Held = len(r.broken) == 0
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tWHAT IS WRONG\tCALL\tTHE CALLER GETS\tTHE CLOUD RECORDED\tEFFECTS")
	for _, s := range r.Steps {
		result := s.Result
		if s.Sent != "" {
			result += ", " + s.Sent
		}
		if s.Official != "" {
			result += ", " + s.Official
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", s.Client, s.Wrong, s.Call, result, answers(s.Answers), s.Effects)
	}
	_ = w.Flush()
}

func answers(statuses []int) string {
	if len(statuses) == 0 {
		return "nothing"
	}
	text := make([]string, len(statuses))
	for i, s := range statuses {
		if text[i] = fmt.Sprint(s); s == 0 {
			text[i] = "no answer"
		}
	}
	return strings.Join(text, ", ")
}
