package conformance

import (
	"context"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"
	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon"
)

// falconPayload is what answers do that are not what the specification says.
var falconPayload = []row[*falconEnv]{
	{
		name:     "C1 errors inside a 200 are not an error",
		provoke:  func(e *falconEnv) { e.srv.RemoveHost(firstHost) }, // a 404, inside a 200
		sdk:      func(e *falconEnv) error { return noticesErrors(e, e.sdkGet()) },
		jurymast: func(e *falconEnv) error { return noticesErrors(e, e.get()) },
	},
	{
		name: "C1 an error without a message panics",
		provoke: func(e *falconEnv) {
			e.answers(200, `{"meta":{},"resources":[],"errors":[{"code":500,"message":null}]}`)
		},
		sdk: func(e *falconEnv) error {
			c := e.sdk()
			return doesNotPanic(e, func(ctx context.Context) error {
				p := hosts.NewPostDeviceDetailsV2ParamsWithContext(ctx)
				p.Body = &models.MsaIdsRequest{Ids: []string{firstHost}}
				ok, err := c.Hosts.PostDeviceDetailsV2(p)
				if err != nil {
					return err
				}
				return gofalcon.AssertNoError(ok.Payload.Errors) // as in all of gofalcon's examples
			})
		},
		jurymast: func(e *falconEnv) error { return doesNotPanic(e, e.get()) },
	},
	{
		name:     "C2 a read answered 207 is lost",
		provoke:  func(e *falconEnv) { e.answers(207, hostAnswer) },
		sdk:      func(e *falconEnv) error { return takesSuccess(e, e.sdkGet()) },
		jurymast: func(e *falconEnv) error { return takesSuccess(e, e.get()) },
	},
	{
		name: "C2 a containment answered 200 instead of 202 is reported as failed",
		provoke: func(e *falconEnv) {
			e.answers(200, `{"meta":{"writes":{"resources_affected":1}},"resources":[{"id":"`+firstHost+`"}],"errors":[]}`)
		},
		sdk:      func(e *falconEnv) error { return takesSuccess(e, e.sdkContain()) },
		jurymast: func(e *falconEnv) error { return takesSuccess(e, e.contain()) },
	},
	{
		name: "C3 HTML on a 403 hides the status",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails("/devices", 403, 0, `<html>denied</html>`, "Content-Type", "text/html"))
		},
		sdk:      func(e *falconEnv) error { return explains(e, e.sdkGet(), "403") },
		jurymast: func(e *falconEnv) error { return explains(e, e.get(), "403") },
	},
	{
		name: "C3 application/problem+json on a 503 hides the status",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails("/devices", 503, 0, `{"title":"down"}`, "Content-Type", "application/problem+json"))
		},
		sdk:      func(e *falconEnv) error { return explains(e, e.sdkGet(), "503") },
		jurymast: func(e *falconEnv) error { return explains(e, e.get(), "503") },
	},
	{
		name: "C4 a 401 comes without message and trace id",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails("/devices", 401, 0,
				`{"meta":{"trace_id":"trace-9"},"errors":[{"code":401,"message":"invalid bearer token"}]}`, "X-Cs-Traceid", "trace-9"))
		},
		sdk:      func(e *falconEnv) error { return explains(e, e.sdkGet(), "401", "invalid bearer token", "trace-9") },
		jurymast: func(e *falconEnv) error { return explains(e, e.get(), "401", "invalid bearer token", "trace-9") },
	},
	{
		name: "C5 one field of another type loses the whole page",
		provoke: func(e *falconEnv) {
			e.answers(200, `{"meta":{"pagination":{"total":3}},"errors":[],"resources":[
				{"device_id":"a","cid":"c"},{"device_id":"b","cid":"c","tags":"none"},{"device_id":"c","cid":"c"}]}`)
		},
		sdk:      func(e *falconEnv) error { return keepsRows(e, sdkList(e)) },
		jurymast: func(e *falconEnv) error { return keepsRows(e, list(e)) },
	},
	{
		name:     "C5 a 500 whose body has another shape hides the status",
		provoke:  func(e *falconEnv) { e.answers(500, `{"meta":"down","errors":"yes"}`) },
		sdk:      func(e *falconEnv) error { return explains(e, e.sdkGet(), "500") },
		jurymast: func(e *falconEnv) error { return explains(e, e.get(), "500") },
	},
	{
		name:     "C6 an empty answer is a success whose payload panics",
		provoke:  func(e *falconEnv) { e.answers(200, ``) },
		sdk:      func(e *falconEnv) error { return doesNotPanic(e, total(sdkList(e))) },
		jurymast: func(e *falconEnv) error { return doesNotPanic(e, total(list(e))) },
	},
	{
		name:     "C6 an empty object is a success whose payload panics",
		provoke:  func(e *falconEnv) { e.answers(200, `{}`) },
		sdk:      func(e *falconEnv) error { return doesNotPanic(e, total(sdkList(e))) },
		jurymast: func(e *falconEnv) error { return doesNotPanic(e, total(list(e))) },
	},
	{
		name: "C7 parameters made by NewXParams end the call after 30 s, whatever its context says",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(slow("/devices", 45*time.Second))
		},
		sdk: func(e *falconEnv) error { return keepsTime(e, getByParams(e.sdk().Hosts)) },
		jurymast: func(e *falconEnv) error {
			c := e.jurymast(func(c *falcon.Config) { c.Policy.Attempt, c.Policy.Total = time.Minute, 2*time.Minute })
			return keepsTime(e, getByParams(hosts.New(c.Transport(), nil)))
		},
	},
}

// answers makes every API call answer so.
func (e *falconEnv) answers(status int, body string) {
	e.srv.Faults().Add(fails("/devices", status, 0, body))
}

// noticesErrors asks that a call about a host that Falcon does not know fails.
func noticesErrors(e *falconEnv, c call) error {
	e.strike()
	_, err := c.within(e.Context(), 10*time.Second)
	if _, known := e.srv.Host(firstHost); err == nil && !known {
		return wrong("a call about a host that Falcon does not know succeeded")
	}
	return nil
}

// doesNotPanic lets the call fail, but not like this.
func doesNotPanic(e *falconEnv, c call) error {
	e.strike()
	if v := panicked(func() { _, _ = c.within(e.Context(), 10*time.Second) }); v != nil {
		return wrong("panic: %v", v)
	}
	return nil
}

// takesSuccess asks that a 2xx is one.
func takesSuccess(e *falconEnv, c call) error {
	e.strike()
	if _, err := c.within(e.Context(), 10*time.Second); err != nil {
		return wrong("a success became an error: %v", cause(err))
	}
	return nil
}

// lister lists hosts and returns how many came and what the cloud counted.
type lister func(context.Context) (rows int, total func() int64, err error)

func sdkList(e *falconEnv) lister {
	c := e.sdk()
	return func(ctx context.Context) (int, func() int64, error) {
		ok, err := c.Hosts.CombinedDevicesByFilter(hosts.NewCombinedDevicesByFilterParamsWithContext(ctx))
		if err != nil {
			return 0, nil, err
		}
		// The total is read as in gofalcon's own examples.
		return len(ok.Payload.Resources), func() int64 { return *ok.Payload.Meta.Pagination.Total }, nil
	}
}

func list(e *falconEnv) lister {
	c := e.jurymast()
	return func(ctx context.Context) (rows int, total func() int64, err error) {
		for _, err := range c.Hosts.Query(falcon.HostQuery{}).All(ctx) {
			if err != nil {
				return rows, nil, err
			}
			rows++
		}
		return rows, func() int64 { return int64(rows) }, nil
	}
}

// total reads the total too.
func total(list lister) call {
	return func(ctx context.Context) error {
		_, total, err := list(ctx)
		if err != nil {
			return err
		}
		_ = total()
		return nil
	}
}

// keepsRows asks for the rows that can be read.
func keepsRows(e *falconEnv, list lister) error {
	e.strike()
	rows, _, err := list(e.Context())
	if rows < 2 {
		return wrong("of 3 hosts %d came: %v", rows, cause(err))
	}
	return nil
}

// getByParams reads a host with the parameters that gofalcon's documentation
// makes.
func getByParams(service hosts.ClientService) call {
	return func(ctx context.Context) error {
		p := hosts.NewPostDeviceDetailsV2Params().WithContext(ctx)
		p.Body = &models.MsaIdsRequest{Ids: []string{firstHost}}
		_, err := service.PostDeviceDetailsV2(p)
		return err
	}
}

// keepsTime asks that a call with a minute to go is not ended sooner.
func keepsTime(e *falconEnv, c call) error {
	e.strike()
	if took, err := c.within(e.Context(), time.Minute); err != nil {
		return wrong("a call with a minute to go was ended after %v: %v", took, cause(err))
	}
	return nil
}
