package probe

import (
	"context"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
)

// proveECN: both ends agree to use explicit congestion notification (RFC 9260,
// appendix A). That a router's mark is echoed cannot be seen without one.
func proveECN(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{prepare: []setup{extension(sctp.OptECNSupported, 1, "explicit congestion notification")}})
	if err != nil {
		return err
	}
	for name, s := range map[string]*socket{"client": a.client, "server": a.server} {
		if on, err := s.enabled(sctp.OptECNSupported); err != nil {
			return err
		} else if !on {
			return wrong("the %s did not agree to explicit congestion notification", name)
		}
	}
	if err := echo(ctx, a.client, a.server); err != nil {
		return err
	}
	return a.shutdown(ctx)
}
