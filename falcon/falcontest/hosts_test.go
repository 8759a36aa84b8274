package falcontest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestScroll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true, Hosts: numbered(5)})
		const path = "/devices/queries/devices-scroll/v1"
		first := c.get(path, "limit", "2", "sort", "hostname.desc")
		equal(t, "page 1", first.ids(), []string{"0005", "0004"})
		equal(t, "total", first.Meta.Pagination.Total, 5)
		equal(t, "expires", first.Meta.Pagination.Expires, time.Now().Add(2*time.Minute).UnixNano())
		offset := first.Meta.Pagination.Offset.(string)

		time.Sleep(119 * time.Second)
		c.srv.RemoveHost("0001") // the result was fixed by the first call
		second := c.get(path, "offset", offset)
		equal(t, "page 2", second.ids(), []string{"0003", "0002"})
		equal(t, "the offset stays", second.Meta.Pagination.Offset, any(offset))
		equal(t, "life is renewed", second.Meta.Pagination.Expires, time.Now().Add(2*time.Minute).UnixNano())

		time.Sleep(119 * time.Second)
		last := c.get(path, "offset", offset)
		equal(t, "last page", last.ids(), []string{"0001"})
		equal(t, "last page's offset", last.Meta.Pagination.Offset, any(offset))
		for range 2 {
			end := c.get(path, "offset", offset)
			equal(t, "after the last page", end.ids(), []string{})
			equal(t, "its total", end.Meta.Pagination.Total, 0)
			equal(t, "its offset", end.Meta.Pagination.Offset, any(""))
		}
	})
}

func TestScrollOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true, Hosts: numbered(3)})
		const path = "/devices/queries/devices-scroll/v1"
		offset := c.get(path, "limit", "1").Meta.Pagination.Offset.(string)
		time.Sleep(2 * time.Minute)
		expired := c.get(path, "offset", offset)
		equal(t, "expired", []any{expired.status, len(expired.Resources), expired.Meta.Pagination.Total}, []any{200, 0, 0})
		for _, bad := range []string{"1000", "x", offset + "A"} {
			r := c.get(path, "offset", bad)
			equal(t, bad, r.status, 400)
			equal(t, bad, r.Errors, []apiError{{Code: 400, Message: "Bad request"}})
		}
		none := c.get(path, "filter", "hostname:'nobody'")
		equal(t, "nothing found", none.Meta.Pagination.Offset, any(""))
	})
}

func TestOffsetPaging(t *testing.T) {
	c := login(t, Config{Hosts: numbered(5)})
	const path = "/devices/queries/devices/v1"
	var all []string
	for offset := 0; ; offset += 2 {
		r := c.get(path, "limit", "2", "offset", fmt.Sprint(offset), "sort", "hostname|desc")
		equal(t, "offset", r.Meta.Pagination.Offset, any(float64(offset)))
		equal(t, "total", r.Meta.Pagination.Total, 5)
		equal(t, "limit", r.Meta.Pagination.Limit, 2)
		if len(r.Resources) == 0 {
			break
		}
		all = append(all, r.ids()...)
	}
	equal(t, "all", all, []string{"0005", "0004", "0003", "0002", "0001"})
	equal(t, "default limit", c.get(path).Meta.Pagination.Limit, 100)

	equal(t, "edge of the window", c.get(path, "offset", "9999", "limit", "1").status, 200)
	over := c.get(path, "offset", "10000", "limit", "1")
	equal(t, "over the window", over.Errors, []apiError{{Code: 400, Message: "limit + offset must be less than 10000"}})
}

func TestBadParameters(t *testing.T) {
	c := login(t, Config{Hosts: numbered(1)})
	for _, tc := range []struct{ path, name, value string }{
		{"/devices/queries/devices/v1", "limit", "0"},
		{"/devices/queries/devices/v1", "limit", "5001"},
		{"/devices/queries/devices/v1", "limit", "ten"},
		{"/devices/queries/devices/v1", "offset", "-1"},
		{"/devices/queries/devices/v1", "offset", "99999999999"},
		{"/devices/queries/devices/v1", "sort", "nosuchfield.asc"},
		{"/devices/queries/devices/v1", "filter", "nosuchfield:'x'"},
		{"/devices/queries/devices/v1", "filter", "hostname:'a' status:'b'"}, // an unescaped +
		{"/devices/queries/devices-scroll/v1", "limit", "10001"},
		{"/devices/queries/devices-scroll/v1", "filter", "hostname"},
		{"/devices/combined/devices/v1", "limit", "10001"},
		{"/devices/combined/devices/v1", "offset", "1"},
		{"/devices/combined/devices/v1", "offset", "e30="},
		{"/devices/combined/devices/v1", "sort", "hostname.sideways"},
	} {
		r := c.get(tc.path, tc.name, tc.value)
		equal(t, fmt.Sprint(tc), r.status, 400)
		equal(t, fmt.Sprint(tc), r.codes(), []int{400})
	}
}

func TestCombinedPaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sort := range []string{"", "hostname.desc", "last_seen.asc", "last_seen.desc"} {
			c := login(t, Config{InMemory: true, Hosts: numbered(5)})
			var all []string
			offset := ""
			for page := 0; ; page++ {
				params := []string{"limit", "2", "sort", sort, "offset", offset}
				r := c.get("/devices/combined/devices/v1", params...)
				equal(t, "total", r.Meta.Pagination.Total, 5)
				equal(t, "again", c.get("/devices/combined/devices/v1", params...).ids(), r.ids())
				all = append(all, r.ids()...)
				time.Sleep(time.Minute) // last_seen of living hosts moves on
				if offset = r.Meta.Pagination.Next; offset == "" || page > 5 {
					break
				}
			}
			want := []string{"0001", "0002", "0003", "0004", "0005"}
			if sort == "hostname.desc" {
				slices.Reverse(want)
			}
			equal(t, "sorted by "+sort, all, want)
		}
	})
}

func TestCombinedFields(t *testing.T) {
	c := login(t, Config{Hosts: numbered(1)})
	r := c.get("/devices/combined/devices/v1", "fields", "status, hostname,nosuchfield")
	var d map[string]any
	if err := json.Unmarshal(r.Resources[0], &d); err != nil {
		t.Fatal(err)
	}
	equal(t, "fields", d, map[string]any{"hostname": "host-0001", "status": "normal"})
}

func TestDetails(t *testing.T) {
	c := login(t, Config{Hosts: numbered(2)})
	const path = "/devices/entities/devices/v2"
	for name, r := range map[string]*reply{
		"GET":  c.get(path, "ids", "0002", "ids", "none", "ids", "0001", "ids", "0002"),
		"POST": c.post(path, map[string]any{"ids": []string{"0002", "none", "0001", "0002"}}),
	} {
		equal(t, name, r.status, 200)
		equal(t, name, r.ids(), []string{"0002", "0001"})
		equal(t, name, r.codes(), []int{404})
		equal(t, name, r.Errors[0].ID, "none")
	}
	r := c.get(path, "ids", "none")
	equal(t, "nothing known", []any{r.status, len(r.Resources), len(r.Errors)}, []any{200, 0, 1})

	many := func(n int) (ids, params []string) {
		for i := range n {
			ids = append(ids, strconv.Itoa(i))
			params = append(params, "ids", strconv.Itoa(i))
		}
		return ids, params
	}
	_, ok := many(100)
	_, tooMany := many(101)
	equal(t, "GET 100", c.get(path, ok...).status, 200)
	equal(t, "GET 101", c.get(path, tooMany...).status, 400)
	okIDs, _ := many(5000)
	tooManyIDs, _ := many(5001)
	equal(t, "POST 5000", c.post(path, map[string]any{"ids": okIDs}).status, 200)
	equal(t, "POST 5001", c.post(path, map[string]any{"ids": tooManyIDs}).status, 400)
	equal(t, "no ids", c.get(path).status, 400)
	equal(t, "no body", c.post(path, nil).status, 400)
	equal(t, "not JSON", c.post(path, "ids=1").status, 400)
}

func TestOnlineState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true, Hosts: []Host{
			{DeviceID: "alive"}, {DeviceID: "silent", LastSeen: time.Now()}, {DeviceID: "odd", OnlineState: "unknown"},
		}})
		states := func() map[string]string {
			r := c.get("/devices/entities/online-state/v1", "ids", "alive", "ids", "silent", "ids", "odd", "ids", "none")
			equal(t, "errors", r.codes(), []int{404})
			got := map[string]string{}
			for _, raw := range r.Resources {
				var s struct {
					ID, CID, State string
					LastSeen       time.Time `json:"last_seen"`
				}
				if err := json.Unmarshal(raw, &s); err != nil || s.CID != CID {
					t.Errorf("%s: %v", raw, err)
				}
				if ago := time.Since(s.LastSeen); s.ID != "silent" && ago != 0 {
					t.Errorf("%s was seen %v ago", s.ID, ago)
				}
				got[s.ID] = s.State
			}
			return got
		}
		equal(t, "at first", states(), map[string]string{"alive": "online", "silent": "online", "odd": "unknown"})
		time.Sleep(15 * time.Minute)
		equal(t, "later", states(), map[string]string{"alive": "online", "silent": "offline", "odd": "unknown"})
	})
}

// Every member of a device has a name that filters know.
func TestVocabularyCoversDetails(t *testing.T) {
	full := Host{
		DeviceID: "a", Hostname: "h", MachineDomain: "d", MACAddress: "m", LocalIP: "l", ExternalIP: "e", SerialNumber: "s",
		ServiceProvider: "AZURE", ServiceProviderAccountID: "1", InstanceID: "i", Groups: []string{"g"}, Tags: []string{"t"}, Hidden: true,
	}
	for _, m := range details(&device{Host: full}, time.Now()) {
		if !knownField(m.key) {
			t.Errorf("%s is unknown to filters", m.key)
		}
	}
}
