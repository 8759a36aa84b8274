package conformance

import (
	"io"
	"net/http"
	"strings"
	"sync"
)

// outside is the rest of the internet: hosts under .test answer 200 to anything,
// and remember what they were shown. All else goes to the simulated cloud.
type outside struct {
	cloud  http.RoundTripper
	change func(*http.Response) // what happens to the cloud's answers on their way

	mu   sync.Mutex
	seen []visit
}

type visit struct{ host, authorization string }

func (o *outside) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Hostname(), ".test") {
		resp, err := o.cloud.RoundTrip(req)
		if err == nil && o.change != nil {
			o.change(resp)
		}
		return resp, err
	}
	v := visit{host: req.URL.Hostname(), authorization: req.Header.Get("Authorization")}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	o.mu.Lock()
	o.seen = append(o.seen, v)
	o.mu.Unlock()
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{}`)), Request: req,
	}, nil
}

func (o *outside) visits() []visit {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen
}
