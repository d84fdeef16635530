// Package kmodguest asks a real kernel what only a kernel can answer about
// pkg/kmod: what module_blacklist= means however it is spelt and whoever reads
// it, and that a program without any privilege loads a module by opening a
// socket. What a host's administrator sees of the rest is in test/scenarios.
package kmodguest_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/test/guest"
)

const ask = "/usr/local/bin/ask"

func TestKernelDecides(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	program, err := guest.GoProgram(ctx, ask, "github.com/sctp-agent/sctp-agent/test/kmodguest/ask")
	if err != nil {
		t.Fatal(err)
	}
	g, err := guest.Boot(ctx, guest.Config{
		// The kernel takes the dash and the quotes, and the last one wins.
		Cmdline: `module_blacklist=sctp module-blacklist="dummy,sctp_diag" -- module_blacklist=sctp`,
		Files:   []guest.File{program},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()

	inspect := func(module string, uid uint32) kmod.Inspection {
		t.Helper()
		res, err := g.Run(ctx, guest.Command{Path: ask, Args: []string{module}, UID: uid, GID: uid})
		if err != nil || res.ExitCode != 0 {
			t.Fatalf("inspect %s as %d: %v, exit code %d: %s", module, uid, err, res.ExitCode, res.Stderr)
		}
		var ins kmod.Inspection
		if err := json.Unmarshal(res.Stdout, &ins); err != nil {
			t.Fatal(err)
		}
		return ins
	}
	sh := func(script string) (string, int) {
		t.Helper()
		res, err := g.Run(ctx, guest.Shell(script))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(res.Stdout) + string(res.Stderr)), res.ExitCode
	}
	const nobody = 65534

	if effective, _ := sh("cat /sys/module/kernel/parameters/module_blacklist"); effective != "dummy,sctp_diag" {
		t.Fatalf("the kernel's list is %q", effective)
	}
	for who, uid := range map[string]uint32{"root, from the kernel's own list": 0, "nobody, from the command line": nobody} {
		t.Run("denied, read by "+who, func(t *testing.T) {
			diag := inspect("sctp_diag", uid)
			for caller, d := range map[string]kmod.Decision{"by name": diag.ByName, "autoload": diag.Autoload, "at boot": diag.BootLoad.Decision} {
				if d.Allowed != kmod.AnswerFalse || d.Cause != kmod.CauseDeniedByKernel {
					t.Errorf("sctp_diag %s: %+v", caller, d)
				}
			}
			if sctp := inspect("sctp", uid); sctp.ByName.Allowed != kmod.AnswerTrue || sctp.Autoload.Allowed != kmod.AnswerTrue || sctp.State != kmod.StateLoadable {
				t.Errorf("sctp: %+v", sctp)
			}
		})
	}
	if out, code := sh("/sbin/modprobe sctp_diag"); code == 0 {
		t.Errorf("the kernel took sctp_diag: %s", out)
	}
	// modprobe inserts what it needs first: sctp is in now, unasked.
	t.Run("its dependencies came along", func(t *testing.T) {
		if sctp := inspect("sctp", nobody); sctp.State != kmod.StateLoaded {
			t.Errorf("state %s", sctp.State)
		}
	})

	if err := g.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("nobody's socket loads it", func(t *testing.T) {
		before := inspect("sctp", nobody)
		if before.State != kmod.StateLoadable || before.Autoload.Allowed != kmod.AnswerTrue {
			t.Fatalf("before: %s, %+v", before.State, before.Autoload)
		}
		res, err := g.Run(ctx, guest.Command{Path: ask, Args: []string{"socket"}, UID: nobody, GID: nobody})
		if err != nil || res.ExitCode != 0 {
			t.Fatalf("socket: %v, exit code %d: %s", err, res.ExitCode, res.Stdout)
		}
		if after := inspect("sctp", nobody); after.State != kmod.StateLoaded {
			t.Errorf("after: %s", after.State)
		}
	})
}
