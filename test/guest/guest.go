// Package guest runs small virtual machines with a real kernel, for tests and
// the demo: where SCTP can be loaded, refused, and broken.
//
// A guest is a Debian kernel under QEMU's software emulation with an
// initramfs that has what bears on modules on a real host: that release's
// kmod, its systemd-modules-load (run at boot under the conditions of its
// unit) and systemd-sysctl, the kernel's own modules as depmod(8) indexes them. Commands run in
// it, and files go in and out, over a virtio port; output is byte-exact and
// exit codes are the programs' own.
//
//	g, err := guest.Boot(ctx, guest.Config{
//		Kernel:  guest.Linux61,
//		Cmdline: "module_blacklist=sctp",
//		Files:   []guest.File{guest.Text("/etc/modules-load.d/sctp.conf", "sctp\n")},
//	})
//	...
//	defer g.Close()
//	res, err := g.Run(ctx, guest.Command{Path: "/sbin/modprobe", Args: []string{"sctp"}})
package guest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/guest/internal/wire"
)

// Config says what to boot.
type Config struct {
	// Kernel to boot; "" means [Linux61].
	Kernel Kernel
	// Name is the guest's host name; "" means "guest".
	Name string
	// Cmdline is appended to the kernel's command line.
	Cmdline string
	// Files are put on the guest's disk before it boots.
	Files []File
	// Remove are paths that are not on the guest's disk although a guest
	// normally has them: removed by the first process, before anything reads
	// them. Patterns as of path/filepath.Match; one that matches nothing
	// fails the boot.
	Remove []string
	// MemoryMiB is the guest's memory; 0 means 512.
	MemoryMiB int
	// CPUs is the number of processors; 0 means 1.
	CPUs int
	// Net gives the guest a network card with user-mode networking: it reaches
	// this machine's loopback at [HostAddress], and nothing reaches it.
	Net bool
	// Systemd makes the release's systemd the first process, with its own units
	// and with udev, as on a host. Without it, the guest's first process does what
	// bears on modules and nothing else, which takes a third of the time.
	Systemd bool
	// Packages are further Debian packages whose programs the guest has.
	Packages []string
	// Modules are further kernel modules that the guest has on disk.
	Modules []string
	// WithoutModules are modules that it does not have, as if the package
	// that brings them was not installed: neither file nor index entry.
	WithoutModules []string
	// QEMU are further arguments.
	QEMU []string
	// Console, if set, gets the console's output, and that of RunGoTest's
	// tests, as it comes.
	Console io.Writer
}

// HostAddress is where a guest with a network finds this machine's loopback.
const HostAddress = "10.0.2.2"

// File is a file of any type on a guest's disk.
type File = wire.File

// Text is a regular file, mode 0644.
func Text(path, text string) File {
	return File{Path: path, Mode: 0o644, Data: []byte(text)}
}

// Program is an executable of this machine's disk, to be put at path.
func Program(path, from string) (File, error) {
	data, err := os.ReadFile(from)
	if err != nil {
		return File{}, fmt.Errorf("reading the program for %s: %w", path, err)
	}
	return File{Path: path, Mode: 0o755, Data: data}, nil
}

// Symlink is a symbolic link.
func Symlink(path, target string) File {
	return File{Path: path, Mode: fs.ModeSymlink | 0o777, Link: target}
}

// Guest is a running virtual machine.
type Guest struct {
	// Release is the kernel's release.
	Release string
	// BootTime is how long the last boot took, from the start of QEMU to the
	// first answer.
	BootTime time.Duration

	cfg     Config
	image   image
	console *console

	mu      sync.Mutex
	machine *running
	boot    BootReport
}

// BootReport is what a guest did at boot.
type BootReport = wire.Boot

// running is one life of the virtual machine, from power-on to power-off.
type running struct {
	*child.Process
	dir     string
	session *yamux.Session
}

// Boot prepares what is not in the cache yet, which takes minutes at the very
// first time, and boots a guest. The context bounds the boot, not the guest's
// life: call [Guest.Close].
func Boot(ctx context.Context, cfg Config) (*Guest, error) {
	cfg.Name = cmp.Or(cfg.Name, "guest")
	cfg.MemoryMiB = cmp.Or(cfg.MemoryMiB, 512)
	cfg.CPUs = cmp.Or(cfg.CPUs, 1)
	img, err := buildImage(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("preparing the guest %s: %w", cfg.Name, err)
	}
	g := &Guest{Release: img.release, cfg: cfg, image: img, console: &console{also: cfg.Console}}
	files := append([]File{Text("/etc/hostname", cfg.Name+"\n")}, cfg.Files...)
	if err := g.start(ctx, files); err != nil {
		return nil, err
	}
	return g, nil
}

// Prepare fetches and builds what guests of this configuration need, without
// booting one.
func Prepare(ctx context.Context, cfg Config) error {
	_, err := buildImage(ctx, cfg)
	return err
}

func (g *Guest) start(ctx context.Context, files []File) (err error) {
	begin := time.Now()
	defer func() {
		if err != nil {
			err = fmt.Errorf("booting the guest %s: %w", g.cfg.Name, err)
		}
	}()
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return err
	}
	r := &running{dir: dir}
	initrd := filepath.Join(dir, "initrd")
	if err := g.writeInitrd(initrd, files); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	socket := filepath.Join(dir, "port")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer ln.Close()

	cmd := exec.Command(g.image.machine.qemu[0], g.arguments(initrd, socket)...)
	cmd.Stdout, cmd.Stderr = g.console, g.console
	// A test that is killed takes its guests with it.
	if r.Process, err = child.Start(cmd); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	boot, err := g.connect(ctx, r, ln)
	if err != nil {
		r.stop()
		return fmt.Errorf("%w; the end of its console:\n%s", err, g.console.tail())
	}
	g.mu.Lock()
	g.machine, g.boot = r, boot
	g.mu.Unlock()
	g.BootTime = time.Since(begin)
	return nil
}

func (g *Guest) arguments(initrd, socket string) []string {
	m := g.image.machine
	args := slices.Concat(m.qemu[1:], []string{
		"-accel", "tcg",
		"-m", strconv.Itoa(g.cfg.MemoryMiB), "-smp", strconv.Itoa(g.cfg.CPUs),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio", "-monitor", "none",
		"-kernel", g.image.kernel, "-initrd", initrd,
		"-append", strings.TrimSpace("console=" + m.console + " quiet panic=-1 " + m.cmdline + " " + g.cfg.Cmdline),
		"-chardev", "socket,id=port,path=" + socket,
		"-device", "virtio-serial-" + m.bus,
		"-device", "virtserialport,chardev=port,name=" + wire.PortName,
	})
	if g.cfg.Net {
		args = append(args, "-netdev", "user,id=net", "-device", "virtio-net-"+m.bus+",netdev=net")
		if m.bus == "pci" {
			args[len(args)-1] += ",romfile="
		}
	}
	return append(args, g.cfg.QEMU...)
}

// writeInitrd writes the shared image with the guest's own files behind it.
func (g *Guest) writeInitrd(name string, files []File) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	base, err := os.Open(g.image.initrd)
	if err != nil {
		return err
	}
	defer base.Close()
	if _, err := io.Copy(out, base); err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	a := newArchive(w)
	files = slices.Clone(files)
	if len(g.cfg.Remove) > 0 {
		files = append(files, Text("/usr/lib/guest/remove", strings.Join(g.cfg.Remove, "\n")+"\n"))
	}
	for _, f := range files {
		if f.ModTime.IsZero() {
			f.ModTime = time.Now()
		}
		if err := a.add(f); err != nil {
			return err
		}
	}
	if err := a.Close(); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Close()
}

// connect waits until the guest answers, or cannot any more.
func (g *Guest) connect(ctx context.Context, r *running, ln net.Listener) (BootReport, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-r.Done:
			cancel(fmt.Errorf("QEMU ended: %v", r.Err))
		case <-ctx.Done():
		}
	}()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	conn, err := ln.Accept()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return BootReport{}, fmt.Errorf("waiting for QEMU: %w", err)
	}
	if r.session, err = yamux.Client(conn, wire.Config()); err != nil {
		return BootReport{}, err
	}
	answer, err := r.call(ctx, wire.Request{Hello: &wire.Hello{}})
	if err != nil {
		return BootReport{}, fmt.Errorf("waiting for the guest: %w", err)
	}
	return answer.Boot, nil
}

// open starts a request. Cancelling the context ends it.
func (r *running) open(ctx context.Context, req wire.Request) (*stream, error) {
	conn, err := r.session.OpenStream()
	if err != nil {
		return nil, err
	}
	s := &stream{Stream: conn, dec: gob.NewDecoder(conn)}
	// Expired deadlines wake what waits; closing alone waits for the guest.
	s.stop = context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0))
		_ = conn.Close()
	})
	if err := gob.NewEncoder(conn).Encode(req); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

type stream struct {
	*yamux.Stream
	dec  *gob.Decoder
	stop func() bool
}

func (s *stream) close() {
	s.stop()
	_ = s.Stream.Close()
}

// call makes a request with one answer.
func (r *running) call(ctx context.Context, req wire.Request) (a wire.Answer, err error) {
	s, err := r.open(ctx, req)
	if err != nil {
		return a, err
	}
	defer s.close()
	err = s.dec.Decode(&a)
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil && a.Err != "":
		err = errors.New(a.Err)
	}
	return a, err
}

func (r *running) stop() {
	_ = r.Cmd.Process.Kill()
	<-r.Done
	if r.session != nil {
		_ = r.session.Close()
	}
	_ = os.RemoveAll(r.dir)
}

func (g *Guest) current() (*running, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.machine == nil {
		return nil, fmt.Errorf("the guest %s is not running", g.cfg.Name)
	}
	return g.machine, nil
}

// wrap says which guest and what it was asked, and shows the console when
// the guest is gone.
func (g *Guest) wrap(r *running, what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("guest %s: %s: %w", g.cfg.Name, what, err)
	select {
	case <-r.Done:
		return fmt.Errorf("%w; the guest is gone; the end of its console:\n%s", err, g.console.tail())
	default:
		return err
	}
}

// ModulesLoad tells what systemd-modules-load did at the last boot of a guest
// without [Config.Systemd].
func (g *Guest) ModulesLoad() BootReport {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.boot
}

// Command is a program to run in a guest.
type Command struct {
	// Path of the program in the guest.
	Path string
	Args []string
	// Env is added to PATH, HOME and LANG.
	Env []string
	// Dir is the working directory; "" means the root.
	Dir   string
	Stdin []byte
	// UID and GID to run as.
	UID, GID uint32
	// Stdout and Stderr, if set, get the output as it comes; the [Result]
	// has it in any case.
	Stdout, Stderr io.Writer
}

// Shell is a command for the guest's shell.
func Shell(script string) Command {
	return Command{Path: "/bin/sh", Args: []string{"-c", script}}
}

// Result of a command.
type Result struct {
	Stdout, Stderr []byte
	// ExitCode is the program's, or 128 plus the signal that ended it.
	ExitCode int
}

// Run runs a command to its end. The error is nil whenever the program ran,
// whatever its exit code. Cancelling the context kills it. Several commands
// may run at the same time.
func (g *Guest) Run(ctx context.Context, c Command) (Result, error) {
	r, err := g.current()
	if err != nil {
		return Result{}, err
	}
	what := strings.Join(append([]string{c.Path}, c.Args...), " ")
	s, err := r.open(ctx, wire.Request{Exec: &wire.Exec{
		Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, Stdin: c.Stdin, UID: c.UID, GID: c.GID,
	}})
	if err != nil {
		return Result{}, g.wrap(r, what, err)
	}
	defer s.close()
	var stdout, stderr bytes.Buffer
	result := func() Result {
		return Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: -1}
	}
	for {
		var ev wire.Event
		if err := s.dec.Decode(&ev); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return result(), g.wrap(r, what, err)
		}
		if err := tee(&stdout, c.Stdout, ev.Stdout); err != nil {
			return result(), err
		}
		if err := tee(&stderr, c.Stderr, ev.Stderr); err != nil {
			return result(), err
		}
		if !ev.Exited {
			continue
		}
		res := result()
		res.ExitCode = ev.Code
		if ev.Err != "" {
			return res, g.wrap(r, what, errors.New(ev.Err))
		}
		return res, nil
	}
}

func tee(to *bytes.Buffer, also io.Writer, b []byte) error {
	to.Write(b)
	if also == nil || len(b) == 0 {
		return nil
	}
	_, err := also.Write(b)
	return err
}

// PutFile writes a file of any type. It replaces what has the name, as a
// package manager does.
func (g *Guest) PutFile(ctx context.Context, f File) error {
	r, err := g.current()
	if err != nil {
		return err
	}
	_, err = r.call(ctx, wire.Request{Put: &f})
	return g.wrap(r, "putting "+f.Path, err)
}

// GetFile returns a file of any type; it does not follow a symbolic link.
func (g *Guest) GetFile(ctx context.Context, path string) (File, error) {
	r, err := g.current()
	if err != nil {
		return File{}, err
	}
	answer, err := r.call(ctx, wire.Request{Get: path})
	if err != nil {
		return File{}, g.wrap(r, "getting "+path, err)
	}
	return answer.Files[0], nil
}

// disk is what survives [Guest.Reboot].
var disk = []string{"/etc", "/home", "/opt", "/root", "/srv", "/usr/lib/modprobe.d", "/usr/lib/modules-load.d", "/usr/local", "/var"}

// Reboot shuts the guest down and boots it again. As on a disk, /etc, /var,
// /root, /home, /opt, /srv, /usr/local and the vendor's modprobe.d and
// modules-load.d come back as they were, deletions included; other files as
// the configuration has them; memory, /run, /tmp and the modules are gone.
func (g *Guest) Reboot(ctx context.Context) error {
	r, err := g.current()
	if err != nil {
		return err
	}
	saved, err := r.call(ctx, wire.Request{Save: disk})
	if err != nil {
		return g.wrap(r, "saving its disk", err)
	}
	g.mu.Lock()
	g.machine = nil
	g.mu.Unlock()
	r.stop()

	var files []File
	for _, f := range g.cfg.Files {
		if !onDisk(f.Path) {
			files = append(files, f)
		}
	}
	// The shared image's files in these directories go first.
	files = append(files, Text("/usr/lib/guest/disk", strings.Join(disk, "\n")+"\n"))
	for _, f := range saved.Files {
		f.Path = "/usr/lib/guest/saved" + f.Path
		files = append(files, f)
	}
	return g.start(ctx, files)
}

func onDisk(path string) bool {
	path = "/" + merged(path)
	return slices.ContainsFunc(disk, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}

// Close ends the guest, like pulling its plug, and removes what it left.
func (g *Guest) Close() error {
	g.mu.Lock()
	r := g.machine
	g.machine = nil
	g.mu.Unlock()
	if r != nil {
		r.stop()
	}
	return nil
}

// console keeps what a guest writes to its console.
type console struct {
	also io.Writer

	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf.Write(b)
	if c.also != nil {
		_, _ = c.also.Write(b) // what listens to a console must not stop the guest
	}
	return len(b), nil
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// tail is the console's last lines, for an error.
func (c *console) tail() string {
	const max = 4000
	s := strings.TrimSpace(c.String())
	if len(s) > max {
		s = "…" + strings.ToValidUTF8(s[len(s)-max:], "")
	}
	if s == "" {
		return "(empty)"
	}
	return s
}
