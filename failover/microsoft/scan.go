package microsoft

import (
	"context"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
)

// Scan implements edr.Scanner with a scan by Defender Antivirus.
func (e *endpoints) Scan(ctx context.Context, id string, kind edr.ScanKind, intent edr.Intent) (failover.Outcome, error) {
	s := azure.Scan{Comment: intent.Comment(), Type: azure.QuickScan}
	if kind == edr.FullScan {
		s.Type = azure.FullScan
	}
	return outcome(e.d.Scan(ctx, id, s))
}
