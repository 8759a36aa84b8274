package safe

import (
	"errors"
	"testing"
)

func TestCatch(t *testing.T) {
	own := errors.New("own")
	for want, f := range map[string]func(){
		"the handler panicked: boom": func() { panic("boom") },
		"own":                        func() {},
	} {
		err := func() (err error) {
			defer Catch(&err, "the handler")
			f()
			return own
		}()
		if err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
