//go:build unix

package azure_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/jurymast/jurymast/azure"
)

// events are n rows of about 1.2 KB, as Falcon's process events are: half of a row is
// the same in all, the rest is random.
func events(n int) []json.RawMessage {
	r := rand.New(rand.NewPCG(1, 2))
	hex := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "0123456789abcdef"[r.IntN(16)]
		}
		return string(b)
	}
	names := []string{"powershell.exe", "cmd.exe", "svchost.exe", "chrome.exe", "rundll32.exe", "python.exe"}
	out := make([]json.RawMessage, n)
	for i := range out {
		name := names[r.IntN(len(names))]
		out[i] = fmt.Appendf(nil, `{"TimeGenerated":"2026-11-24T10:%02d:%02d.%03dZ","EventId":"0123456789abcdef0123456789abcdef:0:%d","EventType":"ProcessRollup2","Cid":"0123456789abcdef0123456789abcdef","Aid":"%s","ComputerName":"ws-%03d.corp.example","TargetProcessId":"%d","ParentProcessId":"%d","ImageFileName":"\\Device\\HarddiskVolume3\\Windows\\System32\\%s","CommandLine":"C:\\Windows\\System32\\%s -k netsvcs -p -s %s","ParentCommandLine":"C:\\Windows\\Explorer.EXE /factory,{75dff2b7-6936-4c06-a8bb-676a7b00b24b} -Embedding","SHA256HashData":"%s","MD5HashData":"%s","UserSid":"S-1-5-21-%d-%d-%d-1001","UserName":"user%d","LocalAddressIP4":"10.%d.%d.%d","Aip":"81.2.69.%d","SessionId":"1","IntegrityLevel":"12288","ProcessStartTime":"17640%05d.%03d","TokenType":"1","WindowFlags":"128","Platform":"Win","ConfigBuild":"1007.3.0018908.1","ConfigStateHash":"%d","EffectiveTransmissionClass":"3","Entitlements":"15","Tags":"25, 27, 40, 41, 874, 924, 12094627905582, 12094627906234, 237494511599633"}`,
			i/60%60, i%60, r.IntN(1000), 7000000+i, hex(32), r.IntN(500), r.Uint64N(1e12), r.Uint64N(1e12), name, name, hex(8), hex(64), hex(32),
			r.Uint32(), r.Uint32(), r.Uint32(), r.IntN(50), r.IntN(255), r.IntN(255), r.IntN(255), r.IntN(255), r.IntN(1e5), r.IntN(1000), r.Uint32())
	}
	return out
}

// constant is a credential that costs nothing.
type constant struct{}

func (constant) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// byHand is what one would write instead: gzip and POST, a megabyte at a time.
func byHand(client *http.Client, url string, rows []json.RawMessage) error {
	var body bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed)
	post := func() error {
		_, _ = zip.Write([]byte("]"))
		_ = zip.Close()
		req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body.Bytes()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Content-Encoding", "gzip")
		req.Header.Set("Authorization", "Bearer token")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("HTTP %d", resp.StatusCode)
		}
		return nil
	}
	size := 0
	for _, row := range rows {
		if size+len(row)+2 > 1_000_000 {
			if err := post(); err != nil {
				return err
			}
			body.Reset()
			zip.Reset(&body)
			size = 0
		}
		if size == 0 {
			_, _ = zip.Write([]byte("["))
		} else {
			_, _ = zip.Write([]byte(","))
		}
		_, _ = zip.Write(row)
		size += len(row) + 1
	}
	return post()
}

// BenchmarkUpload compares an Ingestor with a hand-written loop, against a TLS server
// in the same process that reads and discards. Both take turns, so that a slow moment
// of the machine strikes both. vs-loop is the share of the loop's rows a second;
// cpu-s/Mrow is user and system time of client and server together.
func BenchmarkUpload(b *testing.B) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	client := srv.Client()
	c, err := azure.New(azure.Config{Credential: azure.Plain(constant{}), HTTPClient: client})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	g, err := c.Logs.Ingestor(azure.IngestTarget{Endpoint: srv.URL, RuleID: "dcr-1", Stream: stream, RequestsPerMinute: 1e9})
	if err != nil {
		b.Fatal(err)
	}
	rows := events(4000)
	size := 0
	for _, r := range rows {
		size += len(r)
	}
	url := srv.URL + "/dataCollectionRules/dcr-1/streams/" + stream + "?api-version=2023-01-01"
	for _, senders := range []int{1, 2} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			ways := []way{
				{upload: func() error { _, err := g.Upload(b.Context(), rows); return err }},
				{upload: func() error { return byHand(client, url, rows) }},
			}
			for b.Loop() {
				for i := range ways {
					ways[i].run(b, senders)
				}
			}
			n := float64(b.N * senders * len(rows))
			ours, loop := ways[0], ways[1]
			b.ReportMetric(loop.wall.Seconds()/ours.wall.Seconds(), "vs-loop")
			b.ReportMetric(n/ours.wall.Seconds(), "rows/s")
			b.ReportMetric(ours.cpu/n*1e6, "cpu-s/Mrow")
			b.ReportMetric(loop.cpu/n*1e6, "loop-cpu-s/Mrow")
			b.ReportMetric(float64(size)/float64(len(rows)), "B/row")
		})
	}
}

// way is one way to upload, and what it took.
type way struct {
	upload func() error
	wall   time.Duration
	cpu    float64
}

func (w *way) run(b *testing.B, senders int) {
	cpu, begin := cpuSeconds(), time.Now()
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			if err := w.upload(); err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
	w.wall += time.Since(begin)
	w.cpu += cpuSeconds() - cpu
}

// cpuSeconds is what the process has used so far.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(u.Utime) + seconds(u.Stime)
}
