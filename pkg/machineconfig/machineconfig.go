// Package machineconfig makes the MachineConfig that enables SCTP on a pool of
// OpenShift nodes, and judges whether given MachineConfigs do: not by the names
// of the files they write, but by what modprobe(8) and systemd-modules-load(8)
// would do on a host with these files (package kmod).
//
// It imports nothing of Kubernetes, talks to no cluster and needs no disk.
package machineconfig

import (
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// What identifies a MachineConfig.
const (
	APIVersion = "machineconfiguration.openshift.io/v1"
	Kind       = "MachineConfig"
	// RoleLabel selects the pool that a MachineConfig is for.
	RoleLabel = "machineconfiguration.openshift.io/role"
)

// IgnitionVersion is the specification that OpenShift documents for
// MachineConfigs (4.7 and later).
const IgnitionVersion = "3.2.0"

// fileMode of both files: what the MachineConfig documented by OpenShift sets.
const fileMode = 0o644

// File is a file that a configuration writes on the host.
type File struct {
	// Path on the host.
	Path string
	// Mode are the permission bits.
	Mode uint32
	// Contents is the whole file.
	Contents string
	// Why the file is needed, for people.
	Why string
}

// Files are the files that enable SCTP at every boot. They are those of the
// procedure that OpenShift documents ("Using Stream Control Transmission
// Protocol"): an empty file in place of the vendor's blacklist, and a request
// to load the module. includeDiag also empties the blacklist of sctp_diag,
// without which "ss --sctp" shows nothing.
func Files(includeDiag bool) []File {
	files := []File{
		{Path: verdict.VendorBlacklist, Mode: fileMode, Why: "empty in place of the vendor's blacklist of sctp"},
		{Path: verdict.LoadRequest, Mode: fileMode, Contents: kmod.SCTP().Name, Why: "asks for the module at every boot"},
	}
	if includeDiag {
		files = append(files, File{Path: DiagBlacklist, Mode: fileMode, Why: "empty in place of the vendor's blacklist of sctp_diag (ss --sctp)"})
	}
	return files
}

// DiagBlacklist is the vendor's file that keeps sctp_diag from being loaded.
const DiagBlacklist = "/etc/modprobe.d/sctp_diag-blacklist.conf"

// Empty is the file that replaces one with lines that stop the module. A file of
// the same name in /etc/modprobe.d replaces those in the directories of the vendor
// (modprobe.d(5)).
func Empty(name string) (File, error) {
	if !emptyPath().MatchString(name) || path.Clean(name) != name {
		return File{}, fmt.Errorf("empty %q: want a file below /etc/modprobe.d, with a name of letters, digits and ._+@- that ends in .conf or .alias, as modprobe reads no others", name)
	}
	return File{Path: name, Mode: fileMode, Why: "empty in place of lines that stop sctp; other lines of the file are lost, unless they are put here"}, nil
}

// emptyPath matches what needs no quotes in YAML and in a shell script.
var emptyPath = pattern.MustCompile(`^/etc/modprobe\.d/[A-Za-z0-9._+@-]+\.(conf|alias)$`)

// FilesOf are the files of the one MachineConfig that does all the steps of a
// report's remedies that files can do. Those of [Files] are always among them:
// the MachineConfig may replace an earlier one of the same name. There is none
// where the remedies ask for no MachineConfig, or where a file has a name that
// none can be made with.
func FilesOf(r verdict.Report) []File {
	files := Files(false)
	wanted := false
	for _, step := range r.Remedies {
		switch step.Action {
		case verdict.ActionEmptyFile, verdict.ActionOverrideFile:
			if step.File == verdict.VendorBlacklist {
				continue
			}
			f, err := Empty(step.File)
			if err != nil {
				return nil
			}
			files = append(files, f)
		case verdict.ActionApplyMachineConfig:
			wanted = true
		}
	}
	if !wanted {
		return nil
	}
	return files
}

// Name of the MachineConfig for a role. Of MachineConfigs that write the same
// file the one whose name sorts last wins, so it starts with 99.
func Name(role string) string { return "99-" + role + "-load-sctp" }

// roleName is what OpenShift's machine config pools, and label values, may be
// called (RFC 1123 label).
var roleName = pattern.MustCompile(`^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$`)

// Write prints one MachineConfig for each role, as a YAML stream.
func Write(w io.Writer, roles []string, files []File) error {
	if len(roles) == 0 {
		return fmt.Errorf("no role: a MachineConfig is for a pool")
	}
	seen := map[string]bool{}
	var b strings.Builder
	for i, role := range roles {
		if !roleName().MatchString(role) {
			return fmt.Errorf("role %q is no name of a machine config pool: want up to 42 characters of a-z, 0-9 and -, such as \"worker\"", role)
		}
		if seen[role] {
			return fmt.Errorf("role %q is named twice", role)
		}
		seen[role] = true
		if i > 0 {
			b.WriteString("---\n")
		}
		fmt.Fprintf(&b, `apiVersion: %s
kind: %s
metadata:
  name: %s
  labels:
    %s: %s
spec:
  config:
    ignition:
      version: %s
    storage:
      files:
`, APIVersion, Kind, Name(role), RoleLabel, yamlString(role), IgnitionVersion)
		for _, f := range files {
			// The mode is decimal: 0644 is octal in YAML 1.1 only. The host's
			// file may exist, so Ignition must be told to overwrite it.
			fmt.Fprintf(&b, `        # %s
        - path: %s
          mode: %d # 0%o
          overwrite: true
          contents:
            source: data:,%s
`, f.Why, f.Path, f.Mode, f.Mode, url.PathEscape(f.Contents))
		}
	}
	_, err := io.WriteString(w, b.String()) // nothing where one of the roles is refused
	return err
}

// yamlString quotes what YAML 1.1 would read as something else than a string:
// a label must be one. Role names are lower case.
func yamlString(s string) string {
	switch s {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return `"` + s + `"`
	}
	if s[0] < 'a' { // 7, 1e3, 0o17
		return `"` + s + `"`
	}
	return s
}

// WriteButane prints the same files as a Butane configuration (variant fcos 1.3.0,
// which yields Ignition 3.2.0), for Fedora CoreOS and other systems that are set up
// by Ignition.
func WriteButane(w io.Writer, files []File) error {
	var b strings.Builder
	b.WriteString("# for Flatcar: variant: flatcar, version: 1.0.0\nvariant: fcos\nversion: 1.3.0\nstorage:\n  files:\n")
	for _, f := range files {
		fmt.Fprintf(&b, `    # %s
    - path: %s
      mode: %d # 0%o
      overwrite: true
      contents:
        inline: %q
`, f.Why, f.Path, f.Mode, f.Mode, f.Contents)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteScript prints the same files as a POSIX shell script for hosts whose
// /etc is kept by hand or by a tool of their own. It writes below $ROOT, which
// is empty on the host itself.
func WriteScript(w io.Writer, files []File) error {
	var b strings.Builder
	b.WriteString("# Enables SCTP at every boot: run as root, or write the files by hand.\n" +
		"# Takes effect at the next boot; at once with: modprobe sctp\n")
	for _, f := range files {
		fmt.Fprintf(&b, "\n# %s: %s\n", f.Path, f.Why)
		if f.Contents == "" {
			fmt.Fprintf(&b, "install -D -m 0%o /dev/null \"${ROOT-}%s\"\n", f.Mode, f.Path)
			continue
		}
		fmt.Fprintf(&b, "install -D -m 0%o /dev/stdin \"${ROOT-}%s\" <<'EOF'\n%s\nEOF\n", f.Mode, f.Path, f.Contents)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
