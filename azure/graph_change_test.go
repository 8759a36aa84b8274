package azure_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func ptr[T any](v T) *T { return &v }

func TestUpdateAlertChangesWhatItNames(t *testing.T) {
	cloud(t, azuretest.Config{GraphAlerts: []azuretest.GraphAlert{{ID: "a", AssignedTo: "me", Determination: "malware"}}}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		a, err := c.Graph.UpdateAlert(t.Context(), "a", azure.GraphUpdate{Status: azure.GraphResolved, Classification: azure.GraphTruePositive})
		if err != nil || a.Status != azure.GraphResolved || a.Classification != azure.GraphTruePositive || a.Determination != "malware" || a.AssignedTo != "me" || a.Resolved.IsZero() {
			t.Errorf("%+v, %v", a, err)
		}
		if a, err := c.Graph.UpdateAlert(t.Context(), "a", azure.GraphUpdate{AssignedTo: ptr("you"), Determination: "phishing"}); err != nil || a.AssignedTo != "you" || a.Determination != "phishing" {
			t.Errorf("%+v, %v", a, err)
		}
		if a, err := c.Graph.UpdateAlert(t.Context(), "a", azure.GraphUpdate{AssignedTo: ptr("")}); err != nil || a.AssignedTo != "" || a.Status != azure.GraphResolved {
			t.Errorf("%+v, %v", a, err)
		}
		if body := string(requests(srv, http.MethodPatch, alertsPath)[2].Body); body != `{"assignedTo":null}` {
			t.Errorf("nobody was sent as %s", body)
		}
	})
}

func TestUpdateIncidentAndItsTags(t *testing.T) {
	cloud(t, azuretest.Config{GraphIncidents: []azuretest.GraphIncident{{ID: "1", CustomTags: []string{"old"}}}}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for _, tc := range []struct {
			update azure.GraphIncidentUpdate
			tags   []string
		}{
			{azure.GraphIncidentUpdate{GraphUpdate: azure.GraphUpdate{Status: azure.GraphInProgress}}, []string{"old"}},
			{azure.GraphIncidentUpdate{CustomTags: []string{"x", "y"}}, []string{"x", "y"}},
			{azure.GraphIncidentUpdate{CustomTags: []string{}}, []string{}},
		} {
			i, err := c.Graph.UpdateIncident(t.Context(), "1", tc.update)
			if err != nil || i.Status != azure.GraphInProgress || !slices.Equal(i.CustomTags, tc.tags) {
				t.Errorf("%+v, %v", i, err)
			}
		}
		if i := srv.GraphIncidents()[0]; i.Status != "inProgress" || len(i.CustomTags) > 0 {
			t.Errorf("%+v", i)
		}
	})
}

// A change to given values may be sent again when its answer is lost, a comment
// would be there twice.
func TestLostAnswersToGraph(t *testing.T) {
	cloud(t, azuretest.Config{
		GraphAlerts: []azuretest.GraphAlert{{ID: "a"}}, GraphIncidents: []azuretest.GraphIncident{{ID: "1"}},
	}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPatch, Count: 1})
		if a, err := c.Graph.UpdateAlert(t.Context(), "a", azure.GraphUpdate{Status: azure.GraphInProgress}); err != nil || a.Status != azure.GraphInProgress {
			t.Errorf("%+v, %v", a, err)
		}
		if n := len(requests(srv, http.MethodPatch, alertsPath)); n != 2 {
			t.Errorf("%d PATCHes", n)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Path: "/v1.0"})
		_, err1 := c.Graph.CommentAlert(t.Context(), "a", "contained")
		_, err2 := c.Graph.CommentIncident(t.Context(), "1", "contained")
		for _, err := range []error{err1, err2} {
			if resilience.Of(err).Sent != resilience.MaybeSent {
				t.Errorf("got %v", err)
			}
		}
		// Read, as the doc comment says: it is there, once.
		a, err := c.Graph.Alert(t.Context(), "a")
		if err != nil || len(a.Comments) != 1 || a.Comments[0].Text != "contained" || a.Comments[0].Created.IsZero() {
			t.Errorf("%+v, %v", a.Comments, err)
		}
		if i, err := c.Graph.Incident(t.Context(), "1"); err != nil || len(i.Comments) != 1 {
			t.Errorf("%+v, %v", i.Comments, err)
		}
	})
}

func TestCommentsGiveAllThereAre(t *testing.T) {
	cloud(t, azuretest.Config{
		GraphAlerts:    []azuretest.GraphAlert{{ID: "a", Comments: []azuretest.GraphComment{{Comment: "seen"}}}},
		GraphIncidents: []azuretest.GraphIncident{{ID: "1"}},
	}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if got, err := c.Graph.CommentAlert(t.Context(), "a", "contained"); err != nil || len(got) != 2 || got[1].Text != "contained" || got[1].By != azuretest.ClientID {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := c.Graph.CommentIncident(t.Context(), "1", "closed"); err != nil || len(got) != 1 || got[0].Text != "closed" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestGraphMisuse(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		_, noUpdate := c.Graph.UpdateAlert(ctx, "a", azure.GraphUpdate{})
		_, noIncidentUpdate := c.Graph.UpdateIncident(ctx, "1", azure.GraphIncidentUpdate{})
		_, noID := c.Graph.Alert(ctx, " ")
		_, noIncident := c.Graph.IncidentWithAlerts(ctx, "")
		_, noUpdateID := c.Graph.UpdateAlert(ctx, "", azure.GraphUpdate{Status: azure.GraphNew})
		_, noIncidentID := c.Graph.UpdateIncident(ctx, "", azure.GraphIncidentUpdate{CustomTags: []string{}})
		_, noCommentID := c.Graph.CommentAlert(ctx, "", "x")
		_, noComment := c.Graph.CommentIncident(ctx, "1", "\n")
		_, noQuery := c.Graph.Hunt(ctx, azure.HuntQuery{Timespan: "P1D"})
		for want, err := range map[string]error{
			"GraphUpdate is empty": noUpdate, "GraphIncidentUpdate is empty": noIncidentUpdate, `graph.alerts.get: the id is " "`: noID,
			`graph.incidents.get: the id is ""`: noIncident, `graph.alerts.update: the id is ""`: noUpdateID,
			`graph.incidents.update: the id is ""`: noIncidentID, `graph.alerts.comment: the id is ""`: noCommentID,
			"the comment is empty": noComment, "HuntQuery.Query is empty": noQuery,
		} {
			if f := resilience.Of(err); err == nil || !strings.Contains(err.Error(), want) || f.Sent != resilience.NotSent {
				t.Errorf("%s: %v", want, err)
			}
		}
		if len(srv.Requests()) > 0 {
			t.Error("something was sent")
		}
	})
}

func TestReadOnlyGraph(t *testing.T) {
	cloud(t, azuretest.Config{GraphAlerts: []azuretest.GraphAlert{{ID: "a"}}}, func(cfg *azure.Config) { cfg.ReadOnly = true }, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		_, err1 := c.Graph.UpdateAlert(t.Context(), "a", azure.GraphUpdate{Status: azure.GraphResolved})
		_, err2 := c.Graph.CommentAlert(t.Context(), "a", "x")
		if !errors.Is(err1, azure.ErrReadOnly) || !errors.Is(err2, azure.ErrReadOnly) {
			t.Errorf("%v, %v", err1, err2)
		}
		if _, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"}); err != nil {
			t.Errorf("hunting only reads: %v", err)
		}
	})
}

func TestGraphPermissions(t *testing.T) {
	cloud(t, azuretest.Config{Roles: []string{"SecurityAlert.Read.All"}, GraphAlerts: []azuretest.GraphAlert{{ID: "a"}}}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if _, err := c.Graph.Alert(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		_, update := c.Graph.UpdateAlert(t.Context(), "a", azure.GraphUpdate{Status: azure.GraphResolved})
		_, comment := c.Graph.CommentAlert(t.Context(), "a", "x")
		_, incident := c.Graph.Incident(t.Context(), "1")
		_, hunt := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"})
		for want, err := range map[string]error{
			"SecurityAlert.ReadWrite.All": errors.Join(update, nil), "roles: SecurityAlert.ReadWrite.All": comment,
			"SecurityIncident.Read.All": incident, "ThreatHunting.Read.All": hunt,
		} {
			if err == nil || resilience.Of(err).Class != resilience.Denied || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
	})
}
