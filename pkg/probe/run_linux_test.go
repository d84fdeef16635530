package probe

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// Whatever the options, a protocol that is not registered, or not settled, is
// left alone: that no socket is opened is what keeps the module out.
func TestRunLeavesAnUnregisteredProtocolAlone(t *testing.T) {
	const anotherKernels = "another kernel's"
	for name, tc := range map[string]struct {
		protocols, initstate string
		wantUnknown          bool
	}{
		"not registered": {protocols: protocolsHeader + protocolTCP},
		"still loading":  {protocols: protocolsHeader + protocolSCTP, initstate: "coming\n"},
		"going":          {protocols: protocolsHeader + protocolSCTP, initstate: "going\n"},
		"unreadable":     {wantUnknown: true},
		// Sockets would be opened in this kernel, and these are not its files.
		anotherKernels: {protocols: protocolsHeader + protocolSCTP, initstate: "live\n", wantUnknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			if protocols, err := os.ReadFile("/proc/net/protocols"); err != nil {
				t.Fatal(err)
			} else if name == anotherKernels && strings.Contains(string(protocols), "\nSCTP ") {
				t.Skip("SCTP is in this kernel too")
			}
			opts := Options{Proc: t.TempDir(), Sys: t.TempDir(), Timeout: 40 * time.Millisecond}
			write := func(path, text string) {
				t.Helper()
				if text == "" {
					return
				}
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write(filepath.Join(opts.Proc, "net/protocols"), tc.protocols)
			write(filepath.Join(opts.Sys, "module/sctp/initstate"), tc.initstate)
			r := Run(context.Background(), opts)
			if r.Attempted || r.CausedLoad {
				t.Errorf("attempted %v, caused load %v", r.Attempted, r.CausedLoad)
			}
			switch {
			case !tc.wantUnknown && len(r.Checks) != 0:
				t.Errorf("checks without a socket: %+v", r.Checks)
			case tc.wantUnknown && (len(r.Checks) != 1 || r.Checks[0].Result != result.OutcomeUnknown || r.Checks[0].Detail == ""):
				t.Errorf("want one check that could not conclude, got %+v", r.Checks)
			}
		})
	}
}
