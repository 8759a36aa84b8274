package azuretest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestIndicatorsOverTheWire(t *testing.T) {
	c := start(t, Config{Indicators: []DefenderIndicator{{Value: "old.example", Type: "DomainName"}}}).signIn()
	good := `"action":"Block","title":"t","description":"d"`
	domain := `{"indicatorValue":"a.example","indicatorType":"DomainName",` + good + `}`
	for _, tc := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"/api/indicators", `{"IndicatorValue":"a.example","indicatorType":"DomainName",` + good + `}`, 400, "InvalidRequestBody"},
		{"/api/indicators", `{"indicatorType":"DomainName",` + good + `}`, 400, "MissingRequiredParameter"},
		{"/api/indicators", `{"indicatorValue":"x","indicatorType":"FileSha1",` + good + `}`, 400, "InvalidHashValue"},
		{"/api/indicators", `{"indicatorValue":"10.0.0.0/8","indicatorType":"IpAddress",` + good + `}`, 400, "InvalidIpAddress"},
		{"/api/indicators", `{"indicatorValue":"x","indicatorType":"DomainName",` + good + `}`, 400, "InvalidDomainName"},
		{"/api/indicators", `{"indicatorValue":"%zz","indicatorType":"Url",` + good + `}`, 400, "InvalidUrl"},
		{"/api/indicators", `{"indicatorValue":"x","indicatorType":"Sha1",` + good + `}`, 400, "InvalidInput"},
		{"/api/indicators", `{"indicatorValue":"a.example","indicatorType":"DomainName","action":"Audit","title":"t","description":"d"}`, 400, "InvalidInput"},
		{"/api/indicators", `{"indicatorValue":"a.example","indicatorType":"DomainName","action":"Nuke","title":"t","description":"d"}`, 400, "InvalidInput"},
		{"/api/indicators", `{"indicatorValue":"a.example","indicatorType":"DomainName","severity":"high",` + good + `}`, 400, "InvalidInput"},
		{"/api/indicators", domain, 200, ""},
		{"/api/indicators", domain, 200, ""},
		{"/api/indicators/import", `{"indicators":[` + domain + `]}`, 400, "MissingRequiredParameter"},
		{"/api/indicators/import", `{"Indicators":[]}`, 400, "InvalidRequestBody"},
		{"/api/indicators/import", `{"Indicators":[` + strings.Repeat(domain+",", 500) + domain + `]}`, 400, "MaximumBatchSizeExceeded"},
		{"/api/indicators/BatchDelete", `{"indicatorIds":["2841"]}`, 400, "MissingRequiredParameter"},
		{"/api/indicators/BatchDelete", `{"IndicatorIds":[]}`, 400, "InvalidRequestBody"},
		{"/api/indicators/BatchDelete", `{"IndicatorIds":["2841","1"]}`, 404, "ResourceNotFound"},
		{"/api/indicators/BatchDelete", `{"IndicatorIds":["x"` + strings.Repeat(`,"x"`, 500) + `]}`, 400, "MaximumBatchSizeExceeded"},
	} {
		if r := c.post(tc.path, tc.body); r.status != tc.status || r.code() != tc.code {
			t.Errorf("%s %.80s: %d %s", tc.path, tc.body, r.status, r.raw)
		}
	}
	if got := c.Indicators(); len(got) != 2 || got[0].ID != "2841" || got[1].ID != "2842" {
		t.Errorf("%+v", got)
	}
	if r := c.list("/api/indicators", "indicatorType eq 'DomainName' and indicatorValue eq 'a.example'"); r.status != 200 || len(r.ids()) != 1 {
		t.Error(r.raw)
	}
	r := c.post("/api/indicators/import", `{"Indicators":[{"indicatorValue":"b.example","indicatorType":"DomainName",`+good+`},{"indicatorValue":"zz","indicatorType":"FileMd5",`+good+`}]}`)
	var page struct{ Value []imported }
	if err := json.Unmarshal([]byte(r.raw), &page); err != nil || r.status != 200 || page.Value[0] != (imported{"2843", "b.example", false, ""}) ||
		!page.Value[1].IsFailed || page.Value[1].FailureReason == "" || !strings.Contains(r.raw, `"failureReason":null`) {
		t.Errorf("%s, %v", r.raw, err)
	}
	if r := c.post("/api/indicators/BatchDelete", `{"IndicatorIds":["2841","2842"]}`); r.status != 204 || r.raw != "" || len(c.Indicators()) != 1 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	for _, want := range []int{204, 404} {
		if r := c.do("DELETE", "/api/indicators/2843", ""); r.status != want {
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
}

// There is room for 15,000 that have not expired; a value that is there may change.
func TestIndicatorLimit(t *testing.T) {
	c := start(t, Config{}).signIn()
	c.indicators = make([]DefenderIndicator, indicatorLimit)
	for i := range c.indicators {
		c.indicators[i] = DefenderIndicator{ID: fmt.Sprint(i), Value: fmt.Sprintf("%d.example", i)}
	}
	submit := func(value string) int {
		return c.post("/api/indicators", `{"indicatorValue":"`+value+`","indicatorType":"DomainName","action":"Block","title":"t","description":"d"}`).status
	}
	if a, b := submit("new.example"), submit("7.example"); a != 400 || b != 200 {
		t.Errorf("%d, %d", a, b)
	}
	c.indicators[3].Expiration = time.Now().Add(-time.Minute)
	if a := submit("new.example"); a != 200 {
		t.Errorf("%d", a)
	}
}

func TestIndicatorsOfTheConfig(t *testing.T) {
	if _, err := NewServer(Config{Indicators: []DefenderIndicator{{}}}); err == nil || !strings.Contains(err.Error(), "Config.Indicators[0]") {
		t.Error(err)
	}
}
