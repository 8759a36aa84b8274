package azure_test

import (
	"encoding/json"
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

var socWorkspace = azure.Workspace{
	SubscriptionID: azuretest.SubscriptionID, ResourceGroup: azuretest.ResourceGroup,
	Name: azuretest.WorkspaceName, ID: azuretest.WorkspaceID,
}

// soc is cloud with the Sentinel of its workspace.
func soc(t *testing.T, server azuretest.Config, change func(*azure.Config), test func(*testing.T, *azuretest.Server, *azure.SentinelWorkspace)) {
	t.Helper()
	cloud(t, server, change, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		test(t, srv, c.Sentinel.In(socWorkspace))
	})
}

func sent(srv *azuretest.Server, method, path string) (n int) {
	for _, r := range srv.Requests() {
		if r.Method == method && strings.Contains(r.Path, path) {
			n++
		}
	}
	return n
}

func incidents(srv *azuretest.Server) []azuretest.SentinelIncident {
	return srv.SentinelIncidents(azuretest.WorkspaceName)
}

func property(i azuretest.SentinelIncident, name string) string { return string(i.Properties[name]) }

var alert = azure.NewIncident{ID: azure.StableGUID("ldt:abc:123"), Title: "Ransomware on ws-042", Severity: azure.SentinelHigh}

func TestStableGUIDStaysTheSame(t *testing.T) {
	if got := azure.StableGUID("ldt:abc:123"); got != "a3d8292b-f4b0-5456-a4a9-cb5e9a3cc81a" {
		t.Errorf("%s: ids that are in use would change", got)
	}
}

func TestIncidentFromNewToDeleted(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		ctx := t.Context()
		n := alert
		n.Labels, n.Owner = []string{"falcon"}, azure.Owner{Email: "a@corp.example"}
		made, err := w.CreateIncident(ctx, n)
		if i := made.Incident; err != nil || made.Already || i.ID != n.ID || i.Number != 1 || i.ETag == "" || i.Created.IsZero() ||
			i.Status != azure.SentinelNew || i.Owner != n.Owner || !slices.Equal(i.Labels, n.Labels) || i.URL == "" || len(i.Raw) == 0 {
			t.Fatalf("%+v, %v", made, err)
		}
		i, err := w.UpdateIncident(ctx, n.ID, func(i *azure.SentinelIncident) error {
			i.Status, i.Owner, i.Labels = azure.SentinelActive, azure.Owner{}, append(i.Labels, "tier1")
			return nil
		})
		if err != nil || i.Status != azure.SentinelActive || i.Owner != (azure.Owner{}) || !slices.Equal(i.Labels, []string{"falcon", "tier1"}) {
			t.Fatalf("%+v, %v", i, err)
		}
		if _, ok := incidents(srv)[0].Properties["owner"]; ok {
			t.Error("the owner that was taken away is still there")
		}
		for range 2 { // the second has nothing to send
			if i, err = w.CloseIncident(ctx, n.ID, azure.Closing{Classification: azure.SentinelTruePositive, Reason: azure.SentinelSuspiciousActivity, Comment: "contained"}); err != nil ||
				i.Status != azure.SentinelClosed || i.Classification != azure.SentinelTruePositive || i.ClassificationComment != "contained" {
				t.Fatalf("%+v, %v", i, err)
			}
		}
		if n := sent(srv, http.MethodPut, "/incidents/"); n != 3 {
			t.Errorf("%d PUTs: want create, update, close", n)
		}
		for range 2 { // one that is gone is no error
			if err := w.DeleteIncident(ctx, n.ID); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.Incident(ctx, n.ID); !errors.Is(err, azure.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := w.UpdateIncident(ctx, n.ID, func(*azure.SentinelIncident) error { return nil }); !errors.Is(err, azure.ErrNotFound) || resilience.Of(err).Sent != resilience.NotSent {
			t.Errorf("got %v", err)
		}
	})
}

func TestIncidentsAreListedPageByPage(t *testing.T) {
	soc(t, azuretest.Config{ARM: azuretest.ARM{PageSize: 2}}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		for i := range 7 {
			status := `"New"`
			if i == 3 {
				status = `"closed"` // enums are taken in any case
			}
			srv.AddSentinelIncident(azuretest.SentinelIncident{Properties: map[string]json.RawMessage{"status": json.RawMessage(status)}})
		}
		read := func(q azure.IncidentQuery) (numbers []int64, cursor string) {
			list := w.Incidents(q)
			for i, err := range list.All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if i.Number == 4 && i.Status != azure.SentinelClosed {
					t.Errorf("status %q", i.Status)
				}
				numbers = append(numbers, i.Number)
				if len(numbers) == 3 && cursor == "" && q.Cursor == "" {
					cursor = list.Cursor()
				}
			}
			return numbers, cursor
		}
		q := azure.IncidentQuery{Filter: azure.Equals("properties/status", "New"), OrderBy: "properties/incidentNumber asc"}
		numbers, cursor := read(q)
		if !slices.Equal(numbers, []int64{1, 2, 3, 5, 6, 7}) {
			t.Fatal(numbers)
		}
		q.Cursor = cursor
		if numbers, _ := read(q); !slices.Equal(numbers, []int64{5, 6, 7}) {
			t.Errorf("from the cursor: %v", numbers)
		}
		before := sent(srv, http.MethodGet, "/incidents")
		if numbers, _ := read(azure.IncidentQuery{PageSize: 4}); len(numbers) != 7 || sent(srv, http.MethodGet, "/incidents") != before+2 {
			t.Errorf("%v", numbers)
		}
		for _, r := range srv.Requests() {
			if strings.Contains(r.Path, "/incidents") && r.Query.Get("api-version") != "2025-09-01" {
				t.Errorf("%s %v", r.Path, r.Query)
			}
		}
	})
}

func TestALostAnswerOfAPutDoesNotMakeTwoIncidents(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPut, Path: "/subscriptions", Count: 1})
		if made, err := w.CreateIncident(t.Context(), alert); err != nil || made.Incident.Number != 1 {
			t.Fatalf("%+v, %v", made, err)
		}
		if made, err := w.CreateIncident(t.Context(), alert); err != nil || !made.Already {
			t.Errorf("%+v, %v", made, err)
		}
		if n := len(incidents(srv)); n != 1 {
			t.Errorf("%d incidents", n)
		}
	})
}

// A detection that is delivered again must not undo what an analyst did.
func TestCreatedAgainAClosedIncidentStaysClosed(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		ctx := t.Context()
		if _, err := w.CreateIncident(ctx, alert); err != nil {
			t.Fatal(err)
		}
		if _, err := w.CloseIncident(ctx, alert.ID, azure.Closing{Classification: azure.SentinelUndetermined}); err != nil {
			t.Fatal(err)
		}
		made, err := w.CreateIncident(ctx, alert)
		if err != nil || !made.Already || made.Incident.Status != azure.SentinelClosed || property(incidents(srv)[0], "status") != `"Closed"` {
			t.Errorf("%+v, %v", made, err)
		}
	})
}

func TestClassificationsAndReasonsThatGoTogether(t *testing.T) {
	soc(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{})
		for _, tc := range []struct {
			r  azure.Closing
			ok bool
		}{
			{azure.Closing{Classification: azure.SentinelTruePositive, Reason: azure.SentinelSuspiciousActivity}, true},
			{azure.Closing{Classification: azure.SentinelTruePositive}, true},
			{azure.Closing{Classification: azure.SentinelBenignPositive, Reason: azure.SentinelSuspiciousButExpected}, true},
			{azure.Closing{Classification: azure.SentinelFalsePositive, Reason: azure.SentinelIncorrectAlertLogic}, true},
			{azure.Closing{Classification: azure.SentinelFalsePositive, Reason: azure.SentinelInaccurateData}, true},
			{azure.Closing{Classification: azure.SentinelUndetermined}, true},
			{azure.Closing{}, false},
			{azure.Closing{Classification: "Positive"}, false},
			{azure.Closing{Classification: azure.SentinelUndetermined, Reason: azure.SentinelInaccurateData}, false},
			{azure.Closing{Classification: azure.SentinelTruePositive, Reason: azure.SentinelInaccurateData}, false},
			{azure.Closing{Classification: azure.SentinelFalsePositive, Reason: "Tired"}, false},
		} {
			before := len(srv.Requests())
			_, err := w.CloseIncident(t.Context(), id, tc.r)
			if tc.ok != (err == nil) || !tc.ok && (resilience.Of(err).Class != resilience.Misuse || len(srv.Requests()) != before) {
				t.Errorf("%+v: %v", tc.r, err)
			}
		}
	})
}

func TestSentinelArgumentsThatMakeNoSenseAreNotSent(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx, w := t.Context(), c.Sentinel.In(socWorkspace)
		create := func(change func(*azure.NewIncident)) error {
			n := alert
			change(&n)
			_, err := w.CreateIncident(ctx, n)
			return err
		}
		listed := func(w *azure.SentinelWorkspace, q azure.IncidentQuery) (err error) {
			for _, err = range w.Incidents(q).All(ctx) {
			}
			return err
		}
		upload := func(w *azure.SentinelWorkspace, source string) error {
			_, err := w.UploadSTIX(ctx, azure.STIXUpload{Source: source, Objects: []json.RawMessage{indicator(1)}})
			return err
		}
		_, noIncident := w.Incident(ctx, "")
		_, dots := w.Incident(ctx, "..")
		_, noMessage := w.Comment(ctx, alert.ID, azure.NewComment{})
		_, noGUID := w.Comment(ctx, alert.ID, azure.NewComment{Message: "x", ID: "7"})
		for word, err := range map[string]error{
			"ID":                       create(func(n *azure.NewIncident) { n.ID = "ldt:1" }),
			"is no GUID":               create(func(n *azure.NewIncident) { n.ID = strings.ReplaceAll(n.ID, "-", "0") }),
			"make one":                 create(func(n *azure.NewIncident) { n.ID = "g" + n.ID[1:] }),
			"Title":                    create(func(n *azure.NewIncident) { n.Title = "" }),
			"Severity":                 create(func(n *azure.NewIncident) { n.Severity = "Bad" }),
			"Status":                   create(func(n *azure.NewIncident) { n.Status = "Open" }),
			"Classification":           create(func(n *azure.NewIncident) { n.Status = azure.SentinelClosed }),
			"PageSize":                 listed(w, azure.IncidentQuery{PageSize: -1}),
			"Workspace.Name":           listed(c.Sentinel.In(azure.Workspace{SubscriptionID: "s", ResourceGroup: "g"}), azure.IncidentQuery{}),
			"Workspace.ResourceGroup":  listed(c.Sentinel.In(azure.Workspace{SubscriptionID: "s", Name: "w"}), azure.IncidentQuery{}),
			"Workspace.SubscriptionID": c.Sentinel.In(azure.Workspace{ResourceGroup: "g", Name: "w"}).DeleteIncident(ctx, alert.ID),
			"incidents":                noIncident, `".."`: dots,
			"Message": noMessage, "NewComment.ID": noGUID,
			"Workspace.ID": upload(c.Sentinel.In(azure.Workspace{ID: "law-soc"}), "Jurymast"),
			"Source":       upload(w, " "), "keeps": upload(w, "microsoft sentinel"),
		} {
			if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v", word, err)
			}
		}
		if len(srv.Requests()) > 0 {
			t.Errorf("%d requests", len(srv.Requests()))
		}
	})
}

func TestAReadOnlyClientReadsSentinel(t *testing.T) {
	soc(t, azuretest.Config{}, func(c *azure.Config) { c.ReadOnly = true }, func(t *testing.T, srv *azuretest.Server, w *azure.SentinelWorkspace) {
		ctx := t.Context()
		id := srv.AddSentinelIncident(azuretest.SentinelIncident{
			Alerts: []json.RawMessage{
				json.RawMessage(`{"id":"/x/a1","name":"a1","kind":"SecurityAlert","properties":{"systemAlertId":"s1","alertDisplayName":"Mimikatz","severity":"high","productName":"Falcon","tactics":["CredentialAccess"],"startTimeUtc":"2026-11-20T09:30:00Z"}}`),
				json.RawMessage(`"odd"`),
				json.RawMessage(`{"name":"a2","properties":{}}`),
			},
			Entities: []json.RawMessage{json.RawMessage(`{"name":"e1","kind":"Host","properties":{"friendlyName":"ws-042","n":9007199254740993}}`)},
		})
		var got []azure.SentinelAlert
		var odd []error
		for a, err := range w.Alerts(id).All(ctx) {
			if err != nil {
				odd = append(odd, err)
				continue
			}
			got = append(got, a)
		}
		if len(got) != 2 || got[0].SystemID != "s1" || got[0].Severity != azure.SentinelHigh || got[0].Start.IsZero() || got[1].ID != "a2" {
			t.Errorf("%+v", got)
		}
		if row, ok := errors.AsType[*azure.RowError](errors.Join(odd...)); len(odd) != 1 || !ok || string(row.Raw) != `"odd"` {
			t.Errorf("%v", odd)
		}
		for e, err := range w.Entities(id).All(ctx) {
			if err != nil || e.Kind != "Host" || e.FriendlyName != "ws-042" || !strings.Contains(string(e.Properties), "9007199254740993") {
				t.Errorf("%+v, %v", e, err)
			}
		}
		for _, err := range w.Alerts(azure.StableGUID("none")).All(ctx) {
			if !errors.Is(err, azure.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
		before := len(srv.Requests())
		_, err1 := w.CreateIncident(ctx, alert)
		_, err2 := w.UpdateIncident(ctx, id, func(*azure.SentinelIncident) error { return nil })
		_, err3 := w.Comment(ctx, id, azure.NewComment{Message: "x"})
		_, err4 := w.UploadSTIX(ctx, azure.STIXUpload{Source: "Jurymast", Objects: []json.RawMessage{indicator(1)}})
		for n, err := range []error{err1, err2, err3, err4, w.DeleteIncident(ctx, id)} {
			if !errors.Is(err, azure.ErrReadOnly) {
				t.Errorf("%d: %v", n, err)
			}
		}
		if len(srv.Requests()) != before {
			t.Error("something was sent")
		}
	})
}

func TestSentinelHasTwoPolicies(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		p := c.Policies()
		if p["azure.management"] != c.Sentinel.Policy() || p["azure.threatintel"] != c.Sentinel.UploadPolicy() || c.Sentinel.Policy() == nil {
			t.Errorf("%v", p)
		}
	})
}
