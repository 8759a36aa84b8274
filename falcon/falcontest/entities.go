package falcontest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// How many ids the operations take. The limit of online-state is assumed.
const (
	maxGetIDs    = 100
	maxPostIDs   = 5000
	maxOnlineIDs = 100
)

// idsBody is the body of operations on entities.
type idsBody struct {
	IDs []string `json:"ids"`
}

// body reads the ids of a POST; anything else is answered 400.
func (q *call) body(limit int) ([]string, bool) {
	var b idsBody
	if err := json.NewDecoder(q.r.Body).Decode(&b); err != nil {
		q.reject(http.StatusBadRequest, "Bad request")
		return nil, false
	}
	return b.IDs, q.countIDs(b.IDs, limit)
}

func (q *call) countIDs(ids []string, limit int) bool {
	switch {
	case len(ids) == 0:
		q.reject(http.StatusBadRequest, "ids is required")
	case len(ids) > limit:
		q.reject(http.StatusBadRequest, fmt.Sprintf("too many ids: %d, the maximum is %d", len(ids), limit))
	default:
		return true
	}
	return false
}

func (c *cloud) getHosts(q *call) {
	if ids := q.r.URL.Query()["ids"]; q.countIDs(ids, maxGetIDs) {
		c.entities(q, ids, details)
	}
}

func (c *cloud) postHosts(q *call) {
	if ids, ok := q.body(maxPostIDs); ok {
		c.entities(q, ids, details)
	}
}

func (c *cloud) onlineState(q *call) {
	if ids := q.r.URL.Query()["ids"]; q.countIDs(ids, maxOnlineIDs) {
		c.entities(q, ids, presence)
	}
}

// entities answers 200 even if no id is known: the errors are beside the
// resources, and a client that looks at the status only misses them.
func (c *cloud) entities(q *call, ids []string, shape func(*device, time.Time) object) {
	found, missing := c.fleet.lookup(ids, q.token, q.now, shape)
	q.send(http.StatusOK, envelope{q.meta(q.by), found, missing})
}
