package kmod

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
)

// ProcModules is the evidence of a kernel that was built without loadable modules: the
// file is not there.
const ProcModules = "/proc/modules"

const modulesDisabledFile = "/proc/sys/kernel/modules_disabled"

// kernelRefuses is why the kernel would not accept a module, nil if it would
// (kernel/module/main.c: may_init_module, blacklisted, module_sig_check).
func (h *host) kernelRefuses(name string) *Evidence {
	if h.modulesDisabled {
		if token := noModuleToken(h.cmdline); token != "" {
			return &Evidence{File: procCmdline, Line: 1, Text: printable(token), Cause: CauseLoadingDisabled,
				Effect: "no module can be loaded in any boot with this argument"}
		}
		return &Evidence{File: modulesDisabledFile, Line: 1, Text: "1", Cause: CauseLoadingDisabled,
			Effect: "no module can be loaded any more until the next boot"}
	}
	if h.noModules {
		return &Evidence{File: ProcModules, Cause: CauseMissing, Effect: "is not there: this kernel was built without loadable modules, and without " + h.target}
	}
	if deniedByKernel(h.denied, name) {
		names := []string{name}
		for _, need := range h.needs {
			if name == h.target && deniedByKernel(h.denied, need.name) {
				names = append(names, need.name)
			}
		}
		e := h.deniedBy
		e.Effect = "the kernel refuses " + strings.Join(names, " and ") + " for every caller"
		return &e
	}
	if name == h.target {
		if e := h.initRefused(); e != nil {
			return e
		}
	}
	if h.signedOnly != "" {
		if file, err := h.moduleFile(name); err == nil && file != "" && h.signed(name, file) == AnswerFalse {
			return &Evidence{File: file, Cause: CauseDeniedByKernel,
				Effect: "has no signature, and this kernel takes signed modules only (" + h.signedOnly + ")"}
		}
	}
	return nil
}

// kernelRefusals is all because of which the kernel would not accept one of the
// modules: what is left when one thing after the other is taken away.
func (h *host) kernelRefusals(names []string) (list []Evidence) {
	left := *h
	for range maxListed {
		var e *Evidence
		for _, name := range names {
			e = cmp.Or(e, left.kernelRefuses(name))
		}
		if e == nil {
			break
		}
		list = append(list, *e)
		if e.File != procCmdline && e.File != modulesDisabledFile {
			break
		}
		token := noModuleToken(left.cmdline)
		if e.Cause == CauseDeniedByKernel {
			if _, token = kernelBlacklist(left.cmdline); printable(token) != e.Text {
				token = initcallToken(left.cmdline, h.init)
			}
		}
		var tokens []string
		for tok := range kernelarg.Tokens(left.cmdline) {
			if tok != token {
				tokens = append(tokens, tok)
			}
		}
		left.cmdline = strings.Join(tokens, " ")
		left.modulesDisabled = noModuleToken(left.cmdline) != ""
		if e.Cause == CauseDeniedByKernel {
			value, token := kernelBlacklist(left.cmdline)
			left.denied, left.deniedBy.Text = value, printable(token)
		}
	}
	return list
}

// initRefused is the argument because of which the kernel does not call the
// function of the target, compiled in or not.
func (h *host) initRefused() *Evidence {
	token := initcallToken(h.cmdline, h.init)
	if token == "" {
		return nil
	}
	return &Evidence{File: procCmdline, Line: 1, Text: printable(token), Cause: CauseDeniedByKernel,
		Effect: "the kernel does not call " + h.init + ", without which there is no " + h.target}
}

// signatureMark ends a module file that carries a signature
// (include/linux/module_signature.h, MODULE_SIG_STRING).
const signatureMark = "~Module signature appended~\n"

// signed reports whether a module's file has a signature. It does not look into a
// compressed file: of a module that is loaded, the kernel knows
// (kernel/module/main.c, TAINT_UNSIGNED_MODULE). Whether the kernel trusts a signature
// is not known.
func (h *host) signed(name, file string) Answer {
	if !strings.HasSuffix(file, ".ko") {
		taint, err := h.sys.ReadFile("module/" + name + "/taint")
		switch {
		case err != nil || !h.reads(sigEnforce):
			return AnswerUnknown
		case strings.Contains(taint, "E"):
			return AnswerFalse
		}
		return AnswerTrue
	}
	f, err := h.Open(file)
	if err != nil {
		return AnswerUnknown
	}
	defer f.Close()
	end := make([]byte, len(signatureMark))
	at := f.Info().Size - int64(len(end))
	if at < 0 {
		return AnswerFalse
	}
	if n, err := f.ReadAt(end, at); n < len(end) && err != nil {
		return AnswerUnknown
	}
	if string(end) != signatureMark {
		return AnswerFalse
	}
	return AnswerTrue
}

// allSigned is signed of the target and of all that it needs.
func (h *host) allSigned() Answer {
	all := AnswerTrue
	for _, m := range append([]neededModule{{h.target, h.file}}, h.needs...) {
		switch signed := h.signed(m.name, m.file); {
		case signed == AnswerFalse:
			return AnswerFalse
		case signed == AnswerUnknown && m.file != "":
			all = AnswerUnknown
		}
	}
	return all
}

// Where a kernel that can insist on signatures has that, below /sys.
const (
	sigEnforce = "module/module/parameters/sig_enforce"
	lockdown   = "kernel/security/lockdown"
)

func (h *host) reads(name string) bool {
	_, err := h.sys.ReadFile(name)
	return err == nil
}

// readSignedOnly finds out whether the kernel insists on signed modules
// (kernel/module/signing.c, module_sig_check).
func (h *host) readSignedOnly() {
	if v, err := h.sys.ReadFile(sigEnforce); err == nil && v == "Y\n" {
		h.signedOnly = "module.sig_enforce"
		return
	}
	// "none [integrity] confidentiality" (security/lockdown/lockdown.c); every
	// level but none includes LOCKDOWN_MODULE_SIGNATURE.
	v, err := h.sys.ReadFile(lockdown)
	if _, level, ok := strings.Cut(v, "["); err == nil && ok {
		if level, _, _ = strings.Cut(level, "]"); level != "none" {
			h.signedOnly = "lockdown: " + printable(level)
		}
	}
}

// InsmodBoolean is a boolean of SELinux: "1 1" is that it is on, and will be.
const InsmodBoolean = selinuxDir + "booleans/secure_mode_insmod"

const selinuxDir = "/sys/fs/selinux/"

// readSELinux reads the boolean because of which SELinux lets modprobe, which the kernel and
// systemd start in domains of their own, load nothing (the reference policy's kernel.te,
// can_load_kernmodule). Whether it lets a program that is not confined is up to the policy.
func (h *host) readSELinux() {
	is := func(name string) bool {
		data, _, err := readFile(h.Tree, name, 16)
		return err == nil && bytes.HasPrefix(data, []byte("1"))
	}
	if is(InsmodBoolean) && is(selinuxDir+"enforce") {
		h.selinux = &Evidence{File: InsmodBoolean, Line: 1, Text: "1", Cause: CauseUnclear, Effect: "is on: SELinux may let nothing load modules"}
	}
}

// readKernelPolicy reads what makes the kernel itself refuse modules or not ask
// for them.
func (h *host) readKernelPolicy() {
	// Without CONFIG_MODULES neither sysctl exists; then there is nothing to load.
	v, err := kernelLine(h.proc, "sys/kernel/modules_disabled")
	if err != nil && !hostroot.Absent(err) {
		h.problem(modulesDisabledFile, err)
	}
	h.readHelper()
	h.readSignedOnly()
	h.readSELinux()
	h.cmdline, h.cmdlineErr = h.proc.ReadFile("cmdline")
	if h.cmdlineErr == nil && len(h.cmdline) > maxCmdline {
		h.cmdline, h.cmdlineErr = "", hostroot.ErrTooLarge
	}
	if h.cmdlineErr != nil {
		h.problem(procCmdline, h.cmdlineErr)
	}
	h.modulesDisabled = v == "1" || v != "0" && noModuleToken(h.cmdline) != ""
	value, token := kernelBlacklist(h.cmdline)
	// The kernel's own result is better than our parsing, but only root may
	// read it.
	const param = "module/kernel/parameters/module_blacklist"
	if v, err := h.sys.ReadFile(param); err == nil {
		v = strings.TrimSuffix(v, "\n")
		if v == "(null)" { // an unset charp parameter (kernel/params.c)
			v = ""
		}
		if v != value {
			value, token = v, ""
		}
	}
	h.denied = value
	h.deniedBy = Evidence{File: procCmdline, Line: 1, Text: printable(token), Cause: CauseDeniedByKernel}
	if token == "" {
		h.deniedBy = Evidence{File: "/sys/" + param, Line: 1, Text: printable(value), Cause: CauseDeniedByKernel}
	}
}
