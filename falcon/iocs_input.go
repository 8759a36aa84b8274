package falcon

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// NewIOC is an indicator to create. Type, Value, Action and Platforms are
// required, Severity where the action makes detections, and one of
// AppliedGlobally and HostGroups.
type NewIOC struct {
	Type            IOCType
	Value           string
	Action          IOCAction
	MobileAction    IOCAction // on ios and android
	Severity        IOCSeverity
	Platforms       []string // windows, mac, linux, ios, android
	AppliedGlobally bool
	HostGroups      []string  // ids
	Expiration      time.Time // zero: never
	Description     string
	Source          string
	Filename        string // of hashes
	Tags            []string
}

// IOCChange is what to change of one indicator; its type and value cannot be.
// Fields left zero stay as they are.
type IOCChange struct {
	ID              string
	Action          IOCAction
	MobileAction    IOCAction
	Severity        *IOCSeverity // "" clears it
	Platforms       []string
	AppliedGlobally *bool
	HostGroups      []string   // empty, but not nil, clears them
	Expiration      *time.Time // the zero time clears it
	Description     *string    // "" clears it
	Source          *string    // "" clears it
	Filename        string
	Tags            []string // empty, but not nil, clears them
}

// iocBody is an indicator on the wire. gofalcon's models have null for lists that
// are not set, which a change must not send: what is not named stays.
type iocBody struct {
	ID              string          `json:"id,omitempty"`
	Type            IOCType         `json:"type,omitempty"`
	Value           string          `json:"value,omitempty"`
	Action          IOCAction       `json:"action,omitempty"`
	MobileAction    IOCAction       `json:"mobile_action,omitempty"`
	Severity        *IOCSeverity    `json:"severity,omitempty"`
	Platforms       []string        `json:"platforms,omitempty"`
	AppliedGlobally *bool           `json:"applied_globally,omitempty"`
	HostGroups      []string        `json:"host_groups,omitzero"`
	Expiration      json.RawMessage `json:"expiration,omitempty"`
	Description     *string         `json:"description,omitempty"`
	Source          *string         `json:"source,omitempty"`
	Metadata        *iocMetadata    `json:"metadata,omitempty"`
	Tags            []string        `json:"tags,omitzero"`
}

type iocMetadata struct {
	Filename string `json:"filename"`
}

func (n *NewIOC) body() iocBody {
	b := iocBody{
		Type: n.Type, Value: n.Value, Action: n.Action, MobileAction: n.MobileAction, Platforms: n.Platforms,
		AppliedGlobally: &n.AppliedGlobally, HostGroups: n.HostGroups, Metadata: metadata(n.Filename), Tags: n.Tags,
	}
	if n.Severity != "" {
		b.Severity = &n.Severity
	}
	if !n.Expiration.IsZero() {
		b.Expiration = expiration(n.Expiration)
	}
	setIf(&b.Description, n.Description)
	setIf(&b.Source, n.Source)
	return b
}

func (c *IOCChange) body() iocBody {
	b := iocBody{
		ID: c.ID, Action: c.Action, MobileAction: c.MobileAction, Severity: c.Severity, Platforms: c.Platforms,
		AppliedGlobally: c.AppliedGlobally, HostGroups: c.HostGroups, Description: c.Description, Source: c.Source,
		Metadata: metadata(c.Filename), Tags: c.Tags,
	}
	if c.Expiration != nil {
		b.Expiration = expiration(*c.Expiration)
	}
	return b
}

func metadata(filename string) *iocMetadata {
	if filename == "" {
		return nil
	}
	return &iocMetadata{filename}
}

// expiration is null for the zero time: that null clears it is assumed, and the
// indicator that comes back tells.
func expiration(t time.Time) json.RawMessage {
	if t.IsZero() {
		return json.RawMessage("null")
	}
	return json.RawMessage(`"` + t.UTC().Format(time.RFC3339) + `"`)
}

var (
	iocActions    = []IOCAction{IOCDetect, IOCPrevent, IOCPreventNoUI, IOCAllow, IOCNoAction}
	iocSeverities = []IOCSeverity{IOCInformational, IOCLow, IOCMedium, IOCHigh, IOCCritical}
	iocPlatforms  = []string{"windows", "mac", "linux", "ios", "android"}
)

// check tells what is wrong with an indicator to create, by field: what follows
// the name of the input.
func (n *NewIOC) check() error {
	if err := checkValue(n.Type, n.Value); err != nil {
		return err
	}
	switch {
	case n.Action == "":
		return fmt.Errorf(".Action: required, one of %v", iocActions)
	case n.Severity == "" && (n.Action == IOCDetect || n.Action == IOCPrevent):
		return fmt.Errorf(".Severity: required with the action %s, one of %v", n.Action, iocSeverities)
	case len(n.Platforms) == 0:
		return fmt.Errorf(".Platforms: at least one of %v is required", iocPlatforms)
	case n.AppliedGlobally == (len(n.HostGroups) > 0):
		return errors.New(".AppliedGlobally, HostGroups: set exactly one of them")
	}
	return checkFields(n.Action, n.Severity, n.Platforms, n.HostGroups)
}

// check tells what is wrong with a change, by field.
func (c *IOCChange) check() error {
	var severity IOCSeverity
	if c.Severity != nil {
		severity = *c.Severity
	}
	switch {
	case c.ID == "":
		return errors.New(".ID: required")
	case c.Platforms != nil && len(c.Platforms) == 0:
		return errors.New(".Platforms: an indicator needs at least one; nil leaves them as they are")
	case c.AppliedGlobally != nil && *c.AppliedGlobally && len(c.HostGroups) > 0:
		return errors.New(".AppliedGlobally, HostGroups: they exclude each other")
	}
	if only, err := json.Marshal(iocBody{ID: c.ID}); err == nil {
		if all, err := json.Marshal(c.body()); err == nil && string(all) == string(only) {
			return errors.New(": nothing is set that would change")
		}
	}
	return checkFields(c.Action, severity, c.Platforms, c.HostGroups)
}

func checkFields(action IOCAction, severity IOCSeverity, platforms, groups []string) error {
	if action != "" && !slices.Contains(iocActions, action) {
		return fmt.Errorf(".Action %q: want one of %v", action, iocActions)
	}
	if severity != "" && !slices.Contains(iocSeverities, severity) {
		return fmt.Errorf(".Severity %q: want one of %v", severity, iocSeverities)
	}
	for _, p := range platforms {
		if !slices.Contains(iocPlatforms, p) {
			return fmt.Errorf(".Platforms %q: want %v", p, iocPlatforms)
		}
	}
	if slices.Contains(groups, "") {
		return errors.New(".HostGroups: one of the ids is empty")
	}
	return nil
}

func checkValue(kind IOCType, value string) error {
	switch kind {
	case IOCSHA256, IOCMD5:
		digits := map[IOCType]int{IOCSHA256: 64, IOCMD5: 32}[kind]
		if _, err := hex.DecodeString(value); err != nil || len(value) != digits {
			return fmt.Errorf(".Value %q: a %s is %d hex digits", value, kind, digits)
		}
	case IOCDomain, IOCAllSubdomains:
		if value == "" || len(value) > 200 || strings.ContainsAny(value, "/:@ \t\r\n") {
			return fmt.Errorf(".Value %q: a domain is a name of 1 to 200 characters, without scheme, port or path", value)
		}
	case IOCIPv4, IOCIPv6:
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Is4() != (kind == IOCIPv4) || addr.Zone() != "" {
			return fmt.Errorf(".Value %q: want one %s address, without port, range or zone", value, kind)
		}
	default:
		return fmt.Errorf(".Type %q: want sha256, md5, domain, all_subdomains, ipv4 or ipv6", kind)
	}
	return nil
}

// iocKey is a value as it is compared, however it is written.
func iocKey(value string) string {
	if addr, err := netip.ParseAddr(value); err == nil {
		return addr.String()
	}
	return strings.ToLower(value)
}
