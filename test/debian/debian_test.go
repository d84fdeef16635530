package debian_test

import (
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/test/debian"
)

// The versions that decide which rules of modprobe.d apply: whoever relies on
// a suite relies on these.
func TestTreeHasTheSuitesKmod(t *testing.T) {
	for suite, want := range map[debian.Suite]string{
		debian.Bullseye: "28",
		debian.Bookworm: "30",
		debian.Trixie:   "34",
		debian.Forky:    "34",
	} {
		t.Run(string(suite), func(t *testing.T) {
			t.Parallel()
			dir, err := debian.Open(suite, "amd64").Tree(t.Context(), "kmod", "libkmod2")
			if err != nil {
				t.Fatal(err)
			}
			f, err := elf.Open(filepath.Join(dir, "bin/kmod"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Machine != elf.EM_X86_64 {
				t.Errorf("kmod is for %v", f.Machine)
			}
			status, err := os.ReadFile(filepath.Join(dir, "var/lib/dpkg/status"))
			if err != nil {
				t.Fatal(err)
			}
			stanza := regexp.MustCompile(`(?ms)^Package: kmod\nStatus: install ok installed\n.*?^Version: (\d+)`).FindSubmatch(status)
			if stanza == nil || string(stanza[1]) != want {
				t.Errorf("kmod in the package database: %q, want version %s", stanza, want)
			}
			files, err := debian.Files(dir, "kmod")
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(files, "\n"); !strings.Contains(all, "/bin/kmod\n") {
				t.Errorf("file list of kmod lacks its program:\n%s", all)
			}
		})
	}
}

func TestKernelHasSCTPAsAModule(t *testing.T) {
	for suite, want := range map[debian.Suite]string{
		debian.Bookworm: "6.1.",
		debian.Forky:    "", // moves
	} {
		t.Run(string(suite), func(t *testing.T) {
			t.Parallel()
			dir, release, err := debian.Open(suite, "amd64").Kernel(t.Context(), "linux-image-cloud-amd64")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(release, want) {
				t.Errorf("release %s", release)
			}
			module, err := filepath.Glob(filepath.Join(dir, "lib/modules", release, "kernel/net/sctp/sctp.ko*"))
			if err != nil || len(module) != 1 {
				t.Errorf("sctp.ko: %q, %v", module, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "boot/vmlinuz-"+release)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnknownPackage(t *testing.T) {
	_, err := debian.Open(debian.Bookworm, "amd64").Tree(t.Context(), "no-such-package-here")
	if err == nil || !strings.Contains(err.Error(), "no-such-package-here") {
		t.Errorf("error = %v, want one that names the package", err)
	}
}
