package azure

import (
	"context"
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
			noToken(req.Raw().Context(), err)
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

// notes are what one attempt learns below azcore's retries, which give the
// context's error in its place.
type notes struct {
	noToken error // why it has no token
	again   bool  // a 401 to a token that another can take the place of; see hearing
}

type notesKey struct{}

// noToken notes why the attempt of ctx has no token.
func noToken(ctx context.Context, err error) {
	if n, ok := ctx.Value(notesKey{}).(*notes); ok {
		n.noToken = err
	}
}

// or is the failure of the attempt, of which azcore says err.
func (n *notes) or(err error) error {
	if err != nil && n.noToken != nil {
		return n.noToken
	}
	return err
}
