package kmod

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
)

// maxCharp is the longest value that param_set_charp (kernel/params.c) takes.
const maxCharp = 1024

// parameter is a token of a kernel's command line that is a parameter of the kernel's own.
type parameter struct{ token, name, value string }

// is compares names as the kernel does, for which dashes equal underscores
// (kernel/params.c, parameq).
func (p parameter) is(name string) bool { return strings.ReplaceAll(p.name, "-", "_") == name }

// parameters goes through a command line as the kernel parses it (lib/cmdline.c,
// next_arg; kernel/params.c, parse_args): quotes around the value or the whole token are
// removed, and "--" ends the parameters.
func parameters(line string) iter.Seq[parameter] {
	return func(yield func(parameter) bool) {
		for token := range kernelarg.Tokens(line) {
			name, value := kernelarg.Split(token)
			if token == "--" || !yield(parameter{token, name, value}) {
				return
			}
		}
	}
}

// kernelBlacklist finds the effective value of module_blacklist= on a kernel
// command line, and the token that has it: the last one wins, an empty one too, and a
// value that is too long is rejected.
//
// It serves when /sys/module/kernel/parameters/module_blacklist, which has the
// kernel's own result, is not readable.
func kernelBlacklist(line string) (value, token string) {
	for p := range parameters(line) {
		if p.is("module_blacklist") && strings.Contains(p.token, "=") && len(p.value) <= maxCharp {
			value, token = p.value, p.token
		}
	}
	return value, token
}

// initcallToken is the token of initcall_blacklist= by which the kernel does not
// call a function, "" if there is none: all such tokens count
// (init/main.c, initcall_blacklist). The function of a module is called as those
// of built-in code are (do_one_initcall, -EPERM), and the load fails.
func initcallToken(line, function string) string {
	for p := range parameters(line) {
		if p.is("initcall_blacklist") && function != "" && slices.Contains(strings.Split(p.value, ","), function) {
			return p.token
		}
	}
	return ""
}

// noModuleToken is the token that sets kernel.modules_disabled before the boot
// loads anything, "" if there is none: nomodule (kernel/module/main.c:
// core_param(nomodule, modules_disabled, bint, 0)), or the sysctl itself, which is
// set before init starts and cannot be unset (fs/proc/proc_sysctl.c,
// process_sysctl_arg). Without such a token, a sysctl sets it later.
func noModuleToken(line string) string {
	var nomodule, sysctl string
	for p := range parameters(line) {
		switch strings.ReplaceAll(p.name, "/", ".") {
		case "nomodule":
			nomodule = ""
			if kernelBool(p.value) {
				nomodule = p.token
			}
		case "sysctl.kernel.modules_disabled":
			if n, err := strconv.ParseInt(p.value, 0, 0); err == nil && n == 1 {
				sysctl = p.token
			}
		}
	}
	return cmp.Or(nomodule, sysctl)
}

// kernelBool is kstrtobool (lib/kstrtox.c); a parameter without a value is on.
func kernelBool(val string) bool {
	return val == "" || strings.ContainsAny(val[:1], "yYtT1") || strings.EqualFold(val, "on")
}

// signedOnlyToken is the token because of which the kernel takes signed modules only, ""
// if there is none (kernel/module/signing.c, sig_enforce; security/lockdown/lockdown.c,
// lockdown_param).
func signedOnlyToken(line string) string {
	for p := range parameters(line) {
		if p.is("module.sig_enforce") && kernelBool(p.value) || p.is("lockdown") && (p.value == "integrity" || p.value == "confidentiality") {
			return p.token
		}
	}
	return ""
}

// deniedByKernel is the kernel's test of a module against module_blacklist=
// (kernel/module/main.c, blacklisted): pieces between commas, byte for byte.
func deniedByKernel(list, module string) bool {
	return slices.Contains(strings.Split(list, ","), module)
}
