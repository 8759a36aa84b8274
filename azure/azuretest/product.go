package azuretest

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

// product is one of Microsoft's APIs: where it is, which tokens it takes, how it
// refuses.
type product struct {
	name      string
	hosts     []string
	prefixes  []string // of its paths, for clients that come by base URL
	audiences []string // of its tokens, without a slash at the end
	quota     []*sim.Window
	// refuse writes an error in the product's envelope; id is the request's.
	refuse func(w http.ResponseWriter, err *apiError, id string)
	mux    *http.ServeMux
}

// operation is one API operation: the unit of permission and, where the product
// counts so, of quota.
type operation struct {
	name  string   // its quota is counted under this
	roles []string // any one of them is enough; none are needed if there are none
	ok    int      // status of a success
	serve func(*http.Request) (any, error)
	quota []*sim.Window // in place of the product's, if not nil
}

// answer is a result that is more than its JSON: another status, headers, or no
// body at all.
type answer struct {
	status int
	header http.Header
	body   any // nil: none
}

// handle adds an operation: who are you, may you, and not so often come first.
func (s *Server) handle(p *product, pattern string, op operation) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		body, err := func() (any, error) {
			t, err := s.authenticate(r)
			if err != nil {
				return nil, err
			}
			if err := t.authorize(p.audiences, op.roles); err != nil {
				return nil, err
			}
			windows := op.quota
			if windows == nil {
				windows = p.quota
			}
			if err := take(windows, op.name, s.cfg.Now()); err != nil {
				return nil, err
			}
			return op.serve(r)
		}()
		if err != nil {
			p.refuse(w, asAPIError(err), s.nextID("request"))
			return
		}
		write(w, op.ok, body)
	})
}

func write(w http.ResponseWriter, status int, body any) {
	if a, ok := body.(answer); ok {
		for k, v := range a.header {
			w.Header()[k] = v
		}
		status, body = cmp.Or(a.status, status), a.body
	}
	if body == nil {
		w.WriteHeader(status)
		return
	}
	contentType := w.Header().Get("Content-Type")
	writeJSON(w, status, cmp.Or(contentType, "application/json; charset=utf-8"), body)
}

// notServed answers for paths that the product does not have.
func (s *Server) notServed(p *product) {
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		err := refuse(http.StatusNotFound, "NotFound", "No HTTP resource was found that matches %s '%s'", r.Method, r.URL.Path)
		p.refuse(w, err, s.nextID("request"))
	})
}

func (p *product) serves(host string) bool { return slices.Contains(p.hosts, host) }

func (p *product) servesPath(path string) bool {
	return slices.ContainsFunc(p.prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

func window(limit int, per time.Duration) *sim.Window { return &sim.Window{Limit: limit, Per: per} }

// take counts a call against the windows of an operation. The shortest comes
// first: a client that hammers a full minute must not use up its hour too.
func take(windows []*sim.Window, operation string, now time.Time) error {
	for _, q := range windows {
		_, wait, ok := q.Take(operation, now)
		if ok {
			continue
		}
		seconds := int(math.Ceil(wait.Seconds()))
		per := map[time.Duration]string{time.Minute: "minute", time.Hour: "hour"}[q.Per]
		return &apiError{
			status: http.StatusTooManyRequests, code: "TooManyRequests",
			message: fmt.Sprintf("API calls quota exceeded! Maximum allowed %d per %s for this API. Retry after %d seconds.",
				q.Limit, cmp.Or(per, q.Per.String()), seconds),
			header: http.Header{"Retry-After": {strconv.Itoa(seconds)}},
		}
	}
	return nil
}
