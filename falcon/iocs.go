package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/ioc"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// IOCs is Falcon's service of custom indicators of compromise. Scopes: IOC
// Management read; IOC Management write to change them.
type IOCs struct{ c *Client }

// IOCType is what an indicator is compared with.
type IOCType string

// The types of indicators.
const (
	IOCSHA256        IOCType = "sha256" // 64 hex digits
	IOCMD5           IOCType = "md5"    // 32 hex digits
	IOCDomain        IOCType = "domain" // 1 to 200 characters
	IOCAllSubdomains IOCType = "all_subdomains"
	IOCIPv4          IOCType = "ipv4"
	IOCIPv6          IOCType = "ipv6"
)

// IOCAction is what Falcon does when a host meets an indicator.
type IOCAction string

// The actions. Which of them a type of indicator may have is Falcon's to say.
const (
	IOCDetect      IOCAction = "detect"
	IOCPrevent     IOCAction = "prevent"
	IOCPreventNoUI IOCAction = "prevent_no_ui" // blocked, and not shown as a detection
	IOCAllow       IOCAction = "allow"
	IOCNoAction    IOCAction = "no_action" // kept for later; also what an expired indicator does
)

// IOCSeverity is that of the detections which an indicator makes.
type IOCSeverity string

// The severities.
const (
	IOCInformational IOCSeverity = "informational"
	IOCLow           IOCSeverity = "low"
	IOCMedium        IOCSeverity = "medium"
	IOCHigh          IOCSeverity = "high"
	IOCCritical      IOCSeverity = "critical"
)

// IOC is a custom indicator as Falcon knows it. Fields that Falcon left out, or
// filled with something unexpected, are zero; Raw has everything.
type IOC struct {
	ID              string
	Type            IOCType
	Value           string
	Action          IOCAction
	MobileAction    IOCAction
	Severity        IOCSeverity // "" for actions that make no detections
	Platforms       []string    // windows, mac, linux, ios, android
	AppliedGlobally bool        // otherwise to HostGroups
	HostGroups      []string    // ids
	Description     string
	Source          string
	Filename        string
	Tags            []string
	Expiration      time.Time // zero: never
	Expired         bool
	Deleted         bool
	FromParent      bool // of the parent customer: not this one's to change
	Created         time.Time
	CreatedBy       string // a user's, or an API client's, id
	Modified        time.Time
	ModifiedBy      string
	Raw             json.RawMessage
}

func parseIOC(o lenient.Object, raw json.RawMessage) (IOC, error) {
	i := IOC{
		ID: o.Str("id"), Type: IOCType(o.Str("type")), Value: o.Str("value"), Action: IOCAction(o.Str("action")),
		MobileAction: IOCAction(o.Str("mobile_action")), Severity: IOCSeverity(o.Str("severity")),
		Platforms: o.Strs("platforms"), AppliedGlobally: o.Str("applied_globally") == "true", HostGroups: o.Strs("host_groups"),
		Description: o.Str("description"), Source: o.Str("source"), Filename: o.Object("metadata").Str("filename"),
		Tags: o.Strs("tags"), Expiration: o.Time("expiration"), Expired: o.Str("expired") == "true",
		Deleted: o.Str("deleted") == "true", FromParent: o.Str("from_parent") == "true",
		Created: o.Time("created_on"), CreatedBy: o.Str("created_by"),
		Modified: o.Time("modified_on"), ModifiedBy: o.Str("modified_by"), Raw: raw,
	}
	if i.ID == "" {
		return IOC{}, errors.New("no id")
	}
	return i, nil
}

// IOCQuery selects indicators. The zero query is all of them.
type IOCQuery struct {
	Filter FQL
	Sort   string // the name of a field; default "created_on"
	Limit  int    // rows a page, at most 2,000; default 2,000
	Cursor string // of an earlier List of the same query
}

// Query lists indicators, also beyond the first 10,000. Falcon forgets a page's
// token after a while; the error of that page then matches ErrNotFound. What was
// just created or deleted may take a moment to show.
func (s *IOCs) Query(q IOCQuery) *List[IOC] {
	const name = "iocs.query"
	perPage, bad := pageSize(name, "IOCQuery.Limit", q.Limit, 2000, 2000)
	limit := int64(perPage)
	if q.Sort == "" {
		q.Sort = "created_on" // never changes, so a change in between moves no row to another page
	}
	return paging.New("falcon "+name, q.Cursor, func(ctx context.Context, token string) (paging.Page[IOC], error) {
		if err := errors.Join(bad, q.Filter.Err()); err != nil {
			return paging.Page[IOC]{}, err
		}
		p := ioc.NewIndicatorCombinedV1ParamsWithContext(ctx)
		p.Limit, p.Sort = &limit, &q.Sort
		setIf(&p.Filter, q.Filter.String())
		setIf(&p.After, token)
		var op capture
		_, _ = ioc.New(&op, nil).IndicatorCombinedV1(p)
		return page(ctx, s.c, name, &op, iocRows, token == "", func(more pagination, came int) string {
			if came == 0 && token != "" { // the last page has a token too, and an empty one follows it
				return ""
			}
			return more.After
		})
	})
}

var iocRows = rows[IOC]{id: "id", parse: object(parseIOC)}

// iocIDs is how many ids one call names: they are 64 digits each and stand in the
// URL, of which servers read 8 KB.
const iocIDs = 100

// Get lists the indicators of the given ids, a hundred a call. An id that Falcon
// does not know is a *RowError.
func (s *IOCs) Get(ids ...string) *List[IOC] {
	const name = "iocs.get"
	return byIDs(name, ids, iocIDs, func(ctx context.Context, chunk []string) (paging.Page[IOC], error) {
		p := ioc.NewIndicatorGetV1ParamsWithContext(ctx)
		p.Ids = chunk
		var op capture
		_, _ = ioc.New(&op, nil).IndicatorGetV1(p)
		return page(ctx, s.c, name, &op, iocRows, false, nil)
	}, func(i IOC) string { return i.ID })
}

// Delete removes the indicators of the given ids, about a hundred a call, and
// returns the ids that Falcon says are gone. comment is for the audit log and may
// be empty. An id that was not removed is joined in the error as a *RowError,
// which matches ErrNotFound if Falcon does not know the id: it is gone, perhaps by
// an earlier attempt of this call whose answer was lost. A call that fails ends
// the deletion, and the error says after how many ids; all of it may be repeated.
// Scope: IOC Management write.
func (s *IOCs) Delete(ctx context.Context, comment string, ids ...string) (deleted []string, err error) {
	const name = "iocs.delete"
	if len(ids) == 0 || slices.Contains(ids, "") {
		return nil, resilience.Misusef("falcon %s: one of the ids is empty, or there are none", name)
	}
	size := max(1, iocIDs-len(url.QueryEscape(comment))/64) // the comment is in the URL too
	var refused []error
	for done := 0; done < len(ids); done += size {
		chunk := ids[done:min(done+size, len(ids))]
		gone, said, err := s.delete(ctx, name, comment, chunk)
		if err != nil {
			if done > 0 {
				err = fmt.Errorf("after the first %d of %d ids: %w", done, len(ids), err)
			}
			return deleted, errors.Join(append([]error{err}, refused...)...)
		}
		for _, id := range chunk {
			if slices.Contains(gone, id) {
				deleted = append(deleted, id)
			} else {
				refused = append(refused, &RowError{Operation: "falcon " + name, ID: id, Err: said.about(id)})
			}
		}
	}
	return deleted, errors.Join(refused...)
}

// delete names ids and never a filter: with a filter Falcon ignores the ids, and
// removes whatever matches.
func (s *IOCs) delete(ctx context.Context, name, comment string, ids []string) (gone []string, said *APIError, err error) {
	p := ioc.NewIndicatorDeleteV1ParamsWithContext(ctx)
	p.Ids = ids
	setIf(&p.Comment, comment)
	var op capture
	_, _ = ioc.New(&op, nil).IndicatorDeleteV1(p)
	w, err := s.c.write(op.op)
	if err != nil {
		return nil, nil, err
	}
	gone, err = send(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Idempotent}, w, func(a *answer) ([]string, error) {
		env, err := a.open(name)
		if err != nil {
			return nil, err
		}
		said = a.malformed(name, errors.New("it does not say that the id was deleted"))
		for _, m := range env.Errors {
			said.Messages = append(said.Messages, m.public())
		}
		var gone []string
		for _, raw := range env.Resources {
			if id := (lenient.Object{"id": raw}).Str("id"); id != "" {
				gone = append(gone, id)
			}
		}
		return gone, nil
	})
	if api, ok := errors.AsType[*APIError](err); ok && api.Status == http.StatusNotFound {
		return nil, api, nil // none of them is known
	}
	return gone, said, err
}

// about is what the error says of one id, or all of it if it does not name it.
func (e *APIError) about(id string) *APIError {
	for _, m := range e.Messages {
		if m.ID == id {
			return &APIError{Operation: e.Operation, Status: m.Code, Messages: []Message{m}, TraceID: e.TraceID}
		}
	}
	return e
}
