package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/crowdstrike/gofalcon/falcon/client/ioc"
	"github.com/go-openapi/runtime"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// ErrDuplicateIOC is matched by the error of an indicator whose type and value
// Falcon has already, or that an earlier one of the same call has. After a Create
// that may have been sent, repeating it tells by this error what was created.
var ErrDuplicateIOC = errors.New("an indicator of this type and value is there already")

// IOCCreate is indicators to create.
type IOCCreate struct {
	Indicators []NewIOC
	Comment    string // for the audit log
	// Retrodetects looks for the indicators in what hosts did in the past, too.
	Retrodetects bool
	// IgnoreWarnings creates what Falcon otherwise refuses with a mere warning.
	IgnoreWarnings bool
	// Chunk is how many go in one call; default 200. How many Falcon takes is not
	// documented.
	Chunk int
}

// IOCUpdate is changes of indicators. The options are those of IOCCreate.
type IOCUpdate struct {
	Changes        []IOCChange
	Comment        string
	Retrodetects   bool
	IgnoreWarnings bool
	Chunk          int
}

// IOCResult is what became of one indicator of a Create or Update. If Err is nil
// it is done, and IOC is the indicator as Falcon has it. Otherwise
// resilience.Of(Err).Sent says how it stands: Answered, Falcon refused it;
// MaybeSent, it may be done or not, and Query tells; NotSent, it never left.
type IOCResult struct {
	IOC IOC
	Err error
}

// Create creates indicators. Falcon refuses a whole call for one bad row; Create
// takes the rows that Falcon names out and sends the rest again, so that every
// good indicator is created. A call that fails otherwise is the last, and nothing
// is ever sent twice that may have been done.
//
// The results are those of Indicators, index by index. The error joins those of
// single rows, as *RowErrors, and that of the call that failed, which comes first.
// An input that cannot be right is an error that names it, before anything is
// sent; there are no results then. Scope: IOC Management write.
func (s *IOCs) Create(ctx context.Context, create IOCCreate) ([]IOCResult, error) {
	b := iocBatch{
		c: s.c, call: resilience.Call{Name: "iocs.create", Kind: resilience.Effect}, field: "Indicators",
		comment: create.Comment, retrodetects: create.Retrodetects, ignoreWarnings: create.IgnoreWarnings, chunk: create.Chunk,
	}
	for i := range create.Indicators {
		n := &create.Indicators[i]
		b.add(n.body(), iocKey(n.Value), n.check())
	}
	first := map[string]int{}
	for i, item := range b.items {
		key := string(item.Type) + " " + b.keys[i]
		if j, ok := first[key]; ok {
			b.settle(i, resilience.Misusef("%w: Indicators[%d] is the same", ErrDuplicateIOC, j))
		} else {
			first[key] = i
		}
	}
	return b.run(ctx)
}

// Update changes indicators; otherwise as Create. A change that does not look into
// the past may safely be repeated. Scope: IOC Management write.
func (s *IOCs) Update(ctx context.Context, update IOCUpdate) ([]IOCResult, error) {
	b := iocBatch{
		c: s.c, call: resilience.Call{Name: "iocs.update", Kind: resilience.Idempotent}, field: "Changes",
		comment: update.Comment, retrodetects: update.Retrodetects, ignoreWarnings: update.IgnoreWarnings, chunk: update.Chunk,
	}
	if update.Retrodetects {
		b.call.Kind = resilience.Effect // a second look would make its detections again
	}
	first := map[string]int{}
	for i := range update.Changes {
		c := &update.Changes[i]
		err := c.check()
		if j, ok := first[c.ID]; ok && err == nil {
			err = fmt.Errorf(".ID: Changes[%d] is of the same indicator: make one of them", j)
		}
		first[c.ID] = i
		b.add(c.body(), "", err)
	}
	return b.run(ctx)
}

// iocBatch is a Create or Update under way.
type iocBatch struct {
	c                            *Client
	call                         resilience.Call
	field                        string // of the input, for errors
	comment                      string
	retrodetects, ignoreWarnings bool
	chunk                        int

	items   []iocBody
	keys    []string // of new items: the value as it is compared
	invalid []error
	results []IOCResult
	told    []error // of single items, and of the call that ended it
}

func (b *iocBatch) add(item iocBody, key string, invalid error) {
	if invalid != nil {
		b.invalid = append(b.invalid, fmt.Errorf("%s[%d]%w", b.field, len(b.items), invalid))
	}
	b.items, b.keys, b.results = append(b.items, item), append(b.keys, key), append(b.results, IOCResult{})
}

// settle gives one item its error.
func (b *iocBatch) settle(i int, err error) {
	b.results[i].Err = fmt.Errorf("%s[%d]: %w", b.field, i, err)
	b.told = append(b.told, b.results[i].Err)
}

// run sends what is not settled, a chunk at a time.
func (b *iocBatch) run(ctx context.Context) ([]IOCResult, error) {
	switch {
	case len(b.invalid) > 0:
		return nil, resilience.Misusef("falcon %s: %w", b.call.Name, errors.Join(b.invalid...))
	case len(b.items) == 0:
		return nil, resilience.Misusef("falcon %s: %s is empty", b.call.Name, b.field)
	case b.chunk < 0:
		return nil, resilience.Misusef("falcon %s: Chunk is %d: want at least 1, or 0 for 200", b.call.Name, b.chunk)
	case b.chunk == 0:
		b.chunk = 200
	}
	var left []int
	for i := range b.items {
		if b.results[i].Err == nil {
			left = append(left, i)
		}
	}
	for len(left) > 0 {
		some := left[:min(b.chunk, len(left))]
		left = left[len(some):]
		failed, err := b.send(ctx, some)
		if err == nil {
			continue
		}
		for _, i := range failed {
			b.results[i].Err = err
		}
		for _, i := range left {
			b.results[i].Err = resilience.BeforeSending(fmt.Errorf("an earlier call failed: %w", err))
		}
		b.told = append(b.told, fmt.Errorf("%s[%d] and %d more, and %d after them that were not sent: %w",
			b.field, failed[0], len(failed)-1, len(left), err))
		break
	}
	// What may have been done decides what is known of it all, so it comes first.
	slices.SortStableFunc(b.told, func(x, y error) int { return int(resilience.Of(x).Sent) - int(resilience.Of(y).Sent) })
	return b.results, errors.Join(b.told...)
}

// send sends items until none is left that Falcon refuses by itself. A call that
// fails for all of them gives its error and those that it was about.
func (b *iocBatch) send(ctx context.Context, some []int) (failed []int, err error) {
	type reply struct {
		a   *answer
		env *envelope
	}
	for len(some) > 0 {
		w, err := b.write(ctx, some)
		if err != nil {
			return some, err
		}
		r, err := send(ctx, b.c, b.call, w, func(a *answer) (reply, error) {
			env, err := a.open(b.call.Name)
			return reply{a, env}, err
		})
		if err == nil {
			b.done(some, r.a, r.env)
			return nil, nil
		}
		api, ok := errors.AsType[*APIError](err)
		if !ok || api.Status != http.StatusBadRequest {
			return some, err
		}
		// Nothing of it was done: the rest can go without those that are refused.
		rest := b.refuse(some, api.rows, api.TraceID)
		if len(rest) == len(some) {
			return some, err
		}
		some = rest
	}
	return nil, nil
}

// write makes the request with a body of our own.
func (b *iocBatch) write(ctx context.Context, some []int) (*written, error) {
	var op capture
	yes := true
	flag := func(set bool) *bool {
		if set {
			return &yes
		}
		return nil
	}
	if b.field == "Changes" {
		p := ioc.NewIndicatorUpdateV1ParamsWithContext(ctx)
		p.Retrodetects, p.IgnoreWarnings = flag(b.retrodetects), flag(b.ignoreWarnings)
		_, _ = ioc.New(&op, nil).IndicatorUpdateV1(p)
	} else {
		p := ioc.NewIndicatorCreateV1ParamsWithContext(ctx)
		p.Retrodetects, p.IgnoreWarnings = flag(b.retrodetects), flag(b.ignoreWarnings)
		_, _ = ioc.New(&op, nil).IndicatorCreateV1(p)
	}
	w, err := b.c.write(op.op)
	if err != nil {
		return nil, err
	}
	body := struct {
		Comment    string    `json:"comment,omitempty"`
		Indicators []iocBody `json:"indicators"`
	}{Comment: b.comment}
	for _, i := range some {
		body.Indicators = append(body.Indicators, b.items[i])
	}
	w.header.Set("Content-Type", runtime.JSONMime)
	w.body, err = json.Marshal(body)
	return w, err
}

// find tells which item a row of an answer is about.
func (b *iocBatch) find(some []int, row lenient.Object) (int, bool) {
	id, value := row.Str("id"), iocKey(row.Str("value"))
	for _, i := range some {
		item := &b.items[i]
		if item.ID != "" && item.ID == id || item.ID == "" && b.keys[i] == value && (row["type"] == nil || row.Str("type") == string(item.Type)) {
			return i, true
		}
	}
	return 0, false
}

// refuse settles the items that rows of a refusal name, and returns the others. A
// row without a message, or that names none of them, accuses nobody.
func (b *iocBatch) refuse(some []int, rows []json.RawMessage, trace string) (rest []int) {
	said := map[int]*RowError{}
	mere := map[int]*RowError{} // warnings that are being ignored: they stand beside errors of other rows
	for _, raw := range rows {
		var row lenient.Object
		if json.Unmarshal(raw, &row) != nil || row.Str("message") == "" {
			continue
		}
		i, ok := b.find(some, row)
		if !ok {
			continue
		}
		to := said
		if b.ignoreWarnings && row.Str("message_type") == "warning" {
			to = mere
		}
		to[i] = b.refusal(to[i], i, row, raw, trace)
	}
	if len(said) == 0 {
		said = mere
	}
	for _, i := range some {
		if e := said[i]; e != nil {
			b.settle(i, e)
		} else {
			rest = append(rest, i)
		}
	}
	return rest
}

// refusal is what a row says of an item, added to what was said of it before.
func (b *iocBatch) refusal(before *RowError, i int, row lenient.Object, raw json.RawMessage, trace string) *RowError {
	api := &APIError{Operation: b.call.Name, Status: http.StatusBadRequest, TraceID: trace}
	if before != nil {
		api, _ = errors.AsType[*APIError](before)
	}
	text := row.Str("message")
	if field := row.Str("field_name"); field != "" {
		text = field + ": " + text
	}
	api.Messages = append(api.Messages, Message{Code: http.StatusBadRequest, Message: text})
	e := &RowError{Operation: "falcon " + b.call.Name, ID: b.items[i].ID + b.items[i].Value, Raw: raw, Err: api}
	for _, m := range api.Messages {
		if strings.Contains(strings.ToLower(m.Message), "duplicate") {
			e.Err = fmt.Errorf("%w: %w", ErrDuplicateIOC, api)
		}
	}
	return e
}

// done settles the items of an answer. Those it does not have may be done or not.
func (b *iocBatch) done(some []int, a *answer, env *envelope) {
	rest := b.refuse(some, env.Resources, a.traceID()) // rows with a message instead of an indicator
	there := map[int]bool{}
	for _, raw := range env.Resources {
		var row lenient.Object
		_ = json.Unmarshal(raw, &row)
		if i, ok := b.find(rest, row); ok {
			there[i] = true
			r := iocRows.read(b.call.Name, raw)
			if b.results[i].IOC = r.Value; r.Err != nil {
				b.settle(i, a.malformed(b.call.Name, r.Err))
			}
		}
	}
	for _, i := range rest {
		if there[i] {
			continue
		}
		missing := a.malformed(b.call.Name, errors.New("it does not have the indicator"))
		for _, m := range env.Errors {
			missing.Messages = append(missing.Messages, m.public())
		}
		b.settle(i, &RowError{Operation: "falcon " + b.call.Name, ID: b.items[i].ID + b.items[i].Value, Err: missing})
	}
}
