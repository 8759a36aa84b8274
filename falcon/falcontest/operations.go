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
	"GET /devices/queries/devices-scroll/v1":    {"devices:read", (*cloud).scrollHosts},
	"GET /devices/queries/devices/v1":           {"devices:read", (*cloud).queryHosts},
	"GET /devices/queries/devices-hidden/v1":    {"devices:read", (*cloud).queryHiddenHosts},
	"GET /devices/combined/devices/v1":          {"devices:read", (*cloud).combinedHosts},
	"GET /devices/entities/devices/v2":          {"devices:read", (*cloud).getHosts},
	"POST /devices/entities/devices/v2":         {"devices:read", (*cloud).postHosts},
	"GET /devices/entities/online-state/v1":     {"devices:read", (*cloud).onlineState},
	"POST /devices/entities/devices-actions/v2": {"devices:write", (*cloud).performAction},

	"GET /alerts/queries/alerts/v2":    {"alerts:read", (*cloud).queryAlerts},
	"POST /alerts/entities/alerts/v2":  {"alerts:read", (*cloud).getAlerts},
	"POST /alerts/combined/alerts/v1":  {"alerts:read", (*cloud).combinedAlerts},
	"PATCH /alerts/entities/alerts/v3": {"alerts:write", (*cloud).updateAlerts},

	"GET /iocs/combined/indicator/v1":     {"ioc:read", (*cloud).combinedIOCs},
	"GET /iocs/queries/indicators/v1":     {"ioc:read", (*cloud).queryIOCs},
	"GET /iocs/entities/indicators/v1":    {"ioc:read", (*cloud).getIOCs},
	"POST /iocs/entities/indicators/v1":   {"ioc:write", (*cloud).createIOCs},
	"PATCH /iocs/entities/indicators/v1":  {"ioc:write", (*cloud).updateIOCs},
	"DELETE /iocs/entities/indicators/v1": {"ioc:write", (*cloud).deleteIOCs},

	"GET " + discoverPath:                 {"streaming:read", (*cloud).discoverStreams},
	"POST " + refreshPath + "{partition}": {"streaming:read", (*cloud).refreshSession},
}

// backends are what the services call themselves in meta.powered_by, by the first
// part of the path. The others are not known.
var backends = map[string]string{
	"devices": "device-api",
	"alerts":  "detectsapi",
	"iocs":    "ioc-manager",
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
