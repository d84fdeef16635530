package cluster

import (
	"slices"
	"testing"
)

// Names are sorted as people count, and two names are never the same.
func TestCompareNames(t *testing.T) {
	want := []string{"", "a", "node-09", "node-9", "node-10", "node-10-1", "node-10-a", "node-99999999999999999999999", "node-100000000000000000000000", "node-a"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, CompareNames)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
