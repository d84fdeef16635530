package kmod

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// The range of versions whose rules are known. A host outside is treated like
// the nearest one.
const (
	latestKmod      = 34
	earliestSystemd = 239
)

// kmodRuleChanges and systemdRuleChanges are the first versions of each set of
// rules, for a host whose version is not known.
var (
	kmodRuleChanges    = []int{28, 29, 30, 32, 33, 34}
	systemdRuleChanges = []int{239, 247, 248, 253, 258}
)

// libraryDirs is where distributions keep libkmod and systemd's libraries.
func libraryDirs(machine string) []string {
	triplet := machine + "-linux-gnu"
	switch machine {
	case "ppc64le":
		triplet = "powerpc64le-linux-gnu"
	case "i686":
		triplet = "i386-linux-gnu"
	}
	return []string{"/usr/lib64", "/usr/lib/" + triplet, "/lib64", "/lib/" + triplet, "/usr/lib", "/lib"}
}

// libkmodVersions maps the version of the library file, libkmod.so.2.AGE.REV,
// to that of the package (LIBKMOD_CURRENT, REVISION and AGE in kmod's
// Makefile.am by tag).
var libkmodVersions = map[string]int{
	"2.3.3": 25, "2.3.4": 26, "2.3.5": 27, "2.3.6": 28, "2.3.7": 29,
	"2.4.0": 30, "2.4.1": 31, "2.4.2": 32, "2.5.0": 33, "2.5.1": 34,
}

// kmodBanner is the text in the program that "kmod --version" prints.
var kmodBanner = pattern.MustCompile(`kmod version (\d{1,3})\b`)

// detectKmod finds the major version of the host's kmod: by the target of the
// library's link, else by the banner inside the program. 0 if neither is there.
func detectKmod(root *hostroot.Tree, machine string) int {
	for _, dir := range libraryDirs(machine) {
		target, err := root.Readlink(path.Join(dir, "libkmod.so.2"))
		if err != nil {
			continue
		}
		suffix, ok := strings.CutPrefix(path.Base(target), "libkmod.so.")
		if !ok {
			continue
		}
		if v := libkmodVersions[suffix]; v != 0 {
			return v
		}
	}
	for _, program := range []string{"/usr/bin/kmod", "/bin/kmod", "/usr/sbin/modprobe", "/sbin/modprobe"} {
		data, _, err := readFile(root, program, maxVersionFile)
		if err != nil {
			continue
		}
		if m := kmodBanner().FindSubmatch(data); m != nil {
			v, _ := strconv.Atoi(string(m[1]))
			return v
		}
	}
	return 0
}

// detectSystemd finds the major version of the host's systemd by the name of
// its shared library, libsystemd-shared-VERSION.so.
func detectSystemd(root *hostroot.Tree, machine string) int {
	dirs := []string{"/usr/lib/systemd", "/lib/systemd"}
	for _, dir := range libraryDirs(machine) {
		dirs = append(dirs, path.Join(dir, "systemd"))
	}
	for _, dir := range dirs {
		entries, err := root.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			rest, ok := strings.CutPrefix(e.Name, "libsystemd-shared-")
			if !ok || !strings.HasSuffix(rest, ".so") {
				continue
			}
			digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			if v, err := strconv.Atoi(rest[:digits]); err == nil {
				return v
			}
		}
	}
	return 0
}

// osRelease has the fields of os-release(5).
type osRelease struct {
	pretty   string
	id, like string
	version  string
	// versionID is VERSION_ID itself, which RHCOS has OpenShift's version in.
	versionID, variant, openShift string
}

func readOSRelease(root *hostroot.Tree) osRelease {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if data, _, err := readFile(root, name, maxConfigFile); err == nil {
			return parseOSRelease(data)
		}
	}
	return osRelease{}
}

func parseOSRelease(data []byte) osRelease {
	var os osRelease
	rhel := ""
	for line := range bytes.Lines(data) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok {
			continue
		}
		value = unquote(value)
		switch key {
		case "PRETTY_NAME":
			os.pretty = printable(value)
		case "ID":
			os.id = printable(value)
		case "VARIANT_ID":
			os.variant = printable(value)
		case "OPENSHIFT_VERSION":
			os.openShift = printable(value)
		case "ID_LIKE":
			os.like = value
		case "VERSION_ID":
			os.version, os.versionID = value, printable(value)
		case "RHEL_VERSION":
			rhel = value
		}
	}
	if rhel != "" {
		// RHCOS: VERSION_ID is OpenShift's.
		os.version = rhel
	}
	return os
}

// unquote removes the shell quotes that os-release allows around a value.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		q := s[0]
		s = s[1 : len(s)-1]
		if q == '"' {
			s = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`, "\\`", "`").Replace(s)
		}
	}
	return s
}

// versionsByRelease is what a distribution ships, for a host whose files do not
// show it: RHEL 8, 9 and 10 and their rebuilds.
func (os osRelease) versionsByRelease() (kmod, systemd int) {
	if !slices.ContainsFunc(append(strings.Fields(os.like), os.id), func(id string) bool { return id == "rhel" || id == "rhcos" || id == "centos" }) {
		return 0, 0
	}
	major, _, _ := strings.Cut(os.version, ".")
	switch major {
	case "8":
		return 25, 239
	case "9":
		return 28, 252
	case "10":
		return 31, 257
	}
	return 0, 0
}
