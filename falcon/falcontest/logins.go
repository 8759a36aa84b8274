package falcontest

import (
	"net/http"
	"slices"
	"time"
)

// Login is a login on a host.
type Login struct {
	Time time.Time
	User string
}

const (
	maxLoginIDs  = 10
	maxLogins    = 100
	defLogins    = 10
	loginsWindow = 7 * 24 * time.Hour // "now-7d" is the documented default
)

// loginHistory lists the latest logins first; that order is assumed.
func (c *cloud) loginHistory(q *call) {
	limit, ok := q.number("limit", defLogins, 1, maxLogins)
	if !ok {
		return
	}
	params := q.r.URL.Query()
	from, ok1 := q.moment(params.Get("from"), q.now.Add(-loginsWindow))
	to, ok2 := q.moment(params.Get("to"), q.now)
	if !ok1 || !ok2 {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	ids, ok := q.body(maxLoginIDs)
	if !ok {
		return
	}
	c.entities(q, ids, func(d *device, _ time.Time) object {
		logins := []object{}
		for _, l := range slices.Backward(d.sortedLogins()) {
			if !l.Time.Before(from) && !l.Time.After(to) && len(logins) < limit {
				logins = append(logins, object{{"login_time", stamp(l.Time)}, {"user_name", l.User}})
			}
		}
		return object{{"device_id", d.DeviceID}, {"cid", d.CID}, {"recent_logins", logins}}
	})
}

func (d *device) sortedLogins() []Login {
	return slices.SortedFunc(slices.Values(d.Logins), func(a, b Login) int { return a.Time.Compare(b.Time) })
}

// moment reads a time, as it is or relative to now.
func (q *call) moment(s string, def time.Time) (time.Time, bool) {
	if s == "" {
		return def, true
	}
	return parseTime(s, q.now)
}
