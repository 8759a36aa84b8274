package falcontest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Containment statuses of a [Host].
const (
	normal      = "normal"
	pending     = "containment_pending"
	contained   = "contained"
	liftPending = "lift_containment_pending"
)

// Host is a device with a Falcon sensor. Empty strings without a default are
// left out of the API's answers.
type Host struct {
	DeviceID      string // agent id (AID), 32 hex digits; default: derived from Hostname, or from its place in the list
	CID           string // customer id; default Config.CID. Another one makes that a member CID.
	Hostname      string
	MachineDomain string
	Platform      string // Windows (the default), Mac or Linux
	OSVersion     string // default: a current one of the platform
	AgentVersion  string // default 7.18.18704.0
	ProductType   string // Workstation (the default), Server or Domain Controller
	MACAddress    string // as Falcon writes it: 02-c7-8a-10-00-01
	LocalIP       string
	ExternalIP    string
	SerialNumber  string

	ServiceProvider          string // AWS_EC2_V2, AZURE, GCP ...; empty for a machine on premises
	ServiceProviderAccountID string
	InstanceID               string

	// Status is normal (the default), containment_pending, contained or
	// lift_containment_pending. A pending status runs its course from the moment
	// the host is added.
	Status string
	// OnlineState is online, offline or unknown; default: online while LastSeen
	// is zero or less than 15 minutes ago, then offline.
	OnlineState string
	// ReducedFunctionality is the sensor's RFM: it runs, and protects little.
	ReducedFunctionality bool

	FirstSeen time.Time // default: when the host was added
	// LastSeen zero means that the sensor is alive: last_seen is always now.
	LastSeen time.Time

	Groups []string // host group ids
	Tags   []string // FalconGroupingTags/... or SensorGroupingTags/...
	Logins []Login
	Hidden bool // deleted in the console: in no list, details still answer
}

// Effect is one action that really changed a host.
type Effect struct {
	Time     time.Time
	DeviceID string
	Action   string // contain, lift_containment, hide_host or unhide_host
}

// device is a host and what the cloud keeps about it.
type device struct {
	Host
	since    time.Time // when Status was set
	modified time.Time
	version  int
	assigned map[string]*policies // by kind
}

// fleet is all devices. Whoever looks at a device settles it first, so no timer
// is needed for a pending status to end.
type fleet struct {
	now        func() time.Time
	actionTime time.Duration
	cid        string
	assigned   map[string]*policies

	mu      sync.Mutex
	hosts   map[string]*device
	added   int
	effects []Effect
}

// add fills in the defaults and returns the id. Unless it may replace, it
// refuses a known one.
func (f *fleet) add(h Host, replace bool) (id string, ok bool) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.added++
	orDefault(&h.DeviceID, hexDigits(cmp.Or(h.Hostname, fmt.Sprint("host ", f.added))))
	orDefault(&h.CID, f.cid)
	orDefault(&h.Platform, "Windows")
	orDefault(&h.OSVersion, defaultOS[h.Platform])
	orDefault(&h.AgentVersion, "7.18.18704.0")
	orDefault(&h.ProductType, "Workstation")
	orDefault(&h.Status, normal)
	if h.FirstSeen.IsZero() {
		h.FirstSeen = now
	}
	h.CID = bareCID(h.CID)
	h.Groups, h.Tags, h.Logins = slices.Clone(h.Groups), slices.Clone(h.Tags), slices.Clone(h.Logins)
	if _, known := f.hosts[h.DeviceID]; known && !replace {
		return h.DeviceID, false
	}
	f.hosts[h.DeviceID] = &device{Host: h, since: now, modified: now, version: 1, assigned: f.assigned}
	return h.DeviceID, true
}

var defaultOS = map[string]string{"Windows": "Windows 11", "Mac": "Sequoia (15)", "Linux": "RHEL 9.4"}

// hexDigits makes a 32-digit id out of a name.
func hexDigits(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

func (f *fleet) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.hosts, id)
}

func (f *fleet) setStatus(id, status string) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.get(id, now); d != nil {
		d.set(status, now)
	}
}

// get returns a settled device, or nil. The caller holds the lock.
func (f *fleet) get(id string, now time.Time) *device {
	d := f.hosts[id]
	if d != nil {
		d.settle(now, f.actionTime)
	}
	return d
}

// settle ends a pending status whose time is over.
func (d *device) settle(now time.Time, actionTime time.Duration) {
	if actionTime < 0 || now.Before(d.since.Add(actionTime)) {
		return
	}
	switch d.Status {
	case pending:
		d.set(contained, d.since.Add(actionTime))
	case liftPending:
		d.set(normal, d.since.Add(actionTime))
	}
}

func (d *device) set(status string, at time.Time) {
	d.Status, d.since = status, at
	d.touch(at)
}

func (d *device) touch(at time.Time) {
	d.modified = at
	d.version++
}

// lastSeen is the time the sensor was last heard of.
func (d *device) lastSeen(now time.Time) time.Time {
	if d.LastSeen.IsZero() {
		return now
	}
	return d.LastSeen
}

func (f *fleet) host(id string) (Host, bool) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.get(id, now)
	if d == nil {
		return Host{}, false
	}
	return d.snapshot(), true
}

// snapshot is a copy that shares nothing with the fleet.
func (d *device) snapshot() Host {
	h := d.Host
	h.Groups, h.Tags, h.Logins = slices.Clone(h.Groups), slices.Clone(h.Tags), slices.Clone(h.Logins)
	return h
}

func (f *fleet) all() []Host {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Host
	for _, id := range slices.Sorted(maps.Keys(f.hosts)) {
		out = append(out, f.get(id, now).snapshot())
	}
	return out
}

func (f *fleet) done() []Effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.effects)
}

func (f *fleet) hasCID(cid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.hosts {
		if d.CID == cid {
			return true
		}
	}
	return false
}

// lookup returns the devices of these ids that the token may see, in the order
// asked for and once each, and a 404 for every other id.
func (f *fleet) lookup(ids []string, t token, now time.Time, shape func(*device, time.Time) object) ([]object, []apiError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, missing, asked := []object{}, []apiError{}, map[string]bool{}
	for _, id := range ids {
		if asked[id] {
			continue
		}
		asked[id] = true
		if d := f.get(id, now); d != nil && t.sees(d.CID) {
			found = append(found, shape(d, now))
		} else {
			missing = append(missing, notFound(id))
		}
	}
	return found, missing
}

func notFound(id string) apiError {
	return apiError{Code: 404, Message: "No device found for id " + id, ID: id}
}

// Host returns the current state of a host; its Status follows the clock.
func (s *Server) Host(id string) (Host, bool) { return s.cloud.fleet.host(id) }

// Hosts returns the current state of every host, hidden ones too, by DeviceID.
func (s *Server) Hosts() []Host { return s.cloud.fleet.all() }

// AddHost adds a host, or replaces the one with the same DeviceID.
func (s *Server) AddHost(h Host) { s.cloud.fleet.add(h, true) }

// RemoveHost makes the cloud forget a host; an unknown id changes nothing.
func (s *Server) RemoveHost(id string) { s.cloud.fleet.remove(id) }

// SetStatus sets a host's containment status behind the API's back, as an
// analyst does in the console. A pending status runs its course from now; a
// status unknown to Falcon is served as it is. It is not an [Effect], and an
// unknown id changes nothing.
func (s *Server) SetStatus(id, status string) { s.cloud.fleet.setStatus(id, status) }

// Effects returns every action that came through the API and really changed a
// host, oldest first, whether or not its answer reached the client.
func (s *Server) Effects() []Effect { return s.cloud.fleet.done() }
