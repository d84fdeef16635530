package kmod

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// bootEntry is an entry of the boot loader: a file of the Boot Loader
// Specification (https://uapi-group.org/specifications/specs/boot_loader_specification/).
type bootEntry struct {
	id, file       string // the file's name without its suffix; its path
	title, version string
	linux          string
	options        []logicalLine
	unified        bool // it has a kernel that brings its own arguments
}

// parseBootEntry reads one: lines of a key, blanks and a value. An entry may have
// several lines of options.
func parseBootEntry(file string, data []byte) bootEntry {
	e := bootEntry{id: strings.TrimSuffix(path.Base(file), ".conf"), file: file}
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		line := strings.TrimSpace(cString(string(raw)))
		key, value := line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			key, value = line[:i], strings.TrimSpace(line[i:])
		}
		switch key {
		case "title":
			e.title = value
		case "version":
			e.version = value
		case "linux":
			e.linux = value
		case "efi", "uki", "uki-url":
			e.unified = true
		case "options":
			e.options = append(e.options, logicalLine{number: number, text: value})
		}
	}
	return e
}

// rescue: an entry of kernel-install's 51-dracut-rescue or grub-mkconfig's
// recovery mode, which is never the default.
func (e bootEntry) rescue() bool {
	return strings.Contains(e.id, "-0-rescue") || strings.HasPrefix(e.version, "0-rescue") ||
		len(e.options) == 1 && slices.ContainsFunc(strings.Fields(e.options[0].text), func(w string) bool { return w == "single" || w == "recovery" })
}

// parseGrubMenu finds the kernels of grub.cfg, as grub-mkconfig writes it: the
// commands "linux FILE ARGUMENT...", and where Xen boots the kernel, "module2 FILE
// ARGUMENT...". A kernel listed again with the same arguments, as in a submenu, is one
// entry.
func parseGrubMenu(file string, data []byte) (list []bootEntry) {
	for number, line := range grubLines(data) {
		fields := strings.Fields(cString(line))
		command := slices.IndexFunc(fields, func(f string) bool {
			return f == "linux" || f == "linux16" || f == "linuxefi" || f == "module" || f == "module2"
		})
		if command < 0 || command+1 >= len(fields) || fields[command][0] == 'm' && !strings.HasPrefix(path.Base(fields[command+1]), "vmlinu") || command > 0 && !slices.Contains([]string{"{", ";", "then", "else"}, fields[command-1]) {
			continue
		}
		if fields = fields[command:]; len(fields) > 2 {
			if at := slices.IndexFunc(fields, func(f string) bool { return f[0] == '#' }); at > 1 {
				fields = fields[:at] // a comment
			}
		}
		text := strings.Join(fields[2:], " ")
		if !strings.ContainsAny(text, `"'`) {
			text, _, _ = strings.Cut(text, ";")
		} else if !strings.Contains(text, `"`) {
			text = strings.ReplaceAll(text, "'", `"`) // GRUB takes either away
		}
		e := bootEntry{id: file, file: file, linux: fields[1], options: []logicalLine{{number: number, text: text}}}
		if len(list) < maxBootEntries && !slices.ContainsFunc(list, func(o bootEntry) bool { return o.linux == e.linux && o.options[0].text == e.options[0].text }) {
			list = append(list, e)
		}
	}
	return list
}

// grubLines are the lines of grub.cfg without their ends, with their numbers: one that
// ends with a backslash, and is no comment, goes on in the next.
func grubLines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		number, start, comment := 0, 0, false
		var joined []byte
		for raw := range bytes.Lines(data) {
			if number++; len(joined) == 0 {
				start, comment = number, bytes.HasPrefix(bytes.TrimSpace(raw), []byte("#"))
			}
			joined = append(joined, bytes.TrimRight(raw, "\r\n")...)
			text, more := bytes.CutSuffix(joined, []byte(`\`))
			if more && !comment && !bytes.HasSuffix(text, []byte(`\`)) {
				joined = text
				continue
			}
			if !yield(start, string(joined)) {
				return
			}
			joined = joined[:0]
		}
		if len(joined) > 0 {
			yield(start, string(joined))
		}
	}
}

// kernel is the release of the entry's kernel: that in the name of the kernel's
// file, else the entry's version, which in OSTree's entries is the deployment's
// title.
func (e bootEntry) kernel() string {
	if base := path.Base(e.linux); strings.HasPrefix(base, "vmlinu") {
		if _, release, ok := strings.Cut(base, "-"); ok {
			return release
		}
	}
	return e.version
}

// savedDefault is how grub.cfg boots the entry that grubenv names, and namedDefault how
// it names one itself.
var (
	savedDefault = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`default="?\$\{?saved_entry`) })
	namedDefault = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`default=(?:["']([^"'$\n]+)|([^"'$;\s]+))`) })
)

// grubVariable is a line of GRUB's environment block, or one of grub.cfg that sets a
// variable.
type grubVariable struct {
	value, file string
	line        int
}

// grubSet begins the command of grub.cfg that sets a variable.
var grubSet = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*set\s+(\w+)=`) })

// addGrubSets adds what grub.cfg sets of the variables that entries use, under their names
// with "$": names without it are the environment block's, which has the entry to be booted
// under some that grub.cfg only clears. Of a variable that is set in both, the block's
// $kernelopts is in force, and grub.cfg's of all others.
func addGrubSets(env map[string]grubVariable, entries []bootEntry, file string, data []byte) {
	names := map[string]bool{}
	for _, e := range entries {
		for _, o := range e.options {
			if strings.Contains(o.text, "$") {
				for _, name := range grubReference().FindAllString(o.text, maxListed) {
					names[strings.Trim(name, "${}")] = true
				}
			}
		}
	}
	if len(names) == 0 {
		return
	}
	for number, line := range grubLines(data) {
		if !strings.HasPrefix(strings.TrimLeft(line, " \t"), "set") {
			continue
		}
		at := grubSet().FindStringSubmatch(line)
		if at == nil {
			continue
		}
		if name := at[1]; names[name] && (name != kernelOpts || env[name].line == 0) {
			value, _ := shellValue(cString(line[len(at[0]):]), 0)
			env["$"+name] = grubVariable{value, file, number}
		}
	}
}

const kernelOpts = "kernelopts"

// grubReference is a variable's value in GRUB.
var grubReference = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$(\w+|\{\w+\})`) })

// parseGrubEnvironment reads grubenv: lines NAME=VALUE, with backslashes before a
// newline and a backslash (grub-core/lib/envblk.c).
func parseGrubEnvironment(file string, data []byte) map[string]grubVariable {
	env := map[string]grubVariable{}
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		name, value, ok := strings.Cut(strings.TrimRight(string(raw), "\n"), "=")
		if !ok || strings.HasPrefix(name, "#") || len(env) >= maxListed {
			continue
		}
		env[name] = grubVariable{strings.ReplaceAll(value, `\\`, `\`), file, number}
	}
	return env
}

// bootArgument is one argument of a kernel to be booted, and the line that has it.
type bootArgument struct {
	token, file string
	line        int
}

// arguments are the entry's, with GRUB's variables replaced ($kernelopts, $tuned_params).
// known is false where there is no $kernelopts, and where the kernel has its own.
func (e bootEntry) arguments(env map[string]grubVariable) (list []bootArgument, known bool) {
	if e.unified {
		return nil, false
	}
	for _, o := range e.options {
		for tok := range kernelTokens(o.text) {
			from, known := bootArgument{tok, e.file, o.number}, true
			if strings.Contains(tok, "$") {
				from.token = grubReference().ReplaceAllStringFunc(tok, func(name string) string {
					name = strings.Trim(name, "${}")
					v, ok := env["$"+name]
					if !ok {
						v, ok = env[name]
					}
					known = known && (ok || name != kernelOpts)
					if len(name)+3 >= len(tok) && ok {
						from.file, from.line = v.file, v.line
					}
					return v.value
				})
			}
			if !known {
				return nil, false
			}
			list = appendTokens(list, from.token, from.file, from.line)
		}
	}
	return list, true
}

// argument is the value of an argument of the entry's own.
func (e bootEntry) argument(key string) string {
	for _, o := range e.options {
		for tok := range kernelTokens(o.text) {
			if param, value := splitKernelToken(tok); param == key {
				return value
			}
		}
	}
	return ""
}

// defaultName is the name, the title or the number of the entry that GRUB is told to
// boot, "" if it is the first.
func defaultName(env map[string]grubVariable) string {
	name := strings.TrimSuffix(cmp.Or(env["next_entry"].value, env["saved_entry"].value), ".conf")
	if name == "0" {
		return ""
	}
	return name
}

// defaultEntries are the entries that the next boot may take; sure: there is
// exactly one.
func defaultEntries(entries []bootEntry, env map[string]grubVariable) (list []bootEntry, sure bool) {
	if want := defaultName(env); want != "" {
		for _, e := range entries {
			if e.id == want || e.title == want {
				return []bootEntry{e}, true
			}
		}
		// An entry of grub.cfg, whose name has its kernel in it, or a number.
		longest := 0
		for _, e := range entries {
			if k := e.kernel(); !e.rescue() && len(k) >= max(longest, 1) && strings.Contains(want, k) {
				if len(k) > longest {
					list, longest = nil, len(k)
				}
				list = append(list, e)
			}
		}
		if len(list) > 0 {
			return list, len(list) == 1
		}
		return entries, false
	}
	if list = slices.DeleteFunc(slices.Clone(entries), bootEntry.rescue); len(list) == 0 {
		list = entries
	}
	ostree := len(list) > 0
	for _, e := range list {
		ostree = ostree && strings.HasPrefix(e.id, "ostree-")
	}
	if ostree {
		// The deployment to be booted has the highest version, and so the name
		// that GRUB sorts first (ostree, src/libostree/ostree-sysroot-deploy.c).
		newest := slices.MaxFunc(list, func(a, b bootEntry) int { return compareReleases(a.id, b.id) })
		return []bootEntry{newest}, true
	}
	return list, len(list) == 1
}

// Assignments in a line of a shell script, the variables of kernel arguments, and the
// value of another one in theirs.
var (
	shellAssignments = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:^|^export\s+|[\s;])(\w+)(\+?)=`) })
	grubArguments    = []string{"GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"}
	shellReference   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{?(\w+)`) })
	shellExpansion   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{[^}]*\}`) })
)

// grubDefaults are what /etc/default/grub and what is read after it assign, by variable;
// those with "$" before their name take part in kernel arguments.
type grubDefaults map[string][]bootArgument

// arguments are those of the kernel.
func (g grubDefaults) arguments() (list []bootArgument) {
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
func (g grubDefaults) parse(file string, data []byte) []bootArgument {
	number, name := 0, ""
	var quote byte // that is open at the end of a line, or a backslash
	add := func(text string) {
		var value string
		if value, quote = shellValue(text, quote); strings.Contains(text, "$(") || strings.Contains(text, "`") {
			value, quote = strings.NewReplacer("$(", " ", "`", " ", `"`, " ", "'", " ", ")", " ", ";", " ", "|", " ").Replace(text), 0
		}
		g[name] = appendTokens(g[name], value, file, number)
	}
	for raw := range bytes.Lines(data) {
		number++
		text := strings.TrimRight(cString(string(raw)), "\r\n")
		if quote != 0 {
			add(text)
			continue
		}
		for _, at := range shellAssignments().FindAllStringSubmatchIndex(text, maxListed) {
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
				for _, other := range shellReference().FindAllStringSubmatch(text, maxListed) {
					g["$"+other[1]] = nil
				}
			}
			add(shellExpansion().ReplaceAllString(text[at[1]:], ""))
		}
	}
	return nil
}

// parseOtherLoader reads the lines of kernel arguments of an entry of the Boot Loader
// Specification, of extlinux, or of Flatcar's grub.cfg.
func parseOtherLoader(file string, data []byte) (list []bootArgument) {
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		text := strings.TrimSpace(cString(string(raw)))
		rest, ok := strings.CutPrefix(text, "set linux_append=")
		if key, value, _ := strings.Cut(strings.ReplaceAll(text, "\t", " "), " "); key == "options" || strings.EqualFold(key, "append") {
			rest, ok = value, true
		}
		if ok {
			list = appendTokens(list, strings.Trim(rest, `"`), file, number)
		}
	}
	return list
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
		case isBlank(c) || c == ';' || c == '#':
			return b.String(), 0
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), open
}

// parseKernelCmdline reads /etc/kernel/cmdline (kernel-install(8)).
func parseKernelCmdline(file string, data []byte) (list []bootArgument) {
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		if text := strings.TrimSpace(cString(string(raw))); !strings.HasPrefix(text, "#") {
			list = appendTokens(list, text, file, number)
		}
	}
	return list
}

var (
	kargsKey      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*kargs\s*=\s*\[`) })
	kargsMachines = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*match-architectures\s*=.*`) })
	kargsString   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"([^"\\]*)"|'([^']*)'`) })
)

// parseKargs reads a file of bootc's kargs.d: kargs = ["a=b", …], over one line or
// several, and match-architectures = ["x86_64"] if it is not for every machine.
func parseKargs(file string, data []byte, machine string) (list []bootArgument) {
	number, inside := 0, false
	for raw := range bytes.Lines(data) {
		number++
		line := cString(string(raw))
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
			list = appendTokens(list, m[1]+m[2], file, number)
		}
		if strings.Contains(kargsString().ReplaceAllString(line, ""), "]") {
			inside = false
		}
	}
	return list
}

// parseStaged finds the arguments of a deployment that OSTree finishes while the
// host goes down: a GVariant, whose strings end with a NUL byte.
func parseStaged(file string, data []byte) (list []bootArgument) {
	for text := range bytes.SplitSeq(data, []byte{0}) {
		if bytes.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
			list = appendTokens(list, string(text), file, 0)
		}
	}
	return list
}

func appendTokens(list []bootArgument, text, file string, line int) []bootArgument {
	for tok := range kernelTokens(text) {
		list = append(list, bootArgument{tok, file, line})
	}
	return list
}

// compareReleases orders versions of kernels as rpm does (rpmvercmp), and except
// for unusual characters as "sort -V": runs of digits by their number, others by
// their bytes, and a number after letters.
func compareReleases(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		if a == "" || b == "" {
			return len(a) - len(b)
		}
		x, y := run(a), run(b)
		a, b = a[len(x):], b[len(y):]
		switch {
		case isDigit(x[0]) && !isDigit(y[0]):
			return 1
		case !isDigit(x[0]) && isDigit(y[0]):
			return -1
		case isDigit(x[0]):
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func separates(r rune) bool { return r >= 0x80 || !isDigit(byte(r)) && !isLetter(byte(r)) }

// run is the digits, or the letters, that s begins with.
func run(s string) string {
	n := 1
	for n < len(s) && isDigit(s[n]) == isDigit(s[0]) && isLetter(s[n]) == isLetter(s[0]) {
		n++
	}
	return s[:n]
}

// flavour is the kind of a kernel (-generic, -cloud-amd64, +debug): all of its
// release but the numbers.
func flavour(release string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (isLetter(byte(r)) || r == '+') {
			return r
		}
		return -1
	}, release)
}
