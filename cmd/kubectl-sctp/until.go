package main

import (
	"context"
	"fmt"
)

// until reads a file and ends with its context: a FIFO without a writer, and a
// terminal as standard input, block for as long as they like. Such a read cannot be
// interrupted: its goroutine stays.
func until[T any](ctx context.Context, name string, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("read %s: %w", name, context.Cause(ctx))
	}
}
