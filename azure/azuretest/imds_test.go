package azuretest

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// The metadata service speaks plain http, and nobody else does.
func TestIMDS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet(), TokenLife: time.Hour})
		ask := func(url, metadata string) (reply, error) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if metadata != "" {
				req.Header.Set("Metadata", metadata)
			}
			return c.send(req)
		}
		const endpoint = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
		const resource = "https://api.securitycenter.microsoft.com"
		r, err := ask(endpoint+resource, "true")
		if err != nil || r.status != http.StatusOK || r.body["resource"] != resource || r.body["expires_in"] != "3600" ||
			r.body["expires_on"] != strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10) {
			t.Fatalf("%d %s, %v", r.status, r.raw, err)
		}
		c.bearer = r.body["access_token"].(string)
		if r := c.get("/api/machines"); r.status != http.StatusOK {
			t.Errorf("its token: %d %s", r.status, r.raw)
		}
		for _, tc := range []struct{ url, metadata string }{
			{endpoint + resource, ""}, {endpoint, "true"}, {endpoint + resource + "&client_id=x", "true"},
		} {
			if r, err := ask(tc.url, tc.metadata); err != nil || r.status != http.StatusBadRequest {
				t.Errorf("%+v: %d %s, %v", tc, r.status, r.raw, err)
			}
		}
		if r, err := ask(endpoint+resource+"&client_id="+ClientID, "true"); err != nil || r.status != http.StatusOK {
			t.Errorf("by client id: %d %s, %v", r.status, r.raw, err)
		}
		if r, err := ask("http://api.security.microsoft.com/api/machines", ""); err == nil && r.status != http.StatusBadRequest {
			t.Errorf("an API by plain http: %d %s", r.status, r.raw)
		}
		c.Close()
	})
}
