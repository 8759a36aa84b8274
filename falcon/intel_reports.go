package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/intel"

	"github.com/jurymast/jurymast/internal/lenient"
)

// Report is a finished report of CrowdStrike's analysts. Fields that Falcon left
// out, or filled with something unexpected, are zero; Raw has everything.
type Report struct {
	ID               string // digits
	Name             string
	Slug             string
	Type             string // Notice, Feeds, Tipper, Periodic Report, Intelligence Report
	SubType          string
	ShortDescription string
	Description      string // only of a ReportQuery that is Full
	Actors           []string
	Motivations      []string
	Tags             []string
	TargetCountries  []string
	TargetIndustries []string
	URL              string // of the console
	Created          time.Time
	Modified         time.Time
	Raw              json.RawMessage
}

var reportRows = rows[Report]{id: "id", parse: object(func(o lenient.Object, raw json.RawMessage) (Report, error) {
	r := Report{
		ID: o.Str("id"), Name: o.Str("name"), Slug: o.Str("slug"), Type: entity(o.Object("type")), SubType: entity(o.Object("sub_type")),
		ShortDescription: o.Str("short_description"), Description: o.Str("description"),
		Actors: values(o, "actors"), Motivations: values(o, "motivations"), Tags: values(o, "tags"),
		TargetCountries: values(o, "target_countries"), TargetIndustries: values(o, "target_industries"), URL: o.Str("url"),
		Created: o.Unix("created_date"), Modified: o.Unix("last_modified_date"), Raw: raw,
	}
	if r.ID == "" {
		return Report{}, errors.New("no id")
	}
	return r, nil
})}

// ReportQuery selects reports. The zero query is all of them.
type ReportQuery struct {
	Filter FQL
	Search string // in all fields, part of a word is enough
	Sort   string // default "created_date|asc", in which new ones come last
	Full   bool   // with everything Falcon has
	Limit  int    // rows a page, at most 5,000; default 500
	Cursor string // of an earlier List of the same query
}

// Reports lists reports; Falcon shows the first 10,000 of a query, after which the
// list ends with ErrWindow. Scope: Reports (Falcon Intelligence) read.
func (s *Intel) Reports(q ReportQuery) *List[Report] {
	const name = "intel.reports"
	return documents(s.c, name, "ReportQuery.Limit", documentQuery(q), reportRows, func(ctx context.Context, d documentPage) *capture {
		p := intel.NewQueryIntelReportEntitiesParamsWithContext(ctx)
		p.Offset, p.Limit, p.Fields, p.Filter, p.Sort, p.Q = &d.offset, &d.limit, d.fields, d.filter, d.sort, d.search
		op := &capture{}
		_, _ = intel.New(op, nil).QueryIntelReportEntities(p)
		return op
	})
}
