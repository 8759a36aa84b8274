package azure

import (
	"context"
	"net/http"
	"strings"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// GraphUpdate is what to change of an alert or an incident. What is zero stays as
// it is; an update of nothing is refused.
type GraphUpdate struct {
	AssignedTo     *string // a user's principal name; "" assigns it to nobody
	Status         GraphStatus
	Classification GraphClassification
	Determination  string
}

func (u GraphUpdate) fields() map[string]any {
	fields := map[string]any{}
	for name, value := range map[string]string{
		"status": string(u.Status), "classification": string(u.Classification), "determination": u.Determination,
	} {
		if value != "" {
			fields[name] = value
		}
	}
	if u.AssignedTo != nil {
		fields["assignedTo"] = u.AssignedTo
		if *u.AssignedTo == "" {
			fields["assignedTo"] = nil
		}
	}
	return fields
}

// UpdateAlert changes an alert and returns it as it is then. It is sent again if
// its answer was lost: a change that somebody else made in between is overwritten.
func (g *Graph) UpdateAlert(ctx context.Context, id string, u GraphUpdate) (GraphAlert, error) {
	path, err := idPath(opGraphUpdateAlert, alertsPath+"/", id)
	if err != nil {
		return GraphAlert{}, err
	}
	fields := u.fields()
	if len(fields) == 0 {
		return GraphAlert{}, resilience.Misusef("azure %s: GraphUpdate is empty: set what is to be changed", opGraphUpdateAlert)
	}
	return change(ctx, g, opGraphUpdateAlert, path, fields, parseGraphAlert)
}

// GraphIncidentUpdate is what to change of an incident, as GraphUpdate.
type GraphIncidentUpdate struct {
	GraphUpdate
	CustomTags []string // in place of those that it has; nil leaves them, an empty slice takes them away
}

// UpdateIncident changes an incident, as UpdateAlert does an alert.
func (g *Graph) UpdateIncident(ctx context.Context, id string, u GraphIncidentUpdate) (GraphIncident, error) {
	path, err := idPath(opGraphUpdateIncident, incidentsPath+"/", id)
	if err != nil {
		return GraphIncident{}, err
	}
	fields := u.fields()
	if u.CustomTags != nil {
		fields["customTags"] = u.CustomTags
	}
	if len(fields) == 0 {
		return GraphIncident{}, resilience.Misusef("azure %s: GraphIncidentUpdate is empty: set what is to be changed", opGraphUpdateIncident)
	}
	return change(ctx, g, opGraphUpdateIncident, path, fields, parseGraphIncident)
}

// CommentAlert adds a comment to an alert and returns all comments that it has
// then. It is never sent twice: after a failure that may have been sent, read the
// alert's comments.
func (g *Graph) CommentAlert(ctx context.Context, id, text string) ([]GraphComment, error) {
	return g.comment(ctx, opGraphCommentAlert, alertsPath, id, text)
}

// CommentIncident adds a comment to an incident, as CommentAlert does to an alert.
func (g *Graph) CommentIncident(ctx context.Context, id, text string) ([]GraphComment, error) {
	return g.comment(ctx, opGraphCommentIncident, incidentsPath, id, text)
}

func (g *Graph) comment(ctx context.Context, op, root, id, text string) ([]GraphComment, error) {
	path, err := idPath(op, root+"/", id)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(text) == "" {
		return nil, resilience.Misusef("azure %s: the comment is empty", op)
	}
	return send(ctx, g.service, request{
		call: g.call(op, resilience.Effect), method: http.MethodPost, url: g.url(path+"/comments", nil),
		body: map[string]string{"@odata.type": "microsoft.graph.security.alertComment", "comment": text},
	}, func(rep *reply) ([]GraphComment, error) {
		o, err := into[lenient.Object](op)(rep)
		if err != nil {
			return nil, err
		}
		return parseGraphComments(o, "value"), nil
	})
}

// change sends a PATCH. It sets what it names to values, so that sending it twice
// is the same as once.
func change[T any](ctx context.Context, g *Graph, op, path string, fields map[string]any, parse func(lenient.Object) (T, error)) (T, error) {
	return send(ctx, g.service, request{
		call: g.call(op, resilience.Idempotent), method: http.MethodPatch, url: g.url(path, nil), body: fields,
	}, row(op, parse))
}
