package kmod_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestSignature: what real kernels do with such files is in test/scenarios;
// here are the files and the kernel's words that must not mislead.
func TestSignature(t *testing.T) {
	const (
		enforce  = "sys/module/module/parameters/sig_enforce"
		lockdown = "sys/kernel/security/lockdown"
		mark     = "~Module signature appended~\n"
	)
	long := strings.Repeat("x", 10_000)
	for name, c := range map[string]struct {
		file    string // the module's name on disk
		content string
		kernel  map[string]string
		allowed kmod.Answer
	}{
		"unsigned, nobody minds":             {"sctp.ko", long, map[string]string{enforce: "N\n", lockdown: "[none] integrity confidentiality\n"}, kmod.AnswerTrue},
		"unsigned, enforced":                 {"sctp.ko", long, map[string]string{enforce: "Y\n"}, kmod.AnswerFalse},
		"unsigned, locked down":              {"sctp.ko", long, map[string]string{enforce: "N\n", lockdown: "none [integrity] confidentiality\n"}, kmod.AnswerFalse},
		"unsigned, confidential":             {"sctp.ko", long, map[string]string{lockdown: "none integrity [confidentiality]\n"}, kmod.AnswerFalse},
		"signed, enforced":                   {"sctp.ko", long + mark, map[string]string{enforce: "Y\n"}, kmod.AnswerTrue},
		"the mark is not the end":            {"sctp.ko", long + mark + "\n", map[string]string{enforce: "Y\n"}, kmod.AnswerFalse},
		"empty, enforced":                    {"sctp.ko", "", map[string]string{enforce: "Y\n"}, kmod.AnswerFalse},
		"compressed: not looked into":        {"sctp.ko.xz", long, map[string]string{enforce: "Y\n"}, kmod.AnswerTrue},
		"what the kernel says is not known":  {"sctp.ko", long, map[string]string{enforce: "maybe", lockdown: "???"}, kmod.AnswerTrue},
		"a lockdown file without any choice": {"sctp.ko", long, map[string]string{lockdown: ""}, kmod.AnswerTrue},
	} {
		t.Run(name, func(t *testing.T) {
			host := readCase(t, "testdata/cases/machineconfig.case")
			for i := range host.Modules {
				if host.Modules[i].Name == "sctp" {
					host.Modules[i].File = filepath.Join(filepath.Dir(host.Modules[i].File), c.file)
				}
			}
			root := t.TempDir()
			if err := host.Build(root); err != nil {
				t.Fatal(err)
			}
			// Whatever else it needs is signed.
			err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
				if err != nil || !strings.Contains(d.Name(), ".ko") {
					return err
				}
				content := long + mark
				if d.Name() == c.file {
					content = c.content
				}
				return os.WriteFile(p, []byte(content), 0o644)
			})
			if err != nil {
				t.Fatal(err)
			}
			for file, text := range c.kernel {
				file = filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			ins, err := kmod.Inspect(t.Context(), kmod.Options{
				Root: root, Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys"),
				KmodVersion: host.Kmod, SystemdVersion: host.Systemd,
			}, kmod.SCTP())
			if err != nil {
				t.Fatal(err)
			}
			for caller, d := range map[string]kmod.Decision{"by name": ins.ByName, "autoload": ins.Autoload, "at boot": ins.BootLoad.Decision} {
				if d.Allowed != c.allowed {
					t.Errorf("%s: %s, want %s: %+v", caller, d.Allowed, c.allowed, d.Evidence)
				}
				if d.Allowed == kmod.AnswerFalse && (d.Cause != kmod.CauseDeniedByKernel || d.Evidence[0].File != ins.Path) {
					t.Errorf("%s: cause %v, evidence %+v; the module is %s", caller, d.Cause, d.Evidence, ins.Path)
				}
			}
		})
	}
}
