package oracle

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Callers are what is compared, in the order of a report.
var Callers = []string{"modprobe", "autoload", "autoloadIPv6", "boot", "requested"}

// Outcome is what one side says, by caller: "true", "false", "unknown", or ""
// where the real programs cannot be asked.
type Outcome map[string]string

// Root is a place where cases are built and run, one at a time.
type Root struct {
	tools *Tools
	dir   string
	// Log has the output of the last programs.
	Log bytes.Buffer
	// chance says that a program since resetKernel decided by chance.
	chance bool
}

// NewRoot furnishes an empty directory with hard links to the tools.
func (t *Tools) NewRoot(dir string) (*Root, error) {
	err := filepath.WalkDir(t.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(t.dir, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		return os.Link(name, filepath.Join(dir, rel))
	})
	if err != nil {
		return nil, fmt.Errorf("furnish %s: %w", dir, err)
	}
	return &Root{tools: t, dir: dir}, nil
}

// caseDirs is everything a case may write.
var caseDirs = []string{"etc", "run", "usr", "lib", "proc", "sys", "tmp"}

// Compare builds a case and asks both sides. The case is gone afterwards.
func (r *Root) Compare(ctx context.Context, c *hostcase.Case) (real, ours Outcome, err error) {
	defer func() { err = errors.Join(err, r.clear()) }()
	r.Log.Reset()
	// The root has its own programs.
	own := *c
	own.Entries = slices.DeleteFunc(slices.Clone(c.Entries), func(e hostcase.Entry) bool {
		return strings.HasPrefix(e.Path, "bin/") || strings.HasPrefix(e.Path, "sbin/")
	})
	if r.tools.BusyBox {
		own.Entries = append(own.Entries, textIndexes(c)...)
	}
	if err := own.Build(r.dir); err != nil {
		return nil, nil, fmt.Errorf("build case: %w", err)
	}
	if ours, err = r.inspect(ctx, c); err != nil {
		return nil, nil, err
	}
	if real, err = r.ask(ctx, c); err != nil {
		return nil, nil, err
	}
	return real, ours, nil
}

// clear removes the case.
func (r *Root) clear() (err error) {
	for _, d := range caseDirs {
		err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, d)))
	}
	return err
}

func (r *Root) inspect(ctx context.Context, c *hostcase.Case) (Outcome, error) {
	ins, err := kmod.Inspect(ctx, kmod.Options{
		Root: r.dir, Proc: filepath.Join(r.dir, "proc"), Sys: filepath.Join(r.dir, "sys"),
		KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
	}, kmod.SCTP())
	if err != nil {
		return nil, err
	}
	return Outcome{
		"modprobe":     string(ins.ByName.Allowed),
		"autoload":     string(ins.Autoload.Allowed),
		"autoloadIPv6": string(ins.AutoloadIPv6.Allowed),
		"boot":         string(ins.BootLoad.Allowed),
		"requested":    string(ins.BootLoad.Requested),
	}, nil
}

// ask runs the real programs for every caller, each on a kernel without the
// module.
func (r *Root) ask(ctx context.Context, c *hostcase.Case) (Outcome, error) {
	real := Outcome{}
	module := kmod.SCTP()
	insertedBy := func(runs ...[]string) (string, error) {
		if err := r.resetKernel(c); err != nil {
			return "", err
		}
		for _, argv := range runs {
			if _, _, err := r.run(ctx, argv...); err != nil {
				return "", err
			}
			if r.noOutcome() {
				return "", nil
			}
			if r.inserted(module.Name) {
				return "true", nil
			}
		}
		return "false", nil
	}
	var err error
	if real["modprobe"], err = insertedBy([]string{modprobe, module.Name}); err != nil {
		return nil, err
	}
	for caller, names := range map[string][]string{"autoload": module.Autoload, "autoloadIPv6": module.AutoloadIPv6} {
		var runs [][]string
		for _, name := range names {
			// kernel/module/kmod.c, call_modprobe; without a helper it
			// is not called, nor with another one in its place.
			if helper := cmp.Or(c.Helper, modprobe); !c.NoHelper && r.runnable(helper) {
				runs = append(runs, []string{helper, "-q", "--", name})
			}
		}
		if real[caller], err = insertedBy(runs...); err != nil {
			return nil, err
		}
	}
	if builtin(c, module.Name) {
		// In the kernel already, however the configuration reads.
		for _, caller := range []string{"modprobe", "autoload", "autoloadIPv6"} {
			real[caller] = "true"
		}
	}
	if r.tools.BusyBox {
		return real, nil // what asks at boot has libkmod
	}
	return real, r.askBoot(ctx, c, module.Name, real)
}

// textIndexes are the indexes of depmod(8) that BusyBox reads.
func textIndexes(c *hostcase.Case) []hostcase.Entry {
	files := map[string]string{}
	for _, m := range c.Modules {
		files[m.Name] = m.File
	}
	var dep, alias strings.Builder
	for _, m := range c.Modules {
		dep.WriteString(m.File + ":")
		for _, need := range m.Needs {
			if !slices.Contains(c.Builtin, need) {
				dep.WriteString(" " + files[need])
			}
		}
		dep.WriteString("\n")
	}
	for _, a := range c.Aliases {
		// Only the other indexes have all of a name's dashes made underscores.
		fmt.Fprintf(&alias, "alias %s %s\n", strings.ReplaceAll(a.Pattern, "_", "-"), a.Name)
	}
	lib := "usr/lib"
	if c.Split {
		lib = "lib"
	}
	dir := path.Join(lib, "modules", hostcase.Release)
	return []hostcase.Entry{
		{Kind: hostcase.File, Path: path.Join(dir, "modules.dep"), Content: dep.String()},
		{Kind: hostcase.File, Path: path.Join(dir, "modules.alias"), Content: alias.String()},
		{Kind: hostcase.File, Path: path.Join(dir, "modules.symbols"), Content: ""},
	}
}

// builtin says that the module is in the kernel from the start: a load changes
// nothing, and the outcome is the same however the configuration reads.
func builtin(c *hostcase.Case, module string) bool {
	return slices.Contains(c.Builtin, module) && !slices.Contains(c.Without, "modules.builtin.bin")
}

var loadingLine = regexp.MustCompile(`(?m)^(?:.*: )?(?:Loading module: |load: )(.*)$`)

// askBoot runs systemd-modules-load, whose log names what it asks for.
func (r *Root) askBoot(ctx context.Context, c *hostcase.Case, module string, real Outcome) error {
	if err := r.resetKernel(c); err != nil {
		return err
	}
	_, log, err := r.run(ctx, modulesLoad)
	if err != nil || r.noOutcome() {
		return err
	}
	inserted := r.inserted(module)
	var names []string
	for _, m := range loadingLine.FindAllStringSubmatch(log, -1) {
		names = append(names, m[1])
	}
	requested, sure := inserted, true
	for _, name := range names {
		if requested {
			break
		}
		if strings.ReplaceAll(name, "-", "_") == module {
			requested = true
			break
		}
		// An alias of it, or something that needs it: modprobe resolves.
		if strings.HasPrefix(name, "-") {
			continue
		}
		resolved, _, err := r.run(ctx, modprobe, "-R", "--", name)
		if err != nil {
			return err
		}
		if slices.Contains(strings.Split(resolved, "\n"), module) {
			requested = true
			break
		}
		for _, m := range c.Modules {
			if slices.Contains(m.Needs, module) && slices.Contains(strings.Split(resolved, "\n"), m.Name) {
				sure = false
			}
		}
		for _, e := range c.Entries {
			if strings.Contains(e.Content, "softdep") {
				sure = false // it may bring the module along, and be blacklisted
			}
		}
	}
	switch {
	case requested:
		real["requested"] = "true"
	case sure:
		real["requested"] = "false"
	}
	switch {
	case builtin(c, module):
		real["boot"] = "true"
	case requested:
		real["boot"] = fmt.Sprint(inserted)
	case sure:
		// Nobody asks; what would happen if someone did.
		if err := r.resetKernel(c); err != nil {
			return err
		}
		if _, _, err := r.run(ctx, modprobe, "-b", module); err != nil || r.noOutcome() {
			return err
		}
		real["boot"] = fmt.Sprint(r.inserted(module))
	}
	return nil
}

// runnable says whether execve(2) of a path inside the root starts a program.
func (r *Root) runnable(name string) bool {
	root, err := unix.Open(r.dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0
}

func (r *Root) inserted(module string) bool {
	_, err := os.Stat(filepath.Join(r.dir, "sys/module", module, "initstate"))
	return err == nil
}

// resetKernel takes out what an earlier run inserted.
func (r *Root) resetKernel(c *hostcase.Case) error {
	r.chance = false
	if err := os.RemoveAll(filepath.Join(r.dir, "sys/endless")); err != nil {
		return err
	}
	for _, name := range c.Builtin {
		if name == kmod.SCTP().Name {
			continue // see builtin
		}
		// The stand-in kernel's own list: it provides what other modules need.
		name = filepath.Join(r.dir, "sys/builtin", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, nil, 0o644)); err != nil {
			return err
		}
	}
	dir := filepath.Join(r.dir, "sys/module")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// The module in question is never there to begin with.
		if e.Name() == "kernel" || e.Name() != kmod.SCTP().Name && slices.Contains(c.Live, e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// runTimeout bounds one program. A real one takes milliseconds, on a machine that
// others use seconds.
const runTimeout = 2 * time.Minute

// noOutcome says that what the programs did tells nothing: they went round in a
// circle of install commands until the stand-in kernel ended it, or decided by
// chance.
func (r *Root) noOutcome() bool {
	_, err := os.Stat(filepath.Join(r.dir, "sys/endless"))
	return err == nil || r.chance
}

var directoryLine = regexp.MustCompile(`(?m)Directories inside directories are not supported: (.*)$`)

// byChance says that libkmod called a link that leads nowhere a directory, and
// so did not let it hide a file. Up to 33 it does not look whether its fstatat
// of an entry succeeded, and goes on with what is on the stack
// (libkmod-config.c, conf_files_filter_out). Once, that has been a directory's
// mode.
func (r *Root) byChance(stderr []byte) bool {
	root, err := unix.Open(r.dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(root)
	for _, m := range directoryLine.FindAllSubmatch(stderr, -1) {
		fd, err := unix.Openat2(root, string(m[1]), &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		if err != nil {
			return true
		}
		unix.Close(fd)
	}
	return false
}

// withProc mounts a real /proc into a root, and goes on there. The case's own is
// kept beside it, for its command line and for the stand-in kernel.
const withProc = `set -e
root=$1; shift
mkdir -p "$root/tools/proc"
mount --bind "$root/proc" "$root/tools/proc"
mount -t proc proc "$root/proc"
mount --bind "$root/tools/proc/cmdline" "$root/proc/cmdline"
exec env -i PATH="$PATH:/usr/sbin" LD_LIBRARY_PATH=/tools/lib chroot "$root" /bin/env "$@"`

// run runs a program inside the root and returns its output. Its exit status
// does not matter, a program that does not end does.
func (r *Root) run(ctx context.Context, argv ...string) (stdout, stderr string, err error) {
	env := []string{
		"PATH=/sbin:/bin", "LD_LIBRARY_PATH=/tools/lib", "LD_PRELOAD=/tools/kernel.so",
		"SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_COLOR=0", "SYSTEMD_LOG_LOCATION=0",
	}
	if argv[0] == modulesLoad && r.tools.needsProc() {
		// In a container systemd takes the command line of process 1, and what
		// tests run in may be one: it is given the case's (src/basic/proc-cmdline.c).
		cmdline, err := os.ReadFile(filepath.Join(r.dir, "proc/cmdline"))
		if err != nil {
			return "", "", err
		}
		cmdline, _, _ = bytes.Cut(cmdline, []byte{0})
		env = append(env, "SYSTEMD_PROC_CMDLINE="+string(cmdline))
		return r.unshared(ctx, withProc, env, argv...)
	}
	return r.output(ctx, &syscall.SysProcAttr{Chroot: r.dir}, env, argv, argv)
}

// unshared runs a program by a script of the machine's shell, which has mounts of
// its own; the root, the environment and argv are its arguments.
func (r *Root) unshared(ctx context.Context, script string, env []string, argv ...string) (stdout, stderr string, err error) {
	shell := slices.Concat([]string{"unshare", "--mount", "sh", "-c", script, "sh", r.dir}, env, argv)
	return r.output(ctx, &syscall.SysProcAttr{}, nil, argv, shell)
}

// output runs full, which runs argv.
func (r *Root) output(ctx context.Context, attr *syscall.SysProcAttr, env, argv, full []string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	cmd.SysProcAttr, cmd.Env, cmd.Dir = attr, env, "/"
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	fmt.Fprintf(&r.Log, "$ %s\n%s%s", strings.Join(argv, " "), out.String(), errs.String())
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return "", "", fmt.Errorf("run %s in %s: %w", path.Base(argv[0]), r.dir, err)
	}
	if ctx.Err() != nil {
		return "", "", fmt.Errorf("%s did not end: %w\n%s", strings.Join(argv, " "), ctx.Err(), firstLine(errs.Bytes()))
	}
	r.chance = r.chance || r.byChance(errs.Bytes())
	if bytes.Contains(errs.Bytes(), []byte("error while loading shared libraries")) {
		return "", "", fmt.Errorf("run %s: %s", argv[0], firstLine(errs.Bytes()))
	}
	return out.String(), errs.String(), nil
}

func firstLine(b []byte) string {
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Scan()
	return s.Text()
}
