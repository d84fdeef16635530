package kmod_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// host builds a root with a loadable sctp and the given entries.
func host(t *testing.T, entries ...hostcase.Entry) (root string, opts kmod.Options) {
	t.Helper()
	c := &hostcase.Case{
		Entries: entries,
		Modules: []hostcase.Module{
			{Name: "libcrc32c", File: "kernel/lib/libcrc32c.ko.xz"},
			{Name: "sctp", File: "kernel/net/sctp/sctp.ko.xz", Needs: []string{"libcrc32c"}},
		},
		Aliases: []hostcase.Alias{{Pattern: "net_pf_2_proto_132", Name: "sctp"}, {Pattern: "net_pf_10_proto_132", Name: "sctp"}},
	}
	root = t.TempDir()
	if err := c.Build(root); err != nil {
		t.Fatal(err)
	}
	return root, kmod.Options{
		Root: root, Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys"), KmodVersion: 28, SystemdVersion: 252,
	}
}

func file(path, content string) hostcase.Entry {
	return hostcase.Entry{Kind: hostcase.File, Path: path, Content: content}
}

func link(path, target string) hostcase.Entry {
	return hostcase.Entry{Kind: hostcase.Link, Path: path, Content: target}
}

// numbered is a text over and over, with its number in it.
func numbered(format string, times int) string {
	var b strings.Builder
	for i := range times {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// inspect fails where an inspection takes more than a minute of processor time.
// Its deadline is for what never ends: on a machine that is busy with other things,
// the worst of the trees below has taken more than half a minute from its start to
// its end, and a few seconds of that itself.
func inspect(t *testing.T, opts kmod.Options) *kmod.Inspection {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	before := processorTime(t)
	ins, err := kmod.Inspect(ctx, opts, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	if took := processorTime(t) - before; took > time.Minute {
		t.Errorf("the inspection took %v of processor time", took)
	}
	return ins
}

// TestLinksStayInside: however a link is written, it leads to a file of the
// inspected host, never to one outside the root.
func TestLinksStayInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.conf")
	if err := os.WriteFile(outside, []byte("blacklist sctp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	outsideDir := filepath.Dir(outside)
	if err := os.MkdirAll(filepath.Join(outsideDir, "host-etc/modprobe.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outsideDir, "host-etc/modprobe.d/x.conf"), []byte("blacklist sctp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 30)
	for name, entries := range map[string][]hostcase.Entry{
		"absolute file":          {link("etc/modprobe.d/x.conf", outside)},
		"relative file":          {link("etc/modprobe.d/x.conf", up+strings.TrimPrefix(outside, "/"))},
		"absolute directory":     {link("etc/modprobe.d", outsideDir)},
		"relative directory":     {link("run/modprobe.d", up+strings.TrimPrefix(outsideDir, "/"))},
		"a directory on the way": {link("etc", filepath.Join(outsideDir, "host-etc"))},
		"by proc":                {link("etc/modprobe.d/x.conf", "/proc/self/root"+outside)},
	} {
		t.Run(name, func(t *testing.T) {
			_, opts := host(t, entries...)
			if ins := inspect(t, opts); ins.Autoload.Allowed != kmod.AnswerTrue {
				t.Errorf("a file outside the root decided: %+v", ins.Autoload)
			}
		})
	}
	// The same name inside the root is what the host itself would see.
	for name, entry := range map[string]hostcase.Entry{
		"absolute": link("etc/modprobe.d/x.conf", "/usr/share/inside.conf"),
		"relative": link("etc/modprobe.d/x.conf", "../../usr/share/inside.conf"),
		"too far":  link("etc/modprobe.d/x.conf", up+"usr/share/inside.conf"),
	} {
		t.Run("inside "+name, func(t *testing.T) {
			_, opts := host(t, entry, file("usr/share/inside.conf", "blacklist sctp\n"))
			ins := inspect(t, opts)
			if ins.Autoload.Allowed != kmod.AnswerFalse || ins.Autoload.Evidence[0].File != "/etc/modprobe.d/x.conf" {
				t.Errorf("got %+v", ins.Autoload)
			}
		})
	}
}

// TestFileNames: names are bytes. What is reported of them is UTF-8 that does
// nothing to a terminal, and an API server gives back as it was written.
func TestFileNames(t *testing.T) {
	const name, shown = "schl\xfcssel\x1b[31m", `schl\ufffdssel\u001b[31m`
	for _, tc := range []struct{ entry, want string }{
		{"etc/modprobe.d/" + name + ".conf", "/etc/modprobe.d/" + shown + ".conf"},
		{"etc/modprobe.d/sctp" + name, "/etc/modprobe.d/sctp" + shown},
		{"etc/modules-load.d/sctp" + name, "/etc/modules-load.d/sctp" + shown},
	} {
		_, opts := host(t, file(tc.entry, "blacklist sctp\n"))
		text := fmt.Sprint(inspect(t, opts))
		if !strings.Contains(text, tc.want) {
			t.Errorf("%s is not named: %s", tc.want, text)
		}
		if strings.Contains(text, "\x1b") || !utf8.ValidString(text) {
			t.Errorf("not printable: %q", text)
		}
	}
}

// TestLimits: what is larger than anything real is not read, and that is reported.
func TestLimits(t *testing.T) {
	root, opts := host(t)
	big := filepath.Join(root, "etc/modprobe.d/big.conf")
	if err := os.MkdirAll(filepath.Dir(big), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(1 << 40); err != nil { // a hole; it must not be read
		t.Fatal(err)
	}
	f.Close()
	ins := inspect(t, opts)
	if ins.Autoload.Allowed != kmod.AnswerUnknown || ins.Autoload.Evidence[0].File != "/etc/modprobe.d/big.conf" {
		t.Errorf("huge file: %+v", ins.Autoload)
	}
	os.Remove(big)
	for i := range 5000 {
		name := filepath.Join(filepath.Dir(big), strings.Repeat("a", 10)+string(rune('a'+i%26))+strings.Repeat("b", i/26)+".conf")
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if ins := inspect(t, opts); ins.Autoload.Allowed != kmod.AnswerUnknown || ins.Autoload.Evidence[0].File != "/etc/modprobe.d" {
		t.Errorf("huge directory: %+v", ins.Autoload)
	}
}

// TestLimitOfAllFiles: many files, each of a size that is read.
func TestLimitOfAllFiles(t *testing.T) {
	root, opts := host(t, file("etc/modprobe.d/a.conf", "blacklist sctp\n"), file("usr/lib/modprobe.d/a.conf", ""))
	large := bytes.Repeat([]byte("options nothing a=b\n"), 25_000)
	fill := func(dir string, n int) {
		t.Helper()
		for i := range n {
			if err := os.WriteFile(filepath.Join(root, dir, fmt.Sprintf("b%d.conf", i)), large, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill("etc/modprobe.d", 4)
	if ins := inspect(t, opts); ins.Autoload.Allowed != kmod.AnswerFalse {
		t.Errorf("2 MB: %+v", ins.Autoload)
	}
	fill("usr/lib/modprobe.d", 6)
	ins := inspect(t, opts)
	// The content of the rest is not known, but it cannot revoke what is in a
	// directory before it.
	if ins.Autoload.Allowed != kmod.AnswerFalse {
		t.Errorf("5 MB: %+v", ins.Autoload)
	}
	if !slices.ContainsFunc(ins.Findings, func(f kmod.Finding) bool {
		return f.Kind == kmod.FindingIncomplete && strings.Contains(f.Message, "/lib/modprobe.d was not read to the end")
	}) {
		t.Errorf("not said: %+v", ins.Findings)
	}
	if err := os.Remove(filepath.Join(root, "etc/modprobe.d/a.conf")); err != nil {
		t.Fatal(err)
	}
	if ins := inspect(t, opts); ins.Autoload.Allowed != kmod.AnswerUnknown || ins.Autoload.Evidence[0].File != "/lib/modprobe.d" {
		t.Errorf("5 MB, none known to forbid it: %+v", ins.Autoload)
	}
	fill("etc/modprobe.d", 6)
	if err := os.WriteFile(filepath.Join(root, "usr/lib/modprobe.d/z.conf"), []byte("blacklist sctp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if ins := inspect(t, opts); ins.Autoload.Allowed != kmod.AnswerUnknown {
		t.Errorf("a file that one not read may shadow: %+v", ins.Autoload)
	}
}

// TestManyBeforeIt: requests at boot for many other modules, which take all steps
// there are. That proves nothing about the request after them.
func TestManyBeforeIt(t *testing.T) {
	_, opts := host(t,
		file("etc/modules-load.d/x.conf", numbered("a%d\n", 10500)+"sctp\n"),
		file("etc/modprobe.d/x.conf", "alias a* dummy\ninstall dummy /bin/false\n"),
		file("bin/false", ""))
	ins := inspect(t, opts)
	if boot := ins.BootLoad; boot.Requested != kmod.AnswerTrue || boot.Allowed == kmod.AnswerFalse {
		t.Errorf("requested %s, allowed %s: %+v", boot.Requested, boot.Allowed, boot.Evidence)
	}
	if ins.Autoload.Allowed != kmod.AnswerTrue {
		t.Errorf("autoload: %+v", ins.Autoload)
	}
}

// TestManyThatAsk: every request is for the module, and every line stops it.
func TestManyThatAsk(t *testing.T) {
	_, opts := host(t,
		file("etc/modules-load.d/x.conf", numbered("a%d\n", 30000)),
		file("etc/modprobe.d/x.conf", "alias a* sctp\n"+strings.Repeat("blacklist sctp\n", 200)))
	ins := inspect(t, opts)
	if ins.Autoload.Allowed != kmod.AnswerFalse || ins.BootLoad.Requested != kmod.AnswerTrue || ins.BootLoad.Allowed == kmod.AnswerTrue {
		t.Errorf("autoload %s, requested %s, at boot %s", ins.Autoload.Allowed, ins.BootLoad.Requested, ins.BootLoad.Allowed)
	}
}

// TestReplaced: the modules of the running kernel are gone from the disk.
func TestReplaced(t *testing.T) {
	const rest = "modules.order" // what depmod did not write, a package may leave
	for name, tc := range map[string]struct {
		change func(t *testing.T, modules string)
		want   bool
	}{
		"as it was": {func(*testing.T, string) {}, false},
		"another one beside": {func(t *testing.T, modules string) {
			if err := os.CopyFS(filepath.Join(modules, "other"), os.DirFS(filepath.Join(modules, hostcase.Release))); err != nil {
				t.Fatal(err)
			}
		}, false},
		"another one in its place": {func(t *testing.T, modules string) {
			if err := os.Rename(filepath.Join(modules, hostcase.Release), filepath.Join(modules, "other")); err != nil {
				t.Fatal(err)
			}
		}, true},
		"another one, and remains": {func(t *testing.T, modules string) {
			dir := filepath.Join(modules, hostcase.Release)
			err := errors.Join(os.Rename(dir, filepath.Join(modules, "other")), os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, rest), nil, 0o644))
			if err != nil {
				t.Fatal(err)
			}
		}, true},
		"none at all": {func(t *testing.T, modules string) {
			if err := os.RemoveAll(filepath.Join(modules, hostcase.Release)); err != nil {
				t.Fatal(err)
			}
		}, false},
		"remains of another one": {func(t *testing.T, modules string) {
			dir := filepath.Join(modules, "other")
			err := errors.Join(os.RemoveAll(filepath.Join(modules, hostcase.Release)), os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, rest), nil, 0o644))
			if err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			root, opts := host(t)
			tc.change(t, filepath.Join(root, "usr/lib/modules"))
			ins := inspect(t, opts)
			if ins.Kernel.Replaced != tc.want {
				t.Errorf("replaced %v, want %v: %+v", ins.Kernel.Replaced, tc.want, ins.Autoload)
			}
			if said := strings.Contains(fmt.Sprint(ins.Autoload.Evidence, ins.Autoload), "those of another kernel are"); said != tc.want {
				t.Errorf("said %v, want %v: %+v", said, tc.want, ins.Autoload)
			}
		})
	}
}

// TestTooLargeToSay: what would be decided by a file that is larger than any real
// one is not known.
func TestTooLargeToSay(t *testing.T) {
	t.Run("modules.builtin", func(t *testing.T) {
		root, opts := host(t)
		dir := filepath.Join(root, "usr/lib/modules", hostcase.Release)
		for _, name := range []string{"modules.builtin.bin", "modules.dep.bin"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		text := strings.Repeat("kernel/a.ko\n", 100_000) + "kernel/net/sctp/sctp.ko\n"
		if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		ins := inspect(t, opts)
		if ins.State != kmod.StateUnknown || ins.ByName.Allowed != kmod.AnswerUnknown || !strings.HasSuffix(ins.ByName.Evidence[0].File, "modules.builtin") {
			t.Errorf("state %s, by name %+v", ins.State, ins.ByName)
		}
	})
	t.Run("the kernel command line", func(t *testing.T) {
		root, opts := host(t)
		if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte("modules_load="+numbered("%d,", 100_000)+"sctp\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		ins := inspect(t, opts)
		if ins.BootLoad.Requested != kmod.AnswerUnknown || ins.Autoload.Allowed != kmod.AnswerUnknown {
			t.Errorf("requested %s, autoload %+v", ins.BootLoad.Requested, ins.Autoload)
		}
	})
}

// TestMemory: what does not matter for the answer is not kept, and there are at
// most a hundred findings. The bounds are some times the present figures.
func TestMemory(t *testing.T) {
	for name, entries := range map[string][]hostcase.Entry{
		"bad lines":              {file("etc/modprobe.d/x.conf", strings.Repeat("x\n", 500_000))},
		"a file that is hidden":  {file("etc/modprobe.d/x.conf", "options a b\n"), file("run/modprobe.d/x.conf", strings.Repeat("blacklist sctp\n", 65_000))},
		"a file of another name": {file("etc/modprobe.d/sctp.txt", strings.Repeat("blacklist sctp\n", 65_000))},
		"lines with comments":    {file("etc/modules-load.d/x.conf", strings.Repeat("sctp #\n", 30_000))},
	} {
		t.Run(name, func(t *testing.T) {
			_, opts := host(t, entries...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			inspect(t, opts)
			runtime.ReadMemStats(&after)
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 40 {
				t.Errorf("allocated %d MiB", mib)
			} else {
				t.Logf("allocated %d MiB", mib)
			}
		})
	}
}

// TestNoEnd: configurations in which modprobe would never end.
func TestNoEnd(t *testing.T) {
	start := processorTime(t)
	for name, text := range map[string]string{
		"install runs modprobe without -i": "install sctp /sbin/modprobe sctp\n",
		"two installs in a circle":         "install sctp /sbin/modprobe libcrc32c && /sbin/modprobe -i sctp\ninstall libcrc32c /sbin/modprobe -i sctp\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, opts := host(t, file("etc/modprobe.d/x.conf", text), file("sbin/modprobe", "#!"))
			if ins := inspect(t, opts); ins.ByName.Allowed != kmod.AnswerUnknown {
				t.Errorf("by name: %+v", ins.ByName)
			}
		})
	}
	t.Run("softdeps in a circle", func(t *testing.T) {
		_, opts := host(t, file("etc/modprobe.d/x.conf", "softdep sctp pre: libcrc32c sctp\nsoftdep libcrc32c post: sctp\n"))
		if ins := inspect(t, opts); ins.ByName.Allowed != kmod.AnswerTrue {
			t.Errorf("by name: %+v", ins.ByName)
		}
	})
	if took := processorTime(t) - start; took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestIndexWithoutEnd: indexes of aliases as small as they are hostile. In one the
// root is its own child, twice; in the other each of sixty nodes has the next one
// as its child, twice, and there are more paths than can be followed.
func TestIndexWithoutEnd(t *testing.T) {
	node := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(0x20000000+12+10*n)) }
	// fan has 255 identical children.
	fan := func(child int) []byte {
		return slices.Concat([]byte("\x01\xff"), bytes.Repeat(binary.BigEndian.AppendUint32(nil, uint32(0x20000000+child)), 255))
	}
	var chain []byte
	for n := range 60 {
		chain = slices.Concat(chain, []byte("*+"), node(n+1), node(n+1))
	}
	// A node with a child for every byte, one of which is the node again: few
	// nodes, and many places in which to look for one.
	wide := []byte("\x01\xff")
	for c := 1; c <= 255; c++ {
		child := []byte{0, 0, 0, 0}
		if c == 'n' || c == '*' || c == 255 {
			child = node(0)
		}
		wide = append(wide, child...)
	}
	var values []byte
	for i := range 60000 {
		values = binary.BigEndian.AppendUint32(values, uint32(60000-i)) // sorted in, each before the others
		values = fmt.Appendf(values, "m%d\x00", i)
	}
	for name, nodes := range map[string][]byte{
		"a circle":      slices.Concat([]byte("*+"), node(0), node(0)),
		"too many ways": slices.Concat(chain, []byte("\x01\x00")), // the last has no children
		"wide nodes":    wide,
		// "*" is a leaf with far too many modules.
		"too many modules": slices.Concat([]byte("**"), []byte{0x40, 0, 0, 12 + 6}, binary.BigEndian.AppendUint32(nil, 60000), values),
		// Below "*" a long text, and below that three levels of 255 children.
		"long patterns": slices.Concat([]byte("**"), []byte{0xa0, 0, 0, 12 + 6},
			bytes.Repeat([]byte("a"), 60000), []byte{0}, fan(12+6+60001+1022), fan(12+6+60001+2*1022), fan(12+6+60001+3*1022), []byte{1, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			root, opts := host(t)
			index := slices.Concat([]byte("\xb0\x07\xf4\x57\x00\x02\x00\x01"), node(0), nodes)
			if err := os.WriteFile(filepath.Join(root, "usr/lib/modules", hostcase.Release, "modules.alias.bin"), index, 0o644); err != nil {
				t.Fatal(err)
			}
			ins := inspect(t, opts)
			if ins.Autoload.Allowed != kmod.AnswerUnknown || !strings.HasSuffix(ins.Autoload.Evidence[0].File, "modules.alias.bin") {
				t.Errorf("autoload: %+v", ins.Autoload)
			}
		})
	}
}

// TestSameLineOverAndOver: a script that appends a line whenever it runs. The
// limits of inspect are far away, unless time grows with the square. Nobody
// reads all those lines, and an agent's memory is small.
func TestSameLineOverAndOver(t *testing.T) {
	const times, listed = 30000, 100
	_, opts := host(t,
		file("etc/modprobe.d/x.conf", strings.Repeat("blacklist sctp\n", times)),
		file("etc/modules-load.d/x.conf", strings.Repeat("sctp\n", times)))
	ins := inspect(t, opts)
	if ins.Autoload.Allowed != kmod.AnswerFalse || len(ins.Autoload.Evidence) != listed {
		t.Errorf("autoload: %s, %d lines", ins.Autoload.Allowed, len(ins.Autoload.Evidence))
	}
	if ins.BootLoad.Requested != kmod.AnswerTrue || len(ins.BootLoad.RequestedBy) != listed {
		t.Errorf("requested: %s, %d lines", ins.BootLoad.Requested, len(ins.BootLoad.RequestedBy))
	}
	if !slices.ContainsFunc(ins.Findings, func(f kmod.Finding) bool {
		return f.Kind == kmod.FindingIncomplete && strings.Contains(f.Message, "more lines concern sctp than are listed")
	}) {
		t.Errorf("not said: %+v", ins.Findings)
	}
}

// TestMoreRulesThanCanBeGoneThrough: every rule is good, and modprobe would need
// hours for all of them. The limits of inspect are far away.
func TestMoreRulesThanCanBeGoneThrough(t *testing.T) {
	requests, long := numbered("a%d\n", 30000), numbered(strings.Repeat("a", 4000)+"%d\n", 60)
	for name, entries := range map[string][]hostcase.Entry{
		"one alias over and over": {file("etc/modprobe.d/x.conf", strings.Repeat("alias net-pf-2-proto-132* sctp\n", 30000))},
		"requests at boot, and aliases": {
			file("etc/modules-load.d/x.conf", requests),
			file("etc/modprobe.d/x.conf", strings.Repeat("alias a1* sctp\n", 60000)),
		},
		// The request that counts comes too late to be looked up.
		"requests at boot, and then an alias": {
			file("etc/modules-load.d/x.conf", strings.ReplaceAll(requests, "a", "b")+"a1\n"),
			file("etc/modprobe.d/x.conf", strings.Repeat("alias a1* sctp\n", 60000)),
		},
		"long names, and patterns": {
			file("etc/modules-load.d/x.conf", long),
			file("etc/modprobe.d/x.conf", strings.Repeat("alias *"+strings.Repeat("a", 2000)+"b sctp\n", 500)),
		},
		"long names, and a bracket": {
			file("etc/modules-load.d/x.conf", long),
			file("etc/modprobe.d/x.conf", "alias *["+strings.Repeat("b", 1_000_000)+"]c sctp\n"),
		},
		"softdeps of soft dependencies": {
			file("etc/modules-load.d/x.conf", requests),
			file("etc/modprobe.d/x.conf", "softdep dummy pre: "+strings.NewReplacer("a", " ", "\n", "").Replace(requests)+"\ninstall dummy /bin/false\nalias a* dummy\n"),
		},
		"commands in commands": {
			file("etc/modprobe.d/x.conf", "install sctp modprobe a\ninstall a "+strings.Repeat("modprobe b;", 20000)+
				"\ninstall b "+strings.Repeat("modprobe c;", 20000)+"\ninstall c "+strings.Repeat("modprobe d;", 20000)+
				"\ninstall d "+strings.Repeat("true;", 40000)+"\n"),
		},
		"softdeps, and aliases": {
			file("etc/modprobe.d/x.conf", "softdep sctp pre: "+strings.ReplaceAll(requests, "\n", " ")+"\n"),
			file("etc/modprobe.d/y.conf", strings.Repeat("alias b* x\n", 60000)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, opts := host(t, entries...)
			ins := inspect(t, opts)
			if ins.BootLoad.Allowed == kmod.AnswerFalse || ins.Autoload.Allowed == kmod.AnswerFalse {
				t.Errorf("nothing forbids it, and it is called forbidden: %+v", ins)
			}
			asked := slices.ContainsFunc(entries, func(e hostcase.Entry) bool { return strings.Contains(e.Path, "modules-load.d") })
			if asked && ins.BootLoad.Requested == kmod.AnswerFalse {
				t.Errorf("not everything was looked up, and it is called not requested: %+v", ins.BootLoad)
			}
			if !slices.ContainsFunc(ins.Findings, func(f kmod.Finding) bool {
				return f.Kind == kmod.FindingIncomplete && strings.Contains(f.Message, "more rules than can be gone through")
			}) {
				t.Errorf("not said: %+v", ins.Findings)
			}
		})
	}
}

func TestNoRoot(t *testing.T) {
	_, opts := host(t)
	opts.Root = filepath.Join(opts.Root, "missing")
	_, err := kmod.Inspect(t.Context(), opts, kmod.SCTP())
	if err == nil || !strings.Contains(err.Error(), opts.Root) {
		t.Errorf("missing root: %v", err)
	}
	opts.Root = filepath.Join(filepath.Dir(opts.Root), "proc/cmdline")
	if _, err := kmod.Inspect(t.Context(), opts, kmod.SCTP()); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("root is a file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, opts = host(t)
	if _, err := kmod.Inspect(ctx, opts, kmod.SCTP()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := kmod.Inspect(t.Context(), opts, kmod.Module{Name: "../../etc/passwd"}); err == nil {
		t.Error("a path passed for a module's name")
	}
}

// TestReadsOnly: an inspection leaves no trace in the tree.
func TestReadsOnly(t *testing.T) {
	root, opts := host(t, file("etc/modprobe.d/x.conf", "install sctp touch /etc/touched\n"))
	before := snapshot(t, root)
	inspect(t, opts)
	if after := snapshot(t, root); after != before {
		t.Errorf("the tree changed:\n%s\n---\n%s", before, after)
	}
}

func snapshot(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(root, func(name string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(name + " " + fi.Mode().String() + " " + fi.ModTime().String() + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHelper: kernel.modprobe as hardening guides set it. It concerns only programs
// that ask for the protocol.
func TestHelper(t *testing.T) {
	for name, tc := range map[string]struct {
		helper, conf string
		want         kmod.Answer
	}{
		"as kernels come":             {"/sbin/modprobe", "", kmod.AnswerTrue},
		"where NixOS has it":          {"/nix/store/abc-kmod/bin/modprobe", "", kmod.AnswerTrue},
		"empty":                       {"", "", kmod.AnswerFalse},
		"does nothing":                {"/bin/true", "", kmod.AnswerFalse},
		"fails":                       {"/usr/bin/false", "", kmod.AnswerFalse},
		"not there":                   {"/disabled", "", kmod.AnswerFalse},
		"not a program":               {"/etc/motd", "", kmod.AnswerFalse},
		"some program":                {"/usr/bin/load", "", kmod.AnswerUnknown},
		"some program, and blacklist": {"/usr/bin/load", "blacklist sctp\n", kmod.AnswerUnknown},
		"modprobe, and blacklist":     {"/sbin/modprobe", "blacklist sctp\n", kmod.AnswerFalse},
	} {
		t.Run(name, func(t *testing.T) {
			root, opts := host(t, file("etc/motd", "hello"), file("usr/bin/load", "#!"), file("etc/modprobe.d/x.conf", tc.conf))
			if err := os.Chmod(filepath.Join(root, "usr/bin/load"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, "proc/sys/kernel/modprobe"), []byte(tc.helper+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			ins := inspect(t, opts)
			for _, d := range []kmod.Decision{ins.Autoload, ins.AutoloadIPv6} {
				if d.Allowed != tc.want {
					t.Errorf("autoload: %+v, want %s", d, tc.want)
				}
				if tc.helper != "" && path.Base(tc.helper) != "modprobe" && (d.Cause != kmod.CauseLoadingDisabled || d.Evidence[0].Text != tc.helper) {
					t.Errorf("it does not say %s: %+v", tc.helper, d)
				}
			}
			if ins.ByName.Allowed != kmod.AnswerTrue {
				t.Errorf("by name: %+v", ins.ByName)
			}
		})
	}
}

// TestStates reads the module's state as the kernel writes it.
func TestStates(t *testing.T) {
	for name, tc := range map[string]struct {
		sys, proc string
		want      kmod.State
	}{
		"not there":           {"", "", kmod.StateLoadable},
		"live":                {"live\n", "sctp 401408 2 - Live 0x0\n", kmod.StateLoaded},
		"coming":              {"coming\n", "sctp 401408 1 - Loading 0x0\n", kmod.StateLoading},
		"going":               {"going\n", "sctp 401408 0 - Unloading 0x0\n", kmod.StateUnloading},
		"garbage, but listed": {"liv", "sctp 401408 2 - Live 0x0 (OE)\n", kmod.StateLoaded},
		"garbage":             {"liv", "sctp_diag 401408 2 sctp, Live 0x0\n", kmod.StateUnknown},
		"only in proc":        {"", "a 1 0 - Live 0x0\nsctp 401408 2 - Live 0x0\n", kmod.StateLoaded},
		"users name it":       {"", "libcrc32c 401408 2 sctp, Live 0x0\n", kmod.StateLoadable},
		"directory alone":     {"dir", "", kmod.StateBuiltin},
		"directory, listed":   {"dir", "sctp 401408 1 - Loading 0x0\n", kmod.StateLoading},
	} {
		t.Run(name, func(t *testing.T) {
			root, opts := host(t)
			dir := filepath.Join(root, "sys/module/sctp")
			if tc.sys != "" {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if tc.sys != "" && tc.sys != "dir" {
				if err := os.WriteFile(filepath.Join(dir, "initstate"), []byte(tc.sys), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(root, "proc/modules"), []byte(tc.proc), 0o644); err != nil {
				t.Fatal(err)
			}
			ins := inspect(t, opts)
			if ins.State != tc.want {
				t.Errorf("got %s, want %s", ins.State, tc.want)
			}
			if want := "/lib/modules/" + hostcase.Release + "/kernel/net/sctp/sctp.ko.xz"; ins.Path != want {
				t.Errorf("path %s, want %s", ins.Path, want)
			}
			if ins.Kernel.Release != hostcase.Release || ins.Kernel.BootTime.Unix() != 1700000000 || ins.Kernel.BootID == "" {
				t.Errorf("kernel %+v", ins.Kernel)
			}
		})
	}
}

// TestVersions finds the versions in the host's own files.
func TestVersions(t *testing.T) {
	rhcos := file("etc/os-release", "NAME=\"Red Hat Enterprise Linux CoreOS\"\nID=\"rhcos\"\nID_LIKE=\"rhel fedora\"\nRHEL_VERSION=\"9.4\"\nVERSION_ID=\"4.16\"\nPRETTY_NAME=\"Red Hat Enterprise Linux CoreOS 416.94\"\n")
	for name, tc := range map[string]struct {
		entries       []hostcase.Entry
		kmod, systemd int
		finding       bool
	}{
		"libraries": {[]hostcase.Entry{
			link("usr/lib64/libkmod.so.2", "libkmod.so.2.3.6"), file("usr/lib/systemd/libsystemd-shared-252-32.el9_4.so", ""),
		}, 28, 252, false},
		"banner": {[]hostcase.Entry{
			file("usr/bin/kmod", "\x7fELF\x00\x00kmod version 34\x00"), file("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so", ""),
		}, 34, 257, false},
		"libraries of Debian 12": {[]hostcase.Entry{
			link("usr/lib/x86_64-linux-gnu/libkmod.so.2", "libkmod.so.2.4.0"), file("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", ""),
		}, 30, 252, false},
		"libraries of RHEL 8": {[]hostcase.Entry{
			link("usr/lib64/libkmod.so.2", "libkmod.so.2.3.3"), file("usr/lib/systemd/libsystemd-shared-239.so", ""),
		}, 25, 239, false},
		"release":       {[]hostcase.Entry{rhcos}, 28, 252, true},
		"RHEL 8":        {[]hostcase.Entry{file("etc/os-release", "ID=\"rhel\"\nVERSION_ID=\"8.10\"\n")}, 25, 239, true},
		"RHEL 10":       {[]hostcase.Entry{file("etc/os-release", "ID=\"rhel\"\nVERSION_ID=\"10.0\"\n")}, 31, 257, true},
		"nothing known": {nil, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			root, opts := host(t, tc.entries...)
			opts.KmodVersion, opts.SystemdVersion = 0, 0
			if err := os.WriteFile(filepath.Join(root, "proc/sys/kernel/arch"), []byte("x86_64\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			ins := inspect(t, opts)
			if ins.KmodVersion != tc.kmod || ins.SystemdVersion != tc.systemd {
				t.Errorf("kmod %d, systemd %d; want %d, %d", ins.KmodVersion, ins.SystemdVersion, tc.kmod, tc.systemd)
			}
			found := false
			for _, f := range ins.Findings {
				found = found || f.Kind == kmod.FindingVersionUnknown
			}
			if found != tc.finding {
				t.Errorf("findings %+v", ins.Findings)
			}
			// The versions agree about this host.
			if ins.Autoload.Allowed != kmod.AnswerTrue {
				t.Errorf("autoload: %+v", ins.Autoload)
			}
		})
	}
	t.Run("they differ", func(t *testing.T) {
		// kmod 28 does not read this directory.
		_, opts := host(t, file("usr/local/lib/modprobe.d/x.conf", "blacklist sctp\n"))
		opts.KmodVersion, opts.SystemdVersion = 0, 0
		ins := inspect(t, opts)
		if ins.Autoload.Allowed != kmod.AnswerUnknown || ins.Autoload.Cause != kmod.CauseVersionsDiffer {
			t.Errorf("autoload: %+v", ins.Autoload)
		}
		if ins.ByName.Allowed != kmod.AnswerTrue {
			t.Errorf("by name: %+v", ins.ByName)
		}
	})
}

// TestSystemdVersionsDiffer: to systemd 239 a carriage return ends no line.
func TestSystemdVersionsDiffer(t *testing.T) {
	_, opts := host(t, file("etc/modules-load.d/x.conf", "dummy\rsctp\n"))
	for systemd, want := range map[int]kmod.Answer{239: kmod.AnswerFalse, 252: kmod.AnswerTrue, 0: kmod.AnswerUnknown} {
		opts.SystemdVersion = systemd
		if got := inspect(t, opts).BootLoad.Requested; got != want {
			t.Errorf("systemd %d: requested %s, want %s", systemd, got, want)
		}
	}
}

// TestBootTimes: the request is as old as the oldest file that makes it, and the
// command line is as old as the boot: a second request does not excuse a first
// one that has come to nothing. A file is as old as its place, not as its
// contents.
func TestBootTimes(t *testing.T) {
	root, opts := host(t, file("etc/modules-load.d/a.conf", "sctp\n"), file("etc/modules-load.d/b.conf", "dummy\n"))
	before := time.Now().Add(-time.Minute) // clocks of file systems are coarse
	packaged := time.Unix(1600000000, 0)
	if err := os.Chtimes(filepath.Join(root, "etc/modules-load.d/a.conf"), packaged, packaged); err != nil {
		t.Fatal(err)
	}
	if ins := inspect(t, opts); ins.BootLoad.RequestedSince.Before(before) {
		t.Errorf("put there just now, with the time of its package: since %v", ins.BootLoad.RequestedSince)
	}
	when := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(root, "etc/modules-load.d/a.conf"), when, when); err != nil {
		t.Fatal(err)
	}
	if ins := inspect(t, opts); !ins.BootLoad.RequestedSince.Equal(when) {
		t.Errorf("since %v", ins.BootLoad.RequestedSince)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/modules-load.d/0.conf"), []byte("sctp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	later := when.Add(time.Hour)
	if err := os.Chtimes(filepath.Join(root, "etc/modules-load.d/0.conf"), later, later); err != nil {
		t.Fatal(err)
	}
	if ins := inspect(t, opts); !ins.BootLoad.RequestedSince.Equal(when) {
		t.Errorf("asked for again: since %v", ins.BootLoad.RequestedSince)
	}
	if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte("modules_load=sctp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if ins := inspect(t, opts); !ins.BootLoad.RequestedSince.IsZero() {
		t.Errorf("asked for by the command line: since %v", ins.BootLoad.RequestedSince)
	}
}
