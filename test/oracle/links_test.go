package oracle

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
)

// TestLinksOfSystemctl: on generated roots, "systemctl --root enable" makes the links
// that are computed for a unit.
func TestLinksOfSystemctl(t *testing.T) {
	systemctl, err := exec.LookPath("systemctl")
	if err != nil {
		t.Skip("this machine has no systemctl to ask")
	}
	rng := rand.New(rand.NewPCG(14, 3))
	// Of two units with one alias, the first one that systemctl comes to has it.
	install := func(alias string, others ...string) string {
		text := "[Install]\n"
		for range rng.IntN(4) {
			text += []string{
				"WantedBy=multi-user.target\n", "WantedBy=kubelet.service a.target\n", "RequiredBy=a.target\n", "WantedBy=\n", "WantedBy=for-%i.target\n",
				"Alias=" + alias + "\n", "DefaultInstance=one\n", "DefaultInstance=two\n", "Also=" + others[rng.IntN(len(others))] + "\n",
			}[rng.IntN(9)]
		}
		return text
	}
	const roots = 60
	made := 0
	for n := range roots {
		root := t.TempDir()
		story := ""
		put := func(name, content string) {
			story += fmt.Sprintf("%s: %q\n", name, content)
			name = filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		units := []string{"plain.service", "other.service", "t@.service", "t@x.service"}
		for _, unit := range units[:3] {
			dir := []string{"etc/systemd/system/", "usr/lib/systemd/system/"}[rng.IntN(2)]
			body := "[Service]\nExecStart=/bin/true\n"
			if rng.IntN(3) > 0 {
				body += install([]string{"alias-" + unit, "alias.service", "alias@x.service", "alias.target"}[rng.IntN(4)], units[:2]...)
			}
			put(dir+unit, body)
			if rng.IntN(3) == 0 {
				put("etc/systemd/system/"+unit+".d/10.conf", install([]string{"alias-" + unit, "alias.service", "alias@x.service", "alias.target"}[rng.IntN(4)], units[:2]...))
			}
		}
		unit := units[rng.IntN(len(units))]
		files, err := hostroot.FromFS(os.DirFS(root))
		if err != nil {
			t.Fatal(err)
		}
		want := systemdunit.Read(files, 252).Links(unit)
		out, failed := exec.Command(systemctl, "--root="+root, "enable", unit).CombinedOutput()
		got := map[string]string{}
		err = filepath.WalkDir(filepath.Join(root, "etc/systemd/system"), func(name string, e os.DirEntry, err error) error {
			if err != nil || e.Type()&os.ModeSymlink == 0 {
				return err
			}
			target, err := os.Readlink(name)
			got[strings.TrimPrefix(name, filepath.Join(root, "etc/systemd/system")+"/")] = strings.TrimPrefix(target, root)
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		made += len(got)
		if !maps.Equal(got, want) {
			t.Errorf("root %d: enable %s made %v (%v), want %v\n%s%s", n, unit, got, failed, want, out, story)
		}
	}
	t.Logf("%d roots, %d links", roots, made)
	if made == 0 {
		t.Error("no link was made")
	}
}
