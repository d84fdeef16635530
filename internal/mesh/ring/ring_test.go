package ring

import (
	"fmt"
	"slices"
	"testing"
)

func names(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("worker-%d.example.org", i))
	}
	return list
}

// zone of the i-th node: 70, 20 and 10 percent.
func zone(i int) string {
	switch {
	case i%10 < 7:
		return "a"
	case i%10 < 9:
		return "b"
	}
	return "c"
}

func TestFiveThousand(t *testing.T) {
	all := names(5000)
	zones := map[string]string{}
	for i, name := range all {
		zones[name] = zone(i)
	}
	r := New(all)
	probers := map[string][]string{}
	pairs := map[string]int{}
	for _, name := range all {
		next := r.Next(name)
		if len(next) != Peers || slices.Contains(next, name) {
			t.Fatalf("%s probes %v", name, next)
		}
		for _, peer := range next {
			probers[peer] = append(probers[peer], name)
			pairs[zones[name]+zones[peer]]++
		}
	}
	for _, name := range all {
		got, want := r.Probers(name), probers[name]
		slices.Sort(got)
		slices.Sort(want)
		if len(want) != Peers || !slices.Equal(got, want) {
			t.Errorf("%s is probed by %v, and Probers has %v", name, want, got)
		}
	}
	if len(pairs) != 9 {
		t.Errorf("pairs of zones: %v", pairs)
	}
	for zones, n := range pairs {
		if n < 400 { // 1 % of 50,000 for the smallest zone with itself
			t.Errorf("%d pairs of %s: %v", n, zones, pairs)
		}
	}
	t.Logf("pairs of zones: %v", pairs)
}

// One that leaves, or comes back, changes ten pairs besides its own.
func TestLeaving(t *testing.T) {
	all := names(5000)
	before := New(all)
	for _, gone := range []int{0, 1234, 4999} {
		rest := slices.Delete(slices.Clone(all), gone, gone+1)
		after := New(rest)
		added := 0
		for _, name := range rest {
			for _, peer := range after.Next(name) {
				if !slices.Contains(before.Next(name), peer) {
					added++
				}
			}
		}
		if added != Peers {
			t.Errorf("without %s there are %d new pairs", all[gone], added)
		}
	}
}

// Everybody comes to everybody else, and no two are at one node in a turn.
func TestRoaming(t *testing.T) {
	for _, n := range []int{13, 200, 5000} {
		all := names(n)
		r := New(all)
		name, seen := all[n/2], map[string]bool{}
		const turn = 1_700_000_000 / 10
		for i := range int64(n - 1 - Peers) {
			seen[r.Roaming(name, turn+i)] = true
		}
		for _, peer := range r.Next(name) {
			seen[peer] = true
		}
		if len(seen) != n-1 || seen[name] || seen[""] {
			t.Errorf("of %d nodes, %d are probed", n, len(seen))
		}
		busy := map[string]bool{}
		for _, name := range all {
			busy[r.Roaming(name, turn)] = true
		}
		if len(busy) != n {
			t.Errorf("of %d nodes, %d have a visitor in one turn", n, len(busy))
		}
	}
}

func TestFew(t *testing.T) {
	for n := range 13 {
		all := names(n)
		r := New(append(all, all...)) // each name counts once
		if r.Size() != n {
			t.Fatalf("%d nodes of %d", r.Size(), n)
		}
		for _, name := range all {
			probed := r.Next(name)
			if roaming := r.Roaming(name, 7); roaming != "" {
				probed = append(probed, roaming)
			}
			slices.Sort(probed)
			if len(slices.Compact(probed)) != n-1 || slices.Contains(probed, name) {
				t.Errorf("of %d, %s probes %v", n, name, probed)
			}
		}
	}
	if r := New(names(3)); r.Next("another") != nil || r.Probers("another") != nil || r.Roaming("another", 0) != "" {
		t.Error("a node that is not on the ring has peers")
	}
}
