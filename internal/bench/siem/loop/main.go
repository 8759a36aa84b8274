// The command loop is what a careful programmer writes in an afternoon: it reads all
// partitions of Falcon's event stream, checks that every line is JSON, packs lines
// into arrays of at most a million bytes and posts them compressed to a data
// collection rule. It survives broken connections and outages of the sink by waiting,
// keeps nothing on disk, and so loses what it holds when it is killed. For the bench
// it is the practical upper bound: what durability costs is the distance to it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fastjson"
)

const (
	maxBatch = 1_000_000              // bytes, before compression
	maxWait  = 100 * time.Millisecond // of a line in a batch
	senders  = 2
	ingest   = "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-CrowdStrikeAlerts?api-version=2023-01-01"
)

type loop struct {
	falcon, authority, sink string
	client                  *http.Client
	batches                 chan []byte // JSON arrays without their end
	free                    chan []byte
}

func main() {
	l := &loop{batches: make(chan []byte), free: make(chan []byte, 2*senders+2)}
	flag.StringVar(&l.falcon, "falcon-url", "", "`address` of Falcon")
	flag.StringVar(&l.authority, "azure-authority", "", "`address` of Entra ID")
	flag.StringVar(&l.sink, "ingest-url", "", "`address` of the data collection endpoint")
	ca := flag.String("ca", "", "`file` with the CA to trust")
	flag.Parse()
	log.Fatal(l.run(context.Background(), *ca)) // nothing is to be saved: a signal may end it anywhere
}

func (l *loop) run(ctx context.Context, ca string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	l.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: senders, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}}
	for range senders {
		go l.send(ctx)
	}
	after := map[int]int64{}
	for {
		if err := l.read(ctx, after); err != nil {
			log.Print(err)
		}
		pause(ctx, time.Second)
	}
}

// read reads all partitions until one of them breaks.
func (l *loop) read(ctx context.Context, after map[int]int64) error {
	bearer, err := l.token(ctx, l.falcon+"/oauth2/token", url.Values{"client_id": {"bench"}, "client_secret": {"bench"}})
	if err != nil {
		return err
	}
	var found struct {
		Resources []struct {
			Feed    string `json:"dataFeedURL"`
			Session struct {
				Token string `json:"token"`
			} `json:"sessionToken"`
			Refresh  string `json:"refreshActiveSessionURL"`
			Interval int    `json:"refreshActiveSessionInterval"`
		} `json:"resources"`
	}
	if err := l.ask(ctx, http.MethodGet, l.falcon+"/sensors/entities/datafeed/v2?appId=loop", "Bearer "+bearer, nil, &found); err != nil {
		return err
	}
	if len(found.Resources) == 0 {
		return errors.New("no partition on offer")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	reached := make([]int64, len(found.Resources))
	var feeds sync.WaitGroup
	for p, r := range found.Resources {
		from := "whence=2" // nothing is known of what was read before this process began
		reached[p] = after[p]
		if reached[p] > 0 {
			from = "offset=" + strconv.FormatInt(reached[p]+1, 10)
		}
		feeds.Go(func() {
			defer stop()
			if err := l.feed(ctx, r.Feed+"&"+from, r.Session.Token, &reached[p]); err != nil && ctx.Err() == nil {
				log.Printf("partition %d: %v", p, err)
			}
		})
		feeds.Go(func() {
			for pause(ctx, time.Duration(r.Interval)*time.Second*9/10) {
				if err := l.ask(ctx, http.MethodPost, r.Refresh, "Bearer "+bearer, nil, nil); err != nil {
					log.Print(err)
				}
			}
		})
	}
	feeds.Wait()
	for p, offset := range reached {
		after[p] = offset
	}
	return nil
}

// feed packs the lines of one partition.
func (l *loop) feed(ctx context.Context, address, token string, reached *int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Token "+token)
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the feed answered %s", resp.Status)
	}
	var mu sync.Mutex
	batch, since := l.empty(), time.Now()
	flush := func() {
		if len(batch) > 0 {
			l.batches <- batch
			batch = l.empty()
		}
	}
	over := make(chan struct{})
	defer func() {
		close(over)
		mu.Lock()
		defer mu.Unlock()
		flush()
	}()
	go func() { // a feed that pauses must not keep its last lines
		for {
			select {
			case <-over:
				return
			case <-time.After(maxWait / 4):
			}
			mu.Lock()
			if len(batch) > 0 && time.Since(since) > maxWait {
				flush()
			}
			mu.Unlock()
		}
	}()
	in := bufio.NewReaderSize(resp.Body, 256<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if err := fastjson.ValidateBytes(line); err != nil {
			log.Printf("a line is dropped: %v", err)
			continue
		}
		offset := int64(-1)
		if _, rest, ok := bytes.Cut(line, []byte(`"offset":`)); ok {
			digits, _, _ := bytes.Cut(rest[:min(len(rest), 20)], []byte(","))
			offset, _ = strconv.ParseInt(string(digits), 10, 64)
		}
		mu.Lock()
		if len(batch)+len(line)+2 > maxBatch {
			flush()
		}
		if len(batch) == 0 {
			since = time.Now()
			batch = append(batch, '[')
		} else {
			batch = append(batch, ',')
		}
		batch = append(batch, line...)
		*reached = max(*reached, offset)
		mu.Unlock()
	}
}

// empty is room for a batch.
func (l *loop) empty() []byte {
	select {
	case b := <-l.free:
		return b
	default:
		return make([]byte, 0, maxBatch)
	}
}

// send compresses and posts batches, each until it is answered.
func (l *loop) send(ctx context.Context) {
	var body bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed) // fails for no level that there is
	var token string
	for {
		var batch []byte
		select {
		case <-ctx.Done():
			return
		case batch = <-l.batches:
		}
		body.Reset()
		zip.Reset(&body)
		_, _ = zip.Write(append(batch, ']'))
		_ = zip.Close()
		select {
		case l.free <- batch[:0]:
		default:
		}
		for {
			wait, err := l.post(ctx, &token, body.Bytes())
			if err == nil {
				break
			}
			log.Print(err)
			if wait == 0 || !pause(ctx, wait) {
				break // refused for what is in it: one batch is lost, the rest goes on
			}
		}
	}
}

// post sends a body once; on error, wait is when to try again, and 0 means never.
func (l *loop) post(ctx context.Context, token *string, body []byte) (wait time.Duration, err error) {
	const usual = 100 * time.Millisecond
	if *token == "" {
		if *token, err = l.token(ctx, l.authority+"/bench/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"bench"}, "client_secret": {"bench"}, "scope": {"https://monitor.azure.com/.default"},
		}); err != nil {
			return usual, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.sink+ingest, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+*token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := l.client.Do(req)
	if err != nil {
		return usual, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return 0, nil
	case resp.StatusCode == http.StatusUnauthorized:
		*token = ""
	case resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusRequestEntityTooLarge:
		return 0, fmt.Errorf("a batch is refused: %s", resp.Status)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return max(usual, time.Duration(seconds)*time.Second), fmt.Errorf("the sink answered %s", resp.Status)
}

func (l *loop) token(ctx context.Context, address string, form url.Values) (string, error) {
	var answer struct {
		Token string `json:"access_token"`
	}
	err := l.ask(ctx, http.MethodPost, address, "", form, &answer)
	return answer.Token, err
}

// ask makes a small request and decodes the answer.
func (l *loop) ask(ctx context.Context, method, address, authorization string, form url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s answered %s", address, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
