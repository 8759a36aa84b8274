package azuretest

import (
	"net/http"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

// App roles of the operations served.
const (
	roleMachineRead      = "Machine.Read.All"
	roleMachineReadWrite = "Machine.ReadWrite.All"
	roleMachineIsolate   = "Machine.Isolate"
	roleMachineScan      = "Machine.Scan"
	roleMachineForensics = "Machine.CollectForensics"
	roleAlertRead        = "Alert.Read.All"
	roleAlertReadWrite   = "Alert.ReadWrite.All"
	roleTi               = "Ti.ReadWrite"
	roleTiAll            = "Ti.ReadWrite.All"
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
	p.quota = s.defenderQuota(s.cfg.MinuteQuota, s.cfg.HourQuota)
	uris, updates, bulk := s.defenderQuota(2, 120), s.defenderQuota(10, 500), s.defenderQuota(30, 1500)
	read := []string{roleMachineRead, roleMachineReadWrite}
	isolate := []string{roleMachineIsolate}
	scan, forensics := []string{roleMachineScan}, []string{roleMachineForensics}
	readAlerts, writeAlerts := []string{roleAlertRead, roleAlertReadWrite}, []string{roleAlertReadWrite}
	ti := []string{roleTi, roleTiAll}
	for _, root := range []string{"/api", "/api/v1.0"} {
		s.handle(p, "GET "+root+"/machines", operation{"ListMachines", read, http.StatusOK, odata(s.listMachines), nil})
		s.handle(p, "GET "+root+"/machines/{id}", operation{"GetMachine", read, http.StatusOK, odata(s.oneMachine), nil})
		s.handle(p, "POST "+root+"/machines/{id}/isolate", operation{"IsolateMachine", isolate, http.StatusCreated, odata(s.isolate), nil})
		s.handle(p, "POST "+root+"/machines/{id}/unisolate", operation{"UnisolateMachine", isolate, http.StatusCreated, odata(s.unisolate), nil})
		s.handle(p, "GET "+root+"/machineactions", operation{"ListMachineActions", read, http.StatusOK, odata(s.listActions), nil})
		s.handle(p, "GET "+root+"/machineactions/{id}", operation{"GetMachineAction", read, http.StatusOK, odata(s.getAction), nil})
		s.handle(p, "POST "+root+"/machines/{id}/runAntiVirusScan", operation{"RunAntiVirusScan", scan, http.StatusCreated, odata(s.scan), nil})
		s.handle(p, "POST "+root+"/machines/{id}/collectInvestigationPackage", operation{"CollectInvestigationPackage", forensics, http.StatusCreated, odata(s.collect), nil})
		s.handle(p, "GET "+root+"/machineactions/{id}/GetPackageUri", operation{"GetPackageUri", read, http.StatusOK, odata(s.packageURI), uris})
		s.handle(p, "GET "+root+"/alerts", operation{"ListAlerts", readAlerts, http.StatusOK, odata(s.retiring(s.listAlerts)), nil})
		s.handle(p, "PATCH "+root+"/alerts/{id}", operation{"UpdateAlert", writeAlerts, http.StatusOK, odata(s.retiring(s.updateAlert)), nil})
		s.handle(p, "POST "+root+"/alerts/batchUpdate", operation{"BatchUpdateAlerts", writeAlerts, http.StatusOK, s.retiring(s.updateAlerts), updates})
		s.handle(p, "GET "+root+"/indicators", operation{"ListIndicators", ti, http.StatusOK, odata(s.listIndicators), nil})
		s.handle(p, "POST "+root+"/indicators", operation{"SubmitIndicator", ti, http.StatusOK, odata(s.submitIndicator), nil})
		s.handle(p, "POST "+root+"/indicators/import", operation{"ImportIndicators", ti, http.StatusOK, odata(s.importIndicators), bulk})
		s.handle(p, "DELETE "+root+"/indicators/{id}", operation{"DeleteIndicator", ti, http.StatusNoContent, s.deleteIndicator, nil})
		s.handle(p, "POST "+root+"/indicators/BatchDelete", operation{"BatchDeleteIndicators", ti, http.StatusNoContent, s.deleteIndicators, bulk})
	}
	s.notServed(p)
	return p
}

// defenderQuota is the windows of operations that may be called so often, or less
// if Config says less; no limit in Config is none here either.
func (s *Server) defenderQuota(minute, hour int) []*sim.Window {
	out := []*sim.Window{} // not nil: in place of the product's
	if s.cfg.MinuteQuota >= 0 {
		out = append(out, window(min(minute, s.cfg.MinuteQuota), time.Minute))
	}
	if s.cfg.HourQuota >= 0 {
		out = append(out, window(min(hour, s.cfg.HourQuota), time.Hour))
	}
	return out
}

// Retire makes the operations that Microsoft takes out of service on 2027-02-01
// answer status from now on: 410, or 404 as for a path that never was. 0 takes it
// back. Which of the two it will be, and with what body, is not known.
func (s *Server) Retire(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = status
}

// retiring is an operation that [Server.Retire] ends.
func (s *Server) retiring(serve func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		s.mu.Lock()
		status := s.retired
		s.mu.Unlock()
		switch status {
		case 0:
			return serve(r)
		case http.StatusNotFound:
			return nil, refuse(status, "NotFound", "No HTTP resource was found that matches %s '%s'", r.Method, r.URL.Path)
		}
		return nil, refuse(status, "Gone", "This API has been retired")
	}
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
