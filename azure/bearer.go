package azure

import (
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/internal/token"
)

// bearer puts the token on a request. A 401 has done nothing: one to a token that
// used to work, and one that asks for other claims, each get a new token and one
// more try.
type bearer struct{ source *token.Source }

// Do implements policy.Policy.
func (b *bearer) Do(req *policy.Request) (*http.Response, error) {
	var renewed, challenged bool
	for {
		t, err := b.source.Get(req.Raw().Context())
		if err != nil {
			if keep, ok := req.Raw().Context().Value(noTokenKey{}).(*error); ok {
				*keep = err
			}
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
		again, tried := b.source.Rejected, &renewed
		if claims := challenge(resp.Header); claims != "" {
			again = func(value string) bool { return b.source.Demand(value, claims) }
			tried = &challenged
		}
		if !again(t.Value) || *tried {
			return resp, nil
		}
		*tried = true
		runtime.Drain(resp)
		if err := req.RewindBody(); err != nil {
			return nil, err
		}
	}
}

// noTokenKey is where a request's context keeps why it has no token.
type noTokenKey struct{}
