package edr_test

import (
	"strings"
	"testing"

	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/falcon"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	c, err := falcon.New(falcon.Config{ClientID: "x", ClientSecret: "y"})
	if err != nil {
		t.Fatal(err)
	}
	d := crowdstrike.EDR(c)
	for field, cfg := range map[string]edr.Config{
		"Config.Drivers is empty": {Volatile: true},
		"Config.Store":            {Drivers: []edr.Driver{d}},
		"Config.Drivers[0]":       {Drivers: []edr.Driver{{Provider: "x"}}, Volatile: true},
		"its Limits[0]":           {Drivers: []edr.Driver{{Provider: "x", Find: d.Find, Isolate: d.Isolate, Limits: []edr.Limit{{}}}}, Volatile: true},
		"Config.Hold":             {Drivers: []edr.Driver{d}, Volatile: true, Hold: -1},
		"the id":                  {Drivers: []edr.Driver{d, d}, Volatile: true},
	} {
		if _, err := edr.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
