package edr

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// Bulk is a job: many hosts to contain, or to release. ID, Verb, Hosts and Intent are
// required.
type Bulk struct {
	// ID names the job in the store. A Bulk of the same ID, verb, hosts and intent goes
	// on where the last one stopped, whether it was cancelled or its process killed.
	ID     string
	Verb   Verb
	Hosts  []Query
	Intent Intent
	// Parallel is how many hosts are acted on at the same time; default 4.
	Parallel int
	// Budget is how many hosts may fail before the job stops, because something is
	// wrong with more than the hosts; default 10. A host that is not found, or that a
	// guard protects, counts as well.
	Budget int
	// Progress hears of every host when it is done, one at a time, and of nothing else;
	// the job waits for it.
	Progress func(BulkProgress)
}

// BulkProgress is how far a job has come.
type BulkProgress struct {
	Host   BulkHost // the one that is done
	Done   int      // as they were wanted, those of earlier runs among them
	Failed int      // in this run
	Of     int
}

// BulkHost is what became of one host of a job.
type BulkHost struct {
	Query    Query            `json:"query"`
	Outcome  failover.Outcome `json:"outcome"`
	Provider string           `json:"provider,omitempty"` // who served it
	Error    string           `json:"error,omitempty"`
}

// BulkResult is what became of a job.
type BulkResult struct {
	Hosts  []BulkHost // as in Bulk.Hosts; the Outcome of those that are left is Unset
	Done   int        // as they were wanted
	Failed int
	Left   int // neither: the job stopped before
}

// Errors of a job that stopped. What is done stays done, and is in the result.
var (
	// ErrBudget: more hosts failed than Bulk.Budget.
	ErrBudget = errors.New("the budget of failures is used up")
	// ErrBulkChanged: the store knows a job of this ID with other hosts, verb or intent.
	ErrBulkChanged = errors.New("a job of this ID with other hosts, verb or intent is in the store")
)

// Bulk contains or releases many hosts, each of them once: a host that is done is in
// the store before the next one begins, so that a job that was cancelled or killed is
// gone on with by calling it again. Hosts that failed are then tried again; that a
// host whose process died in the middle is not acted on twice is the ledger's and the
// vendors' word, as with Contain.
//
// A vendor whose quota has no room is waited for, up to an hour a host.
//
// A job ends early when ctx ends, when [Bulk.Budget] is used up (ErrBudget), or when
// the guard of the blast radius refuses a host (ErrGuard). The error is nil if every
// host was tried; what became of each is in the result. It is an error, before
// anything is done, if the store cannot say how far the job came.
func (f *Fleet) Bulk(ctx context.Context, b Bulk) (BulkResult, error) {
	if err := b.check(); err != nil {
		return BulkResult{}, err
	}
	job, err := f.openJob(ctx, b)
	if err != nil {
		return BulkResult{}, err
	}
	going, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	run := bulkRun{fleet: f, b: b, job: job, going: going, stop: stop}
	run.work(ctx)
	res := job.result
	for _, h := range res.Hosts {
		switch {
		case h.Outcome == failover.Unset && h.Error == "":
			res.Left++
		case h.Outcome.OK():
			res.Done++
		default:
			res.Failed++
		}
	}
	if res.Left > 0 || run.storeErr != nil {
		return res, fmt.Errorf("edr: bulk %s: %d of %d hosts are left: %w", b.ID, res.Left, len(b.Hosts), errors.Join(context.Cause(going), run.storeErr))
	}
	return res, nil
}

func (b *Bulk) check() error {
	for i, q := range b.Hosts {
		if err := q.validate(); err != nil {
			return resilience.Misusef("edr: Bulk.Hosts[%d]: %w", i, err)
		}
	}
	switch {
	case b.ID == "":
		return resilience.Misusef("edr: Bulk.ID is empty: a job that is to be gone on with needs a name of its own")
	case b.Verb != VerbContain && b.Verb != VerbRelease:
		return resilience.Misusef("edr: Bulk.Verb %q: want contain or release", b.Verb)
	case len(b.Hosts) == 0:
		return resilience.Misusef("edr: Bulk.Hosts is empty")
	case b.Parallel < 0 || b.Budget < 0:
		return resilience.Misusef("edr: Bulk.Parallel %d, Budget %d: want 1 or more, or 0 for the default", b.Parallel, b.Budget)
	}
	if b.Parallel == 0 {
		b.Parallel = 4
	}
	if b.Budget == 0 {
		b.Budget = 10
	}
	return b.Intent.validate()
}

// bulkRun is one run of a job.
type bulkRun struct {
	fleet *Fleet
	b     Bulk
	job   *job
	// going ends when no other host is to be begun. Those that are begun are finished:
	// to cancel an action on its way would leave the host unknown for no reason.
	going context.Context
	stop  context.CancelCauseFunc

	mu       sync.Mutex
	next     int
	done     int
	failed   int
	storeErr error
}

func (r *bulkRun) work(ctx context.Context) {
	for _, h := range r.job.result.Hosts {
		if h.Outcome.OK() {
			r.done++
		}
	}
	var wg sync.WaitGroup
	for range r.b.Parallel {
		wg.Go(func() {
			for i, ok := r.take(); ok; i, ok = r.take() {
				r.finish(ctx, i, r.act(ctx, r.b.Hosts[i]))
			}
		})
	}
	wg.Wait()
}

// take is the next host that is not done.
func (r *bulkRun) take() (int, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.next < len(r.b.Hosts) && r.going.Err() == nil; r.next++ {
		if !r.job.result.Hosts[r.next].Outcome.OK() {
			r.next++
			return r.next - 1, true
		}
	}
	return 0, false
}

type acted struct {
	BulkHost
	err  error
	left bool // as it was: the job stopped while the host waited for a quota
}

// act acts on one host. That a vendor's quota has no room is no failure of the host:
// the job waits for it.
func (r *bulkRun) act(ctx context.Context, q Query) acted {
	do := r.fleet.Contain
	if r.b.Verb == VerbRelease {
		do = r.fleet.Release
	}
	begun, left := time.Now(), false
	res, err := do(ctx, q, r.b.Intent)
	for delay := time.Second; err != nil && res.Value.Outcome != failover.Unknown && time.Since(begun) < quotaPatience; delay = min(2*delay, time.Minute) {
		full, after := noRoom(res.Gaps)
		if !full {
			break
		}
		if left = wait.For(r.going, max(delay, after)) != nil; left {
			break
		}
		res, err = do(ctx, q, r.b.Intent)
	}
	a := acted{BulkHost{Query: q, Outcome: res.Value.Outcome, Provider: res.By()}, err, left}
	if err != nil {
		a.Error = err.Error()
		if a.Outcome.OK() || a.Outcome == failover.Unset {
			a.Outcome = failover.Failed
		}
	}
	return a
}

// quotaPatience is how long a job waits for room for one host: Defender's longest
// window is an hour (facts/microsoft.md 2.2).
const quotaPatience = time.Hour + 5*time.Minute

// noRoom reports whether a vendor was not asked, or refused, because its quota, or the
// limit of calls at the same time, had no room, and how long it wants to be left alone.
func noRoom(gaps []failover.Gap) (full bool, after time.Duration) {
	for _, g := range gaps {
		if f := resilience.Of(g.Err); f.Class == resilience.Saturated || f.Class == resilience.Throttled {
			full, after = true, max(after, f.RetryAfter)
		}
	}
	return full, after
}

// finish keeps what became of a host, and stops the job if it must not go on.
func (r *bulkRun) finish(ctx context.Context, i int, a acted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.left || a.err != nil && resilience.CallerLeft(ctx) && a.Outcome != failover.Unknown {
		return
	}
	if refused, ok := errors.AsType[*GuardError](a.err); ok && refused.Guard == GuardRadius {
		r.stop(a.err)
		return
	}
	r.job.result.Hosts[i] = a.BulkHost
	if err := r.job.save(ctx, i); err != nil {
		// Going on would mean not to know where to go on.
		r.storeErr = err
		r.stop(err)
	}
	if a.Outcome.OK() {
		r.done++
	} else if r.failed++; r.failed >= r.b.Budget {
		r.stop(ErrBudget)
	}
	if r.b.Progress != nil {
		r.b.Progress(BulkProgress{Host: a.BulkHost, Done: r.done, Failed: r.failed, Of: len(r.b.Hosts)})
	}
}
