package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// The machine actions that only look.
const (
	actionScan    = "RunAntiVirusScan"
	actionCollect = "CollectInvestigationPackage"
)

// ScanType is how much an antivirus scan looks at.
type ScanType string

// Defender's kinds of scan.
const (
	QuickScan ScanType = "Quick"
	FullScan  ScanType = "Full"
)

// Scan is a request to scan a machine.
type Scan struct {
	Comment string   // required: shown in the action center
	Type    ScanType // default QuickScan
}

// Scan has Defender Antivirus scan a machine. It is never sent twice. If such a scan
// is in progress, or a full one where a quick one is wanted, that is the result; if
// something else is, the error is a *BusyError. [Defender.Wait] waits for its end.
// App permission: Machine.Scan.
func (d *Defender) Scan(ctx context.Context, machineID string, r Scan) (ActionResult, error) {
	switch r.Type {
	case "":
		r.Type = QuickScan
	case QuickScan, FullScan:
	default:
		return ActionResult{}, resilience.Misusef("azure %s: Scan.Type %q: want %s or %s", opScan, r.Type, QuickScan, FullScan)
	}
	return d.ask(ctx, wanted{
		op: opScan, machineID: machineID, field: "Scan.Comment", verb: "/runAntiVirusScan",
		body: map[string]string{"Comment": r.Comment, "ScanType": string(r.Type)},
		there: func(ctx context.Context) (ActionResult, bool, error) {
			return d.underWay(ctx, machineID, func(a MachineAction) bool {
				return a.Type == actionScan && (a.Scope == "" || a.Scope == string(r.Type) || a.Scope == string(FullScan))
			})
		},
	})
}

// CollectPackage has a machine collect its investigation package; otherwise as Scan.
// When it has ended well, [Defender.PackageURI] says where the package is. comment is
// required. App permission: Machine.CollectForensics.
func (d *Defender) CollectPackage(ctx context.Context, machineID, comment string) (ActionResult, error) {
	return d.ask(ctx, wanted{
		op: opCollect, machineID: machineID, field: "the comment", verb: "/collectInvestigationPackage",
		body: map[string]string{"Comment": comment},
		there: func(ctx context.Context) (ActionResult, bool, error) {
			return d.underWay(ctx, machineID, func(a MachineAction) bool { return a.Type == actionCollect })
		},
	})
}

// underWay finds an open action of the machine. Others are not looked at: whether
// they stand in the way is Defender's to say.
func (d *Defender) underWay(ctx context.Context, machineID string, is func(MachineAction) bool) (ActionResult, bool, error) {
	recent, err := d.recent(ctx, machineID)
	for _, a := range recent {
		if a.Status.Open() && is(a) {
			return ActionResult{Action: a, Already: true}, true, nil
		}
	}
	return ActionResult{}, false, err
}

// PackageURI is where the package of a CollectPackage can be downloaded for a short
// time, by whoever has the address: it is a secret. While the action has not ended,
// or if it did not end well, the error is an *ActionError. Defender allows 2 of these
// calls a minute and 120 an hour.
func (d *Defender) PackageURI(ctx context.Context, actionID string) (string, error) {
	path, err := idPath(opPackageURI, "/api/machineactions/", actionID)
	if err != nil {
		return "", err
	}
	uri, err := get(ctx, d.service, opPackageURI, path+"/GetPackageUri", func(o lenient.Object) (string, error) {
		return parsePackageURI(o.Str("value"))
	})
	if !errors.Is(err, ErrNotFound) {
		return uri, err
	}
	// The 404 does not tell an action that goes on from one that never was.
	a, readErr := d.Action(ctx, actionID)
	switch {
	case readErr != nil:
		return "", readErr
	case a.Status != ActionSucceeded:
		return "", &ActionError{Action: a}
	}
	return "", err
}

// parsePackageURI reads the value, which is a JSON string within the JSON string.
func parsePackageURI(value string) (string, error) {
	if len(value) > 0 && value[0] == '"' {
		var inner string
		if json.Unmarshal([]byte(value), &inner) != nil {
			return "", errors.New("the address is not a JSON string")
		}
		value = inner
	}
	if u, err := url.Parse(value); err != nil || u.Scheme != "https" || u.Host == "" {
		return "", errors.New("it has no https address") // which would be a secret
	}
	return value, nil
}

// ipAge is the oldest time that FindByIP may ask for.
const ipAge = 30 * 24 * time.Hour

// FindByIP finds the machines that had an internal IP address within 15 minutes of a
// time, at most 30 days ago; the zero time is now. Rows that could not be read are
// joined in the error as *RowErrors, beside the machines that could.
func (d *Defender) FindByIP(ctx context.Context, ip netip.Addr, at time.Time) ([]Machine, error) {
	if at.IsZero() {
		at = time.Now().Add(-time.Minute) // their clock may be behind ours
	}
	switch {
	case !ip.IsValid() || ip.Zone() != "":
		return nil, resilience.Misusef("azure %s: ip %v: want an address without a zone", opFindByIP, ip)
	case time.Since(at) > ipAge:
		return nil, resilience.Misusef("azure %s: at %v: Defender knows the last 30 days", opFindByIP, at)
	}
	path := fmt.Sprintf("/api/machines/findbyip(ip='%s',timestamp=%s)", ip.Unmap(), at.UTC().Format("2006-01-02T15:04:05Z"))
	var out []Machine
	var rows []error
	for m, err := range list(d.service, opFindByIP, path, Query{}, parseMachine).All(ctx) {
		if _, bad := errors.AsType[*RowError](err); bad {
			rows = append(rows, err)
		} else if err != nil {
			return out, err
		} else {
			out = append(out, m)
		}
	}
	return out, errors.Join(rows...)
}
