package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/intel"

	"github.com/jurymast/jurymast/internal/lenient"
)

// Actor is an adversary that CrowdStrike follows. Fields that Falcon left out, or
// filled with something unexpected, are zero; Raw has everything.
type Actor struct {
	ID               string // digits
	Name             string // such as FANCY BEAR
	Slug             string // such as fancy-bear
	Type             string // targeted or ecrime
	Status           string // Active, Inactive or Retired
	AnimalClassifier string // the family: BEAR
	KnownAs          string // other names, separated by commas
	ShortDescription string
	Description      string // only of an ActorQuery that is Full
	Motivations      []string
	Objectives       []string
	Origins          []string
	TargetCountries  []string
	TargetIndustries []string
	TargetRegions    []string
	URL              string // of the console
	FirstActivity    time.Time
	LastActivity     time.Time
	Created          time.Time
	Modified         time.Time
	Raw              json.RawMessage
}

var actorRows = rows[Actor]{id: "id", parse: object(func(o lenient.Object, raw json.RawMessage) (Actor, error) {
	a := Actor{
		ID: o.Str("id"), Name: o.Str("name"), Slug: o.Str("slug"), Type: o.Str("actor_type"), Status: o.Str("status"),
		AnimalClassifier: o.Str("animal_classifier"), KnownAs: o.Str("known_as"),
		ShortDescription: o.Str("short_description"), Description: o.Str("description"),
		Motivations: values(o, "motivations"), Objectives: values(o, "objectives"), Origins: values(o, "origins"),
		TargetCountries: values(o, "target_countries"), TargetIndustries: values(o, "target_industries"),
		TargetRegions: values(o, "target_regions"), URL: o.Str("url"),
		FirstActivity: o.Unix("first_activity_date"), LastActivity: o.Unix("last_activity_date"),
		Created: o.Unix("created_date"), Modified: o.Unix("last_modified_date"), Raw: raw,
	}
	if a.ID == "" {
		return Actor{}, errors.New("no id")
	}
	return a, nil
})}

// ActorQuery selects actors. The zero query is all of them.
type ActorQuery struct {
	Filter FQL
	Search string // in all fields, part of a word is enough
	Sort   string // default "created_date|asc", in which new ones come last
	Full   bool   // with everything Falcon has
	Limit  int    // rows a page, at most 5,000; default 500
	Cursor string // of an earlier List of the same query
}

// Actors lists actors; Falcon shows the first 10,000 of a query, after which the
// list ends with ErrWindow. Scope: Actors (Falcon Intelligence) read.
func (s *Intel) Actors(q ActorQuery) *List[Actor] {
	const name = "intel.actors"
	return documents(s.c, name, "ActorQuery.Limit", documentQuery(q), actorRows, func(ctx context.Context, d documentPage) *capture {
		p := intel.NewQueryIntelActorEntitiesParamsWithContext(ctx)
		p.Offset, p.Limit, p.Fields, p.Filter, p.Sort, p.Q = &d.offset, &d.limit, d.fields, d.filter, d.sort, d.search
		op := &capture{}
		_, _ = intel.New(op, nil).QueryIntelActorEntities(p)
		return op
	})
}
