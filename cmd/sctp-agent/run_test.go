package main

import (
	"context"
	"errors"
	"net/http"
	"testing"
)

// An address that cannot be served ends the agent; and the agent's own error is
// reported, with which the server ends.
func TestRunServing(t *testing.T) {
	untilEnd := func(ctx context.Context) error { <-ctx.Done(); return nil }
	if err := runServing(t.Context(), "127.0.0.1:nowhere", http.NotFoundHandler(), untilEnd); err == nil {
		t.Error("no error for an address that cannot be served")
	}
	own := errors.New("its own")
	if err := runServing(t.Context(), "127.0.0.1:0", http.NotFoundHandler(), func(context.Context) error { return own }); err != own {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runServing(ctx, "127.0.0.1:0", http.NotFoundHandler(), untilEnd); err != nil {
		t.Errorf("ended from outside: %v", err)
	}
}
