//go:build race

package probe

import "time"

// grace is how late an answer may come after its deadline. The race detector
// makes the reader of a child that talks without end several times slower.
const grace = time.Second
