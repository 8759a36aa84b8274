package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/azure"
)

// azureWire is what azcore lets answers do.
var azureWire = []row[*azureEnv]{
	{
		name: "a next link takes the bearer token to any host",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fails("/api/machines", 200, 0, `{"value":[{"id":"a"}],"@odata.nextLink":"https://evil.test/api/machines"}`))
		},
		sdk: func(e *azureEnv) error {
			pl := e.sdk()
			return staysHome(e, func(ctx context.Context) error { return sdkPages(ctx, pl) })
		},
		jurymast: func(e *azureEnv) error {
			c := e.jurymast()
			return staysHome(e, func(ctx context.Context) error {
				for _, err := range c.Defender.Machines(azure.Query{}).All(ctx) {
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	},
	{
		name: "a redirect takes an isolation to another host, and its answer for success",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fails(isolatePath, http.StatusTemporaryRedirect, 0, ``, "Location", "https://evil.test"+isolatePath))
		},
		sdk:      func(e *azureEnv) error { return staysHome(e, e.sdkIsolate()) },
		jurymast: func(e *azureEnv) error { return staysHome(e, e.isolate()) },
	},
	{
		name: "a small compressed answer fills the memory",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fails(machinePath, 200, 0, bomb(), "Content-Encoding", "gzip"))
		},
		sdk:      func(e *azureEnv) error { return boundsAnswers(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return boundsAnswers(e, e.get()) },
		heavy:    "the race detector makes 5 GB and a minute of it",
	},
}

type sdkPage struct {
	Value    []json.RawMessage `json:"value"`
	NextLink string            `json:"@odata.nextLink"`
}

// sdkPager is the pager of every official client.
func sdkPager(pl runtime.Pipeline) *runtime.Pager[sdkPage] {
	return runtime.NewPager(runtime.PagingHandler[sdkPage]{
		More: func(p sdkPage) bool { return p.NextLink != "" },
		Fetcher: func(ctx context.Context, last *sdkPage) (sdkPage, error) {
			link := ""
			if last != nil {
				link = last.NextLink
			}
			resp, err := runtime.FetcherForNextLink(ctx, pl, link, func(ctx context.Context) (*policy.Request, error) {
				return runtime.NewRequest(ctx, http.MethodGet, api+"/machines")
			}, nil)
			if err != nil {
				return sdkPage{}, err
			}
			var p sdkPage
			return p, runtime.UnmarshalAsJSON(resp, &p)
		},
	})
}

// sdkPages reads a list to its end.
func sdkPages(ctx context.Context, pl runtime.Pipeline) error {
	pager := sdkPager(pl)
	for pager.More() {
		if _, err := pager.NextPage(ctx); err != nil {
			return err
		}
	}
	return nil
}

// staysHome asks that nothing leaves for a host that an answer named.
func staysHome(e *azureEnv, c call) error {
	e.strike()
	_, err := c.within(e.ctx, 10*time.Second)
	for _, v := range e.outside.visits() {
		switch {
		case v.authorization != "":
			return wrong("%s was sent the bearer token", v.host)
		case err == nil:
			return wrong("%s was sent the request, and its answer passed for Microsoft's", v.host)
		default:
			return wrong("%s was sent the request", v.host)
		}
	}
	return nil
}

// bombSize is more than the 256 MiB that a resilience.Wire takes by default.
const bombSize = 257 << 20

// bomb is a quarter of a MiB that becomes 257.
func bomb() string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.CopyN(w, zeros{}, bombSize); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// boundsAnswers counts what the client took of an answer, after decompression.
func boundsAnswers(e *azureEnv, c call) error {
	var read atomic.Int64
	e.outside.change = func(r *http.Response) { r.Body = &counted{r.Body, &read} }
	e.strike()
	_, _ = c.within(e.ctx, time.Minute)
	if n := read.Load(); n >= bombSize {
		return wrong("an answer of a quarter of a MiB was read into memory as %d MiB", n>>20)
	}
	return nil
}

// counted counts the bytes that are read.
type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}
