package nodewriter

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// The condition of a living agent is never older than its heartbeat and a tenth of
// it; that of an agent which has ended becomes old. Its content does not change,
// and no other writer is reported.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = nodelabel.DefaultHeartbeat
		server := oneNode(&apiNode{version: 1})
		outcomes := map[Outcome]int{}
		w, stop := startWriter(t, server, Config{Condition: true, Heartbeat: every, Observe: func(o Outcome) { outcomes[o]++ }})
		say := func() { w.Publish(report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded)) }
		condition := func() Condition {
			server.mu.Lock()
			defer server.mu.Unlock()
			return server.nodes["n"].conditions[0]
		}
		age := func(c Condition) time.Duration {
			last, err := time.Parse(time.RFC3339, c.LastHeartbeatTime)
			if err != nil {
				t.Fatal(err)
			}
			return time.Since(last)
		}
		say()
		time.Sleep(time.Second)
		first := condition()
		for range 120 {
			// The slow assessments, and other writers' edits, wake the writer far
			// more often than that.
			time.Sleep(time.Minute / 2)
			say()
			if old := age(condition()); old > every+every/10+time.Second {
				t.Fatalf("the last heartbeat is %s old", old)
			}
		}
		last := condition()
		if !last.says(&first) || last.LastTransitionTime != first.LastTransitionTime {
			t.Errorf("the condition was %+v, is %+v", first, last)
		}
		if writes := outcomes[Applied]; !maps.Equal(outcomes, map[Outcome]int{Applied: writes}) || writes < 11 || writes > 13 {
			t.Errorf("writes in an hour, by outcome: %v, want 11 to 13 applied", outcomes)
		}
		stop()
		time.Sleep(time.Hour)
		if old := age(condition()); old < 55*time.Minute {
			t.Errorf("nobody lives, and the last heartbeat is %s old", old)
		}
	})
}

// Without a heartbeat nothing is written while nothing changes, and one of before
// goes away.
func TestNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := oneNode(&apiNode{version: 1, conditions: []Condition{{
			Type: nodelabel.ConditionType, Status: "True", LastHeartbeatTime: time.Now().UTC().Format(time.RFC3339),
		}}})
		w, stop := startWriter(t, server, Config{Condition: true})
		for range 60 {
			w.Publish(report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded))
			time.Sleep(time.Minute)
		}
		stop()
		n := server.nodes["n"]
		if n.version != 2 || n.conditions[0].LastHeartbeatTime != "" {
			t.Errorf("written %d times, the condition is %+v", n.version-1, n.conditions[0])
		}
	})
}

// A new agent keeps the heartbeat that it finds until it is due, and none that is
// of the future or no time.
func TestHeartbeatFound(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	for last, want := range map[string]time.Duration{
		"2026-02-03T04:05:06Z": 5*time.Minute - 7,
		"2026-02-03T04:03:06Z": 3*time.Minute - 7,
		"2026-02-03T03:05:06Z": 0,
		"2026-02-03T04:06:06Z": 0,
		"yesterday":            0,
		"":                     0,
	} {
		if got := (&Condition{LastHeartbeatTime: last}).untilHeartbeat(5*time.Minute, now); got != want {
			t.Errorf("%q is good for %s, want %s", last, got, want)
		}
	}
}
