package azuretest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

const ingestScope = "https://monitor.azure.com//.default"

var everyType = []Column{
	{"TimeGenerated", "datetime"},
	{"S", "string"},
	{"I", "int"},
	{"L", "long"},
	{"R", "real"},
	{"B", "boolean"},
	{"T", "datetime"},
	{"G", "guid"},
	{"D", "dynamic"},
}

// signInFor takes a token for another API.
func (c *tester) signInFor(scope string) *tester {
	c.t.Helper()
	form := tokenForm()
	form.Set("scope", scope)
	r := c.tokenRequest(form)
	if r.status != http.StatusOK {
		c.t.Fatalf("token: %d %s", r.status, r.raw)
	}
	c.bearer = r.body["access_token"].(string)
	return c
}

func ingestTester(t *testing.T, change func(*Collection)) *tester {
	t.Helper()
	rule := Collection{Streams: map[string][]Column{"Custom-T": everyType}}
	if change != nil {
		change(&rule)
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	return start(t, Config{Collections: []Collection{rule}, Now: func() time.Time { return now }}).signInFor(ingestScope)
}

const ingestPath = "/dataCollectionRules/" + RuleID + "/streams/Custom-T?api-version=2023-01-01"

func TestTheSchemaIsEnforcedInSilence(t *testing.T) {
	c := ingestTester(t, nil)
	long := strings.Repeat("é", 40_000)
	for _, test := range []struct{ row, want string }{
		{
			`{"S":"a","I":-5,"L":9007199254740993,"R":1.5e3,"B":true,"T":"2020-01-01T00:00:00+01:00","G":"7a3c1d5e-0b2f-4c68-9d14-5e6f7a8b9c0d","D":{"x":[1]},"Unknown":1,"TimeGenerated":"2026-11-24T11:00:00Z"}`,
			`{"B":true,"D":{"x":[1]},"G":"7a3c1d5e-0b2f-4c68-9d14-5e6f7a8b9c0d","I":-5,"L":9007199254740993,"R":1.5e3,"S":"a","T":"2020-01-01T00:00:00+01:00","TimeGenerated":"2026-11-24T11:00:00Z"}`,
		},
		{
			`{"S":1,"I":2147483648,"L":1.5,"R":"1","B":"true","T":"yesterday","G":"x","D":null,"TimeGenerated":5}`,
			`{"B":null,"D":null,"G":null,"I":null,"L":null,"R":null,"S":null,"T":null,"TimeGenerated":"2026-11-24T12:00:00.0000000Z"}`,
		},
		{`{"TimeGenerated":"2026-11-22T11:59:59Z"}`, `{"TimeGenerated":"2026-11-24T12:00:00.0000000Z"}`},
		{`{"TimeGenerated":"2026-11-22T12:00:00Z"}`, `{"TimeGenerated":"2026-11-22T12:00:00Z"}`},
		{`{"TimeGenerated":"2026-11-25T12:00:01Z"}`, `{"TimeGenerated":"2026-11-24T12:00:00.0000000Z"}`},
		{`{"TimeGenerated":"2026-11-25T12:00:00Z"}`, `{"TimeGenerated":"2026-11-25T12:00:00Z"}`},
		{`{"S":"x` + long + `","TimeGenerated":"2026-11-24T11:00:00Z"}`, `{"S":"x` + long[:65_534] + `","TimeGenerated":"2026-11-24T11:00:00Z"}`},
	} {
		if r := c.post(ingestPath, "["+test.row+"]"); r.status != http.StatusNoContent {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		rows := c.Rows(RuleID, "Custom-T")
		if got := string(rows[len(rows)-1]); got != test.want {
			t.Errorf("%.200s is stored as %.200s, want %.200s", test.row, got, test.want)
		}
	}
	if c.Rows("dcr-other", "Custom-T") != nil || len(c.Rows(RuleID, "Custom-Other")) != 0 {
		t.Error("rows of others")
	}
}

func TestIngestRefusals(t *testing.T) {
	plain := func(*Collection) {}
	for _, test := range []struct {
		name, path, body, encoding string
		change                     func(*Collection)
		status                     int
		code                       string
	}{
		{"no array", ingestPath, `{"S":"a"}`, "", plain, 400, "InvalidPayload"},
		{"no object", ingestPath, `[null]`, "", plain, 400, "InvalidPayload"},
		{"no gzip", ingestPath, `[]`, "gzip", plain, 400, "InvalidPayload"},
		{"encoding", ingestPath, `[]`, "br", plain, 415, "UnsupportedMediaType"},
		{"stream", strings.Replace(ingestPath, "Custom-T", "Custom-X", 1), `[]`, "", plain, 400, "InvalidStream"},
		{"rule", strings.Replace(ingestPath, "dcr-", "dcr-1", 1), `[]`, "", plain, 404, "NotFound"},
		{"version", strings.TrimSuffix(ingestPath, "2023-01-01"), `[]`, "", plain, 400, "InvalidApiVersion"},
		{"length", ingestPath, `["` + strings.Repeat("x", 1_048_573) + `"]`, "", plain, 413, "ContentLengthLimitExceeded"},
		{"role", ingestPath, `[]`, "", func(c *Collection) { c.RoleAfter = time.Minute }, 403, "OperationFailed"},
		{"quota", ingestPath, `[]`, "", func(c *Collection) { c.RequestsPerMinute = 1 }, 429, "TooManyRequests"},
		{"nested", ingestPath, `[{"S":{}}]`, "", func(c *Collection) { c.Auxiliary = true }, 400, "InvalidPayload"},
		{"region", ingestPath, `[]`, "", func(c *Collection) { c.Region = "eastus" }, 404, "InvalidDcrImmutableId"},
		{"none", ingestPath, `[{"S":{},"D":{}}]`, "", plain, 204, ""},
		{"dynamic", ingestPath, `[{"D":{}}]`, "", func(c *Collection) { c.Auxiliary, c.RequestsPerMinute = true, -1 }, 204, ""},
		{"just fits", ingestPath, `[{}` + strings.Repeat(" ", 1_048_572) + `]`, "", plain, 204, ""},
	} {
		c := ingestTester(t, test.change)
		address := "https://" + IngestHost + test.path
		if test.name == "quota" {
			c.post(address, `[]`)
		}
		req := c.request(http.MethodPost, address, test.body)
		if test.encoding != "" {
			req.Header.Set("Content-Encoding", test.encoding)
		}
		r, err := c.send(req)
		if err != nil || r.status != test.status || r.code() != test.code {
			t.Errorf("%s: %d %s, %v", test.name, r.status, r.raw, err)
		}
		if r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %s", r.header.Get("Retry-After"))
		}
	}
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, _ = zip.Write([]byte("[{}" + strings.Repeat(" ", 1_048_573) + "]"))
	_ = zip.Close()
	for strict, status := range map[bool]int{false: 204, true: 413} {
		c := ingestTester(t, func(c *Collection) { c.StrictUncompressedLimit = strict })
		req := c.request(http.MethodPost, ingestPath, zipped.String())
		req.Header.Set("Content-Encoding", "gzip")
		if r, err := c.send(req); err != nil || r.status != status {
			t.Errorf("strict %v: %d %s, %v", strict, r.status, r.raw, err)
		}
	}
	c := ingestTester(t, nil)
	c.bearer = "x"
	if r := c.post(ingestPath, "[]"); r.status != http.StatusUnauthorized || r.code() != "AuthenticationFailed" {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := c.signIn().post(ingestPath, "[]"); r.status != http.StatusForbidden {
		t.Errorf("a token for Defender: %d %s", r.status, r.raw)
	}
}

func TestCollectionsAreChecked(t *testing.T) {
	streams := map[string][]Column{"Custom-T": everyType}
	for _, rules := range [][]Collection{{{}}, {{Streams: streams}, {Streams: streams, Host: "b.eastus-1.ingest.monitor.azure.com"}}} {
		if s, err := NewServer(Config{Collections: rules}); err == nil {
			s.Close()
			t.Errorf("%+v is accepted", rules)
		}
	}
}

func TestLogQueriesOverTheWire(t *testing.T) {
	c := start(t, Config{LogQuery: func(q LogQuery) LogAnswer {
		switch q.Query {
		case "partial":
			return LogAnswer{Partial: "too much"}
		case "bad":
			return LogAnswer{Syntax: "no"}
		}
		return LogAnswer{Tables: []LogTable{{Columns: []Column{{"N", "long"}}, Rows: [][]any{{json.Number("1")}}}}}
	}}).signInFor("https://api.loganalytics.io/.default")
	for query, want := range map[string]string{
		"T":       `200 {"tables":[{"name":"PrimaryResult","columns":[{"name":"N","type":"long"}],"rows":[[1]]}]}`,
		"partial": `200 {"error":{"code":"PartialError","details":[{"code":"EngineError","innererror":{"code":"-2133196797","message":"too much"},"message":"Something went wrong processing your query on the server."}],"message":"There were some errors when processing your query."},"tables":[]}`,
		"bad":     `400 {"error":{"code":"BadArgumentError","innererror":{"code":"SyntaxError","message":"no"},"message":"The request had some invalid properties"}}`,
		"":        `400 {"error":{"code":"BadArgumentError","innererror":{"code":"BadArgumentError","message":"Invalid request body"},"message":"The request had some invalid properties"}}`,
	} {
		req := c.request(http.MethodPost, "/v1/workspaces/w/query", `{"query":"`+query+`"}`)
		req.Header.Set("Content-Type", "application/json")
		r, err := c.send(req)
		if got := http.StatusText(r.status); err != nil || strings.TrimSpace(want[4:]) != strings.TrimSpace(r.raw) || got != http.StatusText(map[byte]int{'2': 200, '4': 400}[want[0]]) {
			t.Errorf("%s: %d %s, %v", query, r.status, r.raw, err)
		}
	}
	if r := c.post("/v1/workspaces/w/query", `{"query":"T"}`); r.status != http.StatusOK || r.raw != "" {
		t.Errorf("without a content type: %d %s", r.status, r.raw)
	}
}

func TestPreferWait(t *testing.T) {
	for prefer, want := range map[string]time.Duration{
		"": 3 * time.Minute, "wait=5": 5 * time.Second, "include-statistics=true, wait=600": 10 * time.Minute, "wait=601": 10 * time.Minute, "wait=x": 3 * time.Minute, "wait=0": 3 * time.Minute,
	} {
		if got := serverTimeout(prefer); got != want {
			t.Errorf("%s: %v", prefer, got)
		}
	}
}
