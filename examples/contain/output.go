package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

// report is the last line of -json.
type report struct {
	Command   string            `json:"command"`
	Simulated bool              `json:"simulated"`
	OK        bool              `json:"ok"`
	Error     string            `json:"error,omitempty"`
	Hosts     []hostReport      `json:"hosts,omitempty"`
	Ledger    []edr.Entry       `json:"ledger,omitempty"`
	Missing   map[string]string `json:"missing,omitempty"`
	Owed      int               `json:"owed"`
}

type hostReport struct {
	Host    string            `json:"host"`
	Outcome string            `json:"outcome"`
	By      string            `json:"by,omitempty"`
	Would   []string          `json:"would,omitempty"` // -dry-run: by whom, in this order
	Missing map[string]string `json:"missing,omitempty"`
	Error   string            `json:"error,omitempty"`
}

func (r *report) host(q edr.Query, outcome, by string, missing []failover.Gap, err error) {
	h := hostReport{Host: target(q), Outcome: outcome, By: by, Missing: gaps(missing)}
	if err != nil {
		h.Error = err.Error()
	}
	r.Hosts = append(r.Hosts, h)
}

func (p *program) line(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// effect tells what became of one host.
func (p *program) effect(q edr.Query, done string, res failover.Result[edr.Effect], err error) {
	name := res.Value.Host.Name
	if name == "" {
		name = target(q)
	}
	switch {
	case exitCode(err) == 3:
		p.line("%s: NOT KNOWN whether it is %s (%v)", name, done, res.Value.Outcome)
	case err != nil:
		p.line("%s: not %s (%v)", name, done, res.Value.Outcome)
	case res.By() == "":
		p.line("%s: %s, nobody held it", name, done)
	default:
		p.line("%s: %s by %s (%v)", name, done, res.By(), res.Value.Outcome)
	}
	if held := res.Value.Holding(); len(held) > 1 {
		p.line("  more than one may hold it: %s; a release undoes them all", strings.Join(held, ", "))
	}
	p.missing(res.Gaps)
	p.report.host(q, res.Value.Outcome.String(), res.By(), res.Gaps, err)
}

// plan tells what would become of one host.
func (p *program) plan(q edr.Query, plan failover.Result[edr.Plan], err error) {
	if err != nil {
		p.line("%s: would not be contained", target(q))
	} else {
		p.line("%s: would be contained by %s", plan.Value.Host.Name, or(plan.Value.Providers, ", else by "))
	}
	if held := plan.Value.Held; len(held) > 0 {
		p.line("  held already by %s", strings.Join(held, ", "))
	}
	p.missing(plan.Gaps)
	p.report.host(q, failover.Unset.String(), "", plan.Gaps, err)
	p.report.Hosts[len(p.report.Hosts)-1].Would = plan.Value.Providers
}

// missing names who is missing in a result, and whose fault that is.
func (p *program) missing(gaps []failover.Gap) {
	for _, g := range gaps {
		p.line("  not by %s: %v", g.Provider, resilience.Of(g.Err).Class)
	}
}

func (p *program) entry(what string, e edr.Entry) {
	if what != "" {
		what += ": "
	}
	who := e.Intent.Actor + ", " + e.Intent.ID + ": " + e.Intent.Reason
	if e.Foreign {
		who = "somebody else"
	}
	p.line("%s%s at %s: %s %v since %s, by %s", what, e.Name, e.Provider, e.Verb, e.Outcome, when(e.At), who)
}

// finish prints the JSON object.
func (p *program) finish(err error) error {
	if !p.o.json || errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if p.report.OK = err == nil; err != nil {
		p.report.Error = err.Error()
	}
	line, err := json.Marshal(p.report)
	if err == nil {
		p.line("%s", line)
	}
	return err
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// target is a query as it is written on the command line.
func target(q edr.Query) string {
	if q.Provider != "" {
		return q.Provider + ":" + q.ID
	}
	return q.Name
}

func because(evidence []string) string {
	if len(evidence) == 0 {
		return ""
	}
	return ": " + strings.Join(evidence, ", ")
}

func inLedger(r edr.Record) string {
	if r.FromLedger {
		return " (asked for; not shown yet)"
	}
	return ""
}

func or(names []string, between string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, between)
}
