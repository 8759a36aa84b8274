package falcontest

import (
	"net/http"
	"strings"
)

// operation is one API operation.
type operation struct {
	scope string
	serve func(*cloud, *call)
}

// operations are known by method and path. A part of a path in braces is any one
// part, found in call.parts.
var operations = map[string]operation{
	"GET /devices/queries/devices-scroll/v1":          {"devices:read", (*cloud).scrollHosts},
	"GET /devices/queries/devices/v1":                 {"devices:read", (*cloud).queryHosts},
	"GET /devices/queries/devices-hidden/v1":          {"devices:read", (*cloud).queryHiddenHosts},
	"GET /devices/combined/devices/v1":                {"devices:read", (*cloud).combinedHosts},
	"GET /devices/combined/devices-hidden/v1":         {"devices:read", (*cloud).combinedHiddenHosts},
	"GET /devices/entities/devices/v2":                {"devices:read", (*cloud).getHosts},
	"POST /devices/entities/devices/v2":               {"devices:read", (*cloud).postHosts},
	"GET /devices/entities/online-state/v1":           {"devices:read", (*cloud).onlineState},
	"POST /devices/combined/devices/login-history/v2": {"devices:read", (*cloud).loginHistory},
	"POST /devices/entities/devices-actions/v2":       {"devices:write", (*cloud).performAction},
	"PATCH /devices/entities/devices/tags/v1":         {"devices:write", (*cloud).changeTags},

	"GET /devices/combined/host-groups/v1":         {"host-group:read", (*cloud).combinedGroups},
	"POST /devices/entities/host-group-actions/v1": {"host-group:write", (*cloud).groupAction},

	"GET /alerts/queries/alerts/v2":    {"alerts:read", (*cloud).queryAlerts},
	"POST /alerts/entities/alerts/v2":  {"alerts:read", (*cloud).getAlerts},
	"POST /alerts/combined/alerts/v1":  {"alerts:read", (*cloud).combinedAlerts},
	"PATCH /alerts/entities/alerts/v3": {"alerts:write", (*cloud).updateAlerts},

	"GET /policy/combined/content-update/v1":             {"content-update-policies:read", (*cloud).listContentPolicies},
	"GET /policy/entities/content-update/v1":             {"content-update-policies:read", (*cloud).getContentPolicies},
	"POST /policy/entities/content-update-actions/v1":    {"content-update-policies:write", (*cloud).performContentAction},
	"GET /policy/queries/content-update-pin-versions/v1": {"content-update-policies:read", (*cloud).pinVersions},
	"GET /device-content/queries/states/v1":              {"device-content:read", (*cloud).queryContentStates}, // the scope is derived from PSFalcon's "Device Content: Read"
	"GET /device-content/entities/states/v1":             {"device-content:read", (*cloud).getContentStates},

	"GET /policy/combined/sensor-update/v2":        {"sensor-update-policies:read", (*cloud).listSensorUpdatePolicies},
	"GET /policy/entities/sensor-update/v2":        {"sensor-update-policies:read", (*cloud).getSensorUpdatePolicies},
	"GET /policy/combined/sensor-update-builds/v1": {"sensor-update-policies:read", (*cloud).getSensorBuilds},

	"GET /intel/combined/indicators/v1":         {"falconx-indicators:read", (*cloud).combinedIndicators},
	"POST /intel/entities/indicators/GET/v1":    {"falconx-indicators:read", (*cloud).getIndicators},
	"GET /intel/combined/actors/v1":             {"falconx-actors:read", (*cloud).combinedActors},
	"GET /intel/combined/reports/v1":            {"falconx-reports:read", (*cloud).combinedReports},
	"GET /intel/entities/report-files/v1":       {"falconx-reports:read", (*cloud).reportPDF},
	"GET /intel/entities/rules-latest-files/v1": {"falconx-rules:read", (*cloud).latestRules},

	"GET /iocs/combined/indicator/v1":     {"ioc:read", (*cloud).combinedIOCs},
	"GET /iocs/queries/indicators/v1":     {"ioc:read", (*cloud).queryIOCs},
	"GET /iocs/entities/indicators/v1":    {"ioc:read", (*cloud).getIOCs},
	"POST /iocs/entities/indicators/v1":   {"ioc:write", (*cloud).createIOCs},
	"PATCH /iocs/entities/indicators/v1":  {"ioc:write", (*cloud).updateIOCs},
	"DELETE /iocs/entities/indicators/v1": {"ioc:write", (*cloud).deleteIOCs},

	"GET /cases/queries/cases/v1":            {"cases:read", (*cloud).queryCases},
	"POST /cases/entities/cases/v2":          {"cases:read", (*cloud).getCases},
	"PUT /cases/entities/cases/v2":           {"cases:write", (*cloud).createCase},
	"PATCH /cases/entities/cases/v2":         {"cases:write", (*cloud).updateCase},
	"POST /cases/entities/alert-evidence/v1": {"cases:write", (*cloud).addCaseAlerts},
	"POST /cases/entities/event-evidence/v1": {"cases:write", (*cloud).addCaseEvents},
	"POST /cases/entities/case-tags/v1":      {"cases:write", (*cloud).addCaseTags},
	"DELETE /cases/entities/case-tags/v1":    {"cases:write", (*cloud).removeCaseTags},

	"GET " + discoverPath:                 {"streaming:read", (*cloud).discoverStreams},
	"POST " + refreshPath + "{partition}": {"streaming:read", (*cloud).refreshSession},

	"POST /real-time-response/entities/sessions/v1":        {"real-time-response:read", (*cloud).openRTR},
	"DELETE /real-time-response/entities/sessions/v1":      {"real-time-response:read", (*cloud).closeRTR},
	"POST /real-time-response/entities/refresh-session/v1": {"real-time-response:read", (*cloud).refreshRTR},
	"POST /real-time-response/entities/command/v1":         {"real-time-response:read", (*cloud).commandRTR},
	"GET /real-time-response/entities/command/v1":          {"real-time-response:read", (*cloud).statusRTR},

	"POST " + searchesPath:             {"ngsiem:write", (*cloud).startSearch},
	"GET " + searchesPath + "/{id}":    {"ngsiem:read", (*cloud).pollSearch},
	"DELETE " + searchesPath + "/{id}": {"ngsiem:write", (*cloud).stopSearch},
}

// backends are what the services call themselves in meta.powered_by, by the first
// part of the path. The others are not known.
var backends = map[string]string{
	"devices":            "device-api",
	"alerts":             "detectsapi",
	"real-time-response": "empower-api",
	"iocs":               "ioc-manager",
}

// unknownPath answers for what the API does not have. /detects/ answers 405 since
// its end, /incidents/ 404, where 500 has been seen too; the words are assumed.
func (q *call) unknownPath() {
	if strings.HasPrefix(q.r.URL.Path, "/detects/") {
		q.fail(http.StatusMethodNotAllowed, byGateway, "405: Method Not Allowed")
		return
	}
	q.fail(http.StatusNotFound, byGateway, "404: Page Not Found")
}

// route finds the operation of a request, and what its path has for the parts in
// braces.
func route(r *http.Request) (op operation, parts []string, ok bool) {
	asked := r.Method + " " + r.URL.Path
	if op, ok = operations[asked]; ok {
		return op, nil, true
	}
	for pattern, op := range operations {
		if parts, ok = match(strings.Split(pattern, "/"), strings.Split(asked, "/")); ok {
			return op, parts, true
		}
	}
	return operation{}, nil, false
}

func match(pattern, asked []string) (parts []string, ok bool) {
	if len(pattern) != len(asked) {
		return nil, false
	}
	for i, p := range pattern {
		switch {
		case strings.HasPrefix(p, "{") && asked[i] != "":
			parts = append(parts, asked[i])
		case p != asked[i]:
			return nil, false
		}
	}
	return parts, true
}
