package azure

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const nbf = `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}`

func TestChallengesAreRead(t *testing.T) {
	std := base64.StdEncoding.EncodeToString([]byte(nbf))
	question := base64.RawURLEncoding.EncodeToString([]byte(`{"a":"??>>"}`))
	for header, want := range map[string]string{
		`Bearer realm="", error="insufficient_claims", claims="` + std + `"`:                        nbf,
		`bearer Error=insufficient_claims,Claims=` + std:                                            nbf,
		`Basic realm="a, Bearer claims=x", Bearer error="insufficient_claims",claims="` + std + `"`: nbf,
		`Bearer error="insufficient_claims", claims="` + question + `"`:                             `{"a":"??>>"}`,
		`Bearer error="invalid_token", claims="` + std + `"`:                                        "",
		`PoP error="insufficient_claims", claims="` + std + `"`:                                     "",
		`Bearer error="insufficient_claims", claims="!"`:                                            "",
		`Bearer error="insufficient_claims", claims="e30="`:                                         "", // {}
		`Bearer error="insufficient_claims", claims="MQ=="`:                                         "", // 1
		`Bearer error="insufficient_claims", claims="` + std:                                        "", // cut
		`Bearer error="insufficient_claims"`:                                                        "",
		``:                                                                                          "",
	} {
		if got := challenge(http.Header{"Www-Authenticate": {"Negotiate", header}}); got != want {
			t.Errorf("%s: %s", header, got)
		}
	}
	huge := base64.StdEncoding.EncodeToString([]byte(`{"a":"` + strings.Repeat("x", maxClaims) + `"}`))
	if challenge(http.Header{"Www-Authenticate": {`Bearer error="insufficient_claims", claims="` + huge + `"`}}) != "" {
		t.Error("claims of any size go into a token request")
	}
}

func FuzzChallenge(f *testing.F) {
	std := base64.StdEncoding.EncodeToString([]byte(nbf))
	f.Add(`Bearer realm="", error="insufficient_claims", claims="` + std + `"`)
	f.Add(`Basic realm="a \"b", Bearer error=insufficient_claims,claims=` + std)
	f.Add(`Bearer =,=",`)
	f.Fuzz(func(t *testing.T, header string) {
		claims := challenge(http.Header{"Www-Authenticate": {header}})
		if claims != "" && (!json.Valid([]byte(claims)) || claims[0] != '{' && json.Unmarshal([]byte(claims), &map[string]any{}) != nil) {
			t.Errorf("%q gave %q", header, claims)
		}
		// What was understood is understood again, beside another challenge.
		again := `Basic realm="x", Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`
		if got := challenge(http.Header{"Www-Authenticate": {again}}); got != claims {
			t.Errorf("%q gave %q", again, got)
		}
	})
}
