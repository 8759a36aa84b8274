package azure_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func indicator(n int) json.RawMessage {
	return azure.STIXIndicator{
		Pattern: fmt.Sprintf("[ipv4-addr:value = '10.0.%d.%d']", n/256, n%256), ValidFrom: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		Labels: []string{"CrowdStrike"}, Confidence: 55,
	}.Object()
}

func indicators(n int) []json.RawMessage {
	out := make([]json.RawMessage, n)
	for i := range out {
		out[i] = indicator(i)
	}
	return out
}

const uploads = "/threat-intelligence-stix-objects:upload"

// Sentinel answers 200 and names the objects it has not taken.
func TestA200WithErrorsIsNotSuccess(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		objects := indicators(250)
		// Sentinel refuses these; one of each request, around objects that are not sent.
		for _, i := range []int{7, 102, 249} {
			objects[i] = json.RawMessage(strings.Replace(string(objects[i]), "indicator--", "malware--", 1))
		}
		// These are not sent.
		objects[3] = json.RawMessage(`{"type":"indicator","id":"indicator--x","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"}`)
		objects[101] = json.RawMessage(`{"type":"malware","id":"malware--x"}`)
		objects[200] = json.RawMessage(`{"type":"identity",`)
		results, err := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: objects})
		if err == nil || len(results) != 250 {
			t.Fatalf("%d results, %v", len(results), err)
		}
		bad := map[int]string{3: "pattern is missing", 101: `type "malware"`, 200: "no JSON object", 7: "Property=id", 102: "Property=id", 249: "Property=id"}
		for i, r := range results {
			want, isBad := bad[i]
			if isBad != (r.Err != nil) {
				t.Errorf("Objects[%d]: %v", i, r.Err)
				continue
			}
			if !isBad {
				continue
			}
			row, ok := errors.AsType[*azure.RowError](r.Err)
			if !ok || !strings.Contains(r.Err.Error(), want) || string(row.Raw) != string(objects[i]) || !strings.Contains(err.Error(), r.Err.Error()) {
				t.Errorf("Objects[%d]: %v", i, r.Err)
			}
			_, refused := errors.AsType[*azure.STIXError](r.Err)
			sent := resilience.Of(r.Err).Sent
			if here := i == 3 || i == 101 || i == 200; here == refused || here != (sent == resilience.NotSent) || !here && sent != resilience.Answered {
				t.Errorf("Objects[%d]: %v, %v", i, sent, r.Err)
			}
		}
		if n := sent(srv, http.MethodPost, uploads); n != 3 || len(srv.STIX(azuretest.WorkspaceID)) != 244 {
			t.Errorf("%d requests, %d stored", n, len(srv.STIX(azuretest.WorkspaceID)))
		}
	})
}

func TestAnUploadIsRepeatedAfterALostAnswer(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/workspaces", Count: 1})
		for range 2 {
			results, err := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: indicators(3)})
			if err != nil || len(results) != 3 || !strings.HasPrefix(results[2].ID, "indicator--") {
				t.Fatalf("%v, %v", results, err)
			}
		}
		stored := srv.STIX(azuretest.WorkspaceID)
		if len(stored) != 3 || stored[0].Source != "Jurymast" || sent(srv, http.MethodPost, uploads) != 3 {
			t.Errorf("%+v", stored)
		}
	})
}

func TestARequestThatFailsIsTheLast(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		objects := indicators(250)
		objects[120] = json.RawMessage(`{"type":"identity"}`)
		if _, err := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: objects[:100]}); err != nil {
			t.Fatal(err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.None, Path: "/workspaces", Count: 1})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: "/workspaces"})
		results, err := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: objects})
		if !strings.Contains(fmt.Sprint(err), "149 of 250") || resilience.Of(err).Class == resilience.Unknown {
			t.Errorf("got %v", err)
		}
		for i, r := range results {
			want := resilience.MaybeSent
			switch {
			case i < 100:
				if r.Err != nil {
					t.Errorf("Objects[%d]: %v", i, r.Err)
				}
				continue
			case i == 120, i >= 201: // the second request goes up to 200
				want = resilience.NotSent
			}
			if r.Err == nil || resilience.Of(r.Err).Sent != want {
				t.Errorf("Objects[%d]: %v, want %v", i, r.Err, want)
			}
		}
	})
}

// What Sentinel says in a 200 that cannot be matched with what was sent must not be
// taken for success.
func TestA200ThatCannotBeUnderstood(t *testing.T) {
	for body, ok := range map[string]bool{
		``: true, `{}`: true, `{"errors":[]}`: true, `{"errors":null}`: true,
		`{"errors":[{"recordIndex":2,"errorMessages":["x"]}]}`:  false,
		`{"errors":[{"recordIndex":-1,"errorMessages":["x"]}]}`: false,
		`{"errors":[{"errorMessages":["x"]}]}`:                  false,
		`{"errors":[null]}`:                                     false,
		`<html>`:                                                false,
	} {
		soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Body: body, Path: "/workspaces"})
			results, err := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: indicators(2)})
			if ok != (err == nil) || !ok && (resilience.Of(err).Class != resilience.Malformed || results[0].Err == nil || results[1].Err == nil) {
				t.Errorf("%s: %v", body, err)
			}
		})
	}
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/workspaces", Body: `{"errors":[{"recordIndex":1,"errorMessages":["a"]},{"recordIndex":1,"errorMessages":["b"]},{"recordIndex":0,"errorMessages":[]}]}`})
		results, _ := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: indicators(2)})
		if e, ok := errors.AsType[*azure.STIXError](results[1].Err); !ok || len(e.Messages) != 2 || results[0].Err == nil {
			t.Errorf("%v", results)
		}
	})
}

// The quota is kept on this side: Sentinel never has to refuse.
func TestUploadsStayBelowAHundredAMinute(t *testing.T) {
	soc(t, azuretest.Config{}, func(c *azure.Config) { c.Policy.Total = 5 * time.Minute }, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		begin := time.Now()
		for range 105 {
			if _, err := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: indicators(1)}); err != nil {
				t.Fatal(err)
			}
		}
		if n := sent(srv, http.MethodPost, uploads); n != 105 || time.Since(begin) < 30*time.Second {
			t.Errorf("%d requests in %v", n, time.Since(begin))
		}
	})
}

func TestUploadWhereItIsNotOffered(t *testing.T) {
	soc(t, azuretest.Config{}, func(c *azure.Config) { c.Cloud = "china" }, func(t *testing.T, _ *azuretest.Server, w *azure.SentinelWorkspace) {
		_, err := w.Upload(t.Context(), azure.STIXUpload{Source: "Jurymast", Objects: indicators(1)})
		if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), "not offered") {
			t.Errorf("got %v", err)
		}
	})
}
