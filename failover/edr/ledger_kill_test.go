package edr_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// The environment of the process that is killed.
const (
	envDir  = "JURYMAST_KILL_DIR"  // of the ledger; empty: this is not that process
	envVerb = "JURYMAST_KILL_VERB" // contain, release or bulk
	envStep = "JURYMAST_KILL_STEP" // the step at which it dies
)

// The nightly run kills at every step; every fourth one takes a quarter of the time.
var atEveryStep = flag.Bool("kill-at-every-step", false, "kill the process at every step instead of every fourth")

// steps counts what the process does to the world outside it, and dies at one of them.
type steps struct {
	n  atomic.Int64
	at int64
}

func (s *steps) step() {
	if s.n.Add(1) == s.at {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		panic(fmt.Sprint("still alive: ", err))
	}
}

// Before and after every request.
func (s *steps) transport(base http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		s.step()
		resp, err := base.RoundTrip(r)
		s.step()
		return resp, err
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Before and after every write of the ledger.
type dyingStore struct {
	kv.Store
	*steps
}

func (d dyingStore) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	d.step()
	rev, err := d.Store.Put(ctx, key, value, rev)
	d.step()
	return rev, err
}

func (d dyingStore) Delete(ctx context.Context, key string, rev uint64) error {
	d.step()
	err := d.Store.Delete(ctx, key, rev)
	d.step()
	return err
}

// wave is the job of the process that is killed.
var wave = edr.Bulk{
	ID: "wave-1", Verb: edr.VerbContain, Intent: intent, Parallel: 1,
	Hosts: []edr.Query{host, edr.Hostname(twin.Hostname(2))},
}

// killed is the process that is killed: it contains, or releases, the host, or several.
func killed(dir string) error {
	at, err := strconv.ParseInt(os.Getenv(envStep), 10, 64)
	if err != nil {
		return err
	}
	s := &steps{at: at}
	client := func(vendor string) (*http.Client, error) {
		ca, err := os.ReadFile(filepath.Join(dir, vendor+".pem"))
		if err != nil {
			return nil, err
		}
		proxy, err := os.ReadFile(filepath.Join(dir, vendor+".proxy"))
		if err != nil {
			return nil, err
		}
		u, err := url.Parse(string(proxy))
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		return &http.Client{Transport: s.transport(&http.Transport{
			Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		})}, nil
	}
	toFalcon, err := client("falcon")
	if err != nil {
		return err
	}
	toAzure, err := client("azure")
	if err != nil {
		return err
	}
	store, err := kv.Open(filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	fleet, done, err := fleetOver(toFalcon, toAzure, dyingStore{store, s})
	if err != nil {
		return err
	}
	switch os.Getenv(envVerb) {
	case "contain":
		_, err = fleet.Contain(context.Background(), host, intent)
	case "release":
		_, err = fleet.Release(context.Background(), host, intent)
	case "bulk":
		_, err = fleet.Bulk(context.Background(), wave)
	}
	if err != nil {
		return err
	}
	done()
	return store.Close()
}

func fleetOver(toFalcon, toAzure *http.Client, store kv.Store) (*edr.Fleet, func(), error) {
	fc, err := falcon.New(falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: toFalcon})
	if err != nil {
		return nil, nil, err
	}
	ac, err := azure.New(azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: toAzure})
	if err != nil {
		return nil, nil, err
	}
	fleet, err := edr.New(edr.Config{Drivers: []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(ac)}, Store: store})
	return fleet, func() {
		_ = fc.Close(context.Background())
		_ = ac.Close(context.Background())
	}, err
}

// grave is where a process is killed: both clouds, over real connections, and the
// ledger that it leaves.
type grave struct {
	*testing.T
	*twin.Twin
	dir   string
	fleet *edr.Fleet
	close func()
}

// kill runs the process until a step and reports whether it died there.
func (g *grave) kill(verb string, step int) (died bool) {
	g.Helper()
	cmd := exec.CommandContext(g.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envDir+"="+g.dir, envVerb+"="+verb, envStep+"="+strconv.Itoa(step))
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return false
	case cmd.ProcessState.Exited():
		g.Fatalf("step %d: %v: %s", step, err, out)
	}
	return true
}

// after opens what the process left behind.
func (g *grave) after() {
	g.Helper()
	store, err := kv.Open(filepath.Join(g.dir, "state"))
	if err != nil {
		g.Fatal(err)
	}
	fleet, done, err := fleetOver(g.Falcon.Client(), g.Azure.Client(), store)
	if err != nil {
		g.Fatal(err)
	}
	g.fleet = fleet
	g.close = sync.OnceFunc(func() {
		done()
		_ = store.Close()
	})
	g.Cleanup(g.close)
}

func bury(t *testing.T) *grave {
	t.Helper()
	tw, err := twin.New(twin.Config{Hosts: 3, ActionTime: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tw.Close)
	g := &grave{T: t, Twin: tw, dir: t.TempDir()}
	for vendor, s := range map[string]interface {
		CAPEM() []byte
		Proxy() (*url.URL, error)
	}{"falcon": tw.Falcon, "azure": tw.Azure} {
		proxy, err := s.Proxy()
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{".pem": s.CAPEM(), ".proxy": []byte(proxy.String())} {
			if err := os.WriteFile(filepath.Join(g.dir, vendor+name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return g
}

// held waits until the clouds have carried out what they were told.
func (g *grave) held() (f, d []int) {
	time.Sleep(20 * time.Millisecond)
	return g.Contained()
}

// free releases the host and wants nothing to be left of it anywhere.
func (g *grave) free() {
	g.Helper()
	if _, err := g.fleet.Release(g.Context(), host, intent); err != nil {
		g.Errorf("release: %v", err)
	}
	if f, d := g.held(); len(f)+len(d) > 0 {
		g.Errorf("still held: %v, %v", f, d)
	}
	if s, err := g.fleet.Sweep(g.Context()); err != nil || !s.Complete() {
		g.Errorf("sweep: %v, %v", s.Gaps, err)
	}
	for e, err := range g.fleet.Ledger(g.Context()) {
		g.Errorf("left in the ledger: %+v, %v", e, err)
	}
}

// everyStep calls do with every step at which a process can be killed, and the count
// of them must be one that makes sense.
func everyStep(t *testing.T, verb string, before func(*grave), after func(*grave)) {
	n, stride := 1, 4
	if *atEveryStep {
		stride = 1
	}
	for ; ; n += stride {
		more := true
		if !t.Run(fmt.Sprintf("killed at step %d", n), func(t *testing.T) {
			g := bury(t)
			before(g)
			more = g.kill(verb, n)
			g.after()
			after(g)
			g.free()
		}) || !more {
			break
		}
	}
	if n < 12 {
		t.Errorf("%d steps: there are more requests and writes than that", n)
	}
}

// A process that dies while it contains a host leaves a ledger that names every vendor
// that holds it.
func TestKilledAtEveryStepOfAContain(t *testing.T) {
	everyStep(t, "contain", func(*grave) {}, func(g *grave) {
		owed := map[string]bool{}
		for e, err := range g.fleet.Ledger(g.Context()) {
			if err != nil {
				g.Fatal(err)
			}
			owed[e.Provider] = e.Owed() && !e.Foreign && e.Intent == intent
		}
		f, d := g.held()
		if len(f) > 0 && !owed["falcon/us-1"] || len(d) > 0 && !owed["defender"] {
			g.Errorf("held by Falcon %v, by Defender %v, and the ledger says %v", f, d, owed)
		}
	})
}

// A process that dies while it releases a host from two vendors has released neither,
// and the ledger still says so, or the next sweep releases both.
func TestKilledAtEveryStepOfARelease(t *testing.T) {
	everyStep(t, "release", func(g *grave) {
		g.after()
		if _, err := g.fleet.Contain(g.Context(), host, intent); err != nil {
			g.Fatal(err)
		}
		g.Azure.Isolate(twin.DefenderID(1))
		if _, err := g.fleet.Sweep(g.Context()); err != nil {
			g.Fatal(err)
		}
		g.close()
	}, func(g *grave) {
		if _, err := g.fleet.Sweep(g.Context()); err != nil {
			g.Fatal(err)
		}
		f, d := g.held()
		if len(f) != len(d) {
			g.Errorf("half released: Falcon %v, Defender %v", f, d)
		}
	})
}

// A job whose process dies is gone on with: every host is contained, and each once.
func TestKilledAtEveryStepOfABulk(t *testing.T) {
	everyStep(t, "bulk", func(*grave) {}, func(g *grave) {
		res, err := g.fleet.Bulk(g.Context(), wave)
		if err != nil || res.Done != 2 {
			g.Errorf("%+v, %v", res, err)
		}
		if f, d := g.held(); len(f) != 2 || len(d) != 0 {
			g.Errorf("held by Falcon %v, by Defender %v", f, d)
		}
		contained := map[string]int{}
		for _, e := range g.Falcon.Effects() {
			if e.Action == "contain" {
				contained[e.DeviceID]++
			}
		}
		if contained[twin.FalconID(1)] != 1 || contained[twin.FalconID(2)] != 1 {
			g.Errorf("contained %v", contained)
		}
		if _, err := g.fleet.Release(g.Context(), edr.Hostname(twin.Hostname(2)), intent); err != nil {
			g.Error(err)
		}
	})
}
