package kmod_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// onlyFS hides everything of a file system but Open.
type onlyFS struct{ fs.FS }

// TestErrors: why there is no inspection can be found by errors.Is.
func TestErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx  context.Context
		opts kmod.Options
		mod  kmod.Module
		want error
	}{
		"no root":          {t.Context(), kmod.Options{Root: filepath.Join(t.TempDir(), "missing")}, kmod.SCTP(), fs.ErrNotExist},
		"root is a file":   {t.Context(), kmod.Options{Root: file}, kmod.SCTP(), kmod.ErrNotDirectory},
		"no links":         {t.Context(), kmod.Options{FS: onlyFS{fstest.MapFS{}}}, kmod.SCTP(), errors.ErrUnsupported},
		"no module":        {t.Context(), kmod.Options{FS: fstest.MapFS{}}, kmod.Module{}, kmod.ErrModuleName},
		"a path":           {t.Context(), kmod.Options{FS: fstest.MapFS{}}, kmod.Module{Name: "../../etc/passwd"}, kmod.ErrModuleName},
		"a file's name":    {t.Context(), kmod.Options{FS: fstest.MapFS{}}, kmod.Module{Name: "sctp.ko"}, kmod.ErrModuleName},
		"the context ends": {over, kmod.Options{FS: fstest.MapFS{}}, kmod.SCTP(), context.Canceled},
	} {
		ins, err := kmod.Inspect(tc.ctx, tc.opts, tc.mod)
		if !errors.Is(err, tc.want) || ins != nil {
			t.Errorf("%s: %v, %v; want %v", name, ins, err, tc.want)
		}
		if tc.opts.Root != "" && !strings.Contains(err.Error(), tc.opts.Root) {
			t.Errorf("%s: %v does not name the root", name, err)
		}
	}
}

// TestNothingOfThisMachine: of a tree in which nothing is, nothing is known, not
// even the release of the kernel.
func TestNothingOfThisMachine(t *testing.T) {
	ins, err := kmod.Inspect(t.Context(), kmod.Options{FS: fstest.MapFS{}}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	if want := (kmod.Kernel{}); ins.Kernel != want {
		t.Errorf("kernel %+v", ins.Kernel)
	}
	if ins.State != kmod.StateUnknown || ins.Autoload.Allowed != kmod.AnswerUnknown || ins.BootLoad.Requested != kmod.AnswerUnknown {
		t.Errorf("state %s, autoload %+v, at boot %+v", ins.State, ins.Autoload, ins.BootLoad)
	}
	if ins.KmodVersion != 0 || ins.SystemdVersion != 0 || ins.OS != "" {
		t.Errorf("kmod %d, systemd %d, %q", ins.KmodVersion, ins.SystemdVersion, ins.OS)
	}
}

// TestNamesOfAnFS: a file of the host whose name an fs.FS does not accept may have
// any content.
func TestNamesOfAnFS(t *testing.T) {
	root, opts := host(t, file("etc/modprobe.d/x\xff.conf", "blacklist sctp\n"))
	if got := inspect(t, opts).Autoload.Allowed; got != kmod.AnswerFalse {
		t.Errorf("on disk: %s", got)
	}
	ins := inspect(t, kmod.Options{FS: os.DirFS(root), KmodVersion: 28, SystemdVersion: 252})
	if ins.Autoload.Allowed != kmod.AnswerUnknown || ins.Autoload.Cause != kmod.CauseUnreadable || len(ins.Findings) == 0 || ins.Findings[0].Kind != kmod.FindingIncomplete {
		t.Errorf("by an fs.FS: %+v %+v", ins.Autoload, ins.Findings)
	}
}

// TestCauses: each has a name of its own, which survives JSON, and a place in the
// order of loading.
func TestCauses(t *testing.T) {
	seen := map[kmod.Cause]bool{kmod.CauseNone: true}
	for i, c := range kmod.Causes() {
		if seen[c] || !c.Before(kmod.CauseNone) || kmod.CauseNone.Before(c) || i > 0 && !kmod.Causes()[i-1].Before(c) {
			t.Errorf("cause %q, number %d", c, i)
		}
		seen[c] = true
	}
	want := inspectCase(t, readCase(t, "testdata/cases/machineconfig.case"))
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got kmod.Inspection
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	got.Kernel.BootTime, got.BootLoad.RequestedSince = want.Kernel.BootTime, want.BootLoad.RequestedSince // another time.Location
	if !reflect.DeepEqual(*want, got) {
		t.Errorf("got  %+v\nwant %+v", got, *want)
	}
}

// TestEmptyIndex: depmod leaves an empty index where the kernel's package has no
// modules.builtin.modinfo. The real modprobe works without it.
func TestEmptyIndex(t *testing.T) {
	root, opts := host(t)
	index := filepath.Join(root, "usr/lib/modules", hostcase.Release, "modules.builtin.alias.bin")
	if err := os.WriteFile(index, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if ins := inspect(t, opts); ins.Autoload.Allowed != kmod.AnswerTrue || len(ins.Findings) != 0 {
		t.Errorf("autoload %+v, findings %+v", ins.Autoload, ins.Findings)
	}
}

// TestEscapedOnce: what is not printable is escaped, and that only once.
func TestEscapedOnce(t *testing.T) {
	_, opts := host(t, file("etc/modprobe.d/x.conf", "blacklist sctp\r\n"))
	if ins := inspect(t, opts); len(ins.Findings) != 1 || !strings.Contains(ins.Findings[0].Message, `"blacklist sctp\r" has no effect`) {
		t.Errorf("findings %+v", ins.Findings)
	}
}

// TestNewlineInCommandLine: systemd 247 reads one line of it, later ones all.
func TestNewlineInCommandLine(t *testing.T) {
	root, opts := host(t)
	if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte("quiet\nmodules_load=sctp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for systemd, want := range map[int]kmod.Answer{247: kmod.AnswerFalse, 252: kmod.AnswerTrue, 257: kmod.AnswerTrue} {
		opts.SystemdVersion = systemd
		if got := inspect(t, opts).BootLoad.Requested; got != want {
			t.Errorf("systemd %d: %s, want %s", systemd, got, want)
		}
	}
}
