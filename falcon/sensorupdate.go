package falcon

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/crowdstrike/gofalcon/falcon/client/sensor_update_policies"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
)

// SensorUpdate reads which versions of the sensor hosts are given. It changes
// nothing. These policies do not hold back content: see Content. Scope: Sensor
// Update Policies read.
type SensorUpdate struct{ c *Client }

// SensorUpdatePolicy is a sensor update policy. Raw has all that Falcon gave.
type SensorUpdatePolicy struct {
	PolicyInfo
	Settings *SensorUpdateSettings // nil if Falcon gave none
	Raw      json.RawMessage
}

// SensorUpdateSettings are the settings of a policy. Fields that Falcon left out,
// or filled with something unexpected, are zero; Raw has everything.
type SensorUpdateSettings struct {
	Build                  string // such as "18110" or "18110|n-1|tagged|2"; "" means that sensors are not updated
	SensorVersion          string
	Stage                  string // prod or early_adopter
	LTS                    bool
	ShowEarlyAdopterBuilds bool
	UninstallProtection    string // ENABLED, DISABLED, MAINTENANCE_MODE, IGNORE or UNKNOWN
	Variants               []SensorBuild
	Scheduler              *SensorUpdateScheduler // nil if Falcon gave none
	Raw                    json.RawMessage
}

// SensorUpdateScheduler is when sensors are not updated.
type SensorUpdateScheduler struct {
	Enabled  bool
	Timezone string // such as Etc/UTC
	Windows  []SensorUpdateWindow
}

// SensorUpdateWindow is a time on some days, 0 to 6 as Falcon counts them.
type SensorUpdateWindow struct {
	Days       []int
	Start, End string // such as 22:00
}

// SensorBuild is a build of the sensor for a platform.
type SensorBuild struct {
	Build         string
	SensorVersion string
	Platform      string
	Stage         string // prod or early_adopter
	LTS           bool
	Raw           json.RawMessage
}

func parseSensorBuild(o lenient.Object, raw json.RawMessage) (SensorBuild, error) {
	b := SensorBuild{
		Build: o.Str("build"), SensorVersion: o.Str("sensor_version"), Platform: o.Str("platform"),
		Stage: o.Str("stage"), LTS: o.Str("is_lts_build") == "true", Raw: raw,
	}
	if b.Build == "" {
		return b, errors.New("no build")
	}
	return b, nil
}

func parseSensorUpdatePolicy(o lenient.Object, raw json.RawMessage) (SensorUpdatePolicy, error) {
	info, err := parsePolicyInfo(o)
	p := SensorUpdatePolicy{PolicyInfo: info, Raw: raw}
	if settings := o.Object("settings"); settings != nil {
		p.Settings = parseSensorUpdateSettings(settings, o["settings"])
	}
	return p, err
}

func parseSensorUpdateSettings(o lenient.Object, raw json.RawMessage) *SensorUpdateSettings {
	s := &SensorUpdateSettings{
		Build: o.Str("build"), SensorVersion: o.Str("sensor_version"), Stage: o.Str("stage"), LTS: o.Str("is_lts_build") == "true",
		ShowEarlyAdopterBuilds: o.Str("show_early_adopter_builds") == "true", UninstallProtection: o.Str("uninstall_protection"), Raw: raw,
	}
	variants, _ := lenient.List(o["variants"])
	for _, raw := range variants {
		o, _ := lenient.Read(raw)
		v, _ := parseSensorBuild(o, raw) // what is none keeps its Raw
		s.Variants = append(s.Variants, v)
	}
	if scheduler := o.Object("scheduler"); scheduler != nil {
		s.Scheduler = &SensorUpdateScheduler{Enabled: scheduler.Str("enabled") == "true", Timezone: scheduler.Str("timezone")}
		schedules, _ := lenient.List(scheduler["schedules"])
		for _, raw := range schedules {
			var w lenient.Object
			_ = json.Unmarshal(raw, &w)
			window := SensorUpdateWindow{Start: w.Str("start"), End: w.Str("end")}
			_ = json.Unmarshal(w["days"], &window.Days)
			s.Scheduler.Windows = append(s.Scheduler.Windows, window)
		}
	}
	return s
}

var (
	sensorUpdateRows = rows[SensorUpdatePolicy]{id: "id", parse: object(parseSensorUpdatePolicy)}
	sensorBuildRows  = rows[SensorBuild]{id: "build", parse: object(parseSensorBuild)}
)

// Policies lists sensor update policies, the default ones of each platform among
// them.
func (s *SensorUpdate) Policies(q PolicyQuery) *List[SensorUpdatePolicy] {
	const name = "sensor_update.policies"
	limit, bad := q.check(name)
	return byOffset(s.c, name, q.Cursor, limit, sensorUpdateRows, func(ctx context.Context, offset, limit int64) (*capture, error) {
		if bad != nil {
			return nil, bad
		}
		p := sensor_update_policies.NewQueryCombinedSensorUpdatePoliciesV2ParamsWithContext(ctx)
		p.Offset, p.Limit = &offset, &limit
		setIf(&p.Filter, q.Filter.String())
		setIf(&p.Sort, q.Sort)
		op := &capture{}
		_, _ = sensor_update_policies.New(op, nil).QueryCombinedSensorUpdatePoliciesV2(p)
		return op, nil
	})
}

// Get lists the policies of the given ids, a hundred a call. An id that Falcon does
// not know is a *RowError.
func (s *SensorUpdate) Get(ids ...string) *List[SensorUpdatePolicy] {
	const name = "sensor_update.get"
	get := getter[SensorUpdatePolicy](func(ctx context.Context, chunk []string) (paging.Page[SensorUpdatePolicy], error) {
		p := sensor_update_policies.NewGetSensorUpdatePoliciesV2ParamsWithContext(ctx)
		p.Ids = chunk
		var op capture
		_, _ = sensor_update_policies.New(&op, nil).GetSensorUpdatePoliciesV2(p)
		return page(ctx, s.c, name, &op, sensorUpdateRows, false, nil)
	})
	return byIDs(name, ids, policyIDs, get.apart, func(p SensorUpdatePolicy) string { return p.ID })
}

// Builds returns the builds that policies can name, of a platform: windows, mac,
// linux, linuxarm64 or zlinux, and "" for all; and of stages: prod and
// early_adopter, and none for both. A build that cannot be read is a *RowError in
// the error, beside the others.
func (s *SensorUpdate) Builds(ctx context.Context, platform string, stages ...string) ([]SensorBuild, error) {
	p := sensor_update_policies.NewQueryCombinedSensorUpdateBuildsParamsWithContext(ctx)
	setIf(&p.Platform, platform)
	p.Stage = stages
	var op capture
	_, _ = sensor_update_policies.New(&op, nil).QueryCombinedSensorUpdateBuilds(p)
	return whole(page(ctx, s.c, "sensor_update.builds", &op, sensorBuildRows, true, nil))
}
