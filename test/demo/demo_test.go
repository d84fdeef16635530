package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The demo starts itself to build the control plane; here it is this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == buildArg {
		main()
		return
	}
	os.Exit(m.Run())
}

// The whole demo, and what its audience is promised: the table, the label that
// turns, and nothing left behind.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out strings.Builder
	d := &demo{screen: &screen{out: &out, start: time.Now()}}
	err := d.run(ctx)
	d.cleanUp()
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		`worker-a +false +blocked +ModuleBlacklisted +/etc/modprobe\.d/sctp-blacklist\.conf:6: blacklist sctp`,
		`worker-b +true +loaded +ProbePassed +/etc/modules-load\.d/sctp-load\.conf:1: sctp`,
		`worker-c +false +blocked +ModuleInstallOverridden +/etc/modprobe\.d/sctp\.conf:1: install sctp /bin/false`,
		`worker-a files written +false +loaded +ModuleNotLoaded +/etc/modules-load\.d/sctp-load\.conf:1: sctp`,
		`worker-a rebooted +true +loaded +ProbePassed +/etc/modules-load\.d/sctp-load\.conf:1: sctp`,
	} {
		if !regexp.MustCompile(`(?m)^ *` + row + `$`).MatchString(out.String()) {
			t.Errorf("no line %q", row)
		}
	}
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	for _, n := range d.nodes {
		if _, err := n.guest.GetFile(ctx, "/etc/hostname"); err == nil {
			t.Errorf("%s still runs", n.name)
		}
	}
}
