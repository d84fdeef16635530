// Package oracle compares pkg/kmod with the real modprobe and the real
// systemd-modules-load of four Debian releases. They run in synthetic host roots,
// with a stand-in for the kernel's module loader.
package oracle

import (
	"context"
	"debug/elf"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/test/debian"
)

// Version is one pair of real programs.
type Version struct {
	Suite         debian.Suite
	Kmod, Systemd int
	// BusyBox: modprobe is BusyBox's.
	BusyBox bool
}

func (v Version) String() string {
	if v.BusyBox {
		return fmt.Sprintf("BusyBox of %s", v.Suite)
	}
	return fmt.Sprintf("kmod %d, systemd %d (%s)", v.Kmod, v.Systemd, v.Suite)
}

// Versions are the pairs that Debian ships.
var Versions = []Version{
	{Suite: debian.Bullseye, Kmod: 28, Systemd: 247},
	{Suite: debian.Bookworm, Kmod: 30, Systemd: 252},
	{Suite: debian.Trixie, Kmod: 34, Systemd: 257},
	{Suite: debian.Forky, Kmod: 34, Systemd: 262},
}

// BusyBoxes are the same releases with BusyBox 1.30, 1.35 and 1.37 for modprobe.
var BusyBoxes = []Version{
	{Suite: debian.Bullseye, Kmod: 28, Systemd: 247, BusyBox: true},
	{Suite: debian.Bookworm, Kmod: 30, Systemd: 252, BusyBox: true},
	{Suite: debian.Trixie, Kmod: 34, Systemd: 257, BusyBox: true},
}

// needsProc: systemd of this version reads no file in a root without a real /proc.
func (v Version) needsProc() bool { return v.Systemd > 257 }

//go:embed standin/kernel.c
var kernelSource []byte

// Tools is a directory with the programs of one version, their libraries and
// the stand-in kernel, from which roots are furnished.
type Tools struct {
	Version
	dir string
}

// Where the programs are inside a root. Nothing of it is a path that modprobe
// or systemd read configuration from.
const (
	toolsDir    = "tools"
	modprobe    = "/sbin/modprobe"
	modulesLoad = "/tools/systemd-modules-load"
	sysctl      = "/tools/systemd-sysctl"
)

// systemPackages are those that have the programs.
var systemPackages = []string{"kmod", "systemd", "udev", "dash", "coreutils", "busybox"}

// Prepare fetches the programs and compiles the stand-in kernel into dir.
func Prepare(ctx context.Context, v Version, dir string) (*Tools, error) {
	if runtime.GOARCH != "amd64" {
		return nil, errors.New("the stand-in kernel is written for amd64")
	}
	tree, err := debian.Open(v.Suite, "").TreeWithDepends(ctx, systemPackages...)
	if err != nil {
		return nil, fmt.Errorf("fetch kmod and systemd of %s: %w", v.Suite, err)
	}
	for _, d := range []string{"bin", "sbin", "lib64", "dev", toolsDir + "/lib"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	f := furnisher{tree: tree, dir: dir, libs: map[string]bool{}}
	modprobeOf := "bin/kmod"
	if v.BusyBox {
		modprobeOf = "bin/busybox"
	}
	for _, p := range []struct{ from, to string }{
		{modprobeOf, "sbin/modprobe"},
		{"lib/systemd/systemd-modules-load", "tools/systemd-modules-load"},
		{"lib/systemd/systemd", "tools/systemd"},
		{"lib/systemd/systemd-sysctl", sysctl[1:]},
		{"bin/dash", "bin/sh"},
		{"bin/true", "bin/true"},
		{"bin/false", "bin/false"},
		{"bin/env", "bin/env"},
		{"lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"},
	} {
		if err := f.program(p.from, p.to); err != nil {
			return nil, fmt.Errorf("take %s of %s: %w", p.from, v.Suite, err)
		}
	}
	// systemd 257 opens it with dlopen.
	if err := f.library("libkmod.so.2"); err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "kernel.c")
	if err := os.WriteFile(source, kernelSource, 0o644); err != nil {
		return nil, err
	}
	cc := exec.CommandContext(ctx, "gcc", "-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-nostartfiles", "-fno-builtin",
		"-fno-stack-protector", "-fno-tree-loop-distribute-patterns",
		"-DRELEASE=\""+hostcase.Release+"\"", "-o", filepath.Join(dir, toolsDir, "kernel.so"), source)
	if out, err := cc.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the stand-in kernel: %w\n%s", err, out)
	}
	null := filepath.Join(dir, "dev/null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make /dev/null for the programs (this needs root): %w", err)
	}
	return &Tools{Version: v, dir: dir}, nil
}

type furnisher struct {
	tree, dir string
	libs      map[string]bool
}

func (f furnisher) program(from, to string) error {
	src := filepath.Join(f.tree, from)
	if err := copyFile(src, filepath.Join(f.dir, to)); err != nil {
		return err
	}
	return f.needs(src)
}

// needs copies the libraries a program or library is linked with.
func (f furnisher) needs(file string) error {
	e, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer e.Close()
	names, err := e.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f.library(name); err != nil {
			return err
		}
	}
	return nil
}

func (f furnisher) library(name string) error {
	if f.libs[name] || name == "ld-linux-x86-64.so.2" {
		return nil
	}
	f.libs[name] = true
	for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "lib/systemd", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu/systemd"} {
		src := filepath.Join(f.tree, dir, name)
		if _, err := os.Stat(src); err != nil {
			continue
		}
		if err := copyFile(src, filepath.Join(f.dir, toolsDir, "lib", name)); err != nil {
			return err
		}
		return f.needs(src)
	}
	return fmt.Errorf("no package of %s brought %s", f.tree, name)
}

// copyFile copies a program or a library. A process that another goroutine starts
// meanwhile holds the copy open for writing until it has become its own program,
// and for so long the copy cannot be run (ETXTBSY, execve(2)); the lock keeps
// others from being started until it is closed.
func copyFile(from, to string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
