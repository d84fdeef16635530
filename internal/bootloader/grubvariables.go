package bootloader

import (
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// grubVariable is a line of GRUB's environment block, or one of grub.cfg that sets a
// variable.
type grubVariable struct {
	value, file string
	line        int
}

const (
	kernelOpts        = "kernelopts"
	defaultKernelOpts = "default_kernelopts" // of entries without options
	notRead           = "-f"                 // no variable's name: a file that grub.cfg loads was not found
)

// grubLoads is the name, without its directory, of the file that a line of grub.cfg loads
// variables from (grub-core/commands/loadenv.c).
func grubLoads(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "load_env" {
		return ""
	}
	for i, f := range fields[1:] {
		if value, ok := strings.CutPrefix(f, "--file="); ok {
			return path.Base(strings.Trim(value, `"';`))
		}
		if (f == "-f" || f == "--file") && i+2 < len(fields) {
			return path.Base(strings.Trim(fields[i+2], `"';`))
		}
	}
	return ""
}

// grubReference is a variable's value in GRUB.
var grubReference = pattern.MustCompile(`\$(\w+|\{\w+\})`)

// addGrubSets adds what grub.cfg sets of the variables that entries use, under their names
// with "$", or under a condition with "?": names without them are the environment block's, which has the entry to be booted
// under some that grub.cfg only clears. Of a variable that is set in both, the block's
// $kernelopts is in force, and grub.cfg's of all others. What "load_env -f FILE" reads is
// set by grub.cfg: Photon OS and Azure Linux have their arguments in such files of /boot.
func addGrubSets(env map[string]grubVariable, entries []Entry, file string, data []byte, read func(name string) []byte) {
	names := map[string]bool{}
	for _, e := range entries {
		for _, o := range e.options {
			if strings.Contains(o.text, "$") {
				for _, name := range grubReference().FindAllString(o.text, maxWords) {
					names[strings.Trim(name, "${}")] = true
				}
			}
		}
	}
	if len(names) == 0 {
		return
	}
	names[defaultKernelOpts] = true
	conditions, found, condition := 0, 0, ""
	for number, line := range grubLines(data) {
		text := strings.TrimSpace(line)
		switch end := strings.TrimSuffix(text, ";"); {
		case end == "fi":
			conditions--
		case strings.HasPrefix(text, "if ") && !strings.HasSuffix(end, "fi"):
			conditions++
			condition = text
		}
		if name := grubLoads(text); name != "" {
			if found++; found > maxGrubItems {
				return
			}
			at, sign := path.Join(bootDir, name), "$"
			block := read(at)
			if block == nil {
				at = path.Join(path.Dir(file), name)
				block = read(at)
			}
			switch named := strings.Contains(condition, name); {
			case conditions > 0 && !named:
				sign = "?"
			case block == nil && conditions == 0:
				env[notRead] = grubVariable{name, file, number}
			}
			for variable, v := range parseGrubEnvironment(at, block) {
				if names[variable] && (variable != kernelOpts || env[kernelOpts].line == 0) {
					env[sign+variable] = v
				}
			}
			continue
		}
		for at := range len(text) {
			if text[at] != '=' || text[0] == '#' {
				continue
			}
			start := at
			for start > 0 && (isLetter(text[start-1]) || isDigit(text[start-1]) || text[start-1] == '_') {
				start--
			}
			name := text[start:at]
			if !names[name] || name == kernelOpts && env[name].line > 0 {
				continue
			}
			if found++; found > maxGrubItems {
				return
			}
			before := strings.TrimRight(text[:start], " \t")
			before = strings.TrimRight(strings.TrimSuffix(before, "set"), " \t")
			sign := "$"
			switch words := strings.Fields(before); {
			case len(words) > 0 && (strings.HasSuffix(before, ";") || slices.Contains([]string{"then", "else", "do", "{"}, words[len(words)-1])):
				sign = "?"
			case before != "":
				continue // an argument of another command
			case conditions > 0 && name != kernelOpts: // of which that is a default
				sign = "?"
			}
			value, _ := shellValue(text[at+1:], 0)
			env[sign+name] = grubVariable{value, file, number}
		}
	}
}

// parseGrubEnvironment reads grubenv: lines NAME=VALUE, with backslashes before a
// newline and a backslash (grub-core/lib/envblk.c).
func parseGrubEnvironment(file string, data []byte) map[string]grubVariable {
	env := map[string]grubVariable{}
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		name, value, ok := strings.Cut(strings.TrimRight(string(raw), "\n"), "=")
		if !ok || strings.HasPrefix(name, "#") || len(env) >= maxWords {
			continue
		}
		env[name] = grubVariable{strings.ReplaceAll(value, `\\`, `\`), file, number}
	}
	return env
}

// Assignments in a line of a shell script, the variables of kernel arguments, and the
// value of another one in theirs.
var (
	shellAssignments = pattern.MustCompile(`(?:^|^export\s+|[\s;])(\w+)(\+?)=`)
	grubArguments    = []string{"GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"}
	shellReference   = pattern.MustCompile(`\$\{?(\w+)`)
	shellExpansion   = pattern.MustCompile(`\$\{[^}]*\}`)
)

// grubDefaults are what /etc/default/grub and what is read after it assign, by variable;
// those with "$" before their name take part in kernel arguments.
type grubDefaults map[string][]Argument

// arguments are those of the kernel.
func (g grubDefaults) arguments() (list []Argument) {
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if _, used := g["$"+name]; used || slices.Contains(grubArguments, name) {
			list = append(list, g[name]...)
		}
	}
	return list
}

// parse reads one file, a shell script that grub-mkconfig reads. Only plain assignments
// count; one at the beginning of a line takes the place of those before it, unless it
// has variables or commands in it, whose words may be arguments.
func (g grubDefaults) parse(file string, data []byte) []Argument {
	var name string
	var quote byte // that is open at the end of a line, or a backslash
	add := func(number int, text string) {
		var value string
		if value, quote = shellValue(text, quote); strings.Contains(text, "$(") || strings.Contains(text, "`") {
			value, quote = strings.NewReplacer("$(", " ", "`", " ", `"`, " ", "'", " ", ")", " ", ";", " ", "|", " ").Replace(text), 0
		}
		g[name] = AppendArguments(g[name], value, file, number)
	}
	for number, text := range lines(data) {
		if quote != 0 {
			add(number, text)
			continue
		}
		for _, at := range shellAssignments().FindAllStringSubmatchIndex(text, maxWords) {
			before := text[:at[0]]
			if strings.Contains(before, "#") || quote != 0 {
				break
			}
			if strings.Count(before, `"`)%2 == 1 || strings.Count(before, "'")%2 == 1 {
				continue // within a value
			}
			name = text[at[2]:at[3]]
			if (at[2] == 0 || strings.HasPrefix(text, "export")) && at[4] == at[5] && !strings.ContainsAny(text, "$`") {
				delete(g, name)
			}
			if slices.Contains(grubArguments, name) {
				for _, other := range shellReference().FindAllStringSubmatch(text, maxWords) {
					g["$"+other[1]] = nil
				}
			}
			add(number, shellExpansion().ReplaceAllString(text[at[1]:], ""))
		}
	}
	return nil
}

// shellValue is the value that begins a line of a shell, without its quotes. open is
// the quote that the line before, or this one, leaves open; a backslash is one that
// ends the line.
func shellValue(text string, open byte) (value string, left byte) {
	var b strings.Builder
	if open == '\\' {
		open = 0
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && open != '\'' && i+1 == len(text):
			if open == 0 {
				open = '\\'
			}
			return b.String(), open
		case c == '\\' && open != '\'':
			i++
			b.WriteByte(text[i])
		case c == open:
			open = 0
		case open != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			open = c
		case c == ' ' || c == '\t' || c == ';' || c == '#':
			return b.String(), 0
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), open
}
