package edr

import (
	"context"
	"errors"
	"testing"
)

// One operation on a host goes on at a time, whichever of its names was used.
func TestTheLockIsOfTheHostAndNotOfItsName(t *testing.T) {
	var k keyedLock
	unlock, err := k.lock(t.Context(), Host{Name: "accounting-laptop-07.corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, same := range []string{"ACCOUNTING-LAPTOP-07", "accounting-lapt"} {
		if _, err := k.lock(ctx, Host{Name: same}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", same, err)
		}
	}
	other, err := k.lock(ctx, Host{Name: "kiosk-1"})
	if err != nil {
		t.Fatal(err)
	}
	other()
	unlock()
	again, err := k.lock(ctx, Host{Name: "accounting-lapt"})
	if err != nil {
		t.Fatal(err)
	}
	again()
}
