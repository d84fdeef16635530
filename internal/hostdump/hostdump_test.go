package hostdump_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/internal/hostcase/sosreport"
	"github.com/sctp-agent/sctp-agent/internal/hostdump"
	"github.com/sctp-agent/sctp-agent/internal/tarball"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

func readCase(t *testing.T, name string) *hostcase.Case {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := hostcase.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func assess(t *testing.T, files fs.FS) verdict.Report {
	t.Helper()
	d, err := hostdump.New(files)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Assess(t.Context(), hostdump.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// live is the report of the host itself, without a probe.
func live(t *testing.T, c *hostcase.Case) verdict.Report {
	t.Helper()
	ins, err := kmod.Inspect(t.Context(), kmod.Options{FS: c.FS(), KernelRelease: hostcase.Release, KmodVersion: c.Kmod, SystemdVersion: c.Systemd}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	return verdict.Judge(verdict.Facts{Node: "worker-1", Inspection: ins})
}

// A sosreport of each host of the repository's cases answers as the host, or
// does not know and names the file.
func TestCasesAsSosreport(t *testing.T) {
	var names []string
	for _, dir := range []string{"../../pkg/kmod/testdata/cases", "../../pkg/verdict/testdata/hosts"} {
		list, err := filepath.Glob(dir + "/*.case")
		if err != nil || len(list) == 0 {
			t.Fatalf("no cases in %s: %v", dir, err)
		}
		names = append(names, list...)
	}
	known, unknown := 0, 0
	for _, name := range names {
		if strings.Contains(name, "efi-options-broken") {
			continue // what the firmware has is in no sosreport, and cannot be missed there
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".case"), func(t *testing.T) {
			c := readCase(t, name)
			host := live(t, c)
			files := sosreport.Of(c, host.Module.State)
			r := assess(t, files)
			k, u, wrong := sosreport.Compare(host, r)
			known, unknown = known+k, unknown+u
			for _, w := range wrong {
				t.Error(w)
			}
			// From an archive, not all of which is kept in memory.
			d, err := hostdump.Open(t.Context(), write(t, "sos.tar", pack(t, "sos", files)))
			if err != nil {
				t.Fatal(err)
			}
			archived, err := d.Assess(t.Context(), hostdump.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprintf("%+v", archived), fmt.Sprintf("%+v", r); got != want {
				t.Errorf("from an archive:\n%.4000s\nwant\n%.4000s", got, want)
			}
		})
	}
	t.Logf("%d cases: %d answers as on the host, %d unknown", len(names), known, unknown)
	if known == 0 || unknown == 0 {
		t.Error("one kind of answer never occurs")
	}
}

// rhel is a host as RHEL 9 makes it, with the vendor's blacklist.
func rhel(entries ...hostcase.Entry) *hostcase.Case {
	return &hostcase.Case{
		Kmod: 28, Systemd: 252, Cmdline: "BOOT_IMAGE=(hd0,gpt3)/vmlinuz-" + hostcase.Release + " root=/dev/mapper/rhel-root ro\n",
		Entries: append([]hostcase.Entry{
			{Kind: hostcase.File, Path: "etc/os-release", Content: "ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Red Hat Enterprise Linux 9.4 (Plow)\"\n"},
			{Kind: hostcase.File, Path: "usr/lib/systemd/system/systemd-modules-load.service", Content: "[Service]\nExecStart=/usr/lib/systemd/systemd-modules-load\n"},
			{Kind: hostcase.File, Path: "boot/loader/entries/0123456789abcdef0123456789abcdef-" + hostcase.Release + ".conf", Content: "title RHEL\nversion " + hostcase.Release + "\nlinux /vmlinuz-" + hostcase.Release + "\noptions root=/dev/mapper/rhel-root ro\n"},
		}, entries...),
		Modules: []hostcase.Module{
			{Name: "libcrc32c", File: "kernel/lib/libcrc32c.ko.xz"},
			{Name: "sctp", File: "kernel/net/sctp/sctp.ko.xz", Needs: []string{"libcrc32c"}},
		},
		Aliases: []hostcase.Alias{{Pattern: "net_pf_2_proto_132", Name: "sctp"}, {Pattern: "net_pf_10_proto_132", Name: "sctp"}},
	}
}

var blacklist = hostcase.Entry{Kind: hostcase.File, Path: "etc/modprobe.d/sctp-blacklist.conf", Content: "# This kernel module is blacklisted by default\nblacklist sctp\n"}

// What a support engineer asks of a sosreport.
func TestSosreport(t *testing.T) {
	enabled := hostcase.Entry{Kind: hostcase.File, Path: "etc/modules-load.d/sctp.conf", Content: "sctp\n"}
	loaded := rhel(enabled)
	loaded.Live = []string{"libcrc32c", "sctp"}
	without := rhel()
	without.Modules = without.Modules[:1]
	for _, x := range []struct {
		name   string
		host   *hostcase.Case
		state  kmod.State
		change func(fstest.MapFS)
		ready  kmod.Answer
		reason verdict.Reason
		says   string
	}{
		{"the vendor's blacklist", rhel(blacklist), kmod.StateLoadable, nil, kmod.AnswerFalse, verdict.ReasonModuleBlacklisted, "/etc/modprobe.d/sctp-blacklist.conf:2"},
		{"nothing stops it", rhel(), kmod.StateLoadable, nil, kmod.AnswerFalse, verdict.ReasonModuleNotLoaded, "nothing has loaded it"},
		{"requested, and not loaded", rhel(enabled), kmod.StateLoadable, nil, kmod.AnswerFalse, verdict.ReasonModuleNotLoaded, "that failed, or is newer than this boot"},
		{"loaded", loaded, kmod.StateLoaded, nil, kmod.AnswerUnknown, verdict.ReasonInspectionFailed, "cannot be proved from files"},
		{"no kernel-modules-extra", without, kmod.StateAbsent, nil, kmod.AnswerFalse, verdict.ReasonModuleMissing, "modules.dep"},
		{"no list of what is compiled in", without, kmod.StateAbsent, func(m fstest.MapFS) {
			f := m["sos_commands/kernel/sysctl_-a"]
			f.Data = bytes.ReplaceAll(f.Data, []byte("vm.swappiness = 60\n"), nil)
		}, kmod.AnswerUnknown, verdict.ReasonInspectionFailed, "modules.builtin"},
		{"no module list", rhel(), kmod.StateLoadable, func(m fstest.MapFS) { delete(m, "proc/modules") }, kmod.AnswerUnknown, verdict.ReasonInspectionFailed, "could not be read"},
		{"no modules.dep, as of a CoreOS in a toolbox", rhel(blacklist), kmod.StateLoadable, func(m fstest.MapFS) {
			maps.DeleteFunc(m, func(name string, _ *fstest.MapFile) bool {
				return strings.HasPrefix(name, "lib/modules/") || strings.HasPrefix(name, "usr/lib/modules/")
			})
		}, kmod.AnswerUnknown, verdict.ReasonInspectionFailed, "the module sctp is not in the kernel (lsmod, sysctl -a); whether it is on disk is not known: /lib/modules/" + hostcase.Release + "/modules.dep"},
		{"and a module that is loaded", loaded, kmod.StateLoaded, func(m fstest.MapFS) {
			maps.DeleteFunc(m, func(name string, _ *fstest.MapFile) bool {
				return strings.HasPrefix(name, "lib/modules/") || strings.HasPrefix(name, "usr/lib/modules/")
			})
		}, kmod.AnswerUnknown, verdict.ReasonInspectionFailed, "the module sctp is in the kernel"},
		{"lsmod in its place", loaded, kmod.StateLoaded, func(m fstest.MapFS) {
			maps.DeleteFunc(m, func(name string, _ *fstest.MapFile) bool {
				return name == "proc/modules" || strings.HasPrefix(name, "sys/")
			})
			m["sos_commands/kernel/lsmod"] = &fstest.MapFile{Data: []byte("Module                  Size  Used by\nsctp                  475136  4\nlibcrc32c              16384  1 sctp\n")}
		}, kmod.AnswerUnknown, verdict.ReasonInspectionFailed, "cannot be proved from files"},
	} {
		t.Run(x.name, func(t *testing.T) {
			files := sosreport.Of(x.host, x.state)
			if x.change != nil {
				x.change(files)
			}
			r := assess(t, files)
			if r.Ready != x.ready || r.Reason != x.reason || !strings.Contains(r.Message, x.says) {
				t.Errorf("%s, %s: %s", r.Ready, r.Reason, r.Message)
			}
			if r.Node != "worker-1" || r.Kernel.Release != hostcase.Release || r.Kernel.Machine != "x86_64" || r.Host.Kmod != "28" || r.Probe.Attempted {
				t.Errorf("not the host's own: %+v %+v %+v", r.Node, r.Kernel, r.Host)
			}
			// The host's agent has no part in what a copy lacks.
			if wants := strings.Contains(r.Remedy, `run "sctp-agent check" on the host`); wants != (r.Reason == verdict.ReasonInspectionFailed) || wants && r.Remedies[0].Command != "sctp-agent check" {
				t.Errorf("remedy of %s: %s", r.Reason, r.Remedy)
			}
		})
	}
}

// loadedSosreport is one of a host that has loaded sctp at its boot: modinfo,
// which sos runs for what is loaded, shows that the files are there.
func loadedSosreport() fstest.MapFS {
	host := rhel(hostcase.Entry{Kind: hostcase.File, Path: "etc/modules-load.d/sctp.conf", Content: "sctp\n"})
	host.Live = []string{"libcrc32c", "sctp"}
	return sosreport.Of(host, kmod.StateLoaded)
}

// What is in no file of a sosreport is unknown: whether modprobe is kmod's, whether
// the host is a container, and what the boot loader starts.
func TestNotInTheCopy(t *testing.T) {
	for _, x := range []struct {
		gone, file            string
		autoload, modulesLoad kmod.Answer
		onBoot                verdict.OnBoot
	}{
		{"", "/run/modules-load.d", kmod.AnswerTrue, kmod.AnswerTrue, verdict.OnBootLoaded},
		{"sos_commands/kernel/lsmod", "/sbin/modprobe", kmod.AnswerUnknown, kmod.AnswerTrue, verdict.OnBootLoaded},
		{"installed-rpms", "/sbin/modprobe", kmod.AnswerUnknown, kmod.AnswerTrue, verdict.OnBootLoaded},
		{"sos_commands/host/hostnamectl_status", "/run/systemd/container", kmod.AnswerUnknown, kmod.AnswerUnknown, verdict.OnBootUnknown},
		{"boot", "/boot", kmod.AnswerTrue, kmod.AnswerTrue, verdict.OnBootUnknown},
	} {
		files := loadedSosreport()
		maps.DeleteFunc(files, func(name string, _ *fstest.MapFile) bool {
			return name == x.gone || strings.HasPrefix(name, x.gone+"/")
		})
		r := assess(t, files)
		if r.Policy.Autoload.Allowed != x.autoload || r.Policy.ModulesLoad.Allowed != x.modulesLoad || r.OnBoot != x.onBoot {
			t.Errorf("without %s: %s, %s, %s", x.gone, r.Policy.Autoload.Allowed, r.Policy.ModulesLoad.Allowed, r.OnBoot)
		}
		var missing []string
		for _, w := range r.Warnings {
			if strings.Contains(w.Message, "not in this copy") {
				missing = append(missing, w.Message)
			}
		}
		if len(missing) != 1 || !strings.Contains(missing[0], x.file+",") && !strings.Contains(missing[0], x.file+";") {
			t.Errorf("without %s: %v, want one warning that names %s", x.gone, missing, x.file)
		}
	}
}

// Earlier versions of sos copy less: what is missing is unknown then, not absent.
func TestSosVersions(t *testing.T) {
	for version, missing := range map[string][]string{
		"sos report: 4.12.0\n":                      nil,
		"sos report: 4.10.2\nkernel: unversioned\n": {"/run/sysctl.d", "/usr/local/lib/sysctl.d"},
		"sosreport: 4.0\nboot: unversioned\n":       {"/lib/modprobe.d", "/run/modprobe.d"},
		"":                                          {"/lib/modprobe.d", "/run/modprobe.d"},
	} {
		files := loadedSosreport()
		files["version.txt"] = &fstest.MapFile{Data: []byte(version)}
		maps.DeleteFunc(files, func(name string, _ *fstest.MapFile) bool { return strings.Contains(name, "lib/modprobe.d") })
		d, err := hostdump.Open(t.Context(), write(t, "sos.tar", pack(t, "sos", files)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Assess(t.Context(), hostdump.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := kmod.AnswerTrue
		if slices.Contains(missing, "/run/modprobe.d") {
			want = kmod.AnswerUnknown
		}
		if r.Policy.Autoload.Allowed != want || r.Policy.ModulesLoad.Allowed != want {
			t.Errorf("%q: %s, %s; want %s", version, r.Policy.Autoload.Allowed, r.Policy.ModulesLoad.Allowed, want)
		}
		said := fmt.Sprintf("%+v", r.Warnings)
		for _, name := range missing {
			if !strings.Contains(said, name+",") && !strings.Contains(said, name+";") {
				t.Errorf("%q: %s is not named: %s", version, name, said)
			}
		}
		if missing == nil && (strings.Contains(said, "modprobe.d") || strings.Contains(said, "sysctl.d")) {
			t.Errorf("%q: %s", version, said)
		}
	}
}

// pack writes files into an archive, below a directory.
func pack(t testing.TB, dir string, files fstest.MapFS) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		h := &tar.Header{Name: path.Join(dir, name), Mode: 0o644, Size: int64(len(f.Data)), Typeflag: tar.TypeReg, ModTime: time.Unix(1700000000, 0)}
		switch f.Mode.Type() {
		case fs.ModeSymlink:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, string(f.Data), 0
		case fs.ModeDir:
			h.Typeflag, h.Size = tar.TypeDir, 0
		case fs.ModeNamedPipe:
			h.Typeflag, h.Size = tar.TypeFifo, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			w.Write(f.Data)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// Archives of every kind and directories give the same result.
func TestForms(t *testing.T) {
	files := sosreport.Of(rhel(blacklist), kmod.StateLoadable)
	plain := pack(t, "sosreport-worker-1", files)
	var gz, xzed bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(plain)
	z.Close()
	x, err := xz.NewWriter(&xzed)
	if err != nil {
		t.Fatal(err)
	}
	x.Write(plain)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	unpacked := filepath.Join(t.TempDir(), "0010-sosreport.tar.xz")
	if err := os.CopyFS(filepath.Join(unpacked, "sosreport-worker-1"), files); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := rhel(blacklist).Build(root); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		write(t, "sos.tar", plain), write(t, "sos.tar.gz", gz.Bytes()), write(t, "sos.tar.xz", xzed.Bytes()),
		unpacked, filepath.Join(unpacked, "sosreport-worker-1"),
		root, write(t, "root.tar", pack(t, ".", rhel(blacklist).FS())),
		filepath.Dir(unpacked), write(t, "case.tar", pack(t, "cases/0001/0010-sosreport.tar.xz", files)),
	} {
		d, err := hostdump.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Assess(t.Context(), hostdump.Options{})
		d.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Reason != verdict.ReasonModuleBlacklisted || !strings.Contains(r.Message, "sctp-blacklist.conf:2") {
			t.Errorf("%s: %s: %s", filepath.Base(name), r.Reason, r.Message)
		}
	}
}

// entry writes an archive of one entry.
func entry(t testing.TB, h tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.Bytes()
}

// What is no copy of a host, or a hostile one, is an error that names the file.
func TestRefused(t *testing.T) {
	good := pack(t, "sos", sosreport.Of(rhel(blacklist), kmod.StateLoadable))
	for _, x := range []struct {
		name string
		data []byte
		is   error
	}{
		{"empty", nil, tarball.ErrFormat},
		{"text", []byte("sosreport-worker.tar.xz: not downloaded yet\n"), tarball.ErrFormat},
		{"cut", good[:bytes.LastIndex(good, []byte("ustar"))], io.ErrUnexpectedEOF}, // inside the last header
		{"cut between two entries", good[:bytes.LastIndex(good, []byte("ustar"))-257], io.ErrUnexpectedEOF},
		{"without its end", bytes.TrimRight(good, "\x00"), io.ErrUnexpectedEOF},
		{"out", entry(t, tar.Header{Name: "sos/../../etc/passwd", Typeflag: tar.TypeDir}), tarball.ErrBadEntry},
		{"hard link out", entry(t, tar.Header{Name: "sos/etc/hostname", Linkname: "../../etc/passwd", Typeflag: tar.TypeLink}), tarball.ErrBadEntry},
		{"huge", entry(t, tar.Header{Name: "sos/etc/hostname", Size: 1 << 40, Typeflag: tar.TypeReg}), io.ErrUnexpectedEOF},
	} {
		name := write(t, x.name, x.data)
		_, err := hostdump.Open(t.Context(), name)
		if !errors.Is(err, x.is) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %v", x.name, err, x.is)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hostdump.Open(ended, write(t, "sos.tar", good)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := hostdump.Open(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := hostdump.Open(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "sos_commands") {
		t.Error(err)
	}
	for name, says := range map[string]string{"scc_worker/basic-environment.txt": "a supportconfig, which is not read", "sos-collector-1/sosreport-w0-2026.tar.xz": "unpack it, and name one of them (sosreport-w0-2026.tar.xz)", "must-gather/image/cluster-scoped-resources/core/nodes/a.yaml": `"kubectl sctp audit -f" reads`} {
		files := fstest.MapFS{name: &fstest.MapFile{Data: []byte("x")}}
		if _, err := hostdump.Open(t.Context(), write(t, "x.tar", pack(t, ".", files))); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	two := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(two, "case", name, "sos_commands"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hostdump.Open(t.Context(), two); err == nil || !strings.Contains(err.Error(), "2 hosts: name the directory of one (case/a, case/b") {
		t.Error(err)
	}
}

// Links that lead out of a copy, absolute names and files that are none give
// answers about the copy, never about this machine.
func TestHostileLinks(t *testing.T) {
	for _, target := range []string{"/etc/passwd", "../../../../../../etc/passwd", "b.conf", "/dev/null"} {
		files := sosreport.Of(rhel(), kmod.StateLoadable)
		files["etc/modprobe.d/b.conf"] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
		files["etc/modprobe.d/pipe.conf"] = &fstest.MapFile{Mode: fs.ModeNamedPipe | 0o644}
		d, err := hostdump.Open(t.Context(), write(t, "sos.tar", pack(t, "/sos", files)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Assess(t.Context(), hostdump.Options{})
		if err != nil || r.Policy.Autoload.Allowed != kmod.AnswerUnknown {
			t.Errorf("%s: %v %+v", target, err, r.Policy.Autoload)
		}
	}
}

// FuzzOpen: no archive makes the reading fail otherwise than by an error, or
// proves that SCTP works.
func FuzzOpen(f *testing.F) {
	f.Add(pack(f, "sos", sosreport.Of(rhel(blacklist), kmod.StateLoadable)))
	f.Add(pack(f, ".", rhel(blacklist).FS()))
	f.Add(entry(f, tar.Header{Name: "etc/../..", Typeflag: tar.TypeDir}))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := hostdump.Open(t.Context(), write(t, "sos.tar", data))
		if err != nil {
			return
		}
		defer d.Close()
		if r, err := d.Assess(t.Context(), hostdump.Options{}); err == nil && r.Ready == kmod.AnswerTrue {
			t.Errorf("ready by files: %+v", r)
		}
	})
}

// TestWhichKernel: of several kernels the one that runs is asked for.
func TestWhichKernel(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"etc/modprobe.d", "usr/lib/modules/6.1.0", "usr/lib/modules/6.2.0"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=debian\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := hostdump.Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Assess(t.Context(), hostdump.Options{}); err == nil || !strings.Contains(err.Error(), "name it with --kernel-release (there are modules of 6.1.0, 6.2.0)") {
		t.Errorf("error %v", err)
	}
	if _, err := d.Assess(t.Context(), hostdump.Options{KernelRelease: "6.2.0"}); err != nil {
		t.Error(err)
	}
}
