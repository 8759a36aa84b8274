package azure_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// A POST that only reads is tried again.
func TestAlertsAreReadAgainAfterALostAnswer(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{Alerts: []json.RawMessage{json.RawMessage(`{"name":"a1"}`)}})
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Path: "/subscriptions", Count: 1})
		n := 0
		for _, err := range w.Alerts(id).All(t.Context()) {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if n != 1 {
			t.Errorf("%d alerts", n)
		}
	})
}

func TestALostAnswerOfACommentDoesNotMakeTwo(t *testing.T) {
	soc(t, azuretest.Config{ARM: azuretest.ARM{PageSize: 2}}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPut, Path: "/subscriptions", Count: 1})
		for _, message := range []string{"one", "two", "one", "three"} {
			if c, err := w.Comment(t.Context(), id, azure.NewComment{Message: message}); err != nil || c.Message != message {
				t.Errorf("%+v, %v", c, err)
			}
		}
		own := azure.NewComment{Message: "one", ID: azure.StableGUID("another")}
		if _, err := w.Comment(t.Context(), id, own); err != nil {
			t.Error(err)
		}
		other := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		if c, err := w.Comment(t.Context(), other, azure.NewComment{Message: "one"}); err != nil || c.ID == incidents(srv)[0].Comments[0].ID {
			t.Errorf("the id of another incident's comment: %+v, %v", c, err)
		}
		var got []string
		for c, err := range w.Comments(id, "").All(t.Context()) {
			if err != nil || c.Author != "azuretest" || c.Created.IsZero() {
				t.Errorf("%+v, %v", c, err)
			}
			got = append(got, c.Message)
		}
		if !slices.Equal(got, []string{"one", "two", "three", "one"}) {
			t.Error(got)
		}
	})
}
