package falcontest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// createIOCs creates all indicators or none.
func (c *cloud) createIOCs(q *call) {
	c.writeIOCs(q, http.StatusCreated, func(input map[string]json.RawMessage) (IOC, *rowError) {
		i := IOC{CID: q.token.cid, Action: "no_action", MobileAction: "no_action", Created: q.now}
		if err := i.set(input, "id"); err != nil {
			return i, err
		}
		for _, other := range c.iocs.byID {
			if other.same(&i) && q.token.sees(other.CID) {
				return i, i.duplicate()
			}
		}
		return i, i.check()
	})
}

// updateIOCs changes all indicators or none. That an unknown id is the error of a
// row, as other mistakes are, is assumed.
func (c *cloud) updateIOCs(q *call) {
	c.writeIOCs(q, http.StatusOK, func(input map[string]json.RawMessage) (IOC, *rowError) {
		var id string
		_ = json.Unmarshal(input["id"], &id)
		old := c.iocs.byID[id]
		if old == nil || !q.token.sees(old.CID) {
			return IOC{ID: id}, &rowError{field: "id", message: "indicator not found"}
		}
		i := old.clone()
		if err := i.set(input, "type", "value"); err != nil {
			return i, err
		}
		return i, i.check()
	})
}

// writeIOCs judges every row before it writes one. A row that is wrong refuses them
// all, and one with a mere warning does unless warnings are ignored. That the rows
// of the refusal count from one, and the names of their members, are assumed, and
// so are its words.
func (c *cloud) writeIOCs(q *call, success int, judge func(map[string]json.RawMessage) (IOC, *rowError)) {
	var b iocBody
	if err := json.NewDecoder(q.r.Body).Decode(&b); err != nil || len(b.Indicators) == 0 {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	if len(b.Indicators) > c.cfg.IOCBatch {
		q.reject(http.StatusBadRequest, fmt.Sprintf("too many indicators: %d, the maximum is %d", len(b.Indicators), c.cfg.IOCBatch))
		return
	}
	params := q.r.URL.Query()
	c.iocs.mu.Lock()
	defer c.iocs.mu.Unlock()
	var good []IOC
	refused := []object{}
	for n, input := range b.Indicators {
		i, err := judge(input)
		if err == nil && i.ID == "" && slices.ContainsFunc(good, func(other IOC) bool { return other.same(&i) }) {
			err = i.duplicate()
		}
		if err == nil || err.warning && params.Get("ignore_warnings") == "true" {
			good = append(good, i)
			continue
		}
		refused = append(refused, err.object(n+1, &i))
	}
	if len(refused) > 0 {
		q.send(http.StatusBadRequest, envelope{q.meta(q.by), refused, []apiError{
			{Code: http.StatusBadRequest, Message: "One or more indicators have a warning or invalid input"},
		}})
		return
	}
	written := make([]object, len(good))
	for n := range good {
		i := &good[n]
		i.Modified, i.Comment, i.Retrodetects = q.now, b.Comment, params.Get("retrodetects") == "true"
		if i.ID == "" {
			i.ID = c.iocs.newID()
		}
		c.iocs.byID[i.ID] = i
		written[n] = i.object(q.now)
	}
	m := q.meta(q.by)
	m.Pagination = object{{"limit", 0}, {"total", len(written)}}
	q.send(success, envelope{m, written, []apiError{}})
}

// rowError is what is wrong with one row.
type rowError struct {
	field, message string
	warning        bool
}

func (e *rowError) object(row int, i *IOC) object {
	kind := "error"
	if e.warning {
		kind = "warning"
	}
	o := object{{"row", row}}
	if i.ID != "" {
		o = append(o, member{"id", i.ID})
	}
	return append(o, object{{"type", i.Type}, {"value", i.Value}, {"message_type", kind}, {"field_name", e.field}, {"message", e.message}}...)
}

func (i *IOC) same(other *IOC) bool {
	return i.Type == other.Type && strings.EqualFold(i.Value, other.Value)
}

func (i *IOC) duplicate() *rowError {
	return &rowError{field: "value", message: fmt.Sprintf("Duplicate type: '%s' and value: '%s' combination.", i.Type, i.Value)}
}

// iocFields are what a row may set.
var iocFields = map[string]func(*IOC, json.RawMessage) error{
	"type":             iocField(func(i *IOC) *string { return &i.Type }),
	"value":            iocField(func(i *IOC) *string { return &i.Value }),
	"action":           iocField(func(i *IOC) *string { return &i.Action }),
	"mobile_action":    iocField(func(i *IOC) *string { return &i.MobileAction }),
	"severity":         iocField(func(i *IOC) *string { return &i.Severity }),
	"platforms":        iocField(func(i *IOC) *[]string { return &i.Platforms }),
	"applied_globally": iocField(func(i *IOC) *bool { return &i.AppliedGlobally }),
	"host_groups":      iocField(func(i *IOC) *[]string { return &i.HostGroups }),
	"description":      iocField(func(i *IOC) *string { return &i.Description }),
	"source":           iocField(func(i *IOC) *string { return &i.Source }),
	"tags":             iocField(func(i *IOC) *[]string { return &i.Tags }),
	"expiration":       iocField(func(i *IOC) *time.Time { return &i.Expiration }),
	"metadata": func(i *IOC, raw json.RawMessage) error {
		var m struct {
			Filename string `json:"filename"`
		}
		err := json.Unmarshal(raw, &m)
		i.Filename = m.Filename
		return err
	},
}

// iocField sets a field. That null clears it, instead of leaving it, is assumed: a
// client that sends null for what it does not mean to change must be prepared for
// that.
func iocField[T any](field func(*IOC) *T) func(*IOC, json.RawMessage) error {
	return func(i *IOC, raw json.RawMessage) error {
		var v T
		err := json.Unmarshal(raw, &v)
		*field(i) = v
		return err
	}
}

// set sets what a row has. The ignored members are not for the row to set; others
// that are not known are not looked at.
func (i *IOC) set(input map[string]json.RawMessage, ignored ...string) *rowError {
	for _, name := range slices.Sorted(maps.Keys(input)) {
		if set := iocFields[name]; set != nil && !slices.Contains(ignored, name) && set(i, input[name]) != nil {
			return &rowError{field: name, message: "invalid " + name}
		}
	}
	return nil
}

// check is what the cloud demands of an indicator. That a private address is worth
// a warning is assumed: what the real warnings are is not known.
func (i *IOC) check() *rowError {
	addr, err := netip.ParseAddr(i.Value)
	var valid bool
	switch i.Type {
	case "sha256", "md5":
		b, err := hex.DecodeString(i.Value)
		valid = err == nil && len(b) == map[string]int{"sha256": 32, "md5": 16}[i.Type]
	case "domain", "all_subdomains":
		valid = i.Value != "" && len(i.Value) <= 200
	case "ipv4":
		valid = err == nil && addr.Is4()
	case "ipv6":
		valid = err == nil && addr.Is6()
	default:
		return &rowError{field: "type", message: "Unsupported type"}
	}
	switch {
	case !valid:
		return &rowError{field: "value", message: "Invalid value for type " + i.Type}
	case !slices.Contains([]string{"detect", "prevent", "prevent_no_ui", "allow", "no_action"}, i.Action):
		return &rowError{field: "action", message: "Unsupported action"}
	case i.Severity == "" && (i.Action == "detect" || i.Action == "prevent"):
		return &rowError{field: "severity", message: "severity is required"}
	case !slices.Contains([]string{"", "informational", "low", "medium", "high", "critical"}, i.Severity):
		return &rowError{field: "severity", message: "Unsupported severity"}
	case len(i.Platforms) == 0:
		return &rowError{field: "platforms", message: "at least one platform is required"}
	case i.AppliedGlobally == (len(i.HostGroups) > 0):
		return &rowError{field: "applied_globally", message: "either applied_globally or host_groups is required"}
	case err == nil && (addr.IsPrivate() || addr.IsLoopback()):
		return &rowError{field: "value", message: "The address is not public", warning: true}
	}
	for _, p := range i.Platforms {
		if !slices.Contains([]string{"windows", "mac", "linux", "ios", "android"}, p) {
			return &rowError{field: "platforms", message: "Unsupported platform " + p}
		}
	}
	return nil
}
