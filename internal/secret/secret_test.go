package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingPrintsIt(t *testing.T) {
	const hush Secret = "hush-hush"
	config := struct{ S Secret }{hush}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", hush, "config", config)
	for _, s := range []string{
		fmt.Sprint(hush), fmt.Sprintf("%s %v %q %#v %+v %#v", hush, hush, hush, hush, config, config), string(raw), log.String(),
	} {
		if strings.Contains(s, "hush") {
			t.Errorf("printed: %s", s)
		}
	}
	if string(hush) != "hush-hush" {
		t.Error("and it cannot be used")
	}
}
