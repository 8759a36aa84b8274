package main

import (
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
)

const (
	agentTime   = 200 * time.Millisecond // an agent takes it to contain or release
	breakerTime = 500 * time.Millisecond // nobody wants to wait here
)

// simulated starts both clouds, over one fleet.
func (p *program) simulated() (fcfg falcon.Config, acfg azure.Config, err error) {
	if p.clouds, err = twin.New(p.o.clouds); err != nil {
		return fcfg, acfg, err
	}
	p.line("SIMULATED: a Falcon and a Microsoft cloud in this process, with the hosts %s to %s", twin.Hostname(0), twin.Hostname(p.clouds.Hosts()-1))
	policy := resilience.Config{Breaker: resilience.Breaker{OpenFor: breakerTime}}
	fcfg = falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: p.clouds.Falcon.Client(), Policy: policy,
	}
	acfg = azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: p.clouds.Azure.Client(), Policy: policy,
	}
	return fcfg, acfg, nil
}
