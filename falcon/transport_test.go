package falcon_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/client/quarantine"
	spotlight "github.com/crowdstrike/gofalcon/falcon/client/spotlight_vulnerabilities"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	quarantinePath = "/quarantine/entities/quarantined-files"
	spotlightPath  = "/spotlight/combined/vulnerabilities/v1"
)

// answers makes Falcon answer so, the first of two times with a 503.
func answers(srv *falcontest.Server, path string, status int, body string) {
	srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: path, Status: 503, Count: 1})
	srv.Faults().Add(fault.Rule{
		Kind: fault.Status, Path: path, Status: status, Body: body, Header: http.Header{"Content-Type": {"application/json"}},
	})
}

// Services that have no type of their own here go through the transport: reads are
// tried again, also those that are POSTs, and effects are not.
func TestTransportCarriesServicesNotWrapped(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		answers(srv, spotlightPath, 200, `{"meta":{"pagination":{"after":"next","limit":1,"total":2}},"errors":[],
			"resources":[{"id":"v","cid":"c","aid":"a","created_timestamp":"2026-01-02T03:04:05Z","updated_timestamp":"2026-01-02T03:04:05Z","status":"open","cve":{"id":"CVE-2026-1"}}]}`)
		p := spotlight.NewCombinedQueryVulnerabilitiesParamsWithContext(t.Context())
		p.Filter = "status:'open'"
		found, err := spotlight.New(c.Transport(), nil).CombinedQueryVulnerabilities(p)
		if err != nil || len(found.Payload.Resources) != 1 || *found.Payload.Resources[0].Cve.ID != "CVE-2026-1" || count(srv, spotlightPath) != 2 {
			t.Errorf("%+v, %v after %d requests", found, err, count(srv, spotlightPath))
		}

		answers(srv, quarantinePath, 200, `{"meta":{},"errors":[],"resources":[{"id":"a_b","state":"quarantined"}]}`)
		files := quarantine.New(c.Transport(), nil)
		get := quarantine.NewGetQuarantineFilesParamsWithContext(t.Context())
		get.Body = &models.MsaIdsRequest{Ids: []string{"a_b"}}
		read, err := files.GetQuarantineFiles(get)
		if err != nil || len(read.Payload.Resources) != 1 || read.Payload.Resources[0].State != "quarantined" || count(srv, quarantinePath+"/GET/v1") != 2 {
			t.Errorf("%+v, %v", read, err)
		}

		answers(srv, quarantinePath, 200, `{}`)
		release := quarantine.NewUpdateQuarantinedDetectsByIdsParamsWithContext(t.Context())
		release.Body = &models.DomainEntitiesPatchRequest{Action: "release", Ids: []string{"a_b"}}
		_, err = files.UpdateQuarantinedDetectsByIds(release)
		if n := count(srv, quarantinePath+"/v1"); n != 1 || resilience.Of(err).Sent == resilience.NotSent {
			t.Errorf("a release was sent %d times: %v", n, err)
		}
	})
}

// gofalcon's typed error comes back for these too, beside ours.
func TestTransportKeepsTypedErrorsOfServicesNotWrapped(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		answers(srv, spotlightPath, 400, `{"meta":{"trace_id":"t"},"errors":[{"code":400,"message":"a filter is required"}]}`)
		p := spotlight.NewCombinedQueryVulnerabilitiesParamsWithContext(t.Context())
		_, err := spotlight.New(c.Transport(), nil).CombinedQueryVulnerabilities(p)
		typed, ok := errors.AsType[*spotlight.CombinedQueryVulnerabilitiesBadRequest](err)
		api, ours := errors.AsType[*falcon.APIError](err)
		if !ok || !ours || api.Status != 400 || *typed.Payload.Errors[0].Message != "a filter is required" {
			t.Errorf("got %v", err)
		}
	})
}

// What only reads is not refused by a read-only client, though it is a POST.
func TestTransportKnowsReadingPosts(t *testing.T) {
	cloud(t, falcontest.Config{}, func(c *falcon.Config) { c.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.AddHost(falcontest.Host{DeviceID: first, Logins: []falcontest.Login{{Time: time.Now(), User: "u"}}})
		p := hosts.NewQueryDeviceLoginHistoryV2ParamsWithContext(t.Context())
		p.Body = &models.MsaIdsRequest{Ids: []string{first}}
		got, err := hosts.New(c.Transport(), nil).QueryDeviceLoginHistoryV2(p)
		if err != nil || len(got.Payload.Resources) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
