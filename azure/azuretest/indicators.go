package azuretest

import (
	"cmp"
	"encoding/hex"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefenderIndicator is an indicator of compromise of Defender for Endpoint. Empty
// strings and zero times are null on the wire.
type DefenderIndicator struct {
	ID            string // a number; default the next
	Value         string
	Type          string // such as "DomainName"; default "FileSha1"
	Action        string // default "Alert"
	Title         string // default "indicator"
	Description   string // default "indicator"
	Severity      string // default "Informational"
	Application   string
	ExternalID    string
	RBACGroups    []string
	GenerateAlert bool
	Created       time.Time // default the moment it was added
	Expiration    time.Time
}

func (i DefenderIndicator) clone() DefenderIndicator {
	i.RBACGroups = slices.Clone(i.RBACGroups)
	return i
}

// AddIndicator adds an indicator, or replaces that of the same value.
func (s *Server) AddIndicator(i DefenderIndicator) {
	s.mu.Lock()
	defer s.mu.Unlock()
	setDefault(&i.Type, "FileSha1")
	setDefault(&i.Action, "Alert")
	setDefault(&i.Title, "indicator")
	setDefault(&i.Description, "indicator")
	s.upsertLocked(i)
}

// upsertLocked replaces the indicator of the same value. Whether the vendor
// compares values by case is not known; here it does not.
func (s *Server) upsertLocked(i DefenderIndicator) DefenderIndicator {
	setDefault(&i.Severity, "Informational")
	setDefault(&i.Created, s.cfg.Now())
	i = i.clone()
	for at := range s.indicators {
		if old := &s.indicators[at]; strings.EqualFold(old.Value, i.Value) {
			i.ID, i.Created = old.ID, old.Created
			*old = i
			return i
		}
	}
	if i.ID == "" {
		s.counters["indicator"]++
		i.ID = strconv.Itoa(2840 + s.counters["indicator"])
	}
	s.indicators = append(s.indicators, i)
	return i
}

// Indicators returns Defender's indicators, in the order they were made.
func (s *Server) Indicators() []DefenderIndicator {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]DefenderIndicator, len(s.indicators))
	for n, i := range s.indicators {
		out[n] = i.clone()
	}
	return out
}

type indicatorJSON struct {
	ID                      string   `json:"id"`
	IndicatorValue          string   `json:"indicatorValue"`
	IndicatorType           string   `json:"indicatorType"`
	Action                  string   `json:"action"`
	Application             text     `json:"application"`
	Source                  string   `json:"source"`
	SourceType              string   `json:"sourceType"`
	Title                   string   `json:"title"`
	CreationTimeDateTimeUTC stamp    `json:"creationTimeDateTimeUtc"`
	CreatedBy               string   `json:"createdBy"`
	ExpirationTime          stamp    `json:"expirationTime"`
	Severity                string   `json:"severity"`
	Description             string   `json:"description"`
	RBACGroupNames          []string `json:"rbacGroupNames"`
	GenerateAlert           bool     `json:"generateAlert"`
	ExternalID              text     `json:"externalId"`
}

func (s *Server) indicatorJSON(i DefenderIndicator) indicatorJSON {
	return indicatorJSON{
		ID: i.ID, IndicatorValue: i.Value, IndicatorType: i.Type, Action: i.Action, Application: text(i.Application),
		Source: s.cfg.ClientID, SourceType: "AadApp", Title: i.Title, CreationTimeDateTimeUTC: stamp(i.Created),
		CreatedBy: s.cfg.ClientID, ExpirationTime: stamp(i.Expiration), Severity: i.Severity, Description: i.Description,
		RBACGroupNames: append([]string{}, i.RBACGroups...), GenerateAlert: i.GenerateAlert, ExternalID: text(i.ExternalID),
	}
}

// indicatorFields: that $filter may use these is assumed.
var indicatorFields = schema[DefenderIndicator]{typ: "microsoft.windowsDefenderATP.api.indicator", fields: map[string]field[DefenderIndicator]{
	"indicatorvalue":          stringField(func(i DefenderIndicator) string { return i.Value }),
	"indicatortype":           stringField(func(i DefenderIndicator) string { return i.Type }),
	"action":                  stringField(func(i DefenderIndicator) string { return i.Action }),
	"severity":                stringField(func(i DefenderIndicator) string { return i.Severity }),
	"title":                   stringField(func(i DefenderIndicator) string { return i.Title }),
	"application":             stringField(func(i DefenderIndicator) string { return i.Application }),
	"expirationtime":          timeField(func(i DefenderIndicator) time.Time { return i.Expiration }),
	"creationtimedatetimeutc": timeField(func(i DefenderIndicator) time.Time { return i.Created }),
}}

func (s *Server) listIndicators(r *http.Request) (any, error) {
	q, err := parseQuery(r, indicatorFields)
	if err != nil {
		return nil, err
	}
	return answerPage(r, q, s.Indicators(), "Indicators", s.indicatorJSON), nil
}

var (
	indicatorActions    = []string{"Alert", "Warn", "Block", "Audit", "BlockAndRemediate", "AlertAndBlock", "Allowed"}
	indicatorSeverities = []string{"", "Informational", "Low", "Medium", "High"}
)

// check says what the vendor would not accept. The codes are the vendor's; which
// values have which code follows from their names.
func (i DefenderIndicator) check() *apiError {
	bad := func(code, format string, args ...any) *apiError {
		return refuse(http.StatusBadRequest, code, format, args...)
	}
	for name, v := range map[string]string{"indicatorValue": i.Value, "indicatorType": i.Type, "action": i.Action, "title": i.Title, "description": i.Description} {
		if v == "" {
			return bad("MissingRequiredParameter", "Parameter %s is missing", name)
		}
	}
	switch {
	case !slices.Contains(indicatorActions, i.Action):
		return bad("InvalidInput", "Invalid input action: %s", i.Action)
	case i.Action == "Audit" && !i.GenerateAlert:
		return bad("InvalidInput", "generateAlert must be true for the action Audit")
	case !slices.Contains(indicatorSeverities, i.Severity):
		return bad("InvalidInput", "Invalid input severity: %s", i.Severity)
	}
	digits := map[string]int{"FileSha1": 40, "FileMd5": 32, "FileSha256": 64, "CertificateThumbprint": 40}
	switch i.Type {
	case "FileSha1", "FileMd5", "FileSha256", "CertificateThumbprint":
		if _, err := hex.DecodeString(i.Value); err != nil || len(i.Value) != digits[i.Type] {
			return bad("InvalidHashValue", "Hash value %s is invalid", i.Value)
		}
	case "IpAddress":
		if _, err := netip.ParseAddr(i.Value); err != nil { // no ranges
			return bad("InvalidIpAddress", "IP address %s is invalid", i.Value)
		}
	case "DomainName":
		if strings.ContainsAny(i.Value, "/:@ ") || !strings.Contains(i.Value, ".") {
			return bad("InvalidDomainName", "Domain name %s is invalid", i.Value)
		}
	case "Url":
		if u, err := url.Parse(i.Value); err != nil || cmp.Or(u.Host, u.Path) == "" {
			return bad("InvalidUrl", "URL %s is invalid", i.Value)
		}
	default:
		return bad("InvalidInput", "Invalid input indicatorType: %s", i.Type)
	}
	return nil
}
