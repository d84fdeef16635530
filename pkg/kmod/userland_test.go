package kmod

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestUserland: the kind of host, by its files.
func TestUserland(t *testing.T) {
	const release = "5.14.0-570.el9.x86_64"
	for _, c := range []struct {
		story string
		files map[string]string
		want  Userland
	}{
		{"RHCOS 4.18", map[string]string{
			"etc/os-release":                    "ID=\"rhcos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"4.18\"\nVARIANT_ID=coreos\nOPENSHIFT_VERSION=\"4.18\"\nRHEL_VERSION=9.4\n",
			"run/ostree-booted":                 "",
			"usr/lib/modules/" + release + "/x": "",
		}, Userland{ID: "rhcos", VariantID: "coreos", VersionID: "4.18", OpenShiftVersion: "4.18", OSTree: true, ModuleDirectory: AnswerTrue}},
		{"RHCOS 4.19", map[string]string{
			"usr/lib/os-release": "ID=\"rhel\"\nVERSION_ID=\"9.6\"\nVARIANT_ID=coreos\n",
		}, Userland{ID: "rhel", VariantID: "coreos", VersionID: "9.6", ModuleDirectory: AnswerFalse}},
		{"a whole host", map[string]string{"sbin/init": ""}, Userland{Init: AnswerTrue, ModuleDirectory: AnswerFalse}},
		{"a systemd container", map[string]string{"run/systemd/container": "lxc\n"}, Userland{Container: "/run/systemd/container", ModuleDirectory: AnswerFalse}},
		{"podman", map[string]string{"run/.containerenv": ""}, Userland{Container: "/run/.containerenv", ModuleDirectory: AnswerFalse}},
		{"docker", map[string]string{".dockerenv": ""}, Userland{Container: "/.dockerenv", ModuleDirectory: AnswerFalse}},
		{"kind", map[string]string{"kind/version": "v1.33.1"}, Userland{Container: "/kind", ModuleDirectory: AnswerFalse}},
		{"bytes that nobody can read", map[string]string{"etc/os-release": "ID=a\x1b[1m\n"}, Userland{ID: `a\u001b[1m`, ModuleDirectory: AnswerFalse}},
	} {
		t.Run(c.story, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
				t.Fatal(err)
			}
			for name, content := range c.files {
				full := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			i, err := Inspect(context.Background(), Options{Root: root, KernelRelease: release}, SCTP())
			if err != nil {
				t.Fatal(err)
			}
			c.want.Init = cmp.Or(c.want.Init, AnswerFalse)
			if i.Userland != c.want {
				t.Errorf("got  %+v\nwant %+v", i.Userland, c.want)
			}
		})
	}
}
