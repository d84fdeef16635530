package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// A host's root is judged by its own files, and the exit status is that of
// "sctp-agent check" for the result.
func TestHostCommand(t *testing.T) {
	c := &hostcase.Case{
		Kmod: 28, Systemd: 252,
		Entries: []hostcase.Entry{{Kind: hostcase.File, Path: "etc/hostname", Content: "worker-1\n"}, {Kind: hostcase.File, Path: "etc/modprobe.d/sctp.conf", Content: "blacklist sctp\n"}},
		Modules: []hostcase.Module{{Name: "sctp", File: "kernel/net/sctp/sctp.ko"}},
		Aliases: []hostcase.Alias{{Pattern: "net_pf_2_proto_132", Name: "sctp"}, {Pattern: "net_pf_10_proto_132", Name: "sctp"}},
	}
	blocked := t.TempDir()
	if err := c.Build(blocked); err != nil {
		t.Fatal(err)
	}
	c.Live = []string{"sctp"}
	loaded := t.TempDir()
	if err := c.Build(loaded); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "sos.tar.xz")
	if err := os.WriteFile(broken, []byte("\xfd7zXZ\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	if err := errors.Join(w.AddFS(os.DirFS(blocked)), w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "rootfs.tar.gz")
	if err := os.WriteFile(archive, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var table, errs bytes.Buffer
	args := doctest.Args(t, "kubectl sctp host rootfs.tar.gz --kernel-release 5.14.0-427.el9.x86_64", "rootfs.tar.gz", archive)
	if code := command.Main(newRootCommand(), args, &table, &errs); code != command.ExitNo || !strings.Contains(table.String(), "NOT READY (ModuleBlacklisted)") || !strings.Contains(table.String(), hostcase.Release) {
		t.Errorf("%q: exit status %d\n%s%s", args, code, &table, &errs)
	}
	for _, x := range []struct {
		path   string
		code   int
		ready  kmod.Answer
		prints string
	}{
		{blocked, command.ExitNo, kmod.AnswerFalse, "SCTP on worker-1: NOT READY (ModuleBlacklisted)"},
		{loaded, command.ExitUnknown, kmod.AnswerUnknown, "only the host itself can prove SCTP"},
		{broken, command.ExitUnknown, "", "sos.tar.xz"},
		{filepath.Join(blocked, "none"), command.ExitUnknown, "", "none"},
	} {
		var stdout, stderr bytes.Buffer
		code := command.Main(newRootCommand(), doctest.Args(t, "kubectl sctp host /mnt/sysimage", "/mnt/sysimage", x.path), &stdout, &stderr)
		if code != x.code || !strings.Contains(stdout.String()+stderr.String(), x.prints) {
			t.Errorf("%s: exit status %d\n%s%s", x.path, code, &stdout, &stderr)
		}
		if x.ready == "" {
			continue
		}
		stdout.Reset()
		command.Main(newRootCommand(), []string{"host", x.path, "-o", "json"}, &stdout, &stderr)
		var r verdict.Report
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.Ready != x.ready || r.Kernel.Release != hostcase.Release || r.Probe.Attempted {
			t.Errorf("%v: %s", err, &stdout)
		}
	}
}
