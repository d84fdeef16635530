package kmod_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
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
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// inspectCase judges the case on disk and in memory, which must be the same.
func inspectCase(t *testing.T, c *hostcase.Case) *kmod.Inspection {
	t.Helper()
	root := t.TempDir()
	if err := c.Build(root); err != nil {
		t.Fatal(err)
	}
	disk, err := kmod.Inspect(t.Context(), kmod.Options{
		Root: root, Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys"),
		KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
	}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	memory, err := kmod.Inspect(t.Context(), kmod.Options{FS: c.FS(), KmodVersion: c.Kmod, SystemdVersion: c.Systemd}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	// What only a disk has: the time of writing. What only its machine is.
	same := *memory
	same.Kernel.Machine = disk.Kernel.Machine
	same.BootLoad.RequestedSince = disk.BootLoad.RequestedSince
	same.Next.BootLoad.RequestedSince = disk.Next.BootLoad.RequestedSince
	if !reflect.DeepEqual(*disk, same) {
		t.Errorf("on disk\n%+v\nand in memory\n%+v", *disk, same)
	}
	return disk
}

// TestCases holds the answers to named host roots. Each case has its story and what
// the real modprobe and systemd-modules-load did on it, or, where they would hang
// or only the kernel decides, what must not be assumed of them.
func TestCases(t *testing.T) {
	names, err := filepath.Glob("testdata/cases/*.case")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".case"), func(t *testing.T) {
			c := readCase(t, name)
			if c.Story == "" || len(c.Want) == 0 {
				t.Fatal("a case needs a story and an expectation")
			}
			ins := inspectCase(t, c)
			for key, want := range c.Want {
				if got := observed(t, ins, key); got != want {
					t.Errorf("%s: got %s, want %s", key, got, want)
				}
			}
			if t.Failed() {
				t.Logf("%+v", ins)
			}
		})
	}
}

func observed(t *testing.T, ins *kmod.Inspection, key string) string {
	decisions := map[string]kmod.Decision{
		"modprobe": ins.ByName, "autoload": ins.Autoload, "autoloadIPv6": ins.AutoloadIPv6, "boot": ins.BootLoad.Decision,
	}
	places := func(list []kmod.Evidence) string {
		var out []string
		for _, e := range list {
			out = append(out, fmt.Sprintf("%s:%d", e.File, e.Line))
		}
		return strings.Join(out, " ")
	}
	word, rest, _ := strings.Cut(key, ".")
	switch word {
	case "requested":
		return string(ins.BootLoad.Requested)
	case "requestedby":
		return places(ins.BootLoad.RequestedBy)
	case "unit":
		return string(ins.BootLoad.Unit)
	case "loadedby":
		return places(ins.BootLoad.LoadedBy)
	case "state":
		return string(ins.State)
	case "next":
		return observedNext(t, ins.Next, rest, places)
	case "cause":
		return string(decisions[rest].Cause)
	case "evidence":
		return places(decisions[rest].Evidence)
	case "findings":
		if len(ins.Findings) == 0 {
			return "none"
		}
		return fmt.Sprint(ins.Findings)
	case "finding":
		for _, f := range ins.Findings {
			if string(f.Kind) == rest {
				return places(f.Evidence[:1])
			}
		}
		return "none"
	}
	d, ok := decisions[word]
	if !ok {
		t.Fatalf("unknown expectation %q", key)
	}
	return string(d.Allowed)
}

func observedNext(t *testing.T, next kmod.NextBoot, key string, places func([]kmod.Evidence) string) string {
	switch key {
	case "kernel":
		return cmp.Or(next.Kernel, "none")
	case "chosen":
		return fmt.Sprint(next.KernelChosen)
	case "known":
		return fmt.Sprint(next.Known)
	case "pending":
		return cmp.Or(places(next.Pending), "none")
	case "boot":
		return string(next.BootLoad.Allowed)
	case "autoload":
		return string(next.Autoload.Allowed)
	}
	t.Fatalf("unknown expectation %q", key)
	return ""
}

// TestOnRequest: of a module that programs ask for, the host's units and its next
// boot are not looked at.
func TestOnRequest(t *testing.T) {
	_, opts := host(t, file("etc/modprobe.d/x.conf", "blacklist sctp\n"),
		file("etc/sysctl.d/x.conf", "kernel.modules_disabled = 1\n"),
		file("usr/lib/systemd/system/systemd-modules-load.service", ""))
	module := kmod.SCTP()
	for _, module.OnRequest = range []bool{false, true} {
		ins, err := kmod.Inspect(t.Context(), opts, module)
		if err != nil {
			t.Fatal(err)
		}
		if ins.Autoload.Cause != kmod.CauseBlacklist {
			t.Errorf("autoload: %+v", ins.Autoload)
		}
		unit, pending := kmod.UnitMasked, 1
		if module.OnRequest {
			unit, pending = kmod.UnitUnknown, 0
		}
		if ins.BootLoad.Unit != unit || len(ins.Next.Pending) != pending {
			t.Errorf("on request %v: unit %s, pending %v", module.OnRequest, ins.BootLoad.Unit, ins.Next.Pending)
		}
	}
}

// TestNextBootWithoutRun: what a file in /run decides is gone with the boot; one
// that decides nothing is not reported.
func TestNextBootWithoutRun(t *testing.T) {
	asks, masked := file("etc/modules-load.d/x.conf", "sctp\n"), "usr/lib/modprobe.d/x.conf"
	for name, c := range map[string]struct {
		files   []hostcase.Entry
		pending []string
	}{
		"nothing in /run":        {[]hostcase.Entry{asks}, nil},
		"a comment":              {[]hostcase.Entry{asks, file("run/modprobe.d/x.conf", "# nothing\n")}, nil},
		"a blacklist":            {[]hostcase.Entry{asks, file("run/modprobe.d/x.conf", "blacklist sctp\n")}, []string{"/run/modprobe.d/x.conf"}},
		"a second blacklist":     {[]hostcase.Entry{asks, file("run/modprobe.d/x.conf", "blacklist sctp\n"), file("etc/modprobe.d/y.conf", "blacklist sctp\n")}, nil},
		"a file that hides one":  {[]hostcase.Entry{asks, file("run/modprobe.d/x.conf", ""), file(masked, "blacklist sctp\n")}, []string{"/run/modprobe.d/x.conf"}},
		"a request":              {[]hostcase.Entry{file("run/modules-load.d/x.conf", "sctp\n")}, []string{"/run/modules-load.d/x.conf"}},
		"a request made twice":   {[]hostcase.Entry{asks, file("run/modules-load.d/y.conf", "sctp\n")}, nil},
		"a mask of the unit":     {[]hostcase.Entry{asks, file("run/systemd/system/systemd-modules-load.service", "")}, []string{"/run/systemd/system/systemd-modules-load.service"}},
		"a unit of another kind": {[]hostcase.Entry{asks, file("run/systemd/system/netplan-wpa.service", "[Service]\nExecStart=/bin/true\n")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, opts := host(t, c.files...)
			ins := inspect(t, opts)
			var pending []string
			for _, e := range ins.Next.Pending {
				pending = append(pending, e.File)
			}
			if !slices.Equal(pending, c.pending) || ins.Next.Known != (c.pending == nil) {
				t.Errorf("pending %q, known %v; want %q", pending, ins.Next.Known, c.pending)
			}
		})
	}
}
