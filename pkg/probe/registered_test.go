package probe

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What the kernel writes (net/core/sock.c, proto_seq_printf): 6.1 with sctp,
// and lines that only look like it.
const (
	protocolsHeader = "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n"
	protocolSCTP    = "SCTP      1392      0       0   no       0   yes  sctp        y  n  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  n  y\n"
	protocolSCTPv6  = "SCTPv6    1552      1       0   no       0   yes  sctp        y  n  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  n  y\n"
	protocolTCP     = "TCP       2304      3       1   no     256   yes  kernel      y  y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  y\n"
)

func TestRegistered(t *testing.T) {
	for name, tc := range map[string]struct {
		file    string
		content string
		want    bool
		wantErr error
	}{
		"loaded":                       {"net/protocols", protocolsHeader + protocolSCTPv6 + protocolSCTP + protocolTCP, true, nil},
		"not loaded":                   {"net/protocols", protocolsHeader + protocolTCP, false, nil},
		"only SCTPv6 is not SCTP":      {"net/protocols", protocolsHeader + protocolSCTPv6, false, nil},
		"the module's name is no name": {"net/protocols", protocolsHeader + "FOO       1392      0       0   no       0   yes  SCTP        y\n", false, nil},
		"no self: process 1":           {"1/net/protocols", protocolsHeader + protocolSCTP, true, nil},
		"empty":                        {"net/protocols", "", false, io.ErrUnexpectedEOF},
		"absent":                       {"net/other", "", false, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			path := filepath.Join(proc, tc.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := Registered(proc)
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("Registered = %v, %v; want %v, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}
