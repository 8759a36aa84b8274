package azuretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) commentJSON(w *workspace, i *SentinelIncident, c SentinelComment) resource {
	return w.resource("Incidents/Comments", "incidents/"+i.ID+"/Comments", c.ID, map[string]any{
		"message": c.Message, "createdTimeUtc": stamp(c.Created), "lastModifiedTimeUtc": stamp(c.Modified),
		"author": map[string]any{"objectId": s.cfg.ClientID, "email": nil, "name": "azuretest", "userPrincipalName": nil},
	})
}

// listComments gives the oldest first (assumed).
func (s *Server) listComments(w *workspace, r *http.Request) (any, error) {
	at, err := w.incident(r)
	if err != nil {
		return nil, err
	}
	i := w.incidents[at]
	return answerARMPage(s, r, i.Comments, func(c SentinelComment) resource { return s.commentJSON(w, i, c) })
}

// comment finds the comment of a path; at is -1 if there is none.
func (w *workspace) comment(r *http.Request) (i *SentinelIncident, at int, err error) {
	n, err := w.incident(r)
	if err != nil {
		return nil, -1, err
	}
	i = w.incidents[n]
	return i, slices.IndexFunc(i.Comments, func(c SentinelComment) bool { return strings.EqualFold(c.ID, r.PathValue("comment")) }), nil
}

func (s *Server) getComment(w *workspace, r *http.Request) (any, error) {
	i, at, err := w.comment(r)
	if err != nil {
		return nil, err
	}
	if at < 0 {
		return nil, refuse(http.StatusNotFound, "NotFound", "Comment '%s' does not exist", r.PathValue("comment"))
	}
	return s.commentJSON(w, i, i.Comments[at]), nil
}

func (s *Server) putComment(w *workspace, r *http.Request) (any, error) {
	i, at, err := w.comment(r)
	if err != nil {
		return nil, err
	}
	_, properties, err := readProperties(r)
	if err != nil {
		return nil, err
	}
	var message string
	if json.Unmarshal(properties["message"], &message) != nil || message == "" {
		return nil, badIncident("Property 'message' is required.")
	}
	if !isGUID(r.PathValue("comment")) {
		return nil, badIncident("The comment's id '%s' is not a GUID.", r.PathValue("comment"))
	}
	now := s.cfg.Now()
	if at >= 0 {
		i.Comments[at].Message, i.Comments[at].Modified = message, now
		return s.commentJSON(w, i, i.Comments[at]), nil
	}
	c := SentinelComment{ID: r.PathValue("comment"), Message: message, Created: now, Modified: now}
	i.Comments = append(i.Comments, c)
	return answer{status: http.StatusCreated, body: s.commentJSON(w, i, c)}, nil
}

func (s *Server) deleteComment(w *workspace, r *http.Request) (any, error) {
	i, at, err := w.comment(r)
	if err != nil {
		return nil, err
	}
	if at < 0 {
		return answer{status: http.StatusNoContent}, nil
	}
	i.Comments = slices.Delete(i.Comments, at, at+1)
	return answer{}, nil
}
