package probe

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Registered reports whether the SCTP protocol is in the kernel whose /proc is
// mounted at proc ("" means "/proc"). It opens no socket: asking the kernel for an
// unregistered protocol makes it load the module (net/ipv4/af_inet.c, inet_create).
// The list is global, so the answer is the same in every network namespace and
// container.
//
// With an error it is not known: [fs.ErrNotExist] (errors.Is) where no procfs is
// mounted, [fs.ErrPermission], or [io.ErrUnexpectedEOF] for a list without
// anything in it, which no kernel writes.
//
// The file is that of proc_register in net/core/sock.c: a protocol's name,
// padded, then numbers. "SCTPv6" is a line of its own and no proof of "SCTP".
func Registered(proc string) (bool, error) {
	proc = cmp.Or(proc, "/proc")
	// /proc/net is a link to self/net, which needs not exist in a host's
	// /proc seen from another PID namespace; process 1 is always there.
	f, err := os.Open(filepath.Join(proc, "net/protocols"))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(proc, "1/net/protocols"))
	}
	if err != nil {
		return false, fmt.Errorf("look for SCTP among the kernel's protocols: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for ; lines.Scan(); n++ {
		if name, _, _ := strings.Cut(lines.Text(), " "); name == "SCTP" {
			return true, nil
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if n == 0 {
		return false, fmt.Errorf("read %s: %w: every kernel has protocols", f.Name(), io.ErrUnexpectedEOF)
	}
	return false, nil
}
