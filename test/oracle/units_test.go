package oracle

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

var unitRoots = flag.Int("unit-roots", 60, "how many generated roots systemctl is asked about")

// TestUnitStateOfSystemctl: on generated roots, systemctl --root says of
// systemd-modules-load.service what the inspection says, as far as it looks: it
// knows of files and links, not of conditions, nor of the kernel command line.
func TestUnitStateOfSystemctl(t *testing.T) {
	systemctl, err := exec.LookPath("systemctl")
	if err != nil {
		t.Skip("this machine has no systemctl to ask")
	}
	const unit = "systemd-modules-load.service"
	const shipped = "[Unit]\nDescription=Load Kernel Modules\n[Service]\nType=oneshot\nExecStart=/usr/lib/systemd/systemd-modules-load\n"
	rng := rand.New(rand.NewPCG(14, 2))
	count := map[string]int{}
	for n := range *unitRoots {
		root := t.TempDir()
		story := ""
		put := func(name, content string) {
			story += fmt.Sprintf("%s: %q\n", name, content)
			name = filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			var err error
			if target, ok := strings.CutPrefix(content, "-> "); ok {
				err = os.Symlink(target, name)
			} else {
				err = os.WriteFile(name, []byte(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		put("usr/lib/systemd/systemd", "#!stub")
		put("usr/lib/systemd/system/sysinit.target", "[Unit]\n")
		if rng.IntN(5) > 0 {
			put("usr/lib/systemd/system/"+unit, shipped)
		}
		put("usr/lib/systemd/system/sysinit.target.wants/"+unit, "-> ../"+unit)
		for _, dir := range []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system"} {
			switch rng.IntN(8) {
			case 0:
				put(filepath.Join(dir, unit), "-> /dev/null")
			case 1:
				put(filepath.Join(dir, unit), "")
			case 2:
				put(filepath.Join(dir, unit), shipped)
			case 3:
				put(filepath.Join(dir, unit+".d/x.conf"), "[Service]\nNice=1\n")
			}
		}
		ins, err := kmod.Inspect(t.Context(), kmod.Options{
			Root: root, Proc: root, Sys: root, KernelRelease: "6.1.0", KmodVersion: 30, SystemdVersion: 252,
		}, kmod.SCTP())
		if err != nil {
			t.Fatal(err)
		}
		// The status is not zero for a unit that is not enabled.
		out, _ := exec.Command(systemctl, "--root="+root, "is-enabled", unit).CombinedOutput()
		said := strings.TrimSpace(string(out))
		want := ""
		switch {
		case strings.HasPrefix(said, "masked"):
			want = "masked"
		case said == "static":
			want = "active replaced"
		case strings.Contains(said, "not-found"), strings.Contains(said, "No such file"):
			want = "absent"
		default:
			t.Fatalf("root %d: systemctl answers %q\n%s", n, said, story)
		}
		count[want]++
		if !strings.Contains(want, string(ins.BootLoad.Unit)) {
			t.Errorf("root %d: systemctl says %q, the inspection %s\n%s", n, said, ins.BootLoad.Unit, story)
		}
	}
	t.Logf("%d roots: %v", *unitRoots, count)
	for _, state := range []string{"masked", "active replaced", "absent"} {
		if count[state] == 0 {
			t.Errorf("no root is %s", state)
		}
	}
}
