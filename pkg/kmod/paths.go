package kmod

import "path"

// This file is the one place that knows where a host keeps what decides.

// modprobeDirs are the directories of modprobe.d(5), first wins, by version of
// kmod: default_config_paths in libkmod/libkmod.c. /usr/local/lib came with
// kmod 29, DISTCONFDIR (/usr/lib unless configured otherwise) with kmod 32.
func modprobeDirs(kmod int) []string {
	switch {
	case kmod <= 28:
		return []string{"/etc/modprobe.d", "/run/modprobe.d", "/lib/modprobe.d"}
	case kmod <= 31:
		return []string{"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/lib/modprobe.d"}
	default:
		return []string{"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"}
	}
}

// modulesLoadDirs and sysctlDirs are the directories of modules-load.d(5) and
// sysctl.d(5).
func modulesLoadDirs(systemd int) []string { return confDirs("modules-load.d", systemd) }

func sysctlDirs(systemd int) []string { return confDirs("sysctl.d", systemd) }

// confDirs are systemd's directories of one kind, first wins, by version:
// CONF_PATHS in src/basic/def.h, later constants.h. The last one existed in
// split-usr builds only; on a merged root it names the same files again, and
// equal names are dropped.
func confDirs(kind string, systemd int) []string {
	dirs := []string{"/etc/" + kind, "/run/" + kind, "/usr/local/lib/" + kind, "/usr/lib/" + kind}
	if systemd <= 252 {
		dirs = append(dirs, "/lib/"+kind)
	}
	return dirs
}

// moduleDir is where depmod(8) keeps one kernel's modules.
func moduleDir(release string) string { return path.Join("/lib/modules", release) }

// softdepFiles are the files of the module directory that libkmod sorts into
// modprobe.d; modules.weakdep came with kmod 33.
func (h *host) softdepFiles(kmod int) []string {
	files := []string{path.Join(h.moddir, "modules.softdep")}
	if kmod >= 33 {
		files = append(files, path.Join(h.moddir, "modules.weakdep"))
	}
	return files
}
