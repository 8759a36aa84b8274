package azuretest

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ARM sets up Azure Resource Manager, the door to every resource provider. The zero
// value refuses nothing.
type ARM struct {
	// Roles are the Azure roles that the app has been given, everywhere, such as
	// "Microsoft Sentinel Contributor" and "Security Reader". nil means all of them,
	// an empty slice none.
	Roles []string

	// Reads, Writes and Deletes throttle, each subscription by itself. Azure is said
	// to have 250 and 25 a second, 200 and 10, 200 and 10 (from memory: facts/microsoft.md
	// 2.4), for each principal and region too.
	Reads, Writes, Deletes Bucket

	// PageSize is how many rows a list answers with where the request has no $top.
	// Default 50 (assumed).
	PageSize int

	// Unregistered are resource providers, such as "Microsoft.SecurityInsights", that
	// no subscription has registered: 409 MissingSubscriptionRegistration, until
	// [Server.RegisterProvider].
	Unregistered []string
}

// Bucket is a token bucket: so many calls at once, and so many a second from then
// on. The zero value throttles nothing.
type Bucket struct {
	Burst     int
	PerSecond float64
}

// armHost is where Resource Manager of the public cloud is.
const armHost = "management.azure.com"

// armAudiences are those that Azure takes for each other, the double slash of
// "https://management.core.windows.net//.default" taken off.
var armAudiences = []string{"https://management.azure.com", "https://management.core.windows.net"}

// arm is Resource Manager, with all the resource providers behind it. Paths are
// taken as the vendor documents them; the real one ignores their case.
func (s *Server) arm() *product {
	p := &product{
		name: "arm", hosts: []string{armHost}, prefixes: []string{"/subscriptions/", "/providers/"},
		audiences: armAudiences, refuse: writeARMError, mux: http.NewServeMux(),
	}
	s.posture(p)
	s.serviceHealth(p)
	s.sentinel(p)
	s.notServed(p)
	return p
}

// armOperation is one operation of a resource provider.
type armOperation struct {
	action   string   // as a refusal for lack of a role names it
	versions []string // the api-versions that it has
	roles    []string // of Azure; any one of them is enough
	ok       int      // status of a success
	serve    func(*http.Request) (any, error)
}

// handleARM adds an operation. Behind the token come the throttle, the version, the
// role and the registration (the order is assumed).
func (s *Server) handleARM(p *product, pattern string, op armOperation) {
	s.handle(p, pattern, operation{name: pattern, ok: op.ok, serve: func(r *http.Request) (any, error) {
		header, err := s.armThrottle.take(r, s.cfg.ARM, s.cfg.Now())
		if err != nil {
			return nil, err
		}
		for _, check := range []func(*http.Request, armOperation) error{s.checkVersion, s.checkRole, s.checkRegistered} {
			if err := check(r, op); err != nil {
				return nil, err
			}
		}
		body, err := op.serve(r)
		if err != nil {
			return nil, err
		}
		a, ok := body.(answer)
		if !ok {
			a = answer{body: body}
		}
		if a.header == nil {
			a.header = http.Header{}
		}
		for k, v := range header {
			a.header[k] = v
		}
		a.header["X-Ms-Request-Id"] = []string{s.nextID("request")}
		return a, nil
	}})
}

func (s *Server) checkVersion(r *http.Request, op armOperation) error {
	version := r.URL.Query().Get("api-version")
	switch {
	case version == "":
		return refuse(http.StatusBadRequest, "MissingApiVersionParameter",
			"The api-version query parameter (?api-version=) is required for all requests.")
	case !slices.Contains(op.versions, version): // assumed: facts/microsoft.md 2.4 has the code from memory
		return refuse(http.StatusBadRequest, "InvalidApiVersionParameter",
			"The api-version '%s' is invalid. The supported versions are '%s'.", version, strings.Join(op.versions, ","))
	}
	return nil
}

func (s *Server) checkRole(r *http.Request, op armOperation) error {
	if s.cfg.ARM.Roles == nil || slices.ContainsFunc(op.roles, func(role string) bool { return slices.Contains(s.cfg.ARM.Roles, role) }) {
		return nil
	}
	return refuse(http.StatusForbidden, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		s.cfg.ClientID, s.cfg.ClientID, op.action, r.URL.Path)
}

func (s *Server) checkRegistered(r *http.Request, _ armOperation) error {
	_, name, _ := strings.Cut(r.URL.Path[max(strings.LastIndex(r.URL.Path, "/providers/"), 0):], "/providers/")
	name, _, _ = strings.Cut(name, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.unregistered, func(n string) bool { return strings.EqualFold(n, name) }) {
		return nil
	}
	message := fmt.Sprintf("The subscription is not registered to use namespace '%s'. See https://aka.ms/rps-not-found for how to register subscriptions.", name)
	e := refuse(http.StatusConflict, "MissingSubscriptionRegistration", "%s", message)
	e.details = []detail{{"MissingSubscriptionRegistration", name, message}}
	return e
}

// RegisterProvider registers a resource provider that ARM.Unregistered has named, in
// every subscription.
func (s *Server) RegisterProvider(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unregistered = slices.DeleteFunc(s.unregistered, func(n string) bool { return strings.EqualFold(n, name) })
}

// armThrottle is the buckets of the subscriptions.
type armThrottle struct {
	mu     sync.Mutex
	levels map[string]level // by subscription and kind of call
}

type level struct {
	left float64
	at   time.Time
}

// take takes a call out of its bucket. The headers tell how many are left in it.
func (t *armThrottle) take(r *http.Request, cfg ARM, now time.Time) (http.Header, error) {
	kind, bucket := "reads", cfg.Reads
	switch r.Method {
	case http.MethodPut, http.MethodPatch, http.MethodPost:
		kind, bucket = "writes", cfg.Writes
	case http.MethodDelete:
		kind, bucket = "deletes", cfg.Deletes
	}
	if bucket.Burst <= 0 {
		return nil, nil
	}
	subscription, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/subscriptions/"), "/")
	key := strings.ToLower(subscription) + " " + kind
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.levels[key]
	if !ok {
		l = level{float64(bucket.Burst), now}
	}
	l.left = min(float64(bucket.Burst), l.left+now.Sub(l.at).Seconds()*bucket.PerSecond)
	l.at = now
	if t.levels == nil {
		t.levels = map[string]level{}
	}
	defer func() { t.levels[key] = l }()
	if l.left < 1 {
		e := refuse(http.StatusTooManyRequests, "TooManyRequests", "The request is being throttled as the limit has been reached for operation type - %s.", kind)
		wait := 3600.0
		if bucket.PerSecond > 0 {
			wait = math.Ceil((1 - l.left) / bucket.PerSecond)
		}
		e.header = http.Header{"Retry-After": {strconv.Itoa(int(wait))}}
		return nil, e
	}
	l.left--
	return http.Header{http.CanonicalHeaderKey("x-ms-ratelimit-remaining-subscription-" + kind): {strconv.Itoa(int(l.left))}}, nil
}

// detail is a further word on a refusal.
type detail struct {
	Code    string `json:"code"`
	Target  string `json:"target,omitempty"`
	Message string `json:"message"`
}

// writeARMError refuses in Resource Manager's envelope; the request's id is in the
// headers.
func writeARMError(w http.ResponseWriter, e *apiError, id string) {
	for k, v := range e.header {
		w.Header()[k] = v
	}
	w.Header().Set("X-Ms-Request-Id", id)
	type inner struct {
		Code    string   `json:"code"`
		Message string   `json:"message"`
		Details []detail `json:"details,omitempty"`
	}
	writeJSON(w, e.status, "application/json; charset=utf-8", map[string]inner{"error": {e.code, e.message, e.details}})
}

// armPage is a list answer.
type armPage[J any] struct {
	Value    []J    `json:"value"`
	NextLink string `json:"nextLink,omitempty"`
}

// armQuery reads where a page begins and how long it is. The token is the offset of
// the page (assumed; clients must not look into it).
func (s *Server) armQuery(r *http.Request) (skip, top int, err error) {
	q := r.URL.Query()
	top = s.cfg.ARM.PageSize
	if v := q.Get("$top"); v != "" {
		if top, err = parseCount("$top", v); err == nil && top == 0 {
			err = refuse(http.StatusBadRequest, "BadRequest", "Invalid value '0' for $top.")
		}
	}
	if v := q.Get("$skipToken"); v != "" && err == nil {
		if skip, err = parseCount("$skipToken", v); err != nil {
			err = refuse(http.StatusBadRequest, "BadRequest", "Invalid $skipToken.")
		}
	}
	return skip, top, err
}

// answerARMPage cuts the page that the request asks for out of rows, and links to
// the next one under the host that the client used.
func answerARMPage[T, J any](s *Server, r *http.Request, rows []T, encode func(T) J) (any, error) {
	skip, top, err := s.armQuery(r)
	if err != nil {
		return nil, err
	}
	rows = rows[min(skip, len(rows)):]
	out := armPage[J]{Value: []J{}}
	if len(rows) > top {
		values := r.URL.Query()
		values.Set("$skipToken", strconv.Itoa(skip+top))
		out.NextLink = "https://" + r.Host + r.URL.EscapedPath() + "?" + strings.ReplaceAll(values.Encode(), "%24", "$")
	}
	for _, row := range rows[:min(top, len(rows))] {
		out.Value = append(out.Value, encode(row))
	}
	return out, nil
}
