package falcon

import (
	"bytes"
	"encoding/json"

	"github.com/go-openapi/runtime"
	"github.com/go-openapi/strfmt"
)

// onlySet leaves out of the captured operation's body what gofalcon's models say
// is null: what a change does not name would otherwise be cleared by a service
// that takes null for a value.
func (c *capture) onlySet() *capture {
	c.op.Params = onlySet{c.op.Params}
	return c
}

type onlySet struct{ runtime.ClientRequestWriter }

// WriteToRequest implements runtime.ClientRequestWriter.
func (p onlySet) WriteToRequest(r runtime.ClientRequest, formats strfmt.Registry) error {
	return p.ClientRequestWriter.WriteToRequest(nullsLeftOut{r}, formats)
}

type nullsLeftOut struct{ runtime.ClientRequest }

// SetBodyParam implements runtime.ClientRequest.
func (r nullsLeftOut) SetBodyParam(payload any) error {
	b, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber() // digits intact
	var body any
	if err := dec.Decode(&body); err != nil {
		return err
	}
	dropNulls(body)
	return r.ClientRequest.SetBodyParam(body)
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if inner == nil {
				delete(v, name)
			}
			dropNulls(inner)
		}
	case []any:
		for _, inner := range v {
			dropNulls(inner)
		}
	}
}
