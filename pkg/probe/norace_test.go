//go:build !race

package probe

import "time"

// grace is how late an answer may come after its deadline (docs/probe.md).
const grace = 50 * time.Millisecond
