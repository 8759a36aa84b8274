package conformance

import (
	"context"
	"strings"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"

	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// falconRTR is Real Time Response: gofalcon's ExecuteAndWait, which is how its own
// example runs a command.
var falconRTR = []row[*falconEnv]{
	{
		name: "B1 an RTR command whose answer was lost runs again",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: commandPath, Count: 1})
		},
		sdk:      func(e *falconEnv) error { return runsOnce(e, e.sdkRuns(retrying(3))) },
		jurymast: func(e *falconEnv) error { return runsOnce(e, e.runs()) },
	},
	{
		name:     "RTR a command that takes its time uses up the quota of the whole customer",
		provoke:  func(e *falconEnv) { e.commandsTake(10 * time.Minute) },
		sdk:      func(e *falconEnv) error { return sparesTheQuota(e, e.sdkRuns()) },
		jurymast: func(e *falconEnv) error { return sparesTheQuota(e, e.runs()) },
	},
	{
		name:     "RTR a command that does not end is waited for for ever",
		provoke:  func(e *falconEnv) { e.commandsTake(1000 * time.Hour) },
		sdk:      func(e *falconEnv) error { return losesPatience(e, func() runner { return e.sdkRuns() }) },
		jurymast: func(e *falconEnv) error { return losesPatience(e, e.runs) },
	},
	{
		name:     "RTR output whose parts are numbered as documented has no end",
		provoke:  func(e *falconEnv) { e.simulated.RTROwnOrder = true },
		sdk:      func(e *falconEnv) error { return putsTogether(e, func() runner { return e.sdkRuns() }) },
		jurymast: func(e *falconEnv) error { return putsTogether(e, e.runs) },
	},
	{
		name:     "RTR an answer that does not say whether the command has ended panics",
		provoke:  func(e *falconEnv) { e.answersPart(`{"session_id":"s","stdout":"half"}`) },
		sdk:      func(e *falconEnv) error { return doesNotPanic(e, e.sdkRuns().call()) },
		jurymast: func(e *falconEnv) error { return doesNotPanic(e, e.runs().call()) },
	},
	{
		name:     "RTR a part that is null panics",
		provoke:  func(e *falconEnv) { e.answersPart(`null`) },
		sdk:      func(e *falconEnv) error { return doesNotPanic(e, e.sdkRuns().call()) },
		jurymast: func(e *falconEnv) error { return doesNotPanic(e, e.runs().call()) },
	},
}

const commandPath = "/real-time-response/entities/command/v1"

// runner runs ls on the first host and returns what it wrote.
type runner func(context.Context) (stdout string, err error)

func (r runner) call() call {
	return func(ctx context.Context) error {
		_, err := r(ctx)
		return err
	}
}

func (e *falconEnv) sdkRuns(change ...func(*gofalcon.ApiConfig)) runner {
	rtr, err := gofalcon.NewRTR(e.sdkConfig(change...))
	if err != nil {
		e.Fatal(err)
	}
	return func(ctx context.Context) (string, error) {
		s, err := rtr.NewSession(ctx, firstHost)
		if err != nil {
			return "", err
		}
		out, err := s.ExecuteAndWait(ctx, "ls", "ls")
		if err != nil {
			return "", err
		}
		return *out.Stdout, nil
	}
}

func (e *falconEnv) runs() runner {
	c := e.jurymast()
	return func(ctx context.Context) (string, error) {
		out, err := c.RTR.Run(ctx, firstHost, "ls")
		return out.Stdout, err
	}
}

func (e *falconEnv) commandsTake(d time.Duration) {
	e.srv.RTRCommand(func(string, string) falcontest.RTRResult { return falcontest.RTRResult{Stdout: "done", Takes: d} })
}

// answersPart answers for every part of an output with this one.
func (e *falconEnv) answersPart(part string) {
	rule := fails(commandPath, 200, 0, `{"meta":{},"errors":[],"resources":[`+part+`]}`)
	rule.Method = "GET"
	e.srv.Faults().Add(rule)
}

// runsOnce counts the commands that the host was given.
func runsOnce(e *falconEnv, r runner) error {
	e.strike()
	_, _ = r.call().within(e.Context(), time.Minute)
	if n := len(e.srv.RTRSessions()[0].Commands); n != 1 {
		return wrong("one call ran the command %d times", n)
	}
	return nil
}

// hundreds rounds a number of requests: whether one more goes out at the very end of a
// minute is chance.
func hundreds(n int) int { return (n + 50) / 100 * 100 }

// sparesTheQuota looks at a minute of waiting.
func sparesTheQuota(e *falconEnv, r runner) error {
	e.strike()
	_, _ = r.call().within(e.Context(), time.Minute)
	if n := e.requests(commandPath); n > 60 {
		return wrong("waiting for one command made some %d requests in a minute, of 6000 for all", hundreds(n))
	}
	return nil
}

// losesPatience asks that the wait ends by itself within an hour. The session is kept for
// longer: who asks for output uses it, for all that is known.
func losesPatience(e *falconEnv, client func() runner) error {
	e.serve(falcontest.Config{RTRIdle: 24 * time.Hour})
	e.strike()
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	ended := client().call().background(ctx)
	select {
	case <-ended:
		return nil
	case <-time.After(time.Hour):
		asked := e.requests(commandPath)
		cancel()
		<-ended
		return wrong("after an hour it was still waited for, and some %d requests were made", hundreds(asked))
	}
}

// putsTogether asks for an output of three parts.
func putsTogether(e *falconEnv, client func() runner) error {
	e.strike()
	e.simulated.RTRPart = 10
	e.serve(e.simulated)
	want := strings.Repeat("0123456789", 2) + "end"
	e.srv.RTRCommand(func(string, string) falcontest.RTRResult { return falcontest.RTRResult{Stdout: want} })
	ctx, cancel := context.WithTimeout(e.Context(), time.Minute)
	defer cancel()
	got, err := client()(ctx)
	if err != nil {
		return wrong("of an output that was there, nothing came in a minute and some %d requests: %v", hundreds(e.requests(commandPath)), cause(err))
	}
	if got != want {
		return wrong("%q instead of %q", got, want)
	}
	return nil
}
