package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// The contenders of the tests are this program once more: they have faults that the
// harness must find.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "fake" {
		fake(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
		return
	}
	os.Exit(m.Run())
}

// fakeContender is honest but for its fault.
func fakeContender(fault string) *contender {
	return &contender{name: "fake", durable: true, bin: os.Args[0], args: func(a addresses) ([]string, error) {
		return []string{"fake", fault, a.falcon, a.sink, a.ca, a.state}, nil
	}}
}

func fake(fault, falcon, sink, ca, state string) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	get := func(method, address, authorization string) *http.Response {
		req, _ := http.NewRequest(method, address, http.NoBody)
		req.Header.Set("Authorization", authorization)
		resp, err := client.Do(req)
		if err != nil || resp.StatusCode >= 300 {
			panic(fmt.Sprint(err, resp))
		}
		return resp
	}
	var found struct {
		Resources []struct {
			Feed    string `json:"dataFeedURL"`
			Session struct {
				Token string `json:"token"`
			} `json:"sessionToken"`
		} `json:"resources"`
	}
	_ = json.NewDecoder(get(http.MethodGet, falcon+discoverPath+"?appId=fake", "Bearer "+falconToken).Body).Decode(&found)
	var partitions sync.WaitGroup
	for p, r := range found.Resources {
		from := "&offset=0"
		if fault == "forgets" {
			from = "&whence=2"
		}
		partitions.Go(func() {
			lines := bufio.NewReader(get(http.MethodGet, r.Feed+from, "Token "+r.Session.Token).Body)
			fakePartition(fault, p, lines, func(rows []string) { fakePost(client, sink, state, rows) })
		})
	}
	partitions.Wait()
}

func fakePartition(fault string, p int, lines *bufio.Reader, post func(rows []string)) {
	var rows []string
	for n := 0; ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if line = strings.TrimSpace(line); line != "" {
			if n++; n != 100 || p != 0 || fault != "drops" {
				rows = append(rows, line)
			}
			if n == 100 && p == 0 && fault == "twice" {
				rows = append(rows, line)
			}
			if n == 100 && p == 0 && fault == "invents" {
				rows = append(rows, strings.Replace(line, `"offset":1`, `"offset":7`, 1))
			}
			if n == 100 && p == 0 && fault == "dies" {
				panic("as the test wants it")
			}
		}
		if len(rows) >= 50 || line == "" && len(rows) > 0 {
			if fault == "swaps" && len(rows) > 1 {
				rows[0], rows[1] = rows[1], rows[0]
			}
			post(rows)
			rows = rows[:0]
		}
	}
}

// fakePost delivers rows, halves them if they are refused, and sets the last aside.
func fakePost(client *http.Client, sink, state string, rows []string) {
	for {
		switch status := fakeRequest(client, sink, zipped("["+strings.Join(rows, ",")+"]"), entraToken); {
		case status == http.StatusNoContent:
			return
		case status == http.StatusBadRequest && len(rows) == 1:
			_ = os.MkdirAll(state+"/dead", 0o700)
			_ = os.WriteFile(state+"/dead/letters.jsonl", []byte(rows[0]+"\n"), 0o600)
			return
		case status == http.StatusBadRequest:
			fakePost(client, sink, state, rows[:len(rows)/2])
			rows = rows[len(rows)/2:]
		default:
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// fakeRequest returns the status, 0 if there was none.
func fakeRequest(client *http.Client, sink string, body []byte, token string) int {
	req, _ := http.NewRequest(http.MethodPost, sink+"/dataCollectionRules/dcr-1/streams/Custom-X?api-version=2023-01-01", bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func zipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.Bytes()
}
