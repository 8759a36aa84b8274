package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

const (
	defenderHost  = "api.security.microsoft.com"
	defenderURL   = "https://" + defenderHost
	defenderScope = "https://api.securitycenter.microsoft.com/.default"
)

// defender is a client for Defender for Endpoint as Microsoft's own are made:
// azcore's client and pipeline, its token policy, its *azcore.ResponseError. It
// knows nothing of Jurymast; replace it with any azcore-based client you have.
type defender struct{ client *azcore.Client }

func newDefender(cred azcore.TokenCredential, options *azcore.ClientOptions) (*defender, error) {
	c, err := azcore.NewClient("officialsdk", "v1.0.0", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(cred, []string{defenderScope}, nil)},
	}, options)
	if err != nil {
		return nil, err
	}
	return &defender{c}, nil
}

// machines counts the machines of the first page.
func (d *defender) machines(ctx context.Context) (int, error) {
	var page struct {
		Value []struct{} `json:"value"`
	}
	err := d.do(ctx, http.MethodGet, "/api/machines", nil, &page)
	return len(page.Value), err
}

// machine reads one machine.
func (d *defender) machine(ctx context.Context, id string) error {
	return d.do(ctx, http.MethodGet, "/api/machines/"+url.PathEscape(id), nil, nil)
}

// isolate cuts a machine off the network.
func (d *defender) isolate(ctx context.Context, id, comment string) error {
	body := map[string]string{"Comment": comment, "IsolationType": "Full"}
	return d.do(ctx, http.MethodPost, "/api/machines/"+url.PathEscape(id)+"/isolate", body, nil)
}

// isolated reads whether the newest action of a machine isolates it.
func (d *defender) isolated(ctx context.Context, id string) (bool, error) {
	var page struct {
		Value []struct{ Type, Status string } `json:"value"`
	}
	query := url.Values{"$filter": {"machineId eq '" + id + "'"}, "$top": {"1"}}
	if err := d.do(ctx, http.MethodGet, "/api/machineactions?"+query.Encode(), nil, &page); err != nil || len(page.Value) == 0 {
		return false, err
	}
	switch newest := page.Value[0]; newest.Status {
	case "Pending", "InProgress", "Succeeded":
		return newest.Type == "Isolate", nil
	}
	return false, nil
}

func (d *defender) do(ctx context.Context, method, path string, body, answer any) error {
	req, err := runtime.NewRequest(ctx, method, defenderURL+path)
	if err != nil {
		return err
	}
	if body != nil {
		if err := runtime.MarshalAsJSON(req, body); err != nil {
			return err
		}
	}
	resp, err := d.client.Pipeline().Do(req)
	if err != nil {
		return err
	}
	if !runtime.HasStatusCode(resp, http.StatusOK, http.StatusCreated) {
		return runtime.NewResponseError(resp)
	}
	if answer == nil {
		runtime.Drain(resp)
		return nil
	}
	return runtime.UnmarshalAsJSON(resp, answer)
}
