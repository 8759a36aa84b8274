package azuretest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

// STIXObject is an object of threat intelligence as it was uploaded last.
type STIXObject struct {
	ID     string
	Type   string
	Source string // sourcesystem
	Raw    json.RawMessage
}

// STIX returns the objects of the workspace of this id, in the order they came first.
func (s *Server) STIX(workspaceID string) []STIXObject {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.workspaces {
		if strings.EqualFold(w.ID, workspaceID) {
			return slices.Clone(w.stix)
		}
	}
	return nil
}

// maxUpload is how many objects a request may have.
const maxUpload = 100

// threatIntel is the upload of STIX objects, a host of its own. Its envelope and the
// codes of its refusals are assumed to be Resource Manager's.
func (s *Server) threatIntel() *product {
	p := &product{
		name: "threatintel", hosts: []string{"api.ti.sentinel.azure.com"}, prefixes: []string{"/workspaces/"},
		audiences: armAudiences, refuse: writeARMError, mux: http.NewServeMux(),
	}
	var perMinute *sim.Window
	if s.cfg.Sentinel.UploadQuota >= 0 {
		perMinute = window(s.cfg.Sentinel.UploadQuota, time.Minute)
	}
	op := armOperation{
		action: "Microsoft.SecurityInsights/threatIntelligence/write", versions: []string{"2024-02-01-preview"},
		roles: sentinelReaders[2:],
	}
	s.handle(p, "POST /workspaces/{id}/threat-intelligence-stix-objects:upload", operation{
		name: "UploadSTIX", ok: http.StatusOK, serve: func(r *http.Request) (any, error) {
			if err := s.checkVersion(r, op); err != nil {
				return nil, err
			}
			if err := s.checkRole(r, op); err != nil {
				return nil, err
			}
			if perMinute != nil {
				if err := take([]*sim.Window{perMinute}, strings.ToLower(r.PathValue("id")), s.cfg.Now()); err != nil {
					return nil, err
				}
			}
			return s.upload(r)
		},
	})
	s.notServed(p)
	return p
}

// upload stores the objects that are whole, an object of the same id in place of the
// one before. What is not is told in a 200; a 200 without a body says that all are.
func (s *Server) upload(r *http.Request) (any, error) {
	body, err := readBody(r, maxIncidentBody)
	if err != nil {
		return nil, err
	}
	var in struct {
		Source  string            `json:"sourcesystem"`
		Objects []json.RawMessage `json:"stixobjects"`
	}
	switch err := json.Unmarshal(body, &in); {
	case err != nil:
		return nil, badIncident("The request body is not JSON.")
	case in.Source == "" || strings.EqualFold(in.Source, "Microsoft Sentinel"):
		return nil, badIncident("The sourcesystem '%s' is not allowed.", in.Source)
	case len(in.Objects) == 0 || len(in.Objects) > maxUpload:
		return nil, badIncident("The request has %d objects: 1 to %d are allowed.", len(in.Objects), maxUpload)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.workspaces, func(w *workspace) bool { return strings.EqualFold(w.ID, r.PathValue("id")) })
	if at < 0 {
		return nil, refuse(http.StatusNotFound, "NotFound", "The workspace '%s' was not found.", r.PathValue("id"))
	}
	type refusal struct {
		RecordIndex   int      `json:"recordIndex"`
		ErrorMessages []string `json:"errorMessages"`
	}
	var refused []refusal
	for i, raw := range in.Objects {
		object, said := readSTIX(raw)
		if said != nil {
			refused = append(refused, refusal{i, said})
			continue
		}
		object.Source = in.Source
		s.workspaces[at].store(object)
	}
	if refused == nil {
		return nil, nil
	}
	return map[string]any{"errors": refused}, nil
}

func (w *workspace) store(o STIXObject) {
	if at := slices.IndexFunc(w.stix, func(there STIXObject) bool { return there.ID == o.ID }); at >= 0 {
		w.stix[at] = o
		return
	}
	w.stix = append(w.stix, o)
}

// readSTIX returns an object, or what is wrong with it. That an id begins with its
// type is STIX's own rule; that the vendor checks it is assumed.
func readSTIX(raw json.RawMessage) (STIXObject, []string) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(raw, &o); err != nil {
		return STIXObject{}, []string{"Error: the object is not a JSON object."}
	}
	str := func(name string) string {
		var s string
		_ = json.Unmarshal(o[name], &s)
		return s
	}
	required := []string{"id", "type", "created", "modified"}
	switch typ := str("type"); typ {
	case "indicator":
		required = append(required, "pattern", "pattern_type", "valid_from")
	case "attack-pattern", "threat-actor", "identity", "relationship", "":
	default:
		return STIXObject{}, []string{fmt.Sprintf("Error for Property=type: Unsupported type. Actual value: %s.", typ)}
	}
	var said []string
	for _, name := range required {
		if str(name) == "" {
			said = append(said, fmt.Sprintf("Error for Property=%s: Required property is missing. Actual value: NULL.", name))
		}
	}
	if said == nil && !strings.HasPrefix(str("id"), str("type")+"--") {
		said = []string{fmt.Sprintf("Error for Property=id: Invalid id. Actual value: %s.", str("id"))}
	}
	return STIXObject{ID: str("id"), Type: str("type"), Raw: slices.Clone(raw)}, said
}
