package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// contender is a program that brings events from the source to the sink.
type contender struct {
	name    string
	pushed  bool // the events come to it over TCP: it has no Falcon source
	durable bool // has a state directory
	// patience is how long it may pause by itself, as after an outage; nothing is
	// taken for lost before.
	patience time.Duration
	args     func(a addresses) ([]string, error)

	bin string // the program, once it is built
	err error  // why there is none
}

// addresses are what a contender is told.
type addresses struct {
	falcon, sink string // URLs; Entra ID is at the sink's
	ca, state    string
	listen       string // where one that is pushed listens
	events       int
}

// dummies are credentials for who insists on some: the bench takes any.
var dummies = []string{
	"FALCON_CLIENT_ID=bench", "FALCON_CLIENT_SECRET=bench",
	"AZURE_TENANT_ID=11111111-1111-4111-8111-111111111111", "AZURE_CLIENT_ID=22222222-2222-4222-8222-222222222222", "AZURE_CLIENT_SECRET=bench",
}

func loopContender() *contender {
	return &contender{name: "loop", args: func(a addresses) ([]string, error) {
		return []string{"-falcon-url", a.falcon, "-azure-authority", a.sink, "-ingest-url", a.sink, "-ca", a.ca}, nil
	}}
}

func jurymastContender() *contender {
	return &contender{name: "jurymast", durable: true, patience: time.Minute, args: func(a addresses) ([]string, error) {
		return []string{
			"-falcon-url", a.falcon, "-azure-authority", a.sink, "-ingest-url", a.sink, "-ca", a.ca,
			"-state", a.state, "-events", fmt.Sprint(a.events), "-live=false", "-json",
		}, nil
	}}
}

// otelConfig is the collector at its best in this work: as many events a request as
// the others have, batched before the queue so that one sync covers all of them,
// gzip at level 1, a queue that makes the receiver wait when it is full instead of
// dropping, and no end of trying.
const otelConfig = `
extensions:
  file_storage:
    directory: %[1]s/queue
    create_directory: true
    fsync: true
receivers:
  tcp_log:
    listen_address: %[2]s
    retry_on_failure: {enabled: true, max_elapsed_time: 0}
processors:
  batch: {send_batch_size: 700, send_batch_max_size: 700, timeout: 100ms}
exporters:
  otlp_http:
    endpoint: %[3]s
    tls: {ca_file: %[4]s}
    encoding: json
    compression: gzip
    compression_params: {level: 1}
    timeout: 30s
    retry_on_failure: {enabled: true, initial_interval: 100ms, max_interval: 1s, max_elapsed_time: 0}
    sending_queue:
      enabled: true
      storage: file_storage
      num_consumers: 2
      queue_size: 4000
      block_on_overflow: true
service:
  extensions: [file_storage]
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines:
    logs: {receivers: [tcp_log], processors: [batch], exporters: [otlp_http]}
`

func otelContender() *contender {
	return &contender{name: "otel", pushed: true, durable: true, args: func(a addresses) ([]string, error) {
		file := filepath.Join(filepath.Dir(a.ca), "otel.yaml") // not on the state's disk, which may be full
		config := fmt.Sprintf(otelConfig, a.state, a.listen, a.sink, a.ca)
		return []string{"--config", file}, os.WriteFile(file, []byte(config), 0o600)
	}}
}

// packages are where the contenders' mains are, from the module of the bench: the
// directory of the module, and the package in it.
var packages = map[string][2]string{
	"loop":     {".", "./siem/loop"},
	"otel":     {"siem/otelcol", "."},
	"jurymast": {"../..", "./examples/falcon2sentinel"},
}

// build compiles a contender, unless a program was given. What prevents it is kept
// and reported: no number stands for a contender that could not be had.
func (c *contender) build(ctx context.Context, dir string) {
	if c.bin != "" {
		if _, err := os.Stat(c.bin); err != nil {
			c.err = err
		}
		return
	}
	root, err := moduleDir(ctx)
	if err != nil {
		c.err = err
		return
	}
	module, pkg := filepath.Join(root, packages[c.name][0]), packages[c.name][1]
	if _, err := os.Stat(filepath.Join(module, pkg)); errors.Is(err, fs.ErrNotExist) {
		c.err = fmt.Errorf("not built: there is no %s", filepath.Join(module, pkg))
		return
	}
	c.bin = filepath.Join(dir, c.name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", c.bin, pkg)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		c.err = fmt.Errorf("not built: %w: %s", err, strings.TrimSpace(string(out)))
	}
}

// moduleDir is where the module is whose directory the program was started in.
func moduleDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	file := strings.TrimSpace(string(out))
	if err == nil && filepath.Base(filepath.Dir(file)) != "bench" {
		err = fmt.Errorf("start it in the module internal/bench (go -C internal/bench run ./siem), not in that of %q", file)
	}
	return filepath.Dir(file), err
}
