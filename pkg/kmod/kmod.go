// Package kmod answers, without running anything, what modprobe(8) and
// systemd-modules-load(8) would do with one kernel module on one host, and
// which line of which file decides it.
//
// The host is a directory tree (see [Options]): the running system, or a host
// root mounted into a container. Every path, and every symbolic link met on
// the way, is resolved inside that tree. Nothing is ever written, no program
// is run, no module is loaded, and only regular files are opened.
//
// Policy depends on who asks, so there is one [Decision] per caller:
//
//   - by name: an administrator runs "modprobe sctp". A blacklist does not
//     apply, an install command does.
//   - autoload: the kernel runs "modprobe -q -- net-pf-2-proto-132" because a
//     program opened a socket (net/ipv4/af_inet.c, inet_create). A blacklist
//     applies, and modprobe still exits 0.
//   - boot load: systemd-modules-load asks for the names in modules-load.d and
//     modules_load=. A blacklist applies, and the unit still succeeds.
//
// The rules are those of libkmod and systemd as published in their sources;
// they differ between versions, which is why the versions are part of the
// input.
package kmod

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Answer is a three-valued truth. Only conclusive evidence gives True or
// False.
type Answer string

const (
	AnswerTrue    Answer = "true"
	AnswerFalse   Answer = "false"
	AnswerUnknown Answer = "unknown"
)

// Options are which host is inspected, and under which rules. The zero value is the
// running system (on Linux; elsewhere Root or FS is needed).
type Options struct {
	// Root is the root directory of the inspected host; "" means "/".
	Root string
	// FS holds the inspected host's files in place of Root: an unpacked image, an
	// archive, a tree in memory. It must be able to read links ([fs.ReadLinkFS]),
	// as [testing/fstest.MapFS] and the file systems of [os.DirFS] and [os.Root.FS]
	// are. Links are followed inside it, whatever its Open does. Nothing of the
	// machine that this runs on is used then.
	FS fs.FS
	// Proc and Sys are where the kernel's own view is read; "" means "/proc"
	// and "/sys". With FS, and on systems that are not Linux, they are
	// directories of the inspected tree. Otherwise they are those of the
	// running process (not below Root: module state and the command line are
	// not namespaced, and a host root mounted into a container rarely brings
	// them along).
	Proc, Sys string
	// KernelRelease is the release (uname -r) of the kernel whose modules are
	// looked up; "" means that of sys/kernel/osrelease below Proc.
	KernelRelease string
	// KmodVersion is the major version of kmod whose rules apply; 0 detects
	// it in the host root.
	KmodVersion int
	// SystemdVersion is the major version of systemd whose rules apply; 0
	// detects it in the host root.
	SystemdVersion int
	// Looked, if set, is called at the end of an inspection with what it has looked at.
	Looked func(Looked) `json:"-"`
}

// Looked is what an inspection has looked at in the host's root: what to watch for
// changes, as nothing else decides.
type Looked struct {
	// Names of files, directories and links that were looked at, there or not, except
	// those that Lists have. Those of links on the way are among them, and the others are
	// without links.
	Names []string
	// Lists are the directories of which the list of entries was read.
	Lists []string
}

// Module names what is asked for, and how the kernel asks for it.
type Module struct {
	// Name is the module's real name, as in modules.dep ("sctp").
	Name string
	// Autoload and AutoloadIPv6 are the names that the kernel passes to
	// modprobe in turn when a program asks for the protocol, most specific
	// first ("net-pf-2-proto-132-type-1", "net-pf-2-proto-132"). Empty when
	// the module is not autoloaded by a protocol number.
	Autoload, AutoloadIPv6 []string
	// Init is the function that the kernel calls when it has the module, by which
	// initcall_blacklist= names it ("sctp_init"). Empty when it is not known.
	Init string
	// OnRequest: only a program's request matters. What the host's units do at
	// boot, and how the next boot differs, is not looked at.
	OnRequest bool
}

// SCTP is the module of RFC 9260 with the aliases of net/sctp/protocol.c, and
// the requests of inet_create (net/ipv4/af_inet.c) and inet6_create
// (net/ipv6/af_inet6.c) for SOCK_STREAM.
func SCTP() Module {
	return Module{
		Name:         "sctp",
		Init:         "sctp_init",
		Autoload:     []string{"net-pf-2-proto-132-type-1", "net-pf-2-proto-132"},
		AutoloadIPv6: []string{"net-pf-10-proto-132-type-1", "net-pf-10-proto-132"},
	}
}

// SCTPDiag is the module behind "ss --sctp" (net/sctp/diag.c). RHEL blacklists
// it in a file of its own.
func SCTPDiag() Module {
	return Module{
		Name:      "sctp_diag",
		Autoload:  []string{"net-pf-16-proto-4-type-2-132"},
		OnRequest: true,
	}
}

// State is what the running kernel has of a module.
type State string

const (
	// StateLoaded: /sys/module/NAME/initstate is "live".
	StateLoaded State = "loaded"
	// StateBuiltin: compiled into the kernel (modules.builtin).
	StateBuiltin State = "builtin"
	// StateLoading: initstate is "coming".
	StateLoading State = "loading"
	// StateUnloading: initstate is "going".
	StateUnloading State = "unloading"
	// StateLoadable: on disk and indexed for this kernel, not in it.
	StateLoadable State = "loadable"
	// StateAbsent: neither in this kernel nor on disk for it.
	StateAbsent State = "absent"
	// StateUnknown: what decides it could not be read.
	StateUnknown State = "unknown"
)

// InKernel reports whether the module's code is usable in the running kernel.
func (s State) InKernel() bool { return s == StateLoaded || s == StateBuiltin }

// Evidence is one line, token or fact that decides or supports an answer.
type Evidence struct {
	// File as the inspected host names it: no Root prefix. A token of the
	// kernel command line has "/proc/cmdline", line 1.
	File string `json:"file"`
	// Line is the first physical line of the logical line, from 1; 0 where
	// the whole file (or its absence) is the evidence.
	Line int `json:"line"`
	// Text is the logical line, or the token, made printable and limited in length.
	Text string `json:"text"`
	// Effect is in a few words what it does to the caller's request.
	Effect string `json:"effect"`
	// Notice is the comment that names the program which writes the file, so that a
	// line removed by hand comes back; "" where there is none.
	Notice string `json:"notice,omitempty"`
	// Cause is the mechanism that this is evidence of; CauseNone for evidence that
	// asks for a load or allows it.
	Cause Cause `json:"cause,omitempty"`
}

// Place is FILE:LINE, or the file alone where there is no line.
func (e Evidence) Place() string {
	if e.Line == 0 {
		return e.File
	}
	return e.File + ":" + strconv.Itoa(e.Line)
}

// String is evidence as people read it: "FILE:LINE: text", or where there is no
// text, what it does.
func (e Evidence) String() string {
	for _, text := range []string{strings.TrimSpace(e.Text), e.Effect} {
		if text != "" {
			return e.Place() + ": " + text
		}
	}
	return e.Place()
}

// Decision is what would happen if one caller asked for the module now, were
// it not in the kernel yet.
type Decision struct {
	Allowed Answer
	// Cause is the first mechanism in the order of loading that stops it or
	// keeps the answer from being known; CauseNone if Allowed is True.
	Cause Cause
	// Evidence holds everything that decides, the deciding line first.
	Evidence []Evidence
}

// BootLoad is what asks for the module at boot (systemd-modules-load, and units of
// the host that run modprobe or insmod), and the result.
type BootLoad struct {
	// Unit is the state of systemd-modules-load.service. NotRun is why it does
	// not run, or may not; nil where it does, or where the root has no units.
	Unit   UnitState
	NotRun *Evidence
	// Doubts are settings that may keep the unit from loading modules once nothing
	// surely does.
	Doubts []Evidence
	// LoadedBy holds the commands of other units that load the module, or may.
	LoadedBy []Evidence
	// Taken are the names in modules-load.d: a file that is written to /etc/modules-load.d
	// replaces one of them, follows its link, or hides a package's.
	Taken []string
	// Requested reports whether modules-load.d, modules_load= or a unit asks for
	// the module (directly or through an alias).
	Requested Answer
	// RequestedBy holds the lines and tokens that ask for it.
	RequestedBy []Evidence
	// RequestedSince is when the oldest of RequestedBy was last modified or put
	// there; zero for the command line. If all are newer than the boot, none has been acted
	// on yet.
	RequestedSince time.Time
	Decision
}

// FindingKind classifies what an inspection noticed besides its answers.
type FindingKind string

const (
	// FindingIncomplete: something was skipped (too large, not a regular file, a
	// loop of links, a limit reached), so the answers may not see all there
	// is.
	FindingIncomplete FindingKind = "incomplete"
	// FindingUnused: a line that looks meant for the module and has no effect.
	FindingUnused FindingKind = "unused"
	// FindingConflict: one file asks for the module, another one stops it.
	FindingConflict FindingKind = "conflict"
	// FindingVersionUnknown: the host's kmod or systemd version is not known.
	FindingVersionUnknown FindingKind = "version-unknown"
	// FindingUnitNotRun: modules-load.d asks for the module, and
	// systemd-modules-load.service does not run, or may not.
	FindingUnitNotRun FindingKind = "unit-not-run"
	// FindingLoadedByUnit: an enabled unit loads the module, or may.
	FindingLoadedByUnit FindingKind = "loaded-by-unit"
)

// Finding is something worth a warning.
type Finding struct {
	Kind     FindingKind
	Evidence []Evidence
	Message  string
}

// Kernel identifies the kernel whose modules are looked up.
type Kernel struct {
	Release string
	BootID  string
	Machine string
	// BootTime is when the running kernel started (btime of proc_stat(5)),
	// zero when unknown.
	BootTime time.Time
	// Replaced: no modules of this kernel are on disk, and another one's are,
	// as after an upgrade of the kernel's package that is to be followed by a
	// reboot. What the next boot brings is up to that kernel.
	Replaced bool
}

// Inspection is everything that was found out about one module on one host.
type Inspection struct {
	Module string
	Kernel Kernel
	// OS is PRETTY_NAME of os-release(5), "" when unknown.
	OS string
	// Userland is the kind of host.
	Userland Userland
	// KmodVersion and SystemdVersion are the major versions whose rules were
	// applied, 0 if they are not known.
	KmodVersion, SystemdVersion int

	State State
	// Path of the module's file as the host names it, "" when it has none.
	Path string

	// ByName, Autoload, AutoloadIPv6 and BootLoad are the answers by caller.
	ByName       Decision
	Autoload     Decision
	AutoloadIPv6 Decision
	BootLoad     BootLoad
	// Emptied are lines that would stop the module if the files of those that do were
	// empty.
	Emptied []Evidence

	// Next is what differs in the next boot.
	Next NextBoot

	Findings []Finding
}
