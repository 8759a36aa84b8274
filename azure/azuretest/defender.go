package azuretest

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

// App roles of the operations served.
const (
	roleMachineRead      = "Machine.Read.All"
	roleMachineReadWrite = "Machine.ReadWrite.All"
	roleMachineIsolate   = "Machine.Isolate"
)

// defenderAudiences are what a token for the Defender API may be issued for.
var defenderAudiences = []string{
	"https://api.securitycenter.microsoft.com",
	"https://api.securitycenter.windows.com",
}

// operation is one API operation: the unit of quota and permission.
type operation struct {
	name  string   // its quota is counted under this
	roles []string // any one of them is enough
	ok    int      // status of a success
	serve func(*http.Request) (any, error)
}

// defenderHandler is the Defender API under both of its roots.
func (s *Server) defenderHandler() http.Handler {
	read := []string{roleMachineRead, roleMachineReadWrite}
	isolate := []string{roleMachineIsolate}
	list := s.operation(operation{"ListMachines", read, http.StatusOK, s.listMachines})
	get := s.operation(operation{"GetMachine", read, http.StatusOK, s.getMachine})
	find := s.operation(operation{"FindMachinesByIP", read, http.StatusOK, s.findByIP})
	mux := http.NewServeMux()
	for _, root := range []string{"/api", "/api/v1.0"} {
		mux.Handle("GET "+root+"/machines", list)
		mux.HandleFunc("GET "+root+"/machines/{id}", func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.PathValue("id"), findByIPPrefix) {
				find.ServeHTTP(w, r)
				return
			}
			get.ServeHTTP(w, r)
		})
		mux.Handle("POST "+root+"/machines/{id}/isolate", s.operation(operation{"IsolateMachine", isolate, http.StatusCreated, s.isolate}))
		mux.Handle("POST "+root+"/machines/{id}/unisolate", s.operation(operation{"UnisolateMachine", isolate, http.StatusCreated, s.unisolate}))
		mux.Handle("GET "+root+"/machineactions", s.operation(operation{"ListMachineActions", read, http.StatusOK, s.listActions}))
		mux.Handle("GET "+root+"/machineactions/{id}", s.operation(operation{"GetMachineAction", read, http.StatusOK, s.getAction}))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		err := refuse(http.StatusNotFound, "NotFound", "No HTTP resource was found that matches %s '%s'", r.Method, r.URL.Path)
		writeError(w, err, s.nextID("request"))
	})
	return mux
}

// operation puts the checks every call passes in front of op: who are you, may
// you, and not so often.
func (s *Server) operation(op operation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := func() (any, error) {
			t, err := s.authenticate(r)
			if err != nil {
				return nil, err
			}
			if err := t.authorize(op.roles); err != nil {
				return nil, err
			}
			if err := s.takeQuota(op.name); err != nil {
				return nil, err
			}
			return op.serve(r)
		}()
		if err != nil {
			writeError(w, err, s.nextID("request"))
			return
		}
		w.Header().Set("OData-Version", "4.0")
		writeJSON(w, op.ok, "application/json; odata.metadata=minimal; odata.streaming=true", body)
	})
}

func window(limit int, per time.Duration) *sim.Window {
	if limit < 0 {
		return nil
	}
	return &sim.Window{Limit: limit, Per: per}
}

// takeQuota counts a call against both windows of an operation. The minute comes
// first: a client that hammers a full minute must not use up its hour too.
func (s *Server) takeQuota(operation string) error {
	for _, q := range []struct {
		window *sim.Window
		name   string
	}{{s.minute, "minute"}, {s.hour, "hour"}} {
		if q.window == nil {
			continue
		}
		_, wait, ok := q.window.Take(operation, s.cfg.Now())
		if ok {
			continue
		}
		seconds := int(math.Ceil(wait.Seconds()))
		return &apiError{
			status: http.StatusTooManyRequests, code: "TooManyRequests",
			message: fmt.Sprintf("API calls quota exceeded! Maximum allowed %d per %s for this API. Retry after %d seconds.", q.window.Limit, q.name, seconds),
			header:  http.Header{"Retry-After": {strconv.Itoa(seconds)}},
		}
	}
	return nil
}
