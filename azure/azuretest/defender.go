package azuretest

import (
	"net/http"
	"strings"
	"time"
)

// App roles of the operations served.
const (
	roleMachineRead      = "Machine.Read.All"
	roleMachineReadWrite = "Machine.ReadWrite.All"
	roleMachineIsolate   = "Machine.Isolate"
)

// defenderAudiences are what a token for the Defender API may be issued for.
var defenderAudiences = []string{
	"https://api.securitycenter.microsoft.com",
	"https://api.securitycenter.windows.com",
}

// The hosts of the Defender API, the regional ones too.
var defenderHosts = []string{
	"api.security.microsoft.com", "api.securitycenter.microsoft.com",
	"us.api.security.microsoft.com", "eu.api.security.microsoft.com", "uk.api.security.microsoft.com",
	"au.api.security.microsoft.com", "swa.api.security.microsoft.com", "ina.api.security.microsoft.com",
	"aea.api.security.microsoft.com",
}

// defender is the Defender for Endpoint API under both of its roots.
func (s *Server) defender() *product {
	p := &product{
		name: "defender", hosts: defenderHosts, prefixes: []string{"/api/"}, audiences: defenderAudiences,
		refuse: writeError, mux: http.NewServeMux(),
	}
	if s.cfg.MinuteQuota >= 0 {
		p.quota = append(p.quota, window(s.cfg.MinuteQuota, time.Minute))
	}
	if s.cfg.HourQuota >= 0 {
		p.quota = append(p.quota, window(s.cfg.HourQuota, time.Hour))
	}
	read := []string{roleMachineRead, roleMachineReadWrite}
	isolate := []string{roleMachineIsolate}
	for _, root := range []string{"/api", "/api/v1.0"} {
		s.handle(p, "GET "+root+"/machines", operation{"ListMachines", read, http.StatusOK, odata(s.listMachines), nil})
		s.handle(p, "GET "+root+"/machines/{id}", operation{"GetMachine", read, http.StatusOK, odata(s.oneMachine), nil})
		s.handle(p, "POST "+root+"/machines/{id}/isolate", operation{"IsolateMachine", isolate, http.StatusCreated, odata(s.isolate), nil})
		s.handle(p, "POST "+root+"/machines/{id}/unisolate", operation{"UnisolateMachine", isolate, http.StatusCreated, odata(s.unisolate), nil})
		s.handle(p, "GET "+root+"/machineactions", operation{"ListMachineActions", read, http.StatusOK, odata(s.listActions), nil})
		s.handle(p, "GET "+root+"/machineactions/{id}", operation{"GetMachineAction", read, http.StatusOK, odata(s.getAction), nil})
	}
	s.notServed(p)
	return p
}

// oneMachine is also "find by IP", which looks like a machine's id.
func (s *Server) oneMachine(r *http.Request) (any, error) {
	if strings.HasPrefix(r.PathValue("id"), findByIPPrefix) {
		return s.findByIP(r)
	}
	return s.getMachine(r)
}

// odata adds the headers of the APIs that speak OData.
func odata(serve func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		body, err := serve(r)
		if err != nil {
			return nil, err
		}
		return answer{body: body, header: http.Header{
			"Odata-Version": {"4.0"},
			"Content-Type":  {"application/json; odata.metadata=minimal; odata.streaming=true"},
		}}, nil
	}
}
