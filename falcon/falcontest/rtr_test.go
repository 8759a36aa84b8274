package falcontest

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"
)

// What the client never asks for.
func TestRTRRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true, Hosts: numbered(1)})
		const sessions, command, refresh = "/real-time-response/entities/sessions/v1", "/real-time-response/entities/command/v1", "/real-time-response/entities/refresh-session/v1"
		init := map[string]any{"device_id": "0001"}
		for _, bad := range []string{"0", "301", "x"} {
			equal(t, "timeout "+bad, c.post(sessions+"?timeout="+bad, init).status, 400)
		}
		equal(t, "an unknown host", c.post(sessions, map[string]any{"device_id": "0009"}).status, 404)
		equal(t, "a refresh without a session", c.post(refresh, init).codes(), []int{40002})
		equal(t, "a session", c.post(sessions+"?timeout=300", init).status, 201)
		id := c.srv.RTRSessions()[0].ID
		for _, body := range []map[string]any{
			{"session_id": id, "base_command": "rm", "command_string": "rm x"},
			{"session_id": id, "base_command": "ls", "command_string": "cat x"},
			{"session_id": id},
		} {
			r := c.post(command, body)
			equal(t, "a command", []any{r.status, r.codes()[0]}, []any{400, 40007})
		}
		equal(t, "of another session", c.post(command, map[string]any{"session_id": "x", "base_command": "ls", "command_string": "ls"}).codes(), []int{40002})
		equal(t, "an unknown command", c.get(command, "cloud_request_id", "x", "sequence_id", "0").codes(), []int{40002})
		equal(t, "a bad number", c.get(command, "sequence_id", "-1").status, 400)
		for _, path := range []string{sessions, command, refresh} {
			equal(t, "no JSON object to "+path, c.post(path, "x").status, 400)
		}
		equal(t, "nothing was done", len(c.srv.RTRSessions()[0].Commands), 0)

		time.Sleep(10 * time.Minute)
		equal(t, "idle for too long", c.srv.RTRSessions()[0].Open, false)
		equal(t, "another session", c.post(sessions, init).status, 201)
		equal(t, "both are kept", len(c.srv.RTRSessions()), 2)
		equal(t, "the old one is gone", c.do("DELETE", sessions+"?session_id="+id, nil).codes(), []int{40002})
	})
}

// A session that waits for its host does not end meanwhile, and its command runs
// once, when the host is back.
func TestRTRQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := Host{DeviceID: "0001", OnlineState: "offline"}
		c := login(t, Config{InMemory: true, Hosts: []Host{host}})
		runs := 0
		c.srv.RTRCommand(func(string, string) RTRResult { runs++; c.srv.RTRSessions(); return RTRResult{} })
		const sessions, command = "/real-time-response/entities/sessions/v1", "/real-time-response/entities/command/v1"
		equal(t, "offline", c.post(sessions, map[string]any{"device_id": "0001"}).codes(), []int{40401})
		equal(t, "queued", c.post(sessions, map[string]any{"device_id": "0001", "queue_offline": true}).status, 201)
		s := c.srv.RTRSessions()[0]
		equal(t, "queued", s.Queued, true)
		r := c.post(command, map[string]any{"session_id": s.ID, "base_command": "ls", "command_string": "ls"})
		var cmd struct {
			ID     string `json:"cloud_request_id"`
			Queued bool   `json:"queued_command_offline"`
		}
		if err := json.Unmarshal(r.Resources[0], &cmd); err != nil || !cmd.Queued {
			t.Errorf("%+v, %v", cmd, err)
		}
		time.Sleep(25 * time.Minute) // a token's life at most
		equal(t, "still there", []any{c.srv.RTRSessions()[0].Open, runs}, []any{true, 0})
		c.srv.AddHost(Host{DeviceID: "0001"})
		for range 3 {
			c.get(command, "cloud_request_id", cmd.ID, "sequence_id", "0")
		}
		s = c.srv.RTRSessions()[0]
		equal(t, "it ran", []any{s.Open, s.Queued, runs}, []any{true, false, 1})
		time.Sleep(10 * time.Minute)
		equal(t, "idle since", c.srv.RTRSessions()[0].Open, false)
	})
}
