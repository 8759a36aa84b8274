package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"
	"github.com/crowdstrike/gofalcon/falcon/client/cases"
	"github.com/crowdstrike/gofalcon/falcon/client/intel"
	"github.com/crowdstrike/gofalcon/falcon/client/ioc"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// falconService is what befalls single services, and where the letters of all
// services bite hardest.
var falconService = []row[*falconEnv]{
	{
		name: "B1 a case whose answer was lost is opened again",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: casePath, Count: 1})
		},
		sdk:      func(e *falconEnv) error { return opensOneCase(e, e.sdkOpensCase(retrying(3))) },
		jurymast: func(e *falconEnv) error { return opensOneCase(e, e.opensCase()) },
	},
	{
		name: "B1 an indicator whose answer was lost is reported as refused",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: iocPath, Count: 1})
		},
		sdk:      func(e *falconEnv) error { return reportsIndicator(e, e.sdkCreates(retrying(3))) },
		jurymast: func(e *falconEnv) error { return reportsIndicator(e, e.creates()) },
	},
	{
		name:     "C1 hosts whose tags did not change are no error",
		provoke:  func(e *falconEnv) { e.srv.RemoveHost(firstHost) }, // updated: false, inside a 202
		sdk:      func(e *falconEnv) error { return noticesErrors(e, e.sdkTags()) },
		jurymast: func(e *falconEnv) error { return noticesErrors(e, e.tags()) },
	},
	{
		name: "C2 an indicator whose creation is answered 200 instead of 201 is reported as failed",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails(iocPath, 200, 0, createdIOC))
		},
		sdk:      func(e *falconEnv) error { return takesSuccess(e, e.sdkCreates()) },
		jurymast: func(e *falconEnv) error { return takesSuccess(e, e.creates()) },
	},
	{
		name: "C3 rules of the type that was asked for cannot be read",
		provoke: func(e *falconEnv) {
			e.outside.change = func(r *http.Response) { r.Header.Set("Content-Type", "application/zip") }
		},
		sdk:      func(e *falconEnv) error { return readsRules(e, e.sdkRules()) },
		jurymast: func(e *falconEnv) error { return readsRules(e, e.rules()) },
	},
	{
		name: "C5 one field of another type makes a failure of a creation",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails(iocPath, 201, 0, strings.Replace(createdIOC, `"tags":[]`, `"tags":"none"`, 1)))
		},
		sdk:      func(e *falconEnv) error { return takesSuccess(e, e.sdkCreates()) },
		jurymast: func(e *falconEnv) error { return takesSuccess(e, e.creates()) },
	},
	{
		name:     "IOC a refusal does not tell which indicator is wrong, and why",
		provoke:  func(e *falconEnv) { e.srv.AddIOC(falcontest.IOC{Type: "ipv4", Value: newAddress}) },
		sdk:      func(e *falconEnv) error { return explains(e, e.sdkCreates(), newAddress, "Duplicate") },
		jurymast: func(e *falconEnv) error { return explains(e, e.creates(), newAddress, "Duplicate") },
	},
	{
		name: "IOC a change that is refused comes without a reason",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails(iocPath, 400, 0, `{"meta":{"trace_id":"trace-9"},"resources":[],"errors":[{"code":400,"message":"upstream sad"}]}`))
		},
		sdk:      func(e *falconEnv) error { return explains(e, e.sdkChanges(), "400", "upstream sad", "trace-9") },
		jurymast: func(e *falconEnv) error { return explains(e, e.changes(), "400", "upstream sad", "trace-9") },
	},
	{
		name:     "IOC a change of one field sends null for the lists of the indicator",
		provoke:  func(e *falconEnv) { e.partial = true },
		sdk:      func(e *falconEnv) error { return sendsNoNull(e, e.sdkChanges) },
		jurymast: func(e *falconEnv) error { return sendsNoNull(e, e.changes) },
	},
}

const (
	casePath   = "/cases/entities/cases/v2"
	newAddress = "192.0.2.1"
	createdIOC = `{"meta":{"query_time":0,"trace_id":"t"},"errors":[],"resources":[{"id":"i","type":"ipv4","value":"` + newAddress + `",` +
		`"action":"detect","severity":"low","platforms":["linux"],"applied_globally":true,"tags":[]}]}`
)

// The calls, by gofalcon and by Jurymast.

func (e *falconEnv) sdkOpensCase(change ...func(*gofalcon.ApiConfig)) call {
	c := e.sdk(change...)
	return func(ctx context.Context) error {
		name, severity := "n", int64(20)
		p := cases.NewEntitiesCasesPutV2ParamsWithContext(ctx)
		p.Body = &models.OperationsCreateCaseRequest{Name: &name, Severity: &severity}
		_, err := c.Cases.EntitiesCasesPutV2(p)
		return err
	}
}

func (e *falconEnv) opensCase() call {
	c := e.jurymast()
	return func(ctx context.Context) error {
		_, err := c.Cases.Create(ctx, falcon.NewCase{Name: "n", Severity: 20})
		return err
	}
}

func (e *falconEnv) sdkCreates(change ...func(*gofalcon.ApiConfig)) call {
	c := e.sdk(change...)
	return func(ctx context.Context) error {
		p := newIOC(e, newAddress)
		p.Context = ctx
		_, err := c.Ioc.IndicatorCreateV1(p)
		return err
	}
}

func (e *falconEnv) creates() call {
	c := e.jurymast()
	return func(ctx context.Context) error {
		_, err := c.IOCs.Create(ctx, falcon.IOCCreate{Indicators: []falcon.NewIOC{{
			Type: falcon.IOCIPv4, Value: newAddress, Action: falcon.IOCDetect, Severity: falcon.IOCLow, Platforms: []string{"linux"}, AppliedGlobally: true,
		}}})
		return err
	}
}

// sdkChanges changes the description of the one indicator there is. gofalcon's
// model leaves out none of the lists, so a caller who sets them all sends no null.
func (e *falconEnv) sdkChanges() call {
	c := e.sdk()
	e.srv.AddIOC(firstIOC)
	return func(ctx context.Context) error {
		description := "new"
		change := &models.APIIndicatorUpdateReqV1{ID: firstIOC.ID, Description: &description}
		if !e.partial {
			change.HostGroups, change.Platforms, change.Tags = firstIOC.HostGroups, firstIOC.Platforms, firstIOC.Tags
		}
		p := ioc.NewIndicatorUpdateV1ParamsWithContext(ctx)
		p.Body = &models.APIIndicatorUpdateReqsV1{Indicators: []*models.APIIndicatorUpdateReqV1{change}}
		_, err := c.Ioc.IndicatorUpdateV1(p)
		return err
	}
}

func (e *falconEnv) changes() call {
	c := e.jurymast()
	e.srv.AddIOC(firstIOC)
	return func(ctx context.Context) error {
		description := "new"
		_, err := c.IOCs.Update(ctx, falcon.IOCUpdate{Changes: []falcon.IOCChange{{ID: firstIOC.ID, Description: &description}}})
		return err
	}
}

func (e *falconEnv) sdkTags() call {
	c := e.sdk()
	return func(ctx context.Context) error {
		p := tagging(e, "FalconGroupingTags/t")
		p.Context, p.Body.DeviceIds = ctx, []string{firstHost}
		_, accepted, err := c.Hosts.UpdateDeviceTags(p)
		if err != nil {
			return err
		}
		return gofalcon.AssertNoError(accepted.Payload.Errors)
	}
}

func (e *falconEnv) tags() call {
	c := e.jurymast()
	return func(ctx context.Context) error {
		_, err := c.Hosts.AddTags(ctx, []string{"FalconGroupingTags/t"}, firstHost)
		return err
	}
}

func (e *falconEnv) sdkRules() func(context.Context) ([]byte, error) {
	c := e.sdk()
	return func(ctx context.Context) ([]byte, error) {
		var b bytes.Buffer
		_, err := c.Intel.GetLatestIntelRuleFile(&intel.GetLatestIntelRuleFileParams{Context: ctx, Type: rules}, io.Writer(&b))
		return b.Bytes(), err
	}
}

func (e *falconEnv) rules() func(context.Context) ([]byte, error) {
	c := e.jurymast()
	return func(ctx context.Context) ([]byte, error) {
		f, err := c.Intel.RuleFile(ctx, falcon.RuleFileQuery{Type: rules})
		return f.Content, err
	}
}

// The questions.

// opensOneCase counts the cases.
func opensOneCase(e *falconEnv, c call) error {
	e.strike()
	_, _ = c.within(e.Context(), time.Minute)
	if n := len(e.srv.Cases()); n != 1 {
		return wrong("one call opened %d cases", n)
	}
	return nil
}

// reportsIndicator asks for the truth about an indicator that was created: it may
// not be known, but it was not refused.
func reportsIndicator(e *falconEnv, c call) error {
	e.strike()
	_, err := c.within(e.Context(), time.Minute)
	if n := len(e.srv.IOCs()); n != 1 {
		return fmt.Errorf("%d indicators, not 1", n)
	}
	api, ok := errors.AsType[*falcon.APIError](err)
	if _, typed := errors.AsType[*ioc.IndicatorCreateV1BadRequest](err); typed || ok && api.Status == http.StatusBadRequest {
		return wrong("the indicator was created by a call that failed with HTTP 400")
	}
	return nil
}

// readsRules asks for what the file has in it.
func readsRules(e *falconEnv, read func(context.Context) ([]byte, error)) error {
	e.srv.AddRuleFile(falcontest.RuleFile{Type: rules, Zip: []byte("PK\x03\x04")})
	e.works(func(ctx context.Context) error { _, err := read(ctx); return err })
	e.strike()
	content, err := read(e.Context())
	if err != nil || string(content) != "PK\x03\x04" {
		return wrong("%q came: %v", content, cause(err))
	}
	return nil
}

// sendsNoNull looks at the indicator that was sent.
func sendsNoNull(e *falconEnv, client func() call) error {
	e.strike()
	if _, err := client().within(e.Context(), time.Minute); err != nil && !e.partial {
		return err
	}
	sent := e.srv.Requests()
	var body struct{ Indicators []map[string]json.RawMessage }
	if err := json.Unmarshal(sent[len(sent)-1].Body, &body); err != nil || len(body.Indicators) != 1 {
		return fmt.Errorf("%d indicators were sent: %w", len(body.Indicators), err)
	}
	var nulls []string
	for name, value := range body.Indicators[0] {
		if string(value) == "null" {
			nulls = append(nulls, name)
		}
	}
	if slices.Sort(nulls); len(nulls) > 0 {
		return wrong("a change of the description alone sent null for %s", strings.Join(nulls, ", "))
	}
	return nil
}
