package falcontest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// The limit of the ids is assumed.
const (
	maxTagIDs = 5000
	tagPrefix = "FalconGroupingTags/"
)

// changeTags answers 202 with a row for every host, whether it was changed or not:
// an unknown host is a row too (its code and words are assumed). That a tag which is
// there already counts as updated, and that a tag of another kind spoils the whole
// request, is assumed as well.
func (c *cloud) changeTags(q *call) {
	var b struct {
		Action    string   `json:"action"`
		DeviceIDs []string `json:"device_ids"`
		Tags      []string `json:"tags"`
	}
	if err := json.NewDecoder(q.r.Body).Decode(&b); err != nil || b.Action != "add" && b.Action != "remove" || len(b.Tags) == 0 {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	if !q.countIDs(b.DeviceIDs, maxTagIDs) {
		return
	}
	for _, t := range b.Tags {
		if !strings.HasPrefix(t, tagPrefix) {
			q.reject(http.StatusBadRequest, "invalid tag "+t)
			return
		}
	}
	rows := make([]object, len(b.DeviceIDs))
	c.fleet.mu.Lock()
	for i, id := range b.DeviceIDs {
		d := c.fleet.get(id, q.now)
		if d == nil || !q.token.sees(d.CID) {
			rows[i] = object{{"device_id", id}, {"updated", false}, {"code", http.StatusNotFound}, {"error", "No device found for id " + id}}
			continue
		}
		d.Tags = slices.DeleteFunc(d.Tags, func(t string) bool { return slices.Contains(b.Tags, t) })
		if b.Action == "add" {
			d.Tags = append(d.Tags, b.Tags...)
		}
		d.touch(q.now)
		rows[i] = object{{"device_id", id}, {"updated", true}, {"code", http.StatusOK}}
	}
	c.fleet.mu.Unlock()
	q.send(http.StatusAccepted, envelope{q.meta(q.by), rows, []apiError{}})
}
