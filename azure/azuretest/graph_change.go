package azuretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the vendor documents as settable. Its pages disagree about determinations,
// so the server takes the words of all of them.
var (
	graphClassifications = []string{"unknown", "falsePositive", "truePositive", "informationalExpectedActivity"}
	graphDeterminations  = []string{
		"unknown", "apt", "malware", "securityPersonnel", "securityTesting", "unwantedSoftware", "other", "multiStagedAttack",
		"compromisedUser", "compromisedAccount", "phishing", "maliciousUserActivity", "clean", "notMalicious", "insufficientData",
		"notEnoughDataToValidate", "confirmedUserActivity", "confirmedActivity", "lineOfBusinessApplication",
	}
	graphAlertStatuses    = []string{"new", "inProgress", "resolved"}
	graphIncidentStatuses = []string{"active", "inProgress", "resolved", "redirected"}
)

// graphPatch is what a PATCH changes; nil leaves it.
type graphPatch struct {
	assignedTo, classification, determination, status *string
	tags                                              *[]string
}

// readPatch reads the body of a PATCH. That it is refused for a property that is
// not documented, or for a word that its enumeration has not, is assumed.
func readPatch(r *http.Request, statuses []string, tags bool) (p graphPatch, err error) {
	body, err := readBody(r, maxActionBody)
	if err != nil {
		return p, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || len(fields) == 0 {
		return p, refuse(http.StatusBadRequest, "BadRequest", "Request body is incorrect")
	}
	for name, raw := range fields {
		switch {
		case name == "@odata.type":
		case name == "assignedTo":
			var v *string
			if err := json.Unmarshal(raw, &v); err != nil {
				return p, badProperty(name)
			}
			if p.assignedTo = v; v == nil { // null: nobody
				p.assignedTo = new(string)
			}
		case name == "classification":
			p.classification, err = readEnum(name, raw, graphClassifications)
		case name == "determination":
			p.determination, err = readEnum(name, raw, graphDeterminations)
		case name == "status":
			p.status, err = readEnum(name, raw, statuses)
		case name == "customTags" && tags:
			if json.Unmarshal(raw, &p.tags) != nil || p.tags == nil {
				err = badProperty(name)
			}
		default:
			err = badProperty(name)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func badProperty(name string) error {
	return refuse(http.StatusBadRequest, "BadRequest", "The property '%s' cannot be set to this value.", name)
}

// readEnum takes words in any case, as the vendor's own example sends them.
func readEnum(name string, raw json.RawMessage, words []string) (*string, error) {
	var v string
	if json.Unmarshal(raw, &v) != nil {
		return nil, badProperty(name)
	}
	i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, v) })
	if i < 0 {
		return nil, badProperty(name)
	}
	return &words[i], nil
}

// set changes v if there is something to change it to.
func set[T any](v *T, to *T) {
	if to != nil {
		*v = *to
	}
}

// apply changes what alerts and incidents have both.
func (p graphPatch) apply(assignedTo, classification, determination, status *string) {
	set(assignedTo, p.assignedTo)
	set(classification, p.classification)
	set(determination, p.determination)
	set(status, p.status)
}

func (s *Server) patchGraphAlert(r *http.Request) (any, error) {
	p, err := readPatch(r, graphAlertStatuses, false)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.graphAlertLocked(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p.apply(&a.AssignedTo, &a.Classification, &a.Determination, &a.Status)
	a.LastUpdate = now
	if p.status != nil { // assumed: there is no time of resolution of an alert that is open again
		a.Resolved = time.Time{}
		if a.Status == "resolved" {
			a.Resolved = now
		}
	}
	return s.alertEntity(r, *a), nil
}

func (s *Server) patchGraphIncident(r *http.Request) (any, error) {
	p, err := readPatch(r, graphIncidentStatuses, true)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.graphIncidentLocked(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p.apply(&i.AssignedTo, &i.Classification, &i.Determination, &i.Status)
	set(&i.CustomTags, p.tags)
	i.LastUpdate = s.cfg.Now()
	out := s.encodeIncident(i.clone())
	out.Context = graphContext(r, incidentsSet+"/$entity")
	return out, nil
}

// readComment reads a comment that is to be added. Who it is by is assumed to be
// the app's id: an app has no display name here.
func (s *Server) readComment(r *http.Request) (GraphComment, error) {
	body, err := readBody(r, maxActionBody)
	if err != nil {
		return GraphComment{}, err
	}
	var in struct {
		Type    string `json:"@odata.type"`
		Comment string `json:"comment"`
	}
	if json.Unmarshal(body, &in) != nil || strings.TrimPrefix(in.Type, "#") != "microsoft.graph.security.alertComment" || in.Comment == "" {
		return GraphComment{}, refuse(http.StatusBadRequest, "BadRequest", "Request body is incorrect")
	}
	return GraphComment{in.Comment, s.cfg.ClientID, s.cfg.Now()}, nil
}

func (s *Server) commentGraphAlert(r *http.Request) (any, error) {
	return s.addComment(r, alertsSet, func(id string) (*[]GraphComment, *time.Time, error) {
		a, err := s.graphAlertLocked(id)
		if err != nil {
			return nil, nil, err
		}
		return &a.Comments, &a.LastUpdate, nil
	})
}

func (s *Server) commentGraphIncident(r *http.Request) (any, error) {
	return s.addComment(r, incidentsSet, func(id string) (*[]GraphComment, *time.Time, error) {
		i, err := s.graphIncidentLocked(id)
		if err != nil {
			return nil, nil, err
		}
		return &i.Comments, &i.LastUpdate, nil
	})
}

// addComment adds a comment to what find finds, and answers with all of them.
func (s *Server) addComment(r *http.Request, collection string, find func(id string) (comments *[]GraphComment, changed *time.Time, err error)) (any, error) {
	c, err := s.readComment(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	comments, changed, err := find(id)
	if err != nil {
		return nil, err
	}
	*comments, *changed = append(*comments, c), c.Created
	return graphPage[graphCommentJSON]{Context: graphContext(r, collection+"('"+id+"')/comments"), Value: encodeComments(*comments)}, nil
}
