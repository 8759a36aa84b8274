package conformance

import (
	"context"

	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/real_time_response"
	"github.com/crowdstrike/gofalcon/falcon/models"
)

var rtrCalls = []sdkCall{
	{"POST /real-time-response/entities/sessions/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(openSession(e.Context(), c, usedHost.DeviceID))
	}},
	{"POST /real-time-response/entities/refresh-session/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.RealTimeResponse.RTRPulseSession(pulse(e, usedHost.DeviceID)))
	}},
	{"POST /real-time-response/entities/refresh-session/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.RealTimeResponse.RTRPulseSession(pulse(e, firstHost)) // that has none
		return refused[*real_time_response.RTRPulseSessionBadRequest](err)
	}},
	{"POST /real-time-response/entities/command/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(runCommand(e.Context(), c, e.srv.RTRSessions()[0].ID, "ls"))
	}},
	{"POST /real-time-response/entities/command/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := runCommand(e.Context(), c, e.srv.RTRSessions()[0].ID, "dance")
		return refused[*real_time_response.RTRExecuteCommandBadRequest](err)
	}},
	{"GET /real-time-response/entities/command/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		run, err := runCommand(e.Context(), c, e.srv.RTRSessions()[0].ID, "ls")
		if err != nil {
			return nil, err
		}
		p := real_time_response.NewRTRCheckCommandStatusParamsWithContext(e.Context())
		p.CloudRequestID = *run.Payload.Resources[0].CloudRequestID
		return of(c.RealTimeResponse.RTRCheckCommandStatus(p))
	}},
	{"DELETE /real-time-response/entities/sessions/v1", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return without(c.RealTimeResponse.RTRDeleteSession(closing(e)))
	}},
	{"DELETE /real-time-response/entities/sessions/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.RealTimeResponse.RTRDeleteSession(closing(e)) // again
		return refused[*real_time_response.RTRDeleteSessionBadRequest](err)
	}},
}

func openSession(ctx context.Context, c *client.CrowdStrikeAPISpecification, host string) (*real_time_response.RTRInitSessionCreated, error) {
	p := real_time_response.NewRTRInitSessionParamsWithContext(ctx)
	p.Body = &models.DomainInitRequest{DeviceID: &host, Origin: new("conformance"), QueueOffline: new(false)}
	return c.RealTimeResponse.RTRInitSession(p)
}

func runCommand(ctx context.Context, c *client.CrowdStrikeAPISpecification, session, command string) (*real_time_response.RTRExecuteCommandCreated, error) {
	p := real_time_response.NewRTRExecuteCommandParamsWithContext(ctx)
	p.Body = &models.DomainCommandExecuteRequest{BaseCommand: &command, CommandString: &command, SessionID: &session}
	return c.RealTimeResponse.RTRExecuteCommand(p)
}

func pulse(e *falconEnv, host string) *real_time_response.RTRPulseSessionParams {
	p := real_time_response.NewRTRPulseSessionParamsWithContext(e.Context())
	p.Body = &models.DomainInitRequest{DeviceID: &host}
	return p
}

func closing(e *falconEnv) *real_time_response.RTRDeleteSessionParams {
	p := real_time_response.NewRTRDeleteSessionParamsWithContext(e.Context())
	p.SessionID = e.srv.RTRSessions()[0].ID
	return p
}
