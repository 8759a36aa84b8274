package siem

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAllEventsArriveOnceInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &toySource{name: "toy", feeds: []string{"0", "1"}, until: 5000, batch: 100}
		sink := &toySink{}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(sink)})
		defer stop()
		time.Sleep(time.Minute)
		checkFeeds(t, src, sink)
		if n := p.spool.Stats().Bytes; n > tidyFrom {
			t.Errorf("the spool has %d bytes", n)
		}
	})
}

// Three hours without the sink, at five events a second.
func TestAnOutageOfThreeHoursLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &toySource{name: "toy", feeds: []string{"0", "1"}, until: 2.5 * 3600 * 4, every: 400 * time.Millisecond}
		sink := &toySink{}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(sink)})
		defer stop()
		time.Sleep(30 * time.Minute)
		before := len(sink.got())
		sink.set(func(*Batch) (Receipt, error) { return Receipt{}, errors.New("503") })
		time.Sleep(3 * time.Hour)
		if n := len(sink.got()); n != before || before == 0 {
			t.Errorf("%d, then %d", before, n)
		}
		sink.set(nil)
		time.Sleep(2 * time.Minute)
		if n := len(sink.got()); n < before+3*3600*5 {
			t.Errorf("the backlog of %d is not delivered: %d", 3*3600*5, n-before)
		}
		time.Sleep(2 * time.Hour)
		checkFeeds(t, src, sink)
		if n := p.spool.Stats().Bytes; n > tidyFrom {
			t.Errorf("the spool has %d bytes", n)
		}
	})
}

// checkFeeds wants every event of a source once, in the order of its feed.
func checkFeeds(t *testing.T, src *toySource, sink *toySink) {
	t.Helper()
	got := sink.got()
	if len(got) != len(src.feeds)*int(src.until) {
		t.Errorf("%d rows arrived, of %d", len(got), len(src.feeds)*int(src.until))
	}
	for _, feed := range src.feeds {
		var of []string
		for _, id := range got {
			if len(id) > len(src.name)+len(feed)+1 && id[:len(src.name)+1+len(feed)+1] == src.name+":"+feed+":" {
				of = append(of, id)
			}
		}
		if !slices.Equal(of, expected(src, feed)) {
			t.Errorf("feed %s: %d rows, not those that were wanted in order", feed, len(of))
		}
	}
}
