package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	armruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/tracing"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// azureAnswer is what azcore makes of answers.
var azureAnswer = []row[*azureEnv]{
	{
		name:     "an isolation whose context ends as its answer arrives is reported as failed",
		provoke:  (*azureEnv).leavesAtTheAnswer,
		sdk:      func(e *azureEnv) error { return reportsWhatIsDone(e, e.sdkIsolate()) },
		jurymast: func(e *azureEnv) error { return reportsWhatIsDone(e, e.isolate()) },
	},
	{
		name: "a list whose second page failed once cannot be read on",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 400, Path: "/api/machines", Query: "page=2", Count: 1})
		},
		sdk: func(e *azureEnv) error {
			e.twoPages()
			pager := sdkPager(e.sdk())
			return turnsThePage(e, func(ctx context.Context) (bool, error) {
				if !pager.More() {
					return false, nil
				}
				_, err := pager.NextPage(ctx)
				return true, err
			})
		},
		jurymast: func(e *azureEnv) error {
			e.twoPages()
			c, cursor, rows := e.jurymast(), "", 0
			return turnsThePage(e, func(ctx context.Context) (bool, error) {
				l := c.Defender.Machines(azure.Query{Cursor: cursor})
				for _, err := range l.All(ctx) {
					if err != nil {
						return true, err
					}
					cursor = l.Cursor()
					if rows++; rows == 1 {
						return true, nil
					}
				}
				return rows < 2, nil
			})
		},
	},
	{
		name: "a read through an arm client registers a resource provider",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fault.Rule{
				Kind: fault.Status, Status: 409, Method: http.MethodGet, Path: "/subscriptions/", Count: 1,
				Body: `{"error":{"code":"MissingSubscriptionRegistration","message":"not registered"}}`,
			})
			e.srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/subscriptions/", Body: `{"registrationState":"Registered"}`})
		},
		sdk: func(e *azureEnv) error {
			return registersNothing(e, e.sdkCredential(), &arm.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: e.http}})
		},
		jurymast: func(e *azureEnv) error {
			c := e.jurymast()
			return registersNothing(e, c.Credential(), c.ARMOptions())
		},
	},
	{
		name:     "an error's text is the whole answer, with whatever is in it",
		provoke:  (*azureEnv).leaks,
		sdk:      func(e *azureEnv) error { return saysLittle(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return saysLittle(e, e.get()) },
	},
	{
		name:     "the log has the whole answer, although it was not to have bodies",
		provoke:  (*azureEnv).leaks,
		sdk:      func(e *azureEnv) error { return logsLittle(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return logsLittle(e, e.get()) },
	},
	{
		name:    "a span's status is the whole answer, with whatever is in it",
		provoke: (*azureEnv).leaks,
		sdk: func(e *azureEnv) error {
			s := &statuses{}
			get := e.sdkGet()
			return spansSayLittle(e, s, func(ctx context.Context) (err error) {
				ctx, end := runtime.StartSpan(ctx, "Client.Get", s.azcore(), nil) // as every official client does
				defer func() { end(err) }()
				return get(ctx)
			})
		},
		jurymast: func(e *azureEnv) error {
			s := &statuses{}
			c, err := azure.New(azure.Config{
				TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: e.http,
				Policy: resilience.Config{TracerProvider: s},
			})
			if err != nil {
				return err
			}
			e.Cleanup(func() { _ = c.Close(context.Background()) })
			return spansSayLittle(e, s, func(ctx context.Context) error {
				_, err := c.Defender.Machine(ctx, firstMachine)
				return err
			})
		},
	},
}

// leavesAtTheAnswer ends the context of the calls when an isolation has been
// answered, and all of the answer is here.
func (e *azureEnv) leavesAtTheAnswer() {
	ctx, leave := context.WithCancel(e.ctx)
	e.ctx = ctx
	e.outside.change = func(resp *http.Response) {
		if resp.Request.URL.Path != isolatePath {
			return
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			e.Error(err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		leave()
	}
}

// reportsWhatIsDone asks that what was carried out, and answered, is a success.
func reportsWhatIsDone(e *azureEnv, c call) error {
	e.strike()
	err := c(e.ctx)
	if err != nil && len(e.srv.Actions()) == 1 {
		return wrong("the isolation was carried out and answered 201, and the call failed: %v", cause(err))
	}
	return err
}

// twoPages makes a list of two pages, of a machine each.
func (e *azureEnv) twoPages() {
	e.strike() // the failure first: the first rule that matches acts
	page := func(query, body string) {
		r := fails("/api/machines", 200, 0, body)
		r.Query = query
		e.srv.Faults().Add(r)
	}
	page("page=2", `{"value":[{"id":"b"}]}`)
	page("", `{"value":[{"id":"a"}],"@odata.nextLink":"`+api+`/machines?page=2"}`)
}

// turnsThePage reads a page at a time, and goes on after a failure. next is false at
// the end.
func turnsThePage(e *azureEnv, next func(context.Context) (bool, error)) error {
	failed := 0
	for range 10 {
		more, err := next(e.ctx)
		switch {
		case !more && err == nil:
			if n := e.requests("/api/machines"); failed > 0 && n < 3 {
				return wrong("after one failed page the list was over: its second page was asked for once")
			}
			return nil
		case err != nil:
			failed++
		}
	}
	return fmt.Errorf("the list does not end")
}

// registersNothing reads something by an arm client's pipeline.
func registersNothing(e *azureEnv, cred azcore.TokenCredential, o *arm.ClientOptions) error {
	const host = "https://api.security.microsoft.com" // the simulator's fault plan answers in place of ARM
	o.Cloud = cloud.Configuration{
		ActiveDirectoryAuthorityHost: cloud.AzurePublic.ActiveDirectoryAuthorityHost,
		Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: host, Audience: "https://management.core.windows.net/"},
		},
	}
	pl, err := armruntime.NewPipeline("conformance", "v1", cred, runtime.PipelineOptions{}, o)
	if err != nil {
		return err
	}
	e.strike()
	_, _ = sdkDo(e.ctx, pl, http.MethodGet, host+"/subscriptions/00000000-0000-0000-0000-000000000001/providers/Microsoft.Security/secureScores/ascScore", "")
	for _, r := range e.srv.Requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/register") {
			return wrong("a GET sent POST %s", r.Path)
		}
	}
	return nil
}

const inTheBody = "alice@contoso.com"

// leaks makes a gateway answer with what belongs into no log.
func (e *azureEnv) leaks() {
	e.srv.Faults().Add(fails(machinePath, 400, 0, `<html>`+strings.Repeat("<p>", 1000)+inTheBody+`</html>`))
}

// saysLittle reads an error's text.
func saysLittle(e *azureEnv, c call) error {
	e.strike()
	if err := c(e.ctx); err != nil && strings.Contains(err.Error(), inTheBody) {
		return wrong("the error's text has %d characters, %s among them", len(err.Error()), inTheBody)
	}
	return nil
}

// logsLittle listens to azcore's log, as a program does that looks for errors.
func logsLittle(e *azureEnv, c call) error {
	logged := make(chan string, 100)
	azlog.SetEvents(azlog.EventResponseError)
	azlog.SetListener(func(_ azlog.Event, text string) { logged <- text })
	defer func() {
		azlog.SetListener(nil)
		azlog.SetEvents()
	}()
	e.strike()
	_ = c(e.ctx)
	for range len(logged) {
		if text := <-logged; strings.Contains(text, inTheBody) {
			return wrong("the log has %d characters of the answer, %s among them", len(text), inTheBody)
		}
	}
	return nil
}

// spansSayLittle reads what a trace backend would be sent.
func spansSayLittle(e *azureEnv, s *statuses, c call) error {
	e.strike()
	if err := c(e.ctx); err != nil && len(s.all()) == 0 {
		return errors.New("the call failed and no span says so")
	}
	for _, text := range s.all() {
		if strings.Contains(text, inTheBody) {
			return wrong("a span's status has %d characters, %s among them", len(text), inTheBody)
		}
	}
	return nil
}

// statuses is a tracer provider that keeps the descriptions of the spans' statuses.
type statuses struct {
	noop.TracerProvider
	mu    sync.Mutex
	texts []string
}

func (s *statuses) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, text)
}

func (s *statuses) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.texts
}

func (s *statuses) Tracer(string, ...trace.TracerOption) trace.Tracer { return &statusTracer{all: s} }

type statusTracer struct {
	noop.Tracer
	all *statuses
}

func (t *statusTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	span := &statusSpan{all: t.all}
	return trace.ContextWithSpan(ctx, span), span
}

type statusSpan struct {
	noop.Span
	all *statuses
}

func (s *statusSpan) IsRecording() bool                   { return true }
func (s *statusSpan) SetStatus(_ codes.Code, text string) { s.all.add(text) }

// azcore is the same for azcore's own kind of tracer.
func (s *statuses) azcore() tracing.Tracer {
	return tracing.NewTracer(func(ctx context.Context, _ string, _ *tracing.SpanOptions) (context.Context, tracing.Span) {
		return ctx, tracing.NewSpan(tracing.SpanImpl{
			SetStatus: func(_ tracing.SpanStatus, text string) { s.add(text) },
		})
	}, nil)
}
