package twin_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/failover/twin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Both clouds know the same hosts, and Contained tells of the machines.
func TestOneFleetBehindBothClouds(t *testing.T) {
	tw, err := twin.New(twin.Config{Hosts: 300})
	if err != nil {
		t.Fatal(err)
	}
	defer tw.Close()
	for i := range tw.Hosts() {
		f, ok1 := tw.Falcon.Host(twin.FalconID(i))
		d, ok2 := tw.Azure.Machine(twin.DefenderID(i))
		if !ok1 || !ok2 || f.Hostname != twin.Hostname(i) || d.ComputerDNSName != twin.Hostname(i)+"."+twin.Domain {
			t.Fatalf("host %d: %+v, %+v", i, f, d)
		}
	}
	tw.Falcon.SetStatus(twin.FalconID(7), "contained")
	tw.Azure.Isolate(twin.DefenderID(8))
	falcon, defender := tw.Contained()
	if len(falcon) != 1 || falcon[0] != 7 || len(defender) != 1 || defender[0] != 8 {
		t.Errorf("falcon %v, defender %v", falcon, defender)
	}
}
