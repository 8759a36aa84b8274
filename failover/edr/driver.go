package edr

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jurymast/jurymast/failover"

	"github.com/jurymast/jurymast/resilience"
)

// Driver is one vendor. Abilities that are nil are not there; a Fleet says so
// when it is made, or when they are needed.
type Driver struct {
	// Provider is the vendor's product and region, such as "falcon/us-1". It is
	// the key of ledgers and links: it must not change. Required.
	Provider string
	Find     Finder
	Isolate  Isolator
	Held     Holder
	Probe    Prober
	Scan     Scanner
	// Limits are the vendor's quotas that a containment spends; none: not known.
	Limits []Limit
	// SeenEvery is how old Record.LastSeen of an agent that runs may be. Default 24 h.
	SeenEvery time.Duration
}

// Finder finds a vendor's records of hosts. Implementations are safe for
// concurrent use.
type Finder interface {
	// Find yields the records that match the query, all of them if it is zero.
	// Records of hosts whose agent is gone (offboarded, merged into another) are
	// left out. The first error is the last item.
	Find(ctx context.Context, q Query) iter.Seq2[Record, error]
}

// Isolator isolates and releases hosts by the vendor's own id. Implementations
// are safe for concurrent use.
//
// Isolate and Release read the host's state before they send anything and send
// nothing if it is already as wanted. An error tells by its resilience.Failure
// whether anything may have been sent; a nil error comes with Accepted, Applied
// or Already.
type Isolator interface {
	State(ctx context.Context, id string) (State, error)
	Isolate(ctx context.Context, id string, intent Intent) (failover.Outcome, error)
	Release(ctx context.Context, id string, intent Intent) (failover.Outcome, error)
}

// Holder lists the hosts that a vendor holds, whoever asked it to. Implementations
// are safe for concurrent use.
type Holder interface {
	// Held yields a record of every host that is contained, or about to be, with its
	// State; the other fields as far as the vendor tells them without a call each. The
	// first error is the last item.
	Held(ctx context.Context) iter.Seq2[Record, error]
}

// Prober makes one cheap call that needs credentials.
type Prober interface {
	Probe(ctx context.Context) error
}

// State is a host's containment at one vendor.
type State uint8

// The states. The zero value is what a vendor that was not asked has.
const (
	StateUnknown State = iota
	NotContained
	ContainPending
	Contained
	ReleasePending
)

var stateNames = [...]string{"unknown", "not_contained", "contain_pending", "contained", "release_pending"}

// String returns the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("edr.State(%d)", uint8(s))
}

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Holds reports that the host is contained or about to be.
func (s State) Holds() bool { return s == Contained || s == ContainPending }

// free reports that the host is not contained, or about to be let go.
func (s State) free() bool { return s == NotContained || s == ReleasePending }

// Intent says who wants an effect and why. It is written to the ledger and, as
// far as they take it, to the vendors.
type Intent struct {
	ID     string `json:"id"`     // the caller's own id of the operation
	Actor  string `json:"actor"`  // who: a person or a program
	Reason string `json:"reason"` // why; Defender requires it
}

func (i Intent) validate() error {
	for _, field := range []struct{ name, value string }{{"ID", i.ID}, {"Actor", i.Actor}, {"Reason", i.Reason}} {
		if field.value == "" {
			return resilience.Misusef("edr: Intent.%s is empty: every effect names its id, who wants it and why", field.name)
		}
	}
	return nil
}

// Comment is the intent in one line, for a vendor's audit log.
func (i Intent) Comment() string {
	return fmt.Sprintf("%s (by %s, jurymast intent %s)", i.Reason, i.Actor, i.ID)
}

// Record is a host as one vendor knows it.
type Record struct {
	Provider string
	ID       string // the vendor's own
	Hostname string // left label, as the vendor writes it
	FQDN     string // "" if the vendor does not know it
	OS       string
	MACs     []string
	IPs      []string
	Serial   string
	Instance string // the id by which its cloud knows the machine
	EntraID  string // the device's id in Entra; not unique where a machine was onboarded again
	State    State
	// FromLedger: State is what was asked of the vendor, which does not show it yet, or
	// cannot be asked.
	FromLedger bool
	// FirstSeen is when the record was made; a re-imaged machine has a new one.
	FirstSeen time.Time
	LastSeen  time.Time
	Impaired  string    // why its agent, though it runs, does less than it should; "" if nothing says so
	AsOf      time.Time // when it was read
	Native    any       // the vendor client's own type
}
