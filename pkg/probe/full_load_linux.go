package probe

import "context"

// proveLargeMessage: a message more than a hundred times what a packet holds,
// and larger than half the receiver's window (RFC 9260, section 6.9).
func proveLargeMessage(ctx context.Context, e *env) error {
	return fragmented(ctx, e, 1200, 150_000)
}

// proveManyAssociations: a server with a hundred peers at once, on one socket.
func proveManyAssociations(ctx context.Context, e *env) error {
	return serve(ctx, e, 100)
}
