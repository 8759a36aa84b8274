package falcontest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// SensorUpdatePolicy is a sensor update policy. Only Name is required.
type SensorUpdatePolicy struct {
	ID          string // 32 hex digits; default: derived from Platform and Name
	CID         string // default: the server's
	Name        string // platform_default is the policy of the hosts that no other one takes
	Description string
	Platform    string // Windows (the default), Mac or Linux
	Disabled    bool
	Groups      []string // ids of host groups

	Build               string // such as 18110 or 18110|n-1|tagged|1; empty: sensors are not updated
	SensorVersion       string
	Stage               string // prod (the default) or early_adopter
	UninstallProtection string // ENABLED (the default), DISABLED or MAINTENANCE_MODE
	LTS                 bool
	ShowEarlyAdopter    bool
	Variants            []SensorBuild // builds of further architectures, such as LinuxArm64
	QuietTimezone       string        // of QuietTimes, such as Etc/UTC
	QuietTimes          []SensorQuietTime
	CreatedBy           string
	ModifiedBy          string
	Created             time.Time // default: when it was added
	Modified            time.Time // default: Created
}

// SensorBuild is a build of the sensor that policies can name.
type SensorBuild struct {
	Build, SensorVersion, Platform string
	Stage                          string // default prod
	LTS                            bool
}

// SensorQuietTime is when sensors are not updated.
type SensorQuietTime struct {
	Days       []int  // 0 to 6
	Start, End string // 22:00
}

func (b SensorBuild) object() object {
	return object{
		{"build", b.Build}, {"is_lts_build", b.LTS}, {"platform", b.Platform}, {"sensor_version", b.SensorVersion}, {"stage", b.Stage},
	}
}

// sensorPolicy keeps what the head does not have in p.
type sensorPolicy struct {
	policyHead
	p SensorUpdatePolicy
}

func (s *sensorPolicy) shown() object {
	variants, times := []object{}, []object{}
	for _, v := range s.p.Variants {
		variants = append(variants, v.object())
	}
	for _, t := range s.p.QuietTimes {
		times = append(times, object{{"days", t.Days}, {"start", t.Start}, {"end", t.End}})
	}
	return s.object(object{
		{"build", s.p.Build},
		{"uninstall_protection", s.p.UninstallProtection},
		{"show_early_adopter_builds", s.p.ShowEarlyAdopter},
		{"sensor_version", s.p.SensorVersion},
		{"stage", s.p.Stage},
		{"is_lts_build", s.p.LTS},
		{"variants", variants},
		{"scheduler", object{{"enabled", len(times) > 0}, {"timezone", s.p.QuietTimezone}, {"schedules", times}}},
	})
}

func (c *cloud) addSensorUpdatePolicy(p SensorUpdatePolicy, now time.Time, replace bool) error {
	orDefault(&p.Platform, "Windows")
	orDefault(&p.Stage, "prod")
	orDefault(&p.UninstallProtection, "ENABLED")
	p.Variants, p.QuietTimes = slices.Clone(p.Variants), slices.Clone(p.QuietTimes)
	for i := range p.Variants {
		orDefault(&p.Variants[i].Stage, p.Stage)
	}
	return c.sensorUpdate.add(&sensorPolicy{policyHead{
		id: p.ID, cid: p.CID, name: p.Name, description: p.Description, platform: p.Platform, disabled: p.Disabled, groups: p.Groups,
		createdBy: p.CreatedBy, modifiedBy: p.ModifiedBy, created: p.Created, modified: p.Modified,
	}, p}, c.cfg.CID, now, replace)
}

// SensorUpdatePolicies returns every sensor update policy, in the order in which
// hosts are tried on them.
func (s *Server) SensorUpdatePolicies() (out []SensorUpdatePolicy) {
	s.cloud.sensorUpdate.mu.Lock()
	defer s.cloud.sensorUpdate.mu.Unlock()
	for _, p := range s.cloud.sensorUpdate.list {
		p := p.(*sensorPolicy)
		o := p.p
		o.ID, o.CID, o.Groups = p.id, p.cid, slices.Clone(p.groups)
		o.CreatedBy, o.ModifiedBy, o.Created, o.Modified = p.createdBy, p.modifiedBy, p.created, p.modified
		o.Variants, o.QuietTimes = slices.Clone(o.Variants), slices.Clone(o.QuietTimes)
		out = append(out, o)
	}
	return out
}

// AddSensorUpdatePolicy adds a policy before the default ones, or replaces the one
// with the same ID.
func (s *Server) AddSensorUpdatePolicy(p SensorUpdatePolicy) error {
	return s.cloud.addSensorUpdatePolicy(p, s.cloud.cfg.Now(), true)
}

func (c *cloud) listSensorUpdatePolicies(q *call) { c.sensorUpdate.serveList(q) }
func (c *cloud) getSensorUpdatePolicies(q *call)  { c.sensorUpdate.serveGet(q) }

// sensorBuilds are the builds that there are.
var sensorBuilds = []SensorBuild{
	{"18704|n|tagged|1", "7.18.18704", "Windows", "prod", false},
	{"18607|n-1|tagged|2", "7.17.18607", "Windows", "prod", false},
	{"18410|n-2|tagged|3", "7.16.18410", "Windows", "prod", true},
	{"18804|tagged|4", "7.19.18804", "Windows", "early_adopter", false},
	{"18704|n|tagged|5", "7.18.18704", "Mac", "prod", false},
	{"18704|n|tagged|6", "7.18.18704", "Linux", "prod", false},
	{"18704|n|tagged|7", "7.18.18704", "LinuxArm64", "prod", false},
	{"18704|n|tagged|8", "7.18.18704", "zLinux", "prod", false},
}

func (c *cloud) getSensorBuilds(q *call) {
	params := q.r.URL.Query()
	platform, stages := params.Get("platform"), params["stage"]
	found := []object{}
	known := platform == ""
	for _, b := range sensorBuilds {
		of := platform == "" || strings.EqualFold(b.Platform, platform)
		known = known || of
		if of && (len(stages) == 0 || slices.Contains(stages, b.Stage)) {
			found = append(found, b.object())
		}
	}
	if !known || slices.ContainsFunc(stages, func(s string) bool { return s != "prod" && s != "early_adopter" }) {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	q.list(object{{"offset", len(found)}, {"limit", len(found)}, {"total", len(found)}}, found)
}
