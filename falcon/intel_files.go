package falcon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/intel"

	"github.com/jurymast/jurymast/resilience"
)

// Files are read whole, so that one that breaks off is read again instead of being
// half of itself to the caller. resilience.Wire bounds them at 64 MiB.

// fileTime bounds one attempt at a file.
const fileTime = 2 * time.Minute

// ReportPDF returns a report as a PDF, of at most 64 MiB. It has two minutes an
// attempt instead of the policy's times. A report that Falcon does not know, or that
// has no PDF, gives an error that matches ErrNotFound. Scope: Reports (Falcon
// Intelligence) read.
func (s *Intel) ReportPDF(ctx context.Context, id string) ([]byte, error) {
	const name = "intel.report_pdf"
	if strings.TrimSpace(id) == "" {
		return nil, resilience.Misusef("falcon %s: the report's id is empty: pass an id, as in Report.ID", name)
	}
	p := intel.NewGetIntelReportPDFParamsWithContext(ctx)
	p.ID = &id
	var op capture
	_, _ = intel.New(&op, nil).GetIntelReportPDF(p, nil)
	w, err := s.c.write(op.op)
	if err != nil {
		return nil, err
	}
	return send(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Read, Timeout: fileTime}, w, func(a *answer) ([]byte, error) {
		pdf, err := a.file(name)
		if err == nil && !bytes.Contains(pdf[:min(len(pdf), 1024)], []byte("%PDF-")) {
			return nil, a.malformed(name, errors.New("it is not a PDF"))
		}
		return pdf, err
	})
}

// RuleFileQuery selects a set of detection rules.
type RuleFileQuery struct {
	// Type: snort-suricata-master, snort-suricata-update, snort-suricata-changelog,
	// yara-master, yara-update, yara-changelog, common-event-format, netwitness,
	// cql-master, cql-update or cql-changelog.
	Type   string
	Format string // of the archive: zip, the default, or gzip
	// IfModifiedSince and IfNoneMatch are LastModified and ETag of the RuleFile that
	// is there already: one that did not change since is not sent again.
	IfModifiedSince time.Time
	IfNoneMatch     string
}

// RuleFile is the latest set of rules of a type.
type RuleFile struct {
	NotModified  bool   // it is as it was, and there is no Content
	Content      []byte // the archive
	LastModified time.Time
	ETag         string // "" if Falcon gave none
}

// RuleFile returns the latest set of rules of a type, of at most 64 MiB, in the
// times of ReportPDF. Scope: Rules (Falcon Intelligence) read.
func (s *Intel) RuleFile(ctx context.Context, q RuleFileQuery) (RuleFile, error) {
	const name = "intel.rule_file"
	switch {
	case q.Type == "":
		return RuleFile{}, resilience.Misusef("falcon %s: RuleFileQuery.Type is empty: such as yara-master", name)
	case q.Format != "" && q.Format != "zip" && q.Format != "gzip":
		return RuleFile{}, resilience.Misusef("falcon %s: RuleFileQuery.Format is %q: want zip or gzip", name, q.Format)
	}
	p := intel.NewGetLatestIntelRuleFileParamsWithContext(ctx)
	p.Type = q.Type
	setIf(&p.Format, q.Format)
	setIf(&p.IfNoneMatch, q.IfNoneMatch)
	if !q.IfModifiedSince.IsZero() {
		setIf(&p.IfModifiedSince, q.IfModifiedSince.UTC().Format(http.TimeFormat))
	}
	var op capture
	_, _ = intel.New(&op, nil).GetLatestIntelRuleFile(p, nil)
	w, err := s.c.write(op.op)
	if err != nil {
		return RuleFile{}, err
	}
	w.conditional = p.IfModifiedSince != nil || p.IfNoneMatch != nil
	return send(ctx, s.c, resilience.Call{Name: name, Kind: resilience.Read, Timeout: fileTime}, w, func(a *answer) (RuleFile, error) {
		out := RuleFile{NotModified: a.status == http.StatusNotModified, ETag: a.header.Get("ETag")}
		out.LastModified, _ = http.ParseTime(a.header.Get("Last-Modified"))
		if out.NotModified {
			out.ETag = cmp.Or(out.ETag, q.IfNoneMatch)
			if out.LastModified.IsZero() {
				out.LastModified = q.IfModifiedSince
			}
			return out, nil
		}
		var err error
		out.Content, err = a.file(name)
		return out, err
	})
}

// file is the body of an answer that is a file. JSON and HTML are not: Falcon's
// errors in a 200 (hazard C1), and pages of whoever stands in between.
func (a *answer) file(operation string) ([]byte, error) {
	if isJSON(a.header) {
		if _, err := a.open(operation); err != nil {
			return nil, err
		}
		return nil, a.malformed(operation, errors.New("it is JSON instead of a file"))
	}
	if kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); kind == "text/html" {
		return nil, a.malformed(operation, errors.New("it is HTML instead of a file"))
	}
	if len(a.body) == 0 {
		return nil, a.malformed(operation, errors.New("it is empty"))
	}
	return a.body, nil
}
