package azuretest

import (
	"net/http"
	"slices"
	"time"
)

// Action is a machine action: something the server was asked to do to a machine
// and, after Config.ActionTime, has done.
type Action struct {
	ID               string // a GUID
	Type             string // "Isolate", "Unisolate", "RunAntiVirusScan" or "CollectInvestigationPackage"
	Scope            string // of an isolation "Full", "Selective" or "UnManagedDevice", of a scan "Quick" or "Full"
	Requestor        string // the client id, or the analyst for an action taken in the portal
	RequestorComment string
	Status           string // "Pending", "InProgress", "Succeeded", "Failed", "TimeOut" or "Cancelled"
	MachineID        string
	ComputerDNSName  string
	ExternalID       string // the caller's own, if it sent one
	Created          time.Time
	Updated          time.Time // when Status last changed
}

// The types of action, and the states they pass through or end in.
const (
	typeIsolate   = "Isolate"
	typeUnisolate = "Unisolate"
	typeScan      = "RunAntiVirusScan"
	typeCollect   = "CollectInvestigationPackage"

	statusPending    = "Pending"
	statusInProgress = "InProgress"
	statusSucceeded  = "Succeeded"
	statusFailed     = "Failed"
	statusTimeOut    = "TimeOut"
	statusCancelled  = "Cancelled"
)

// portalAnalyst is who acts in the portal.
const portalAnalyst = "analyst@contoso.com"

// actionRecord is an accepted action. Its state is never stored: it follows from
// the clock, so there is no timer to miss and no goroutine to stop.
type actionRecord struct {
	Action        // Status and Updated unset
	ends   string // the state it ends in
	takes  time.Duration
	source string // "PublicApi" or "Portal"
}

// at is the action as it stands at now.
func (a *actionRecord) at(now time.Time) Action {
	out := a.Action
	switch passed := now.Sub(a.Created); {
	case passed >= a.takes:
		out.Status, out.Updated = a.ends, a.Created.Add(a.takes)
	case passed >= a.takes/2:
		out.Status, out.Updated = statusInProgress, a.Created.Add(a.takes/2)
	default:
		out.Status, out.Updated = statusPending, a.Created
	}
	return out
}

func (a Action) open() bool { return a.Status == statusPending || a.Status == statusInProgress }

// accept starts an action on a machine, unless one is still open there: the
// vendor takes one at a time (assumed: of all types together). Isolating what is isolated and releasing what is
// not are accepted, as they are by the vendor.
func (s *Server) accept(a Action) (*actionRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if _, ok := s.machines.byID[a.MachineID]; !ok {
		return nil, notFound("Machine %s was not found", a.MachineID)
	}
	for _, other := range s.actions {
		if other.MachineID == a.MachineID && other.at(now).open() {
			return nil, refuse(http.StatusBadRequest, "ActiveRequestAlreadyExists", "Action is already in progress")
		}
	}
	ends := statusSucceeded
	if len(s.failNext) > 0 {
		ends, s.failNext = s.failNext[0], s.failNext[1:]
	}
	a.Requestor = s.cfg.ClientID
	return s.recordLocked(now, a, ends, s.cfg.ActionTime, "PublicApi"), nil
}

func (s *Server) recordLocked(now time.Time, a Action, ends string, takes time.Duration, source string) *actionRecord {
	a.ID, a.Created = s.nextIDLocked("action"), now
	a.ComputerDNSName = s.machines.byID[a.MachineID].ComputerDNSName
	record := &actionRecord{Action: a, ends: ends, takes: takes, source: source}
	s.actions = append(s.actions, record)
	return record
}

// Actions returns every action accepted so far, through the API or in the
// portal, in that order and with the status of this moment. A refused call leaves
// none, so this is the proof that a call had one effect, or two.
func (s *Server) Actions() []Action {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Action, len(s.actions))
	for i, a := range s.actions {
		out[i] = a.at(now)
	}
	return out
}

// Isolated reports whether the agent on a machine is cut off from the network at
// this moment: what the isolation or release that succeeded last has left behind.
func (s *Server) Isolated(id string) bool {
	var last Action
	for _, a := range s.Actions() {
		isolation := a.Type == typeIsolate || a.Type == typeUnisolate
		if isolation && a.MachineID == id && a.Status == statusSucceeded && !a.Updated.Before(last.Updated) {
			last = a
		}
	}
	return last.Type == typeIsolate
}

// Isolate is an analyst who isolates a machine in the portal. It takes effect at
// once and shows as a succeeded action. An unknown machine is left alone.
func (s *Server) Isolate(id string) { s.portal(id, typeIsolate, "Full") }

// Unisolate is an analyst who releases a machine in the portal; see [Server.Isolate].
func (s *Server) Unisolate(id string) { s.portal(id, typeUnisolate, "") }

func (s *Server) portal(id, typ, scope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.machines.byID[id]; !ok {
		return
	}
	s.recordLocked(s.cfg.Now(), Action{
		Type: typ, Scope: scope, MachineID: id, Requestor: portalAnalyst, RequestorComment: "from the portal",
	}, statusSucceeded, 0, "Portal")
}

// FailNextAction makes the next action accepted through the API end, after
// Config.ActionTime, as status: "Failed", "TimeOut" or "Cancelled"; anything else
// is taken as "Failed". Calls add up: two of them fail the next two actions.
func (s *Server) FailNextAction(status string) {
	if !slices.Contains([]string{statusFailed, statusTimeOut, statusCancelled}, status) {
		status = statusFailed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failNext = append(s.failNext, status)
}
