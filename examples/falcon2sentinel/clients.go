package main

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// clients are both clouds' clients, with the environment's credentials.
func (o *options) clients() (*falcon.Client, *azure.Client, error) {
	fcfg, ferr := falcon.ConfigFromEnv()
	acfg, aerr := azure.ConfigFromEnv()
	if !o.live { // servers of the user's own may not care for credentials
		if ferr != nil {
			fcfg, ferr = falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret}, nil
		}
		if aerr != nil {
			acfg, aerr = azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret}, nil
		}
	}
	for _, err := range []error{ferr, aerr} {
		if err != nil {
			return nil, nil, err
		}
	}
	fcfg.BaseURL, acfg.AuthorityURL = o.falconURL, o.authority
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, nil, fmt.Errorf("-ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("-ca: no certificate in %s", o.ca)
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		client := &http.Client{Transport: transport}
		fcfg.HTTPClient, acfg.HTTPClient = client, client
	}
	return open(fcfg, acfg)
}

func open(fcfg falcon.Config, acfg azure.Config) (*falcon.Client, *azure.Client, error) {
	fc, err := falcon.New(fcfg)
	if err != nil {
		return nil, nil, err
	}
	az, err := azure.New(acfg)
	return fc, az, err
}

// sink is a data collection rule, and what makes its rows.
func (o *options) sink(az *azure.Client, endpoint string) (failover.Member[siem.Sink], siem.Mapping, error) {
	cfg := microsoft.SinkConfig{Endpoint: endpoint, RuleID: o.rule}
	if o.rule == "" {
		cfg.RuleID = azuretest.RuleID
	}
	mapping := crowdstrike.SentinelRows
	if o.tables == "events" {
		mapping, cfg.Stream = siem.Envelope, o.stream
	} else {
		cfg.Streams = crowdstrike.SentinelStreams()
	}
	sink, err := microsoft.Sink(az, cfg)
	return sink, mapping, err
}

// simulation is both clouds in this process.
type simulation struct {
	falcon *falcontest.Server
	azure  *azuretest.Server
}

//go:embed azure/azuredeploy.json
var template []byte

// streams are those that the template's rule declares.
func streams() (map[string][]azuretest.Column, error) {
	var t struct {
		Variables map[string]json.RawMessage
		Resources []struct {
			Properties struct {
				StreamDeclarations map[string]struct{ Columns string }
			}
		}
	}
	if err := json.Unmarshal(template, &t); err != nil {
		return nil, fmt.Errorf("azuredeploy.json: %w", err)
	}
	out := map[string][]azuretest.Column{}
	for _, r := range t.Resources {
		for name, s := range r.Properties.StreamDeclarations {
			variable := strings.TrimSuffix(strings.TrimPrefix(s.Columns, "[variables('"), "')]")
			var columns []azuretest.Column
			if err := json.Unmarshal(t.Variables[variable], &columns); err != nil {
				return nil, fmt.Errorf("azuredeploy.json: the columns of %s: %w", name, err)
			}
			out[name] = columns
		}
	}
	return out, nil
}

func newSimulation() (s simulation, err error) {
	declared, err := streams()
	if err != nil {
		return s, err
	}
	if s.falcon, err = falcontest.NewServer(falcontest.Config{Partitions: 2}); err != nil {
		return s, err
	}
	if s.azure, err = azuretest.NewServer(azuretest.Config{Collections: []azuretest.Collection{{Streams: declared}}}); err != nil {
		s.falcon.Close()
	}
	return s, err
}

// rows are what Azure Monitor has stored.
func (s simulation) rows() (rows []json.RawMessage) {
	for _, stream := range crowdstrike.SentinelStreams() {
		rows = append(rows, s.azure.Rows(azuretest.RuleID, stream)...)
	}
	return rows
}

func (s simulation) clients() (*falcon.Client, *azure.Client, error) {
	return open(
		falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: s.falcon.Client()},
		azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: s.azure.Client()},
	)
}

func (s simulation) close() {
	s.falcon.Close()
	s.azure.Close()
}

// detection is an event as Falcon's stream has it, less most of its fields.
func detection(i int) map[string]any {
	return map[string]any{
		"Hostname": fmt.Sprintf("ws-%03d", i%200), "CompositeId": fmt.Sprintf("5eed:ind:%032d", i), "SeverityName": "Medium", "Severity": 50,
		"FileName": "powershell.exe", "CommandLine": "powershell -enc SQBFAFgA", "Tactic": "Execution", "Technique": "PowerShell",
		"ProcessStartTime": time.Now().Unix(), "PatternId": 10197 + i%50, "UserName": "jdoe",
	}
}
