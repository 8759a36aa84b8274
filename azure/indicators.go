package azure

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// IndicatorType is what an indicator is compared with.
type IndicatorType string

// Defender's types of indicators.
const (
	IndicatorSHA1        IndicatorType = "FileSha1"
	IndicatorMD5         IndicatorType = "FileMd5"
	IndicatorSHA256      IndicatorType = "FileSha256"
	IndicatorCertificate IndicatorType = "CertificateThumbprint" // 40 hex digits
	IndicatorIP          IndicatorType = "IpAddress"             // one address, no range
	IndicatorDomain      IndicatorType = "DomainName"
	IndicatorURL         IndicatorType = "Url"
)

// IndicatorAction is what Defender does when a machine meets an indicator.
type IndicatorAction string

// The actions. Which of them a type of indicator may have is Defender's to say.
const (
	IndicatorAlert             IndicatorAction = "Alert"
	IndicatorWarn              IndicatorAction = "Warn"
	IndicatorBlock             IndicatorAction = "Block"
	IndicatorAudit             IndicatorAction = "Audit" // needs GenerateAlert
	IndicatorBlockAndRemediate IndicatorAction = "BlockAndRemediate"
	IndicatorAlertAndBlock     IndicatorAction = "AlertAndBlock"
	IndicatorAllowed           IndicatorAction = "Allowed"
)

var (
	indicatorActions = []IndicatorAction{
		IndicatorAlert, IndicatorWarn, IndicatorBlock, IndicatorAudit, IndicatorBlockAndRemediate, IndicatorAlertAndBlock, IndicatorAllowed,
	}
	indicatorSeverities = []string{"Informational", "Low", "Medium", "High"}
)

// DefenderIndicator is an indicator of compromise as Defender for Endpoint has it.
// Fields that Defender left out, or filled with something unexpected, are zero; Raw
// has everything.
type DefenderIndicator struct {
	ID            string
	Type          IndicatorType
	Value         string
	Action        IndicatorAction
	Title         string
	Description   string
	Severity      string // Informational, Low, Medium, High
	Application   string
	ExternalID    string
	RBACGroups    []string // names; none: all machines
	GenerateAlert bool
	SourceType    string // User or AadApp
	Created       time.Time
	Expiration    time.Time // zero: never
	Raw           json.RawMessage
}

func parseIndicator(o lenient.Object) (DefenderIndicator, error) {
	i := DefenderIndicator{
		ID: o.Str("id"), Type: IndicatorType(o.Str("indicatorType")), Value: o.Str("indicatorValue"), Action: IndicatorAction(o.Str("action")),
		Title: o.Str("title"), Description: o.Str("description"), Severity: o.Str("severity"), Application: o.Str("application"),
		ExternalID: o.Str("externalId"), RBACGroups: o.Strs("rbacGroupNames"), GenerateAlert: o.Str("generateAlert") == "true",
		SourceType: o.Str("sourceType"), Created: o.Time("creationTimeDateTimeUtc"), Expiration: o.Time("expirationTime"), Raw: rawOf(o),
	}
	if i.ID == "" {
		return DefenderIndicator{}, errors.New("no id")
	}
	return i, nil
}

// Indicators lists indicators. App permission: Ti.ReadWrite, which is about those
// of the app itself, or Ti.ReadWrite.All.
func (d *Defender) Indicators(q Query) *List[DefenderIndicator] {
	return list(d.service, opIndicators, "/api/indicators", q, parseIndicator)
}

// NewIndicator is an indicator to submit. Type, Value, Action, Title and Description
// are required.
type NewIndicator struct {
	Type          IndicatorType
	Value         string
	Action        IndicatorAction
	Title         string
	Description   string
	Severity      string    // Informational, Low, Medium, High; "" leaves it to Defender
	Expiration    time.Time // zero: never
	RBACGroups    []string  // names; none: all machines
	Application   string
	ExternalID    string
	GenerateAlert bool // required by IndicatorAudit
}

type indicatorBody struct {
	Value         string          `json:"indicatorValue"`
	Type          IndicatorType   `json:"indicatorType"`
	Action        IndicatorAction `json:"action"`
	Title         string          `json:"title"`
	Description   string          `json:"description"`
	Severity      string          `json:"severity,omitempty"`
	Expiration    string          `json:"expirationTime,omitempty"`
	RBACGroups    []string        `json:"rbacGroupNames,omitempty"`
	Application   string          `json:"application,omitempty"`
	ExternalID    string          `json:"externalId,omitempty"`
	GenerateAlert bool            `json:"generateAlert,omitempty"`
}

func (n *NewIndicator) body() indicatorBody {
	b := indicatorBody{
		Value: n.Value, Type: n.Type, Action: n.Action, Title: n.Title, Description: n.Description, Severity: n.Severity,
		RBACGroups: n.RBACGroups, Application: n.Application, ExternalID: n.ExternalID, GenerateAlert: n.GenerateAlert,
	}
	if !n.Expiration.IsZero() {
		b.Expiration = n.Expiration.UTC().Format(time.RFC3339)
	}
	return b
}

// check tells what is wrong with it, by field: what follows the name of the input.
func (n *NewIndicator) check() error {
	switch {
	case !slices.Contains(indicatorActions, n.Action):
		return fmt.Errorf(".Action %q: want one of %v", n.Action, indicatorActions)
	case n.Action == IndicatorAudit && !n.GenerateAlert:
		return fmt.Errorf(".GenerateAlert: required with the action %s", IndicatorAudit)
	case n.Title == "":
		return errors.New(".Title: required")
	case n.Description == "":
		return errors.New(".Description: required")
	case n.Severity != "" && !slices.Contains(indicatorSeverities, n.Severity):
		return fmt.Errorf(".Severity %q: want one of %v", n.Severity, indicatorSeverities)
	case slices.Contains(n.RBACGroups, ""):
		return errors.New(".RBACGroups: one of the names is empty")
	}
	return n.checkValue()
}

func (n *NewIndicator) checkValue() error {
	v := n.Value
	switch n.Type {
	case IndicatorSHA1, IndicatorMD5, IndicatorSHA256, IndicatorCertificate:
		digits := map[IndicatorType]int{IndicatorMD5: 32, IndicatorSHA256: 64}[n.Type]
		if digits == 0 {
			digits = 40
		}
		if _, err := hex.DecodeString(v); err != nil || len(v) != digits {
			return fmt.Errorf(".Value %q: a %s is %d hex digits", v, n.Type, digits)
		}
	case IndicatorIP:
		if addr, err := netip.ParseAddr(v); err != nil || addr.Zone() != "" {
			return fmt.Errorf(".Value %q: want one IP address, without port, range or zone", v)
		}
	case IndicatorDomain:
		if v == "" || len(v) > 253 || strings.ContainsAny(v, "/:@ \t\r\n") {
			return fmt.Errorf(".Value %q: a domain is a name of 1 to 253 characters, without scheme, port or path", v)
		}
	case IndicatorURL:
		// Without a scheme, too: whether Defender wants one is not documented.
		full := v
		if !strings.Contains(v, "://") {
			full = "https://" + v
		}
		if u, err := url.Parse(full); err != nil || u.Host == "" || strings.ContainsAny(v, " \t\r\n") {
			return fmt.Errorf(".Value %q: want a URL with a host, without spaces", v)
		}
	default:
		return fmt.Errorf(".Type %q: want %s, %s, %s, %s, %s, %s or %s", n.Type,
			IndicatorSHA1, IndicatorMD5, IndicatorSHA256, IndicatorCertificate, IndicatorIP, IndicatorDomain, IndicatorURL)
	}
	return nil
}

// indicatorKey is a value as it is compared, however it is written. The case of a
// URL's path may mean something; without a type it does not.
func indicatorKey(t IndicatorType, value string) string {
	if addr, err := netip.ParseAddr(value); err == nil {
		return addr.String()
	}
	if t == IndicatorURL {
		return value
	}
	return strings.ToLower(value)
}
