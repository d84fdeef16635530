package kmod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// kernelFS is /proc or /sys of the inspected kernel, whose names are relative.
type kernelFS interface {
	Stat(name string) (hostroot.Info, error)
	ReadFile(name string) (string, error)
	Close() error
}

// volatile: what is there is in memory, or is removed by a boot.
func volatile(name string) bool {
	if name == efiOptions {
		return false // of the firmware, which has it in the next boot, too
	}
	return strings.HasPrefix(name, "/run/") || strings.HasPrefix(name, "/tmp/") || strings.HasPrefix(name, "/dev/shm/")
}

// Limits on what is read of a host. A real configuration is orders of
// magnitude smaller; a file that passes a limit is treated like one that
// cannot be read, never silently cut.
const (
	maxConfigFile  = 1 << 20
	maxModprobeSet = 2 << 20   // all files of modprobe.d together
	maxLoadSet     = 256 << 10 // and of modules-load.d
	maxCmdline     = 64 << 10  // architectures allow for some thousand bytes
	maxVersionFile = 4 << 20   // a program searched for its version
)

// errTooMuch: a limit on all files together was reached.
var errTooMuch = errors.New("more in all its files than in any real configuration, not read to the end")

// Errors of [Inspect], besides [fs.ErrNotExist] and [fs.ErrPermission] of the
// host root, [errors.ErrUnsupported] for an [Options.FS] that cannot read links,
// and the error of a context that ended.
var (
	// ErrNotDirectory: the host root is a file.
	ErrNotDirectory error = syscall.ENOTDIR
	// ErrModuleName: the module has no name, or none that a module can have.
	ErrModuleName = errors.New("give its name as in modules.dep, with underscores and without .ko")
)

// hostFiles are the inspected host's files and its kernel's.
type hostFiles struct {
	*hostroot.Tree
	proc, sys kernelFS
}

// Close closes all of them.
func (f hostFiles) Close() error {
	return errors.Join(f.Tree.Close(), f.proc.Close(), f.sys.Close())
}

// takesModules reports whether the running kernel has loadable modules at all: one that
// was built without them (CONFIG_MODULES) has neither of these files. Where /proc is not
// the running kernel's, or does not show its files (proc(5), subset=pid), that cannot be told.
func (f hostFiles) takesModules() bool {
	if proc, ok := f.proc.(interface{ IsProc() bool }); !ok || !proc.IsProc() {
		return true
	}
	has := func(name string) bool { _, err := f.proc.Stat(name); return !hostroot.Absent(err) }
	return !has("sys/kernel/osrelease") || has("modules") || has("sys/kernel/modules_disabled")
}

// openFS opens the given file system, until ctx ends.
func (o Options) openFS(ctx context.Context) (hostFiles, error) {
	tree, err := hostroot.FromFS(o.FS)
	if err != nil {
		return hostFiles{}, rootError("the given file system", err)
	}
	return treeFiles(ctx, tree, o), nil
}

// treeFiles takes the kernel's own files from the host's.
func treeFiles(ctx context.Context, tree *hostroot.Tree, o Options) hostFiles {
	tree = until(ctx, tree)
	return hostFiles{tree, tree.Sub(cmp.Or(o.Proc, "/proc")), tree.Sub(cmp.Or(o.Sys, "/sys"))}
}

// until ends the use of a tree with ctx.
func until(ctx context.Context, tree *hostroot.Tree) *hostroot.Tree {
	return tree.Checked(func(string) error { return ctx.Err() })
}

// rootError names what cannot be opened, and what to do about it.
func rootError(root string, err error) error {
	hint := "name the directory under which the host's /etc and /lib are"
	if errors.Is(err, fs.ErrPermission) {
		hint = "run as a user who may enter it"
	}
	return fmt.Errorf("open host root %s: %w (%s)", root, hostroot.Bare(err), hint)
}

// readFile reads a whole regular file of at most limit bytes, and returns when it
// was last modified.
func readFile(host *hostroot.Tree, name string, limit int64) ([]byte, time.Time, error) {
	f, err := host.Open(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	data, err := f.ReadAll(limit)
	return data, f.Info().Changed, err
}

// kernelLine reads a one-line file of the kernel's without its newline.
func kernelLine(k kernelFS, name string) (string, error) {
	s, err := k.ReadFile(name)
	return strings.TrimSuffix(s, "\n"), err
}
