package falcontest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	iocEntities = "/iocs/entities/indicators/v1"
	iocCombined = "/iocs/combined/indicator/v1"
	iocQueries  = "/iocs/queries/indicators/v1"
)

func customIOCs(n int) (out []IOC) {
	for i := range n {
		out = append(out, IOC{ID: fmt.Sprintf("%04d", i), Type: "domain", Value: fmt.Sprintf("%04d.example", i), AppliedGlobally: true})
	}
	return out
}

// Indicators are paged by offset, or by after, and never by both.
func TestIOCPages(t *testing.T) {
	c := login(t, Config{IOCs: customIOCs(5)})
	for _, path := range []string{iocCombined, iocQueries} {
		equal(t, "offset", c.get(path, "offset", "3", "limit", "5").ids(), []string{"0003", "0004"})
		equal(t, "offset's token", strings.Contains(string(c.get(path, "offset", "0", "limit", "2").raw), `"after"`), false)
		var got [][]string
		after := []string{"limit", "3"}
		for range 3 {
			r := c.get(path, after...)
			got = append(got, r.ids())
			var p struct {
				Meta struct{ Pagination struct{ After string } }
			}
			if err := json.Unmarshal(r.raw, &p); err != nil {
				t.Fatal(err)
			}
			after = []string{"limit", "3", "after", p.Meta.Pagination.After}
			if p.Meta.Pagination.After == "" {
				break
			}
			equal(t, "both", c.get(path, append(after, "offset", "0")...).status, 400)
			equal(t, "another order", c.get(path, append(after, "sort", "value")...).status, 400)
		}
		equal(t, "after", got, [][]string{{"0000", "0001", "0002"}, {"0003", "0004"}, {}})
		equal(t, "beyond the window", c.get(path, "offset", "9999", "limit", "2").status, 400)
		equal(t, "too many", c.get(path, "limit", "2001").status, 400)
		equal(t, "a filter that is none", c.get(path, "filter", "x").status, 400)
		equal(t, "the same with an offset", c.get(path, "filter", "x", "offset", "0").status, 400)
		equal(t, "none", c.get(path, "filter", "value:'x'").ids(), []string{})
	}
}

// A filter wins over ids, even if it matches nothing.
func TestIOCDeleteByFilter(t *testing.T) {
	c := login(t, Config{IOCs: customIOCs(5)})
	del := func(params url.Values) *reply { return c.do(http.MethodDelete, iocEntities+"?"+params.Encode(), nil) }
	equal(t, "nothing matches", del(url.Values{"ids": {"0001"}, "filter": {"value:'x'"}}).ids(), []string{})
	equal(t, "left", len(c.srv.IOCs()), 5)
	equal(t, "the filter's", del(url.Values{"ids": {"0001"}, "filter": {"value:'0004*'"}}).ids(), []string{"0004"})
	equal(t, "a filter that is none", del(url.Values{"filter": {"x"}}).status, 400)
	equal(t, "neither", del(nil).status, 400)
	r := del(url.Values{"ids": {"0001", "gone"}})
	equal(t, "by id", []any{r.status, r.ids(), r.codes()}, []any{200, []string{"0001"}, []int{404}})
	equal(t, "left", len(c.srv.IOCs()), 3)
}

// One row that is wrong refuses them all, and says which it is.
func TestIOCRowsAreRefused(t *testing.T) {
	c := login(t, Config{IOCs: customIOCs(1), IOCBatch: 2})
	row := func(change string) string {
		return strings.Replace(`{"type":"domain","value":"new.example","action":"detect","severity":"high","platforms":["mac"],"applied_globally":true}`, `"type":"domain"`, change, 1)
	}
	post := func(query string, rows ...string) *reply {
		return c.post(iocEntities+query, `{"comment":"c","indicators":[`+strings.Join(rows, ",")+`]}`)
	}
	for change, want := range map[string]string{
		`"type":"sha1"`:                       "type",
		`"type":"md5"`:                        "value",
		`"type":7`:                            "type",
		`"type":"domain","tags":{}`:           "tags",
		`"type":"domain","expiration":"soon"`: "expiration",
		`"type":"domain","host_groups":["g"]`: "applied_globally",
		`"type":"all_subdomains","metadata":{"filename":"a"}`: "",
	} {
		r := post("", row(change))
		if want == "" {
			equal(t, change, r.status, 201)
			continue
		}
		equal(t, change, r.status, 400)
		if s := string(r.raw); !strings.Contains(s, `"field_name": "`+want+`"`) || !strings.Contains(s, `"row": 1`) {
			t.Errorf("%s: %s", change, s)
		}
	}
	known := post("", strings.Replace(row(`"type":"domain"`), "new", "0000", 1))
	if s := string(known.raw); known.status != 400 || !strings.Contains(s, "Duplicate") {
		t.Errorf("one that is there: %s", s)
	}
	twice := post("", row(`"type":"domain"`), row(`"type":"domain"`))
	if s := string(twice.raw); twice.status != 400 || len(twice.Resources) != 1 || !strings.Contains(s, `"row": 2`) || !strings.Contains(s, "Duplicate") {
		t.Errorf("the same twice: %s", s)
	}
	equal(t, "too many", post("", row(`"type":"domain"`), row(`"type":"md5"`), row(`"type":"md5"`)).status, 400)
	equal(t, "none", post("").status, 400)
	equal(t, "no JSON", c.post(iocEntities, "{").status, 400)
	equal(t, "indicators", len(c.srv.IOCs()), 2)

	private := strings.Replace(row(`"type":"ipv4"`), "new.example", "10.0.0.1", 1)
	warned := post("", private)
	if warned.status != 400 || !strings.Contains(string(warned.raw), `"message_type": "warning"`) {
		t.Errorf("a warning: %s", warned.raw)
	}
	equal(t, "ignored", post("?ignore_warnings=true&retrodetects=true", private).status, 201)
	got := c.srv.IOCs()[1]
	equal(t, "created", []any{got.Value, len(got.ID), got.CID, got.Comment, got.Retrodetects}, []any{"10.0.0.1", 64, CID, "c", true})
}

// What is null is cleared, what is not there stays.
func TestIOCNullClears(t *testing.T) {
	c := login(t, Config{IOCs: []IOC{{ID: "a", Type: "domain", Value: "a.example", AppliedGlobally: true, Tags: []string{"t"}, Source: "s"}}})
	patch := func(row string) int {
		return c.do(http.MethodPatch, iocEntities, `{"indicators":[`+row+`]}`).status
	}
	equal(t, "null platforms", patch(`{"id":"a","platforms":null}`), 400)
	equal(t, "an unknown id", patch(`{"id":"b","tags":null}`), 400)
	equal(t, "null tags", patch(`{"id":"a","tags":null,"type":"md5","value":"x"}`), 200)
	got := c.srv.IOCs()[0]
	equal(t, "changed", []any{got.Type, got.Value, len(got.Tags), got.Source, got.Platforms}, []any{"domain", "a.example", 0, "s", []string{"windows"}})
	equal(t, "by id", c.get(iocEntities, "ids", "a", "ids", "b").codes(), []int{404})
}

// An expired indicator stays, and does nothing.
func TestIOCExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true, IOCs: []IOC{{
			Type: "md5", Value: strings.Repeat("a", 32), Action: "prevent", Filename: "a.exe", Expiration: time.Now().Add(time.Hour),
		}}})
		show := func() (action string, expired bool) {
			var r struct {
				Resources []struct {
					Action  string
					Expired bool
				}
			}
			if err := json.Unmarshal(c.get(iocCombined, "filter", "metadata.filename:'a.exe'").raw, &r); err != nil {
				t.Fatal(err)
			}
			return r.Resources[0].Action, r.Resources[0].Expired
		}
		action, expired := show()
		equal(t, "before", []any{action, expired}, []any{"prevent", false})
		time.Sleep(time.Hour)
		c.login(url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}})
		action, expired = show()
		equal(t, "after", []any{action, expired}, []any{"no_action", true})
	})
}

func TestIOCsAreManaged(t *testing.T) {
	if s, err := NewServer(Config{IOCs: []IOC{{Type: "domain"}}}); err == nil {
		s.Close()
		t.Error("an indicator without a value")
	}
	c := start(t, Config{IOCs: []IOC{{ID: "a", Type: "domain", Value: "a"}}})
	c.srv.AddIOC(IOC{Type: "domain", Value: "b"})
	c.srv.AddIOC(IOC{ID: "a", Type: "domain", Value: "c", Tags: []string{"t"}})
	got := c.srv.IOCs()
	if len(got) != 2 || got[0].Value != "b" || len(got[0].ID) != 64 || got[1].Value != "c" {
		t.Fatalf("%+v", got)
	}
	got[1].Tags[0] = "changed"
	equal(t, "shared", c.srv.IOCs()[1].Tags, []string{"t"})
}
