package verdict

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Action names what a step does. The values are public API.
type Action string

const (
	// ActionCommentOut: turn a line of a file into a comment. The numbers of
	// the file's other lines stay as they are.
	ActionCommentOut Action = "comment-out"
	// ActionEmptyFile: leave the file there, and nothing in it.
	ActionEmptyFile Action = "empty-file"
	// ActionOverrideFile: put a file of the same name, without the line, into
	// /etc/modprobe.d, where it replaces the one named.
	ActionOverrideFile Action = "override-file"
	// ActionWriteFile: write a line into the file.
	ActionWriteFile Action = "write-file"
	// ActionRemoveArgument: remove a kernel argument, or the module from its
	// list.
	ActionRemoveArgument Action = "remove-argument"
	// ActionRestoreFile: bring the file back as its package has it.
	ActionRestoreFile Action = "restore-file"
	// ActionApplyMachineConfig: apply the steps before it as one MachineConfig.
	ActionApplyMachineConfig Action = "apply-machineconfig"
	// ActionChangeSettings: change what the platform's files are generated
	// from.
	ActionChangeSettings Action = "change-settings"
	// ActionInstallModule: install what has the module for this kernel.
	ActionInstallModule Action = "install-module"
	// ActionLoadModule: load the module now, or reboot.
	ActionLoadModule Action = "load-module"
	// ActionReboot: nothing but a reboot helps.
	ActionReboot Action = "reboot"
	// ActionAllow: give the agent a right that it lacks.
	ActionAllow Action = "allow"
	// ActionExamine: look for the cause with other programs.
	ActionExamine Action = "examine"
	// ActionRetry: look again.
	ActionRetry Action = "retry"
)

// Remedy is one step of what to do.
type Remedy struct {
	Action Action `json:"action"`
	// File and Line are what the step is about, "" and 0 where it is about no
	// file. The kernel command line is "/proc/cmdline".
	File string `json:"file"`
	Line int    `json:"line"`
	// Text is the step in words.
	Text string `json:"text"`
	// Command does it, on the host unless the text names another place, in a
	// POSIX shell. Words in capitals are to be filled in. "" where no command
	// does, or where a file's name cannot be shown safely.
	Command string `json:"command"`
}

// sentence is all steps as one text.
func sentence(steps []Remedy) string {
	texts := make([]string, 0, len(steps))
	for _, s := range steps {
		texts = append(texts, s.Text)
	}
	return strings.Join(texts, "; ")
}

// modprobeDir is where an administrator's files for modprobe are; a file there
// replaces one of its name anywhere else (modprobe.d(5)).
const modprobeDir = "/etc/modprobe.d"

// undo is the step that takes one line or token away where files are edited.
func (p Platform) undo(u kmod.Userland, e kmod.Evidence) Remedy {
	text := strings.TrimSpace(e.Text)
	step := Remedy{File: e.File, Line: e.Line}
	switch {
	case e.File == procCmdline:
		return p.removeArgument(u, e)
	case e.Cause == kmod.CauseUnit:
		return unitStep(e)
	case e.Line == 0 && e.Cause == kmod.CauseDeniedByKernel:
		step.Action, step.Text = ActionRestoreFile, "install the kernel's own, signed "+e.File
	case e.Line == 0:
		step.Action, step.Text = ActionRestoreFile, "restore "+e.File+" from its package"
	case e.File == VendorBlacklist:
		step.Action, step.Text = ActionEmptyFile, "empty "+e.File
		step.Command = inShell(": > %s", e.File)
	case strings.HasPrefix(e.File, "/etc/"), path.Ext(e.File) != ".conf" && path.Ext(e.File) != ".alias": // which no file of that name in /etc replaces
		step.Action = ActionCommentOut
		step.Text = fmt.Sprintf("comment out line %d of %s (%s)", e.Line, e.File, text)
		step.Command = inShell(fmt.Sprintf("sed -i '%ds/^/#/' %%s", e.Line), e.File)
	default:
		// The file is a package's, or part of a read-only image, or written at each
		// boot. The copy is made once, so that a further line of the same file can
		// be removed from it.
		override := path.Join(modprobeDir, path.Base(e.File))
		step.Action = ActionOverrideFile
		step.Text = fmt.Sprintf("put a copy of %s without its line %d (%s) into %s, which replaces it", e.File, e.Line, text, modprobeDir)
		if strings.HasPrefix(e.File, "/run/") {
			step.Text += " (the file is written at each boot, often for the kernel argument rd.driver.blacklist=)"
		}
		step.Command = inShell(fmt.Sprintf("{ test -e %%[2]s || install -Dm644 %%[1]s %%[2]s; } && sed -i '%ds/^/#/' %%[2]s", e.Line), e.File, override)
	}
	return p.annotated(u, step, e)
}

// unitStep is the step after which systemd-modules-load.service runs at boot.
func unitStep(e kmod.Evidence) Remedy {
	const unit = "systemd-modules-load.service"
	step := Remedy{Action: ActionRestoreFile, File: e.File, Line: e.Line}
	switch shipped := strings.HasPrefix(e.File, "/usr/lib/") || strings.HasPrefix(e.File, "/lib/"); {
	case shipped && strings.Contains(e.Text, "=|"): // a condition that such a file makes hold
		return request(kmod.SCTP().Name, LoadRequest)
	case shipped:
		step.Text = "restore " + unit + " from the package of systemd"
	case strings.Contains(e.Effect, "unmask"):
		step.Text = "unmask the unit that reads modules-load.d (" + e.File + ")"
		step.Command = "systemctl unmask " + unit
		if strings.HasPrefix(e.File, "/run/") {
			step.Command = "systemctl unmask --runtime " + unit
		}
	default:
		step.Text = "remove " + e.File + ", which keeps " + unit + " from reading modules-load.d"
		step.Command = inShell("rm %s", e.File)
	}
	return step
}

// annotated adds which rule asks for the line, and what writes the file.
func (p Platform) annotated(u kmod.Userland, step Remedy, e kmod.Evidence) Remedy {
	if rules := hardening(u, p.Name, e); rules != nil {
		step.Text += " [hardening rule " + strings.Join(rules, ", ") + "]"
	}
	step.Text += ofEachKernel(e.File)
	if e.Notice != "" {
		step.Text += fmt.Sprintf(", and change what writes the file (%q)", strings.TrimSpace(e.Notice))
	}
	return step
}

// ofEachKernel is what to know about a file that each kernel's package brings with a name of
// its own (uek-rpm/tools/filter-modules.py of Oracle's UEK 8).
func ofEachKernel(file string) string {
	if strings.HasSuffix(file, denylist) {
		return " (each later kernel's package brings another such file: empty it, too, before the reboot)"
	}
	return ""
}

func (p Platform) removeArgument(u kmod.Userland, e kmod.Evidence) Remedy {
	text := strings.TrimSpace(e.Text)
	step := Remedy{Action: ActionRemoveArgument, File: e.File, Line: e.Line, Text: "remove the kernel argument " + text}
	if strings.Contains(text, ",") {
		step.Text = "take the module out of the kernel argument " + text
		if strings.Contains(e.Effect, " and ") {
			step.Text = strings.Replace(step.Text, "the module", "the module and those it needs", 1)
		}
	}
	command := p.argument
	if u.OSTree && command != "" {
		command = "rpm-ostree kargs --delete="
	}
	switch {
	case command == "":
		step.Text += " in " + p.argumentAt
	case !strings.Contains(text, ","):
		step.Command = inShell(command+"%s", text)
	}
	return step
}

// request is the step that asks for the module at boot, by a new file.
func request(module, file string) Remedy {
	return Remedy{
		Action: ActionWriteFile, File: file, Line: 1,
		Text:    fmt.Sprintf("put \"%s\" into %s", module, file),
		Command: inShell("echo "+module+" > %s", file),
	}
}

// newRequest is a file for it that is not there: one that is may ask for other modules, or be a link
// to the null device.
func newRequest(i *kmod.Inspection) string {
	dir, name := path.Split(LoadRequest)
	for n := 2; slices.Contains(i.BootLoad.Taken, name); n++ {
		name = fmt.Sprintf("sctp-load-%d.conf", n)
	}
	return dir + name
}

func (p Platform) rebootStep(text string) Remedy {
	return Remedy{Action: ActionReboot, Text: text, Command: cmp.Or(p.reboot, "systemctl reboot")}
}

func loadModule(text, module string) Remedy {
	return Remedy{Action: ActionLoadModule, Text: text, Command: "modprobe " + module}
}

// inShell puts names into a command, quoted. A name with characters that cannot
// be seen yields no command, nor does one with a backslash, with which evidence
// escapes these: what is copied must be what is read, and the name itself.
func inShell(format string, names ...string) string {
	quoted := make([]any, len(names))
	for i, name := range names {
		for _, r := range name {
			if r == unicode.ReplacementChar || r == '\\' || !unicode.IsPrint(r) {
				return ""
			}
		}
		quoted[i] = quote(name)
	}
	return fmt.Sprintf(format, quoted...)
}

// quote makes one word of a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-=:@%+,", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
