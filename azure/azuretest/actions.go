package azuretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// actionJSON is a machine action in the real API's shape and order.
type actionJSON struct {
	ID                      string   `json:"id"`
	Type                    string   `json:"type"`
	Title                   text     `json:"title"`
	Requestor               string   `json:"requestor"`
	RequestorComment        text     `json:"requestorComment"`
	Status                  string   `json:"status"`
	MachineID               string   `json:"machineId"`
	ComputerDNSName         text     `json:"computerDnsName"`
	CreationDateTimeUTC     stamp    `json:"creationDateTimeUtc"`
	LastUpdateDateTimeUTC   stamp    `json:"lastUpdateDateTimeUtc"`
	CancellationRequestor   text     `json:"cancellationRequestor"`
	CancellationComment     text     `json:"cancellationComment"`
	CancellationDateTimeUTC stamp    `json:"cancellationDateTimeUtc"`
	ErrorHResult            int      `json:"errorHResult"`
	Scope                   text     `json:"scope"`
	ExternalID              text     `json:"externalId"`
	RequestSource           string   `json:"requestSource"`
	RelatedFileInfo         *string  `json:"relatedFileInfo"` // never set: no file is involved
	Commands                []string `json:"commands"`
	TroubleshootInfo        text     `json:"troubleshootInfo"`
}

// errorHResults are seen in real actions, but for Failed, which is E_FAIL.
var errorHResults = map[string]int{statusFailed: -2147467259, statusTimeOut: -2145844840, statusCancelled: -2147467260}

// actionRow is an action with what only the wire shows.
type actionRow struct {
	Action
	source string
}

func (a actionRow) json() actionJSON {
	out := actionJSON{
		ID: a.ID, Type: a.Type, Requestor: a.Requestor, RequestorComment: text(a.RequestorComment),
		Status: a.Status, MachineID: a.MachineID, ComputerDNSName: text(a.ComputerDNSName),
		CreationDateTimeUTC: stamp(a.Created), LastUpdateDateTimeUTC: stamp(a.Updated),
		ErrorHResult: errorHResults[a.Status], Scope: text(a.Scope), ExternalID: text(a.ExternalID),
		RequestSource: a.source, Commands: []string{},
	}
	if a.Status == statusCancelled {
		out.CancellationRequestor = portalAnalyst
		out.CancellationComment = "Machine action was canceled by automation"
		out.CancellationDateTimeUTC = stamp(a.Updated)
	}
	return out
}

// actionFields are the properties the vendor lets $filter use.
var actionFields = schema[actionRow]{typ: "microsoft.windowsDefenderATP.api.machineAction", fields: map[string]field[actionRow]{
	"id":                  guidField(func(a actionRow) string { return a.ID }),
	"status":              stringField(func(a actionRow) string { return a.Status }),
	"machineid":           stringField(func(a actionRow) string { return a.MachineID }),
	"type":                stringField(func(a actionRow) string { return a.Type }),
	"requestor":           stringField(func(a actionRow) string { return a.Requestor }),
	"creationdatetimeutc": timeField(func(a actionRow) time.Time { return a.Created }),
}}

// rows returns every action as it stands now, newest first.
func (s *Server) rows() []actionRow {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]actionRow, 0, len(s.actions))
	for _, a := range slices.Backward(s.actions) {
		out = append(out, actionRow{a.at(now), a.source})
	}
	return out
}

func (s *Server) listActions(r *http.Request) (any, error) {
	q, err := parseQuery(r, actionFields)
	if err != nil {
		return nil, err
	}
	return answerPage(r, q, s.rows(), "MachineActions", actionRow.json), nil
}

func (s *Server) getAction(r *http.Request) (any, error) {
	id := r.PathValue("id")
	for _, a := range s.rows() {
		if a.ID == id {
			return actionEntity(r, a), nil
		}
	}
	return nil, notFound("Machine action %s was not found", id)
}

func actionEntity(r *http.Request, a actionRow) any {
	return struct {
		Context string `json:"@odata.context"`
		actionJSON
	}{contextURL(r, "MachineActions/$entity"), a.json()}
}

var isolationTypes = []string{"Full", "Selective", "UnManagedDevice"}

func (s *Server) isolate(r *http.Request) (any, error) {
	in, err := readAction(r, "Comment", "IsolationType")
	if err != nil {
		return nil, err
	}
	scope := in["IsolationType"]
	if !slices.Contains(isolationTypes, scope) {
		return nil, refuse(http.StatusBadRequest, "InvalidInput", "Invalid input IsolationType: %s", scope)
	}
	return s.act(r, Action{Type: typeIsolate, Scope: scope, RequestorComment: in["Comment"], ExternalID: in["ExternalId"]})
}

func (s *Server) unisolate(r *http.Request) (any, error) {
	in, err := readAction(r, "Comment")
	if err != nil {
		return nil, err
	}
	return s.act(r, Action{Type: typeUnisolate, RequestorComment: in["Comment"], ExternalID: in["ExternalId"]})
}

var scanTypes = []string{"Quick", "Full"}

func (s *Server) scan(r *http.Request) (any, error) {
	in, err := readAction(r, "Comment", "ScanType")
	if err != nil {
		return nil, err
	}
	if !slices.Contains(scanTypes, in["ScanType"]) {
		return nil, refuse(http.StatusBadRequest, "InvalidInput", "Invalid input ScanType: %s", in["ScanType"])
	}
	// That the scope of the action is the type of the scan is assumed.
	return s.act(r, Action{Type: typeScan, Scope: in["ScanType"], RequestorComment: in["Comment"], ExternalID: in["ExternalId"]})
}

func (s *Server) collect(r *http.Request) (any, error) {
	in, err := readAction(r, "Comment")
	if err != nil {
		return nil, err
	}
	return s.act(r, Action{Type: typeCollect, RequestorComment: in["Comment"], ExternalID: in["ExternalId"]})
}

// packageURI gives where the package of a finished collection is. The value is a
// JSON string within a JSON string, as the vendor writes it. The address leads
// nowhere here.
func (s *Server) packageURI(r *http.Request) (any, error) {
	id := r.PathValue("id")
	for _, a := range s.rows() {
		// That there is none of another type of action is assumed.
		if a.ID == id && a.Type == typeCollect && a.Status == statusSucceeded {
			return struct {
				Context string `json:"@odata.context"`
				Value   string `json:"value"`
			}{contextURL(r, "Edm.String"), `"https://packages.azuretest.example:443/safedownload/WDATP_Investigation_Package.zip?token=` + id + `"`}, nil
		}
	}
	return nil, notFound("The package of machine action %s was not found", id)
}

func (s *Server) act(r *http.Request, a Action) (any, error) {
	a.MachineID = r.PathValue("id")
	record, err := s.accept(a)
	if err != nil {
		return nil, err
	}
	return actionEntity(r, actionRow{record.at(record.Created), record.source}), nil
}

// readAction reads the parameters of an action: those required, and the optional
// ExternalId. Names are case-sensitive, which a Go struct would not be.
func readAction(r *http.Request, required ...string) (map[string]string, error) {
	body, err := readBody(r, maxActionBody)
	if err != nil {
		return nil, err
	}
	incorrect := refuse(http.StatusBadRequest, "InvalidRequestBody", "Request body is incorrect")
	var in map[string]*string
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, incorrect
	}
	out := map[string]string{}
	for name, value := range in {
		if name != "ExternalId" && !slices.Contains(required, name) {
			return nil, incorrect
		}
		if value != nil {
			out[name] = *value
		}
	}
	for _, name := range required {
		if out[name] == "" {
			return nil, refuse(http.StatusBadRequest, "MissingRequiredParameter", "Parameter %s is missing", name)
		}
	}
	return out, nil
}
