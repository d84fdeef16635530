package verdict_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// A kernel that was built without loadable modules has no SCTP, whatever is on disk and
// in its arguments, and no package helps. Only such a kernel can show that.
func TestKernelWithoutModules(t *testing.T) {
	if _, err := os.Stat("/proc/modules"); !errors.Is(err, fs.ErrNotExist) {
		t.Skipf("this machine's kernel has loadable modules (/proc/modules: %v)", err)
	}
	for _, name := range []string{"debian", "rhel-9-missing", "kind"} {
		t.Run(name, func(t *testing.T) {
			c, root := built(t, "testdata/hosts/"+name+".case")
			r := assessWith(t, root, "/proc", c)
			if r.Reason != verdict.ReasonModuleMissing || r.Module.State != kmod.StateAbsent || r.OnBoot != verdict.OnBootBlocked ||
				r.Policy.Modprobe.Allowed != kmod.AnswerFalse || !strings.Contains(r.Remedy, "CONFIG_IP_SCTP") {
				t.Error(describe(c.Story, r))
			}
		})
	}
}

// A /proc that shows processes alone (ProcSubset=pid of a service) does not tell that.
func TestProcOfProcessesAlone(t *testing.T) {
	proc := t.TempDir()
	switch err := unix.Mount("proc", proc, "proc", 0, "subset=pid"); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL): // no right to, before Linux 5.8
		t.Skipf("such a /proc cannot be mounted here: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	defer unix.Unmount(proc, unix.MNT_DETACH)
	c, root := built(t, "testdata/hosts/debian.case")
	if r := assessWith(t, root, proc, c); r.Reason == verdict.ReasonModuleMissing || r.Module.State == kmod.StateAbsent {
		t.Error(describe(c.Story, r))
	}
}

// assessWith judges a host root beside another /proc; its /sys has no module.
func assessWith(t *testing.T, root, proc string, c *hostcase.Case) verdict.Report {
	t.Helper()
	i, err := kmod.Inspect(t.Context(), kmod.Options{
		Root: root, Proc: proc, Sys: filepath.Join(root, "sys"),
		KernelRelease: c.Want["release"], KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
	}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	return verdict.Judge(verdict.Facts{Inspection: i})
}
