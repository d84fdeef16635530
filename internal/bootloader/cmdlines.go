package bootloader

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// lines are the lines of a text with their numbers, each without its end and up to a NUL
// byte.
func lines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		number := 0
		for raw := range bytes.Lines(data) {
			number++
			if text, _, _ := strings.Cut(string(raw), "\x00"); !yield(number, strings.TrimRight(text, "\r\n")) {
				return
			}
		}
	}
}

// assigned are the variables of kernel arguments in files of otherLoaders and sources.
var assigned = []string{"set linux_append", "extraargs", "cmdline", "Cmdline", "parameters", "U_BOOT_PARAMETERS", "LINUX_KERNEL_CMDLINE", "TUNED_BOOT_CMDLINE"}

// parseOtherLoader reads the lines of kernel arguments of an entry of the Boot Loader
// Specification, of extlinux, or of a file that assigns them to a variable.
func parseOtherLoader(file string, data []byte) (list []Argument) {
	for number, text := range lines(data) {
		text = strings.TrimSpace(text)
		name, rest, ok := strings.Cut(text, "=")
		ok = ok && slices.Contains(assigned, strings.TrimSpace(name))
		if key, value, _ := strings.Cut(strings.ReplaceAll(text, "\t", " "), " "); key == "options" || strings.EqualFold(key, "append") {
			rest, ok = value, true
		}
		if ok {
			list = AppendArguments(list, strings.Trim(rest, ` "`), file, number)
		}
	}
	return list
}

// parseKernelCmdline reads /etc/kernel/cmdline (kernel-install(8)).
func parseKernelCmdline(file string, data []byte) (list []Argument) {
	for number, text := range lines(data) {
		if !strings.HasPrefix(strings.TrimSpace(text), "#") {
			list = AppendArguments(list, text, file, number)
		}
	}
	return list
}

var (
	kargsKey      = pattern.MustCompile(`^\s*kargs\s*=\s*\[`)
	kargsMachines = pattern.MustCompile(`^\s*match-architectures\s*=.*`)
	kargsString   = pattern.MustCompile(`"([^"\\]*)"|'([^']*)'`)
)

// parseKargs reads a file of bootc's kargs.d: kargs = ["a=b", …], over one line or
// several, and match-architectures = ["x86_64"] if it is not for every machine.
func parseKargs(file string, data []byte, machine string) (list []Argument) {
	inside := false
	for number, line := range lines(data) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if at := kargsKey().FindStringIndex(line); !inside && at != nil {
			inside, line = true, line[at[1]:]
		}
		if others := kargsMachines().FindString(line); !inside && others != "" && machine != "" {
			// Named as Rust does (std::env::consts::ARCH).
			if !strings.Contains(others, cmp.Or(map[string]string{"ppc64le": "powerpc64", "ppc64": "powerpc64"}[machine], machine)) {
				return nil
			}
		}
		if !inside {
			continue
		}
		for _, m := range kargsString().FindAllStringSubmatch(line, -1) {
			list = AppendArguments(list, m[1]+m[2], file, number)
		}
		if strings.Contains(kargsString().ReplaceAllString(line, ""), "]") {
			inside = false
		}
	}
	return list
}

// parseStaged finds the arguments of a deployment that OSTree finishes while the
// host goes down: a GVariant, whose strings end with a NUL byte.
func parseStaged(file string, data []byte) (list []Argument) {
	for text := range bytes.SplitSeq(data, []byte{0}) {
		if bytes.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
			list = AppendArguments(list, string(text), file, 0)
		}
	}
	return list
}
