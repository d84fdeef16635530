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

// modprobePaths is where a host has modprobe; the first one is what the kernel
// runs unless a sysctl names another (CONFIG_MODPROBE_PATH).
var modprobePaths = []string{"/sbin/modprobe", "/usr/sbin/modprobe", "/usr/bin/modprobe", "/bin/modprobe"}

// initPaths is where a host has its init. A root that has one has all programs
// of its host: one that is missing there is missing on the host.
var initPaths = []string{"/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd"}

// loader is a program that is to load modules: whether it is kmod's modprobe,
// and if not, what it is.
type loader struct {
	isModprobe Answer
	by         Evidence
}

// readHelper finds out what the kernel runs when a program asks for a module
// (kernel/module/kmod.c, call_modprobe): the file that kernel.modprobe names,
// without a shell.
func (h *host) readHelper() {
	by := Evidence{File: "/proc/sys/kernel/modprobe", Line: 1, Cause: CauseLoadingDisabled}
	name, err := kernelLine(h.proc, "sys/kernel/modprobe")
	switch {
	case err != nil && hostroot.Absent(err):
		h.helper = loader{isModprobe: AnswerTrue}
	case err != nil:
		by.Cause, by.Effect = CauseUnreadable, "could not be read: "+hostroot.Bare(err).Error()
		h.helper = loader{AnswerUnknown, by}
	default:
		by.Text = printable(name)
		h.helperName = &name
		h.helper = h.helperNamed(name, by)
	}
	if e := h.helperConfined(); h.helper.isModprobe != AnswerFalse && e != nil {
		h.helper = loader{AnswerFalse, *e}
	}
	h.byHand = h.readByHand()
}

// helperConfined says whether what the kernel runs has no right to load modules: the
// lower half of its capabilities lacks CAP_SYS_MODULE (kernel/umh.c, proc_cap_handler).
// Only root may read it.
func (h *host) helperConfined() *Evidence {
	text, err := kernelLine(h.proc, "sys/"+helperSet)
	if err != nil || !confines(text) {
		return nil
	}
	return &Evidence{File: "/proc/sys/" + helperSet, Line: 1, Text: printable(text), Cause: CauseLoadingDisabled, Effect: confinesEffect}
}

const (
	helperSet      = "kernel/usermodehelper/bset"
	confinesEffect = "takes the right to load modules from what the kernel runs"
)

// confines reports whether a set of capabilities lacks CAP_SYS_MODULE.
func confines(set string) bool {
	const capSysModule = 16
	low := strings.Fields(set)
	if len(low) == 0 {
		return false
	}
	n, err := strconv.ParseUint(low[0], 0, 32)
	return err == nil && n&(1<<capSysModule) == 0
}

// loaderOf is the program that a caller runs. systemd-modules-load runs none: it
// has libkmod.
func (h *host) loaderOf(who caller) loader {
	switch who {
	case callerAutoload:
		return h.helper
	case callerByName:
		return h.byHand
	default:
		return loader{isModprobe: AnswerTrue}
	}
}

// helperNamed is the program that kernel.modprobe names; by is the sysctl.
func (h *host) helperNamed(name string, by Evidence) loader {
	switch {
	case name == "":
		by.Effect = "is empty: the kernel runs nothing to load modules for a program"
		return loader{AnswerFalse, by}
	case harmless(name):
		by.Effect = "is what the kernel runs in place of modprobe, and loads nothing"
		return loader{AnswerFalse, by}
	}
	l := h.loaderAt(path.Join("/", name))
	if l.isModprobe != AnswerTrue && l.by.File != modprobePaths[0] {
		// Not the default, so the sysctl is what an administrator looks for.
		by.Effect = "is what the kernel runs in place of modprobe: it " + l.by.Effect
		by.Cause = l.by.Cause
		l.by = by
	}
	return l
}

// readByHand finds the modprobe that an administrator runs.
func (h *host) readByHand() loader {
	for _, name := range modprobePaths {
		if _, err := h.Stat(name); err == nil {
			return h.loaderAt(name)
		}
	}
	return h.loaderAt(modprobePaths[0])
}

// loaderAt identifies the file of this name without running it: kmod and BusyBox
// are recognised by the name of a link, or by the version in their text.
func (h *host) loaderAt(name string) loader {
	is := func(a Answer, effect string) loader {
		return loader{a, Evidence{File: name, Cause: CauseLoadingDisabled, Effect: effect}}
	}
	const unknownEffect = "is another program; its effect is not known without running it"
	usual := slices.Contains(modprobePaths[:2], name) // compiled into kernels; not each host has the others
	st, err := h.Stat(name)
	_, linkErr := h.Readlink(name)
	switch {
	case err != nil && (!hostroot.Absent(err) || h.MayHave(name)):
		if usual {
			return loader{isModprobe: AnswerTrue}
		}
		return is(AnswerUnknown, "could not be looked at: "+hostroot.Bare(err).Error())
	case err != nil && linkErr == nil:
		return is(AnswerFalse, "is a dangling link, so nothing loads modules")
	case err != nil && path.Base(name) == "modprobe" && !h.hasInit():
		// Not all of the host is in the root.
		if usual || strings.HasPrefix(name, "/nix/store/") {
			return loader{isModprobe: AnswerTrue}
		}
		return is(AnswerUnknown, "is not in the root, which does not have all of the host")
	case err != nil:
		return is(AnswerFalse, "is not there, so nothing loads modules")
	case !st.Mode.IsRegular():
		return is(AnswerFalse, "is not a file, so nothing loads modules")
	case !runnable(st):
		return is(AnswerFalse, "may not be executed, so nothing loads modules")
	case path.Base(name) != "modprobe":
		return is(AnswerUnknown, unknownEffect) // kmod goes by the name it is called by
	}
	switch h.programAt(name) {
	case programBusyBox:
		return is(AnswerUnknown, "is BusyBox, whose modprobe has rules of its own for modprobe.d: what it loads is not known")
	case programOther:
		return is(AnswerUnknown, unknownEffect)
	}
	return loader{isModprobe: AnswerTrue}
}

func (h *host) hasInit() bool {
	return slices.ContainsFunc(initPaths, func(name string) bool {
		if _, err := h.Stat(name); err == nil {
			return true
		}
		_, err := h.Readlink(name) // its target may not be mounted
		return err == nil
	})
}

type programKind int

const (
	programKmod programKind = iota
	programBusyBox
	programOther
)

// busyboxBanner is the text of BusyBox's version in the program (libbb/messages.c).
const busyboxBanner = "BusyBox v"

var scriptStart = pattern.MustCompile(`^#![ \t]*/`)

// maxKmod is larger than kmod's program: what has its name and is larger is looked
// into.
const maxKmod = 512 << 10

// programAt distinguishes programs by the names of links, else by their text.
func (h *host) programAt(name string) programKind {
	const maxChain = 40
	at := name
	for range maxChain {
		target, err := h.Readlink(at)
		if err != nil {
			break
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(at), target)
		}
		at = target
	}
	st, _ := h.Stat(name)
	switch base := path.Base(at); {
	case base == "kmod" && st.Size <= maxKmod:
		return programKmod
	case strings.HasPrefix(base, "busybox"):
		return programBusyBox
	}
	data, _, err := readFile(h.Tree, name, maxVersionFile)
	if err != nil {
		return programOther
	}
	switch {
	case scriptStart().Match(data):
		return programOther
	case bytes.Contains(data, []byte(busyboxBanner)):
		return programBusyBox
	case kmodBanner().Match(data):
		return programKmod
	case bytes.HasPrefix(data, []byte("\x7fELF")):
		return programOther
	}
	return programKmod // not a program: a placeholder for the one that belongs there
}
