package edr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// A job is kept as one record that says what it is, and one for each host that is
// done: a job of thousands writes each of them once.
const (
	jobPrefix     = "edr/bulk/"
	jobHostPrefix = "edr/bulk-host/"
	// jobsKept is how long a job can be gone on with.
	jobsKept = 30 * 24 * time.Hour
)

// jobHead says what a job is.
type jobHead struct {
	ID    string    `json:"id"`
	What  string    `json:"what"` // a hash of verb, hosts and intent
	Begun time.Time `json:"begun"`
}

// job is a Bulk in the store.
type job struct {
	store  kv.Store
	id     string
	result BulkResult
	revs   []uint64 // of the hosts' records
}

// jobKey keeps ids apart, whatever is in them.
func jobKey(id string) string { return hex.EncodeToString([]byte(id)) }

func jobHostKey(id string, i int) string {
	return fmt.Sprintf("%s%s/%08d", jobHostPrefix, jobKey(id), i)
}

// openJob reads how far a job came, or begins it.
func (f *Fleet) openJob(ctx context.Context, b Bulk) (*job, error) {
	j := &job{store: f.cfg.Store, id: b.ID, result: BulkResult{Hosts: make([]BulkHost, len(b.Hosts))}, revs: make([]uint64, len(b.Hosts))}
	for i, q := range b.Hosts {
		j.result.Hosts[i].Query = q
	}
	what, err := json.Marshal(struct {
		Verb   Verb
		Hosts  []Query
		Intent Intent
	}{b.Verb, b.Hosts, b.Intent})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(what)
	head := jobHead{ID: b.ID, What: hex.EncodeToString(sum[:]), Begun: time.Now()}
	if err := j.begin(ctx, head); err != nil {
		return nil, fmt.Errorf("edr: bulk %s: %w", b.ID, err)
	}
	for e, err := range f.cfg.Store.Scan(ctx, jobHostPrefix+jobKey(b.ID)+"/") {
		var i int
		var h BulkHost
		if err == nil {
			_, err = fmt.Sscanf(e.Key[len(e.Key)-8:], "%d", &i)
		}
		if err == nil {
			err = json.Unmarshal(e.Value, &h)
		}
		if err == nil && (i < 0 || i >= len(b.Hosts) || h.Query != b.Hosts[i]) {
			err = errors.New("it is of another host")
		}
		if err != nil {
			return nil, fmt.Errorf("edr: bulk %s: what became of a host cannot be read: %w", b.ID, err)
		}
		j.result.Hosts[i], j.revs[i] = h, e.Rev
	}
	for i, h := range j.result.Hosts {
		if !h.Outcome.OK() {
			j.result.Hosts[i] = BulkHost{Query: h.Query} // to be tried again
		}
	}
	return j, nil
}

// begin writes the head, or compares it with the one that is there.
func (j *job) begin(ctx context.Context, head jobHead) error {
	e, err := j.store.Get(ctx, jobPrefix+jobKey(head.ID))
	if errors.Is(err, kv.ErrNotFound) {
		value, err := json.Marshal(head)
		if err != nil {
			return err
		}
		_, err = j.store.Put(ctx, jobPrefix+jobKey(head.ID), value, 0)
		return err
	}
	if err != nil {
		return err
	}
	var there jobHead
	if err := json.Unmarshal(e.Value, &there); err != nil {
		return err
	}
	if there.What != head.What {
		return fmt.Errorf("%w, begun at %s: give this one another ID", ErrBulkChanged, there.Begun.Format(time.RFC3339))
	}
	return nil
}

// save keeps what became of a host, also when the caller has left.
func (j *job) save(ctx context.Context, i int) error {
	value, err := json.Marshal(j.result.Hosts[i])
	if err == nil {
		j.revs[i], err = j.store.Put(context.WithoutCancel(ctx), jobHostKey(j.id, i), value, j.revs[i])
	}
	if err != nil {
		return fmt.Errorf("what became of host %s cannot be kept: %w", j.result.Hosts[i].Query, err)
	}
	return nil
}

// dropJobs removes jobs that nobody will go on with.
func (f *Fleet) dropJobs(ctx context.Context) error {
	var errs []error
	for e, err := range f.cfg.Store.Scan(ctx, jobPrefix) {
		var head jobHead
		if err == nil {
			err = json.Unmarshal(e.Value, &head)
		}
		if err == nil && time.Since(head.Begun) > jobsKept {
			err = f.dropJob(ctx, head.ID, e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// dropJob removes the head last: a job that is half removed is removed again.
func (f *Fleet) dropJob(ctx context.Context, id string, head kv.Entry) error {
	for e, err := range f.cfg.Store.Scan(ctx, jobHostPrefix+jobKey(id)+"/") {
		if err == nil {
			err = f.cfg.Store.Delete(ctx, e.Key, e.Rev)
		}
		if err != nil {
			return err
		}
	}
	return f.cfg.Store.Delete(ctx, head.Key, head.Rev)
}
