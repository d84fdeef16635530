package verdict_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
			text, err := os.Open("testdata/hosts/" + name + ".case")
			if err != nil {
				t.Fatal(err)
			}
			defer text.Close()
			c, err := hostcase.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			if err := c.Build(root); err != nil {
				t.Fatal(err)
			}
			i, err := kmod.Inspect(t.Context(), kmod.Options{
				Root: root, Proc: "/proc", Sys: filepath.Join(root, "sys"), // one without /sys/module/sctp
				KernelRelease: c.Want["release"], KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
			}, kmod.SCTP())
			if err != nil {
				t.Fatal(err)
			}
			r := verdict.Judge(verdict.Facts{Inspection: i})
			if r.Reason != verdict.ReasonModuleMissing || r.Module.State != kmod.StateAbsent || r.OnBoot != verdict.OnBootBlocked ||
				r.Policy.Modprobe.Allowed != kmod.AnswerFalse || !strings.Contains(r.Remedy, "CONFIG_IP_SCTP") {
				t.Error(describe(c.Story, r))
			}
		})
	}
}
