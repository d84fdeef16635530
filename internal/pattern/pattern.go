// Package pattern has regular expressions that are compiled when they are first
// needed: most runs of a program need few of them, and each takes time and memory.
package pattern

import (
	"regexp"
	"sync"
)

// MustCompile is [regexp.MustCompile], at the first call. Inlined, it would be in the
// agent some fifty times, with what sync.OnceValue is made of: 66 kB.
//
//go:noinline
func MustCompile(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
