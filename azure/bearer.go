package azure

import (
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/internal/token"
)

// bearer puts the token on a request. A 401 to a token that used to work gets
// one new token and one more try: a 401 has done nothing.
type bearer struct{ source *token.Source }

// Do implements policy.Policy.
func (b *bearer) Do(req *policy.Request) (*http.Response, error) {
	for renewed := false; ; renewed = true {
		t, err := b.source.Get(req.Raw().Context())
		if err != nil {
			return nil, err
		}
		req.Raw().Header.Set("Authorization", "Bearer "+t.Value)
		resp, err := req.Next()
		if err != nil {
			return resp, err
		}
		if resp.StatusCode != http.StatusUnauthorized {
			b.source.Accepted(t.Value)
			return resp, nil
		}
		if renewed || !b.source.Rejected(t.Value) {
			return resp, nil
		}
		runtime.Drain(resp)
		if err := req.RewindBody(); err != nil {
			return nil, err
		}
	}
}
