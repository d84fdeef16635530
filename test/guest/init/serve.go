package main

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/test/guest/internal/wire"
)

// port is the guest's end of the virtio serial port, by plain blocking system
// calls: one reader and one writer, for as long as the guest lives.
type port int

func openPort() (port, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return -1, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return -1, err
		}
		if string(bytes.TrimSpace(b)) == wire.PortName {
			fd, err := unix.Open("/dev/"+filepath.Base(filepath.Dir(name)), unix.O_RDWR|unix.O_CLOEXEC, 0)
			return port(fd), err
		}
	}
	return -1, fmt.Errorf("no virtio port has the name %s", wire.PortName)
}

func (p port) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(p), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (p port) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		n, err := unix.Write(int(p), b[written:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

func (p port) Close() error { return unix.Close(int(p)) }

// serve answers requests until the outside goes away.
func serve(boot wire.Boot) error {
	p, err := openPort()
	if err != nil {
		return err
	}
	session, err := yamux.Server(p, wire.Config())
	if err != nil {
		return err
	}
	for {
		stream, err := session.Accept()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the session with the outside: %w", err)
		}
		go func() {
			defer stream.Close()
			if err := answer(stream, boot); err != nil {
				log.Print(err)
			}
		}()
	}
}

func answer(stream net.Conn, boot wire.Boot) error {
	var req wire.Request
	if err := gob.NewDecoder(stream).Decode(&req); err != nil {
		return fmt.Errorf("reading a request: %w", err)
	}
	enc := gob.NewEncoder(stream)
	switch {
	case req.Hello != nil:
		return enc.Encode(wire.Answer{Boot: boot})
	case req.Exec != nil:
		return execute(stream, enc, req.Exec)
	case req.Put != nil:
		return enc.Encode(wire.Answer{Err: message(put(req.Put))})
	case req.Get != "":
		f, err := get(req.Get)
		return enc.Encode(wire.Answer{Files: []wire.File{f}, Err: message(err)})
	case req.Save != nil:
		files, err := save(req.Save)
		return enc.Encode(wire.Answer{Files: files, Err: message(err)})
	}
	return errors.New("a request for nothing")
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// events sends a program's output as it comes.
type events struct {
	mu  sync.Mutex
	enc *gob.Encoder
}

func (e *events) send(ev wire.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.enc.Encode(ev)
}

type output struct {
	*events
	event func([]byte) wire.Event
}

func (o output) Write(b []byte) (int, error) {
	if err := o.send(o.event(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func execute(stream net.Conn, enc *gob.Encoder, req *wire.Exec) error {
	ev := &events{enc: enc}
	cmd := exec.Command(req.Path, req.Args...)
	cmd.Env = append(os.Environ(), req.Env...)
	cmd.Dir = req.Dir
	cmd.Stdin = bytes.NewReader(req.Stdin)
	cmd.Stdout = output{ev, func(b []byte) wire.Event { return wire.Event{Stdout: b} }}
	cmd.Stderr = output{ev, func(b []byte) wire.Event { return wire.Event{Stderr: b} }}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A program that left something running behind, with its output open,
	// has ended all the same.
	cmd.WaitDelay = 5 * time.Second
	if req.UID != 0 || req.GID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: req.UID, Gid: req.GID}
	}
	if err := cmd.Start(); err != nil {
		return ev.send(wire.Event{Exited: true, Code: -1, Err: err.Error()})
	}
	// The other end closes the stream, or its half of it, to end the program.
	go func() {
		_, _ = io.Copy(io.Discard, stream)
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}()
	_ = cmd.Wait() // the state says it all
	code := cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	return ev.send(wire.Event{Exited: true, Code: code})
}

func put(f *wire.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	if f.Mode.IsDir() {
		if err := os.MkdirAll(f.Path, f.Mode.Perm()); err != nil {
			return err
		}
		return finish(f)
	}
	// As an administrator's editor or package manager does it: a new file
	// takes the name, whatever was there.
	tmp := f.Path + ".guest-put"
	var err error
	switch f.Mode.Type() {
	case 0:
		err = os.WriteFile(tmp, f.Data, 0o600)
	case fs.ModeSymlink:
		err = os.Symlink(f.Link, tmp)
	case fs.ModeNamedPipe:
		err = unix.Mkfifo(tmp, 0o600)
	default:
		err = fmt.Errorf("cannot put a file of type %v", f.Mode.Type())
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, f.Path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return finish(f)
}

func finish(f *wire.File) error {
	if err := os.Lchown(f.Path, f.UID, f.GID); err != nil {
		return err
	}
	if f.Mode.Type() == fs.ModeSymlink {
		return nil
	}
	mode := uint32(f.Mode.Perm())
	for bit, value := range map[fs.FileMode]uint32{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX} {
		if f.Mode&bit != 0 {
			mode |= value
		}
	}
	return unix.Chmod(f.Path, mode)
}

func get(path string) (wire.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return wire.File{}, err
	}
	f := wire.File{Path: path, Mode: info.Mode(), ModTime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = int(st.Uid), int(st.Gid)
	}
	switch f.Mode.Type() {
	case 0:
		f.Data, err = os.ReadFile(path)
	case fs.ModeSymlink:
		f.Link, err = os.Readlink(path)
	}
	return f, err
}

func save(dirs []string) ([]wire.File, error) {
	var files []wire.File
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if t := d.Type(); t&(fs.ModeSocket|fs.ModeDevice) != 0 {
				return nil // no disk brings these back to life
			}
			f, err := get(path)
			files = append(files, f)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}
