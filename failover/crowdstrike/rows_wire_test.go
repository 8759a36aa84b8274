package crowdstrike

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

const templateDir = "../../examples/falcon2sentinel/azure/"

// template is what of azuredeploy.json the tests look at.
type template struct {
	Parameters map[string]struct{ Type string }
	Variables  map[string]json.RawMessage
	Resources  []struct {
		Type, Kind string
		Properties struct {
			Schema             struct{ Name, Columns string }
			StreamDeclarations map[string]struct{ Columns string }
			DataFlows          []struct {
				Streams                    []string
				TransformKql, OutputStream string
			}
		}
	}
	Outputs map[string]any
}

func readTemplate(t *testing.T) (out template) {
	t.Helper()
	text, err := os.ReadFile(templateDir + "azuredeploy.json")
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// columns reads [variables('name')].
func (tpl *template) columns(t *testing.T, reference string) (out []azuretest.Column) {
	t.Helper()
	name := strings.TrimSuffix(strings.TrimPrefix(reference, "[variables('"), "')]")
	if err := json.Unmarshal(tpl.Variables[name], &out); err != nil || len(out) == 0 {
		t.Fatalf("%s: %v", reference, err)
	}
	return out
}

// declared are the columns of the rule's streams and of the tables, by stream.
func (tpl *template) declared(t *testing.T) (streams, tables map[string][]azuretest.Column) {
	t.Helper()
	streams, tables = map[string][]azuretest.Column{}, map[string][]azuretest.Column{}
	for _, r := range tpl.Resources {
		if s := r.Properties.Schema; s.Name != "" {
			tables["Custom-"+s.Name] = tpl.columns(t, s.Columns)
		}
		for name, s := range r.Properties.StreamDeclarations {
			streams[name] = tpl.columns(t, s.Columns)
		}
	}
	return streams, tables
}

func TestTheTemplateDeclaresWhatTheMappingWrites(t *testing.T) {
	tpl := readTemplate(t)
	streams, tables := tpl.declared(t)
	own := []azuretest.Column{{Name: "TimeGenerated", Type: "datetime"}, {Name: "OriginalTime", Type: "datetime"}, {Name: "JurymastId", Type: "string"}, {Name: "Source", Type: "string"}, {Name: "EventType", Type: "string"}}
	want := map[string][]azuretest.Column{siem.EventsTable: append(slices.Clone(own), azuretest.Column{Name: "Event", Type: "dynamic"})}
	for _, s := range []*schema{alertsSchema, detectionsSchema} {
		all := append(slices.Clone(own), azuretest.Column{Name: "Unmapped", Type: "dynamic"})
		for _, c := range s.columns {
			all = append(all, azuretest.Column{Name: c.name, Type: c.kind.String()})
		}
		want[s.table] = all
	}
	names := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,44}$`)
	reserved := []string{"_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"}
	byName := func(a, b azuretest.Column) int { return strings.Compare(a.Name, b.Name) }
	for table, columns := range want {
		stream := SentinelStreams()[table]
		slices.SortFunc(columns, byName)
		for where, got := range map[string][]azuretest.Column{"stream": streams[stream], "table": tables[stream]} {
			if got = slices.Clone(got); len(got) > 500 {
				t.Errorf("%s: %d columns", stream, len(got))
			}
			if slices.SortFunc(got, byName); !slices.Equal(got, columns) {
				t.Errorf("%s %s has not the columns of the mapping:\n%v\n%v", where, stream, got, columns)
			}
		}
		for _, c := range columns {
			if !names.MatchString(c.Name) || slices.Contains(reserved, c.Name) {
				t.Errorf("%s: Azure Monitor has no column %s", table, c.Name)
			}
		}
	}
	if len(streams) != len(want) || len(tables) != len(want) || tpl.Outputs["endpoint"] == nil || tpl.Outputs["immutableId"] == nil {
		t.Errorf("%d streams, %d tables, outputs %v", len(streams), len(tables), tpl.Outputs)
	}
	flows := map[string]bool{}
	for _, r := range tpl.Resources {
		for _, f := range r.Properties.DataFlows {
			if r.Kind != "Direct" || len(f.Streams) != 1 || f.OutputStream != f.Streams[0] || f.TransformKql != "source" {
				t.Errorf("%s, %+v", r.Kind, f)
			}
			flows[f.Streams[0]] = true
		}
	}
	if len(flows) != len(want) {
		t.Errorf("flows %v", flows)
	}
}

// The Bicep file hands on everything that the other one takes.
func TestBothTemplatesTakeTheSame(t *testing.T) {
	text, err := os.ReadFile(templateDir + "main.bicep")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range readTemplate(t).Parameters {
		if !strings.Contains(string(text), "param "+name+" "+p.Type) || !strings.Contains(string(text), "    "+name+": "+name+"\n") {
			t.Errorf("main.bicep has not %s %s", name, p.Type)
		}
	}
}

// From the stream, through the pump, to a rule with the template's columns, which drops
// or empties whatever it does not declare, as Azure Monitor does.
func TestFromFalconsStreamToSentinelsTables(t *testing.T) {
	tpl := readTemplate(t)
	streams, _ := tpl.declared(t)
	synctest.Test(t, func(t *testing.T) {
		cloud, err := azuretest.NewServer(azuretest.Config{InMemory: true, Collections: []azuretest.Collection{{Streams: streams}}})
		if err != nil {
			t.Fatal(err)
		}
		defer cloud.Close()
		ac, err := azure.New(azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: cloud.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ac.Close(context.Background()) }()
		feed, err := falcontest.NewServer(falcontest.Config{InMemory: true, Partitions: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer feed.Close()
		fc, err := falcon.New(falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: feed.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = fc.Close(context.Background()) }()
		const each = 50
		for i := range each {
			feed.Publish(i%2, eppEvent, feed.Detection("host", i))
			feed.Publish(i%2, "AuthActivityAuditEvent", map[string]any{"OperationName": "x", "N": uint64(1)<<60 + uint64(i)})
			feed.Publish(i%2, "NeverSeenBefore", map[string]any{"N": i})
		}
		feed.AddAlert(falcontest.Alert{ID: "c:ind:a:1", DeviceID: "a", Hostname: "ws-1", Name: "epp alert", Severity: 50})
		feed.AddAlert(falcontest.Alert{ID: "c:ind:a:2", DeviceID: "a", Product: "idp", Name: "idp alert"})

		sink, err := microsoft.Sink(ac, microsoft.SinkConfig{Endpoint: "https://" + azuretest.IngestHost, RuleID: azuretest.RuleID, Streams: SentinelStreams()})
		if err != nil {
			t.Fatal(err)
		}
		written := map[string]int{} // what the mapping made, as JSON with sorted names
		p, err := siem.Open(siem.Config{
			Dir: t.TempDir(), Sinks: []failover.Member[siem.Sink]{{ID: sink.ID, Value: &watched{sink.Value, written}}}, Mapping: SentinelRowsWithDetections,
			Sources: []siem.Source{Events(fc, EventsConfig{AppID: "test"}), Alerts(fc, AlertsConfig{})},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for table, n := range map[string]int{siem.EventsTable: 2 * each, AlertsTable: each + 2, DetectionsTable: each + 1} {
			stored := cloud.Rows(azuretest.RuleID, SentinelStreams()[table])
			ids := map[string]bool{}
			for _, raw := range stored {
				row := readRow(t, raw)
				ids[string(row["JurymastId"])] = true
				if key := sorted(t, raw); written[key] == 0 {
					t.Errorf("%s: the table has not what was sent: %s", table, key)
				}
			}
			if len(ids) != n {
				t.Errorf("%s: %d distinct rows of %d, want %d", table, len(ids), len(stored), n)
			}
		}
	})
}

// watched notes the rows that go to a sink.
type watched struct {
	siem.Sink
	written map[string]int
}

func (w *watched) Send(ctx context.Context, b *siem.Batch) (siem.Receipt, error) {
	rows, err := b.All()
	for _, row := range rows {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(row, &fields); err != nil {
			return siem.Receipt{}, err
		}
		text, err := json.Marshal(fields)
		if err != nil {
			return siem.Receipt{}, err
		}
		w.written[string(text)]++
	}
	if err != nil {
		return siem.Receipt{}, fmt.Errorf("rows: %w", err)
	}
	return w.Sink.Send(ctx, b)
}

func sorted(t *testing.T, raw []byte) string {
	t.Helper()
	text, err := json.Marshal(readRow(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
