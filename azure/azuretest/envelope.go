package azuretest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// apiError is a refusal in the Defender API's envelope.
type apiError struct {
	status  int
	code    string
	message string
	header  http.Header // added to the answer; may be nil
	details []detail    // where the envelope has them
	inner   any         // the cause, where the product's envelope has one; may be nil
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func refuse(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *apiError {
	return refuse(http.StatusNotFound, "ResourceNotFound", format, args...)
}

func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	return refuse(http.StatusInternalServerError, "InternalServerError", "%v", err)
}

// writeError refuses in the envelope of the Defender API. target is the correlation
// id of the answer.
func writeError(w http.ResponseWriter, e *apiError, target string) {
	for k, v := range e.header {
		w.Header()[k] = v
	}
	type inner struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Target  string `json:"target"`
	}
	writeJSON(w, e.status, "application/json", map[string]inner{"error": {e.code, e.message, target}})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // links are sent with a plain &
	if err := enc.Encode(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes())
}

// maxActionBody bounds the body of a machine action.
const maxActionBody = 1 << 20

func readBody(r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "InvalidRequestBody", "Request body is incorrect")
	}
	if int64(len(body)) > limit {
		return nil, refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is larger than %d bytes", limit)
	}
	return body, nil
}

// stamp is a time as the Defender API writes it: UTC, seven fractional digits,
// null if unset.
type stamp time.Time

const stampLayout = "2006-01-02T15:04:05.0000000Z"

// MarshalJSON writes the time for the wire.
func (s stamp) MarshalJSON() ([]byte, error) {
	t := time.Time(s)
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(stampLayout) + `"`), nil
}

// text is a string the vendor writes as null when it is empty.
type text string

// MarshalJSON writes the string for the wire.
func (t text) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(t))
}

// number is an integer the vendor writes as null when it is unknown.
type number int

// MarshalJSON writes the number for the wire.
func (n number) MarshalJSON() ([]byte, error) {
	if n == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int(n))
}

// guid is a version 4 shaped GUID that depends on seed only.
func guid(seed string) string {
	sum := sha256.Sum256([]byte("azuretest/" + seed))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// contextURL is the @odata.context of a collection or entity, under the host and
// version the client used.
func contextURL(r *http.Request, of string) string {
	root := "/api"
	if strings.HasPrefix(r.URL.Path, "/api/v1.0/") {
		root = "/api/v1.0"
	}
	return "https://" + r.Host + root + "/$metadata#" + of
}
