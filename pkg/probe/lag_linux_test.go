package probe

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// beats is a pulse whose beats come at these milliseconds after it began.
func beats(began time.Time, at ...int) pulse {
	p := pulse{began: began}
	for _, ms := range at {
		p.beats = append(p.beats, began.Add(time.Duration(ms)*time.Millisecond))
	}
	return p
}

// every is the times from first up to, and without, last.
func every(step, first, last int) (at []int) {
	for ms := first; ms < last; ms += step {
		at = append(at, ms)
	}
	return at
}

func TestPulse(t *testing.T) {
	const since, now = 100, 1100 // of a wait, in milliseconds
	began := time.Unix(1e9, 0)
	for name, tc := range map[string]struct {
		pulse     pulse
		irregular bool
	}{
		"every beat":                   {beats(began, every(20, 20, 1101)...), false},
		"beats a little late":          {beats(began, every(28, 28, 1101)...), false},
		"one pause that is a tenth":    {beats(began, append(every(20, 20, 500), every(20, 580, 1101)...)...), false},
		"one pause that is longer":     {beats(began, append(every(20, 20, 500), every(20, 600, 1101)...)...), true},
		"a pause until now":            {beats(began, every(20, 20, 700)...), true},
		"a pause at the beginning":     {beats(began, every(20, 260, 1101)...), true},
		"a pause before the wait":      {beats(began, every(20, 120, 1101)...), false},
		"always behind, but no pause":  {beats(began, every(60, 20, 1101)...), true},
		"none at all":                  {beats(began), true},
		"beats only before the wait":   {beats(began, every(20, 20, 100)...), true},
		"begun after the wait, well":   {beats(began.Add(160*time.Millisecond), every(20, 20, 941)...), false},
		"begun after the wait, silent": {beats(began.Add(160 * time.Millisecond)), true},
		"never begun":                  {pulse{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.pulse.irregular(20*time.Millisecond, began.Add(since*time.Millisecond), began.Add(now*time.Millisecond))
			if got != tc.irregular {
				t.Errorf("%v, want %v", got, tc.irregular)
			}
		})
	}
}

// What the kernel writes (net/core/net-procfs.c, dev_seq_show).
const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
  eth0:    5555      66    0   77    0     0          0         0     8888      99    0    0    0     0       0          0
    lo: 1234567    8910    0    3    0     0          0         0  1234567    8910    0    0    0     0       0          0
`

// Silence is doubted unless all that there is speaks for it.
func TestDoubt(t *testing.T) {
	for name, tc := range map[string]struct {
		dev              string
		lost             uint64
		waited           time.Duration
		sleeping, packet []int
		shared           bool
		says             string
	}{
		"well":                     {netDev, 3, time.Second, every(20, 20, 1001), every(20, 20, 1001), false, ""},
		"well, shared":             {netDev, 3, time.Second, every(20, 20, 1001), every(20, 20, 1001), true, ""},
		"a short wait":             {netDev, 3, 700 * time.Millisecond, every(20, 20, 701), every(20, 20, 701), false, "too short"},
		"packets lost":             {netDev, 1, time.Second, every(20, 20, 1001), every(20, 20, 1001), false, "were lost"},
		"no counters":              {"", 0, time.Second, every(20, 20, 1001), every(20, 20, 1001), false, "not known"},
		"counters without lo":      {"x\ny\n", 0, time.Second, every(20, 20, 1001), every(20, 20, 1001), false, "has no lo"},
		"counters of another kind": {"lo: 1 2\n", 0, time.Second, every(20, 20, 1001), every(20, 20, 1001), false, "no count"},
		"not run":                  {netDev, 3, time.Second, every(20, 20, 600), every(20, 20, 1001), false, "it ran the probe"},
		"packets late":             {netDev, 3, time.Second, every(20, 20, 1001), every(20, 20, 600), false, "it delivered packets"},
		"no packet":                {netDev, 3, time.Second, every(20, 20, 1001), nil, false, "it delivered packets"},
		"no packet, shared":        {netDev, 3, time.Second, every(20, 20, 1001), nil, true, "nothing else arrives"},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			if tc.dev != "" {
				path := filepath.Join(proc, "net/dev")
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tc.dev), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now().Add(-tc.waited)
			l := &lag{
				proc: proc, beat: 20 * time.Millisecond, private: !tc.shared, began: began, lost: tc.lost,
				sleeping: beats(began, tc.sleeping...), packets: beats(began, tc.packet...),
			}
			for since, of := range map[time.Time]string{began: "the wait", {}: "the whole run"} {
				if got := l.doubt(since, began.Add(tc.waited)); (got == "") != (tc.says == "") || !strings.Contains(got, tc.says) {
					t.Errorf("%s: %q, want %q", of, got, tc.says)
				}
			}
		})
	}
}

// Both series beat here too, and leave nothing.
func TestLagEnds(t *testing.T) {
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	l := watchLag("/proc", time.Second, false)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		both := len(l.sleeping.beats) > 5 && len(l.packets.beats) > 5
		l.mu.Unlock()
		if both {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no beats")
		}
	}
	l.end()
	settle(t, "descriptors", fds, func() int { return descriptors(t) })
	settle(t, "goroutines", goroutines, runtime.NumGoroutine)
}
