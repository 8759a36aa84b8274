package failover_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/failover"
)

func TestWhole(t *testing.T) {
	down := errors.New("down")
	if err := (failover.Result[int]{Served: []failover.Served{{By: "a"}}}).Whole(); err != nil {
		t.Error(err)
	}
	err := failover.Result[int]{Gaps: []failover.Gap{{Provider: "b", Err: down}}}.Whole()
	if !errors.Is(err, failover.ErrPartial) || !errors.Is(err, down) || !strings.Contains(err.Error(), "b: down") {
		t.Error(err)
	}
}
