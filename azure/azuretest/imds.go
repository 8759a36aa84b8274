package azuretest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// imdsHost is the instance metadata service of Azure's virtual machines. It is the
// one host that speaks plain http.
const imdsHost = "169.254.169.254"

// imdsHandler gives the machine's managed identity its tokens. The identity is the
// tenant's one app, assigned by the system and, by its client id, by the user.
// What it answers is as MSAL reads it; the texts of errors are assumed.
//
// On a machine without the service nothing answers there: a fault.Rule with Kind
// Blackhole and this Host.
func (s *Server) imdsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metadata/identity/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		resource := strings.TrimRight(strings.TrimSuffix(q.Get("resource"), "/.default"), "/")
		switch {
		case !strings.EqualFold(r.Header.Get("Metadata"), "true"):
			imdsError(w, "Required metadata header not specified")
			return
		case resource == "":
			imdsError(w, "'resource' is a required query parameter")
			return
		case q.Has("client_id") && !strings.EqualFold(q.Get("client_id"), s.cfg.ClientID), q.Has("object_id"), q.Has("msi_res_id"):
			imdsError(w, "Identity not found")
			return
		}
		seconds := int(s.cfg.TokenLife / time.Second)
		now := s.cfg.Now()
		writeEntra(w, http.StatusOK, map[string]string{
			"access_token": s.newToken(resource, nil), "client_id": s.cfg.ClientID, "resource": resource, "token_type": "Bearer",
			"expires_in": strconv.Itoa(seconds), "ext_expires_in": strconv.Itoa(seconds),
			"expires_on": strconv.FormatInt(now.Unix()+int64(seconds), 10), "not_before": strconv.FormatInt(now.Unix(), 10),
		})
	})
	return mux
}

func imdsError(w http.ResponseWriter, description string) {
	writeEntra(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": description})
}
