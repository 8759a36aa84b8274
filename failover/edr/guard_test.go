package edr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/resilience"
)

// contain wants a containment to be refused by a guard, or by none.
func guarded(t *testing.T, f *Fleet, host int, by Guard) *GuardError {
	t.Helper()
	res, err := f.Contain(t.Context(), Hostname(fmt.Sprint("host-", host)), toyIntent)
	refused, is := errors.AsType[*GuardError](err)
	switch {
	case by == "" && err != nil:
		t.Errorf("host %d: %v", host, err)
	case by != "" && (!is || refused.Guard != by || !errors.Is(err, ErrGuard) || res.Value.Outcome != failover.NotSent || resilience.Of(err).Sent != resilience.NotSent):
		t.Errorf("host %d: %v, %v, want the guard %s", host, res.Value.Outcome, err, by)
	}
	return refused
}

func (v *toy) held() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.hosts {
		if r.State.Holds() {
			n++
		}
	}
	return n
}

func TestProtectedHostsAreNotContained(t *testing.T) {
	v := newToy("toy", toyHosts(2)...)
	f := toyFleetOf(t, Config{Volatile: true, Guards: Guards{Protected: func(h Host) string {
		if h.Name == "host-0" {
			return "domain controller"
		}
		return ""
	}}}, v)
	if e := guarded(t, f, 0, GuardProtected); e != nil && (e.Host != "host-0" || e.Why != "domain controller") {
		t.Errorf("%+v", e)
	}
	guarded(t, f, 1, "")
	if v.held() != 1 {
		t.Errorf("%d are held", v.held())
	}
	// What somebody contained all the same is released.
	v.set("id-0", Contained)
	if _, err := f.Release(t.Context(), Hostname("host-0"), toyIntent); err != nil || v.hosts["id-0"].State != NotContained {
		t.Errorf("%v, %v", v.hosts["id-0"].State, err)
	}
}

// So many hosts in the window and no more: what came to nothing does not count, what
// was released since does, and a restart forgets nothing.
func TestBlastRadius(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(9)...)
		store := kv.NewMemory()
		open := func() *Fleet {
			return toyFleetOf(t, Config{Store: store, Guards: Guards{MaxHosts: 3, Window: time.Hour}}, v)
		}
		f := open()
		guarded(t, f, 0, "")
		guarded(t, f, 0, "") // is contained already
		v.failed = errors.New("down")
		if _, err := f.Contain(t.Context(), Hostname("host-5"), toyIntent); err == nil || errors.Is(err, ErrGuard) {
			t.Error(err)
		}
		v.failed = nil
		time.Sleep(10 * time.Minute)
		guarded(t, f, 1, "")
		if _, err := f.Release(t.Context(), Hostname("host-1"), toyIntent); err != nil {
			t.Error(err)
		}
		f = open()
		guarded(t, f, 2, "")
		if e := guarded(t, f, 3, GuardRadius); e != nil && (e.Host != "host-3" || !strings.Contains(e.Why, time.Now().Add(50*time.Minute).Format(time.RFC3339))) {
			t.Errorf("it is to say when the next one is allowed: %v", e)
		}
		guarded(t, open(), 3, GuardRadius)
		time.Sleep(50 * time.Minute) // the first one leaves the window
		guarded(t, f, 3, "")
		guarded(t, f, 4, GuardRadius)
		if v.held() != 3 {
			t.Errorf("%d are held", v.held())
		}
	})
}

// A disk that fails does not lift the cap of this process, and stops no containment.
func TestBlastRadiusWithoutADisk(t *testing.T) {
	store := kv.NewMemory()
	f := toyFleetOf(t, Config{Store: store, Guards: Guards{MaxHosts: 1}}, newToy("toy", toyHosts(3)...))
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	guarded(t, f, 0, "")
	guarded(t, f, 1, GuardRadius)
}

func TestApproval(t *testing.T) {
	no := errors.New("the CISO said no")
	var asked []string
	f := toyFleetOf(t, Config{Volatile: true, Guards: Guards{MaxHosts: 1, Approve: func(_ context.Context, h Host, i Intent) error {
		asked = append(asked, h.Name+" "+i.ID)
		if h.Name == "host-0" {
			return no
		}
		return nil
	}}}, newToy("toy", toyHosts(2)...))
	if e := guarded(t, f, 0, GuardApproval); !errors.Is(e, no) {
		t.Error(e)
	}
	guarded(t, f, 1, "") // the refused one did not use the place up
	if strings.Join(asked, ",") != "host-0 case-7,host-1 case-7" {
		t.Errorf("asked for %v", asked)
	}
}

func TestGuardsThatMakeNoSense(t *testing.T) {
	for field, g := range map[string]Guards{
		"Guards.MaxHosts": {MaxHosts: -1}, "Guards.Window is -1s": {MaxHosts: 1, Window: -time.Second}, "Guards.Window is set": {Window: time.Hour},
	} {
		if _, err := New(Config{Volatile: true, Drivers: []Driver{newToy("toy").driver()}, Guards: g}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// Every effect at every vendor is in the audit, and every refusal, with who and why.
func TestAuditOfEveryEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		first, second := newToy("first", toyHosts(1)...), newToy("second", toyHosts(1)...)
		refuse := false
		f := toyFleetOf(t, Config{
			Volatile: true, MinIdentity: Weak, ReconcileFor: time.Second, Audit: AuditTo(&out, nil),
			Guards: Guards{Protected: func(Host) string {
				if refuse {
					return "closed"
				}
				return ""
			}},
		}, first, second)
		first.lose = true // its answers to effects
		if _, err := f.Contain(t.Context(), Hostname("host-0"), toyIntent); err != nil {
			t.Fatal(err)
		}
		first.lose = false
		time.Sleep(settleTime)
		if _, err := f.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Release(t.Context(), Hostname("host-0"), toyIntent); err != nil {
			t.Fatal(err)
		}
		refuse = true
		guarded(t, f, 0, GuardProtected)
		var got []string
		for line := range strings.Lines(out.String()) {
			var r AuditRecord
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.Intent != toyIntent || r.Host != "host-0" || r.Time.IsZero() || (r.Error == "") != r.Outcome.OK() && !r.Settled {
				t.Errorf("%s: %v", line, err)
			}
			text := fmt.Sprint(r.Verb, " ", r.Provider, " ", r.Outcome)
			if r.Settled {
				text += " settled"
			}
			got = append(got, text)
		}
		want := []string{
			"contain first unknown", "contain second accepted", "contain first failed settled",
			"release second accepted", "contain  not_sent",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestAuditThatCannotBeWritten(t *testing.T) {
	var lost []AuditRecord
	f := toyFleetOf(t, Config{Volatile: true, Audit: AuditTo(full{}, func(r AuditRecord, err error) {
		if err == nil {
			t.Error("no error")
		}
		lost = append(lost, r)
	})}, newToy("toy", toyHosts(1)...))
	guarded(t, f, 0, "")
	if len(lost) != 1 {
		t.Errorf("%+v", lost)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
