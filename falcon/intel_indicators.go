package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/intel"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
)

// Indicator is something CrowdStrike saw attackers use. Fields that Falcon left
// out, or filled with something unexpected, are zero; Raw has everything.
type Indicator struct {
	ID              string // such as domain_evil.com
	Marker          string // where it stands in the list: by Updated, then by chance
	Value           string // such as evil.com
	Type            string // domain, url, ip_address, hash_sha256, ...
	Confidence      Confidence
	Deleted         bool // only listed if the query asks for it
	Published       time.Time
	Updated         time.Time
	Labels          []IndicatorLabel
	Relations       []IndicatorRelation
	Actors          []string // without the space: FANCYBEAR
	Reports         []string
	MalwareFamilies []string
	KillChains      []string
	ThreatTypes     []string
	Targets         []string // industries
	Vulnerabilities []string // CVE numbers
	DomainTypes     []string
	IPAddressTypes  []string
	Raw             json.RawMessage
}

// Confidence is how sure CrowdStrike is that an indicator means harm.
type Confidence string

// The degrees of confidence.
const (
	ConfidenceHigh       Confidence = "high"
	ConfidenceMedium     Confidence = "medium"
	ConfidenceLow        Confidence = "low"
	ConfidenceUnverified Confidence = "unverified"
)

// IndicatorLabel is a label of an indicator, such as Malware/Remcos.
type IndicatorLabel struct {
	Name      string
	Created   time.Time
	LastValid time.Time
}

// IndicatorRelation is another indicator that was seen together with one.
type IndicatorRelation struct {
	ID        string
	Value     string
	Type      string
	Created   time.Time
	LastValid time.Time
}

var indicatorRows = rows[Indicator]{id: "id", parse: object(func(o lenient.Object, raw json.RawMessage) (Indicator, error) {
	i := Indicator{
		ID: o.Str("id"), Marker: o.Str("_marker"), Value: o.Str("indicator"), Type: o.Str("type"),
		Confidence: Confidence(o.Str("malicious_confidence")), Deleted: o.Str("deleted") == "true",
		Published: o.Unix("published_date"), Updated: o.Unix("last_updated"),
		Actors: o.Strs("actors"), Reports: o.Strs("reports"), MalwareFamilies: o.Strs("malware_families"),
		KillChains: o.Strs("kill_chains"), ThreatTypes: o.Strs("threat_types"), Targets: o.Strs("targets"),
		Vulnerabilities: o.Strs("vulnerabilities"), DomainTypes: o.Strs("domain_types"),
		IPAddressTypes: o.Strs("ip_address_types"), Raw: raw,
	}
	for _, l := range o.Objects("labels") {
		i.Labels = append(i.Labels, IndicatorLabel{Name: l.Str("name"), Created: l.Unix("created_on"), LastValid: l.Unix("last_valid_on")})
	}
	for _, r := range o.Objects("relations") {
		i.Relations = append(i.Relations, IndicatorRelation{
			ID: r.Str("id"), Value: r.Str("indicator"), Type: r.Str("type"),
			Created: r.Unix("created_date"), LastValid: r.Unix("last_valid_date"),
		})
	}
	if i.ID == "" {
		return Indicator{}, errors.New("no id")
	}
	return i, nil
})}

// IndicatorQuery selects indicators. The zero query is all that are published,
// those that changed longest ago first.
type IndicatorQuery struct {
	Filter FQL
	Search string // in all fields, part of a word is enough
	// NewestFirst begins with what changed last. An indicator that changes while
	// such a list is read goes to the front, and is lost to it unless it was read
	// before; otherwise it goes to the end, where it is read.
	NewestFirst    bool
	IncludeDeleted bool
	NoRelations    bool   // leave out Relations, which are most of the answer
	Limit          int    // rows a page, at most 10,000; default 1,000
	Cursor         string // of an earlier List of the same query
}

// The rows a page of indicators.
const (
	usualIndicators = 1000
	mostIndicators  = 10_000
)

// Indicators lists indicators, also beyond the first 10,000. The cursor of a list
// that was read to its end, and is not NewestFirst, gives those that came or
// changed since then. Scope: Indicators (Falcon Intelligence) read.
func (s *Intel) Indicators(q IndicatorQuery) *List[Indicator] {
	const name = "intel.indicators"
	var total int64 // of the first page: Falcon counts what is left
	return paging.New("falcon "+name, q.Cursor, func(ctx context.Context, token string) (paging.Page[Indicator], error) {
		op, err := q.page(ctx, name, token)
		if err != nil {
			return paging.Page[Indicator]{}, err
		}
		var more pagination
		var came int
		out, err := page(ctx, s.c, name, op, indicatorRows, token == "", func(m pagination, n int) string {
			more, came = m, n
			return ""
		})
		if err != nil {
			return out, err
		}
		if out.Next, err = s.after(name, token, out.Rows, more, came); err != nil {
			return paging.Page[Indicator]{}, err
		}
		for i := range out.Rows {
			if marker := markerOf(out.Rows[i]); marker != "" {
				out.Rows[i].After = byMarker + marker
			}
		}
		total = max(total, out.Total)
		out.Total = total
		return out, nil
	})
}

// page is the operation of the page that a token names.
func (q *IndicatorQuery) page(ctx context.Context, name, token string) (*capture, error) {
	limit, err := pageSize(name, "IndicatorQuery.Limit", q.Limit, usualIndicators, mostIndicators)
	if err != nil {
		return nil, err
	}
	at, err := parseIndicatorToken(name, token)
	if err != nil {
		return nil, err
	}
	p := intel.NewQueryIntelIndicatorEntitiesParamsWithContext(ctx)
	if at.query == "" {
		beyond, sort := ">", "_marker.asc"
		if q.NewestFirst {
			beyond, sort = "<", "_marker.desc"
		}
		filter := q.Filter
		if at.marker != "" {
			filter = And(filter, condition("_marker", beyond, quote(at.marker)))
		}
		if err := filter.Err(); err != nil {
			return nil, err
		}
		rows, relations := int64(limit), !q.NoRelations
		p.Limit, p.Sort, p.IncludeDeleted, p.IncludeRelations = &rows, &sort, &q.IncludeDeleted, &relations
		setIf(&p.Filter, filter.String())
		setIf(&p.Q, q.Search)
	}
	op := &capture{}
	_, _ = intel.New(op, nil).QueryIntelIndicatorEntities(p)
	if at.query != "" {
		op.op.PathPattern += "?" + at.query
	}
	return op, nil
}

// indicatorIDs is how many ids one call takes; that there is a limit is assumed.
const indicatorIDs = 500

// IndicatorsByID lists the indicators of the given ids, five hundred a call. An id
// that Falcon does not know is a *RowError. Scope: as Indicators.
func (s *Intel) IndicatorsByID(ids ...string) *List[Indicator] {
	const name = "intel.indicators_by_id"
	return byIDs(name, ids, indicatorIDs, func(ctx context.Context, chunk []string) (paging.Page[Indicator], error) {
		p := intel.NewGetIntelIndicatorEntitiesParamsWithContext(ctx)
		p.Body = &models.MsaIdsRequest{Ids: chunk}
		var op capture
		_, _ = intel.New(&op, nil).GetIntelIndicatorEntities(p)
		return page(ctx, s.c, name, &op, indicatorRows, false, nil)
	}, func(i Indicator) string { return i.ID })
}
