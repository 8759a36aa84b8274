package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/crowdstrike/gofalcon/falcon/client/host_group"
	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/resilience"
)

// official holds the clients that a program has. What changes for it is where
// they are made, in newOfficial; the calls below are what they always were.
type official struct {
	falcon *falcon.Client
	azure  *azure.Client

	hosts    hosts.ClientService
	groups   host_group.ClientService // Jurymast has no service of its own for it
	defender *defender
}

// newOfficial puts the official clients on Jurymast's transport and tokens. A
// program that stays up also calls falcon.Client.Run and azure.Client.Run, so
// that no call ever waits for a token.
func newOfficial(fcfg falcon.Config, acfg azure.Config) (*official, error) {
	fc, err := falcon.New(fcfg)
	if err != nil {
		return nil, err
	}
	az, err := azure.New(acfg)
	if err != nil {
		return nil, err
	}
	options := az.ClientOptions()
	mde, err := newDefender(az.Credential(), &options)
	if err != nil {
		return nil, err
	}
	return &official{
		falcon: fc, azure: az,
		hosts:    hosts.New(fc.Transport(), nil),
		groups:   host_group.New(fc.Transport(), nil),
		defender: mde,
	}, nil
}

// explain says what a failure means, whichever SDK it came through. An official
// Azure client makes an *azcore.ResponseError of an answer and passes on the
// *resilience.Error of a call that was never answered; a gofalcon service always
// fails with a *resilience.Error, which has its own typed error inside.
func explain(err error) resilience.Failure {
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return resilience.OfStatus(answer.StatusCode)
	}
	return resilience.Of(err)
}

func explained(what string, err error) error {
	f := explain(err)
	return fmt.Errorf("%s: %s, %s, fault: %s: %w", what, f.Class, f.Sent, f.Class.Fault(), err)
}

func (o *official) countHosts(ctx context.Context) (int64, error) {
	one := int64(1)
	answer, err := o.hosts.QueryDevicesByFilter(hosts.NewQueryDevicesByFilterParamsWithContext(ctx).WithLimit(&one))
	if err != nil {
		return 0, err
	}
	return total(answer.Payload)
}

func (o *official) countGroups(ctx context.Context) (int64, error) {
	one := int64(1)
	answer, err := o.groups.QueryHostGroups(host_group.NewQueryHostGroupsParamsWithContext(ctx).WithLimit(&one))
	if err != nil {
		return 0, err
	}
	return total(answer.Payload)
}

// total reads gofalcon's payload as gofalcon's users must: a 200 can hold errors.
func total(p *models.MsaQueryResponse) (int64, error) {
	if err := noErrors(p.Errors); err != nil {
		return 0, err
	}
	if p.Meta == nil || p.Meta.Pagination == nil || p.Meta.Pagination.Total == nil {
		return 0, errors.New("gofalcon: the answer has no total")
	}
	return *p.Meta.Pagination.Total, nil
}

func noErrors(list []*models.MsaAPIError) error {
	if len(list) == 0 || list[0].Message == nil {
		return nil
	}
	return fmt.Errorf("gofalcon: %s (and %d more)", *list[0].Message, len(list)-1)
}

// group reads one host group.
func (o *official) group(ctx context.Context, id string) error {
	_, err := o.groups.GetHostGroups(host_group.NewGetHostGroupsParamsWithContext(ctx).WithIds([]string{id}))
	return err
}

// contain is gofalcon's containment of a host.
func (o *official) contain(ctx context.Context, id string) error {
	_, err := o.hosts.PerformActionV2(hosts.NewPerformActionV2ParamsWithContext(ctx).
		WithActionName("contain").WithBody(&models.MsaEntityActionRequestV2{Ids: []string{id}}))
	return err
}

// contained reads whether Falcon holds a host.
func (o *official) contained(ctx context.Context, id string) (bool, error) {
	answer, err := o.hosts.GetDeviceDetailsV2(hosts.NewGetDeviceDetailsV2ParamsWithContext(ctx).WithIds([]string{id}))
	if err != nil {
		return false, err
	}
	if err := noErrors(answer.Payload.Errors); err != nil {
		return false, err
	}
	if len(answer.Payload.Resources) != 1 {
		return false, fmt.Errorf("gofalcon: %d hosts for one id", len(answer.Payload.Resources))
	}
	status := answer.Payload.Resources[0].Status
	return status == "contained" || status == "containment_pending", nil
}
