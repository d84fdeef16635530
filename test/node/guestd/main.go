// Command guestd runs in a guest, and runs programs, writes files and opens
// connections for the test that started the guest. It listens on the guest's own
// network card, which reaches only that test, and requires the test's token.
package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sctp-agent/sctp-agent/test/node/internal/guestapi"
)

func main() {
	token, err := os.ReadFile(guestapi.TokenFile)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /boot", boot)
	mux.HandleFunc("POST /exec", run)
	mux.HandleFunc("PUT /file", writeFile)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get(guestapi.TokenHeader)), token) != 1 {
			http.Error(w, "wrong token", http.StatusUnauthorized)
			return
		}
		// CONNECT has no path for ServeMux to match.
		if r.Method == http.MethodConnect {
			connect(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
	srv := &http.Server{Addr: ":" + strconv.Itoa(guestapi.Port), Handler: handler, ReadHeaderTimeout: time.Minute}
	log.Fatal(srv.ListenAndServe())
}

func boot(w http.ResponseWriter, _ *http.Request) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, guestapi.Boot{ID: string(bytes.TrimSpace(id))})
}

// run runs one program to its end, and kills it with everything it started if
// the caller goes away.
func run(w http.ResponseWriter, r *http.Request) {
	var req guestapi.Command
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Argv) == 0 {
		http.Error(w, "cannot read the command", http.StatusBadRequest)
		return
	}
	// The server notices that the caller went away only once the body is read.
	_, _ = io.Copy(io.Discard, r.Body)
	cmd := exec.CommandContext(r.Context(), req.Argv[0], req.Argv[1:]...)
	cmd.Env = append(os.Environ(), "HOME=/root", "PATH=/opt/kube:/opt/guest:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.Stdin = bytes.NewReader(req.Stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A daemon that the program leaves behind may hold its output open.
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	res := guestapi.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if cmd.ProcessState != nil {
		res.ExitCode = cmd.ProcessState.ExitCode()
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited && !errors.Is(err, exec.ErrWaitDelay) {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	reply(w, res)
}

func writeFile(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Query().Get("path")
	mode, err := strconv.ParseUint(r.URL.Query().Get("mode"), 8, 32)
	if err != nil || !filepath.IsAbs(path) {
		http.Error(w, "want an absolute path and an octal mode", http.StatusBadRequest)
		return
	}
	if err := store(path, os.FileMode(mode), r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// store replaces path in one step, as the daemons that write configuration do.
func store(path string, mode os.FileMode, body io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".guestd-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := io.Copy(tmp, body); err != nil {
		return err
	}
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// connect joins the caller to an address that the guest can reach.
func connect(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	var d net.Dialer
	out, err := d.DialContext(ctx, "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connected\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(out, buffered); closeWrite(out); done <- struct{}{} }()
	go func() { _, _ = io.Copy(in, out); closeWrite(in); done <- struct{}{} }()
	<-done
	<-done
}

func closeWrite(c net.Conn) {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil && !strings.Contains(err.Error(), "broken pipe") {
		log.Print(err)
	}
}
