package kmod

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
)

// maxCharp is the longest value that param_set_charp (kernel/params.c) takes.
const maxCharp = 1024

// kernelBlacklist finds the effective value of module_blacklist= on a kernel
// command line, and the token that has it, as the kernel parses it (lib/cmdline.c,
// next_arg; kernel/params.c, parse_args): dashes equal underscores in the name of
// the parameter, quotes around the value or the whole token are removed, "--" ends
// the parameters, the last one wins, an empty one too, and a value that is too long
// is rejected.
//
// It serves when /sys/module/kernel/parameters/module_blacklist, which has the
// kernel's own result, is not readable.
func kernelBlacklist(line string) (value, token string) {
	for tok := range kernelarg.Tokens(line) {
		if tok == "--" {
			break
		}
		param, val := kernelarg.Split(tok)
		if strings.ReplaceAll(param, "-", "_") == "module_blacklist" && strings.Contains(tok, "=") && len(val) <= maxCharp {
			value, token = val, tok
		}
	}
	return value, token
}

// initcallToken is the token of initcall_blacklist= by which the kernel does not
// call a function, "" if there is none: all such tokens count
// (init/main.c, initcall_blacklist). The function of a module is called as those
// of built-in code are (do_one_initcall, -EPERM), and the load fails.
func initcallToken(line, function string) string {
	if function == "" {
		return ""
	}
	for tok := range kernelarg.Tokens(line) {
		if tok == "--" {
			break
		}
		param, val := kernelarg.Split(tok)
		if strings.ReplaceAll(param, "-", "_") == "initcall_blacklist" && slices.Contains(strings.Split(val, ","), function) {
			return tok
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
	for tok := range kernelarg.Tokens(line) {
		if tok == "--" {
			break
		}
		switch param, val := kernelarg.Split(tok); strings.ReplaceAll(param, "/", ".") {
		case "nomodule":
			if !kernelBool(val) {
				tok = ""
			}
			nomodule = tok
		case "sysctl.kernel.modules_disabled":
			if n, err := strconv.ParseInt(val, 0, 0); err == nil && n == 1 {
				sysctl = tok
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
	for tok := range kernelarg.Tokens(line) {
		if tok == "--" {
			break
		}
		switch param, val := kernelarg.Split(tok); strings.ReplaceAll(param, "-", "_") {
		case "module.sig_enforce":
			if kernelBool(val) {
				return tok
			}
		case "lockdown":
			if val == "integrity" || val == "confidentiality" {
				return tok
			}
		}
	}
	return ""
}

// deniedByKernel is the kernel's test of a module against module_blacklist=
// (kernel/module/main.c, blacklisted): pieces between commas, byte for byte.
func deniedByKernel(list, module string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name == module {
			return true
		}
	}
	return false
}
