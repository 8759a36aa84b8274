package microsoft

import (
	"context"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover/edr"
)

// Heartbeats reads when machines last sent a heartbeat through the Azure Monitor agent
// to a Log Analytics workspace, of the last seven days: a witness for edr.Config that
// is neither Falcon nor Defender. Incomplete results are an error. Role: Log Analytics
// Reader.
func Heartbeats(c *azure.Client, workspaceID string) edr.Heartbeats {
	return func(ctx context.Context) (map[string]time.Time, error) {
		found, err := c.Logs.Query(ctx, azure.LogQuery{
			WorkspaceID: workspaceID, Timespan: "P7D",
			Query: "Heartbeat | summarize Last = max(TimeGenerated) by Computer",
		})
		if err != nil {
			return nil, err
		}
		out := map[string]time.Time{}
		for _, row := range found.Rows() {
			name, last := row.Str("Computer"), row.Time("Last")
			if row.Null("Computer") || name == "" {
				continue // of a machine that cannot be named
			}
			if last.IsZero() {
				return nil, fmt.Errorf("microsoft: the heartbeat of %s has no time that can be read: %s", name, row.Raw("Last"))
			}
			out[name] = last
		}
		return out, nil
	}
}
