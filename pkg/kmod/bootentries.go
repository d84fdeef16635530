package kmod

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
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
	// menu: it is of grub.cfg; blscfg: a grub.cfg reads its file, and ends at a line
	// without a value, before which there are so many options.
	menu, blscfg, ends bool
	before             int
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
		if value == "" && !e.ends && !strings.HasPrefix(line, "#") {
			e.ends, e.before = true, len(e.options)
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

// grubItem is an entry of GRUB's menu, a submenu, or the place of the entries that
// blscfg reads.
type grubItem struct {
	title, id      string
	kernels        []bootEntry
	items          []*grubItem
	submenu, files bool
	maybe          bool // a condition decides whether it is there
}

// grubMenu is what a grub.cfg has in it.
type grubMenu struct {
	file    string
	kernels []bootEntry // each once
	items   []*grubItem // nil where the file cannot be followed
	// wants is the default that it sets, corrected what it makes of some;
	// next: the environment's next_entry is before it; vague: it may be another;
	// counts: it is another after boots that failed.
	wants               string
	corrected           map[string]string
	next, vague, counts bool
	// sources are the names of other files that it reads.
	sources []string
}

var (
	grubWord       = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\{])+`) })
	grubCorrection = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`if \[ "x\$default" = '([^']*)' \]; then default='([^']*)'; fi;`)
	})
)

// parseGrubMenu reads grub.cfg, as grub-mkconfig writes it: kernels are those of the
// commands "linux FILE ARGUMENT...", and where Xen boots the kernel, "module2 FILE
// ARGUMENT...".
func parseGrubMenu(file string, data []byte) *grubMenu {
	m := &grubMenu{file: file, corrected: map[string]string{}}
	root := &grubItem{submenu: true}
	open, count := []*grubItem{root}, 0 // blocks; nil is a function's
	var conditions []string             // "" if it holds, as far as the default is concerned
	follows := true
	// Else submenus have none.
	exported := !bytes.Contains(data, []byte(idOption[1:]+"=")) || bytes.Contains(data, []byte("export "+idOption[1:]))
	for number, line := range grubLines(data) {
		line = strings.TrimSpace(cString(line))
		fields := strings.Fields(line)
		if len(fields) == 0 || line[0] == '#' {
			continue
		}
		last, within := fields[len(fields)-1], open[len(open)-1]
		add := func(item *grubItem) {
			item.maybe = len(conditions) > 0
			if count++; within == nil || !within.submenu || count > maxGrubItems {
				follows = false
				return
			}
			within.items = append(within.items, item)
		}
		oneLine := false
		switch first := strings.TrimSuffix(fields[0], ";"); first {
		case "if", "for", "while", "until":
			if last = strings.TrimSuffix(last, ";"); last != "fi" && last != "done" {
				conditions = append(conditions, line)
			}
		case "elif":
			follows = follows && len(conditions) > 0
			conditions = append(conditions[:max(len(conditions)-1, 0)], line)
		case "else":
			if n := len(conditions) - 1; n >= 0 && conditions[n] == nextEntry {
				conditions[n] = ""
			}
		case "fi", "done":
			follows = follows && len(conditions) > 0
			conditions = conditions[:max(len(conditions)-1, 0)]
		case "menuentry", "submenu":
			item := grubItemOf(line)
			add(item)
			open = append(open, item)
			oneLine = last == "}"
			follows = follows && (last == "{" || oneLine) && (exported || !strings.Contains(line, idOption))
		case "}":
			follows = follows && len(open) > 1
			open = open[:max(len(open)-1, 1)]
		case "blscfg", "bls_import":
			follows = follows && len(fields) == 1
			add(&grubItem{files: true})
		case "source", ".", "configfile":
			if within == nil || within.submenu {
				m.sources = append(m.sources, path.Base(strings.Trim(last, `"'`)))
			}
		default:
			if last == "{" {
				open = append(open, nil)
			}
		}
		m.setsDefault(line, conditions)
		if quoteOpen(line) {
			follows, m.vague = false, true // the next lines are no commands
		}
		if e, ok := grubKernel(file, number, fields); ok {
			if item := open[len(open)-1]; item != nil && !item.submenu && len(item.kernels) < maxBootEntries {
				item.kernels = append(item.kernels, e)
			}
			if len(m.kernels) < maxBootEntries && !slices.ContainsFunc(m.kernels, e.same) {
				m.kernels = append(m.kernels, e)
			}
		}
		if oneLine {
			open = open[:max(len(open)-1, 1)]
		}
	}
	if follows && len(open) == 1 && len(conditions) == 0 {
		m.items = root.items
	}
	return m
}

// grubItemOf reads the line that begins an entry or a submenu:
// menuentry 'TITLE' OPTION... $menuentry_id_option 'ID' {
func grubItemOf(line string) *grubItem {
	words := grubWord().FindAllString(line, maxListed)
	item := &grubItem{submenu: words[0] == "submenu"}
	for i, word := range words {
		value, _ := shellValue(word, 0)
		switch {
		case i == 1:
			item.title, item.id = value, cmp.Or(item.id, value)
		case i > 1 && (words[i-1] == "--id" || words[i-1] == idOption):
			item.id = value
		case strings.HasPrefix(value, "--id="):
			item.id = value[len("--id="):]
		}
	}
	return item
}

const (
	nextEntry  = "next_entry"
	savedEntry = "saved_entry"
	idOption   = "$menuentry_id_option"
)

// quoteOpen reports whether a line of a shell ends within quotes.
func quoteOpen(line string) bool {
	open := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && open != '\'':
			i++
		case c == open:
			open = 0
		case open == 0 && (c == '"' || c == '\''):
			open = c
		case open == 0 && c == '#' && (i == 0 || isBlank(line[i-1])):
			return false
		}
	}
	return open != 0
}

// setsDefault looks for the default in a line of grub.cfg. It is that of the last line
// that sets it: those under other conditions than that there is a next_entry are vague.
func (m *grubMenu) setsDefault(line string, conditions []string) {
	n := defaults(line)
	if n == 0 {
		return
	}
	if strings.HasPrefix(line, `if [ "x$default" =`) {
		if list := grubCorrection().FindAllStringSubmatch(line, maxListed); len(list) == n {
			for _, c := range list {
				m.corrected[c[1]] = c[2]
			}
			return
		}
	}
	text, at := strings.CutPrefix(strings.TrimLeft(strings.TrimPrefix(line, "set "), " \t"), "default=")
	value, _ := shellValue(text, 0)
	name := strings.Trim(value, "${}")
	uncertain := slices.ContainsFunc(conditions, func(c string) bool { return c != "" })
	switch {
	case !at || n > 1:
		m.vague = true
	case name == nextEntry && uncertain:
		m.next, conditions[len(conditions)-1] = true, nextEntry
	case slices.ContainsFunc(conditions, func(c string) bool { return strings.Contains(c, bootCounter) }):
		m.counts = true
	case uncertain || strings.Contains(value, "$") && name != savedEntry:
		m.vague = m.vague || value != m.wants
	case len(conditions) == 0:
		m.wants, m.next, m.vague, m.counts = value, false, false, false
		clear(m.corrected)
	default:
		m.wants = value
	}
}

// defaults counts what sets the default, and no variable of a longer name.
func defaults(text string) int {
	return strings.Count(text, "default=") - strings.Count(text, "_default=")
}

// bootCounter is the variable of GRUB by which boots that failed are counted.
const bootCounter = "boot_counter"

// grubKernel is the kernel of a line of grub.cfg, if it has one.
func grubKernel(file string, number int, fields []string) (e bootEntry, ok bool) {
	command := slices.IndexFunc(fields, func(f string) bool {
		return f == "linux" || f == "linux16" || f == "linuxefi" || f == "module" || f == "module2"
	})
	if command < 0 || command+1 >= len(fields) || fields[command][0] == 'm' && !strings.HasPrefix(path.Base(fields[command+1]), "vmlinu") || command > 0 && !slices.Contains([]string{"{", ";", "then", "else"}, fields[command-1]) {
		return e, false
	}
	if fields = fields[command:]; len(fields) > 2 {
		if at := slices.IndexFunc(fields, func(f string) bool { return f[0] == '#' }); at > 1 {
			fields = fields[:at] // a comment
		}
	}
	text := grubCommand(strings.Join(fields[2:], " "))
	return bootEntry{id: file, file: file, linux: fields[1], menu: true, options: []logicalLine{{number: number, text: text}}}, true
}

// grubCommand is what is left of a command's arguments where GRUB reads them.
func grubCommand(text string) string {
	if !strings.ContainsAny(text, `"'`) {
		text, _, _ = strings.Cut(text, ";")
	} else if !strings.Contains(text, `"`) {
		text = strings.ReplaceAll(text, "'", `"`) // GRUB takes either away
	}
	return text
}

// same: both have one kernel, with the same arguments, as in a menu and its submenu.
func (e bootEntry) same(o bootEntry) bool {
	return e.linux == o.linux && slices.EqualFunc(e.options, o.options, func(a, b logicalLine) bool { return a.text == b.text })
}

// wanted is the default of the menu, by GRUB's environment block; known: it can be no
// other.
func (m *grubMenu) wanted(env map[string]grubVariable) (want string, known bool) {
	want = m.wants
	if strings.Trim(want, "${}") == savedEntry {
		want = env[savedEntry].value
	}
	if next := env[nextEntry].value; m.next && next != "" {
		want = next
	}
	if other, ok := m.corrected[want]; ok {
		want = other
	}
	return want, !m.vague && (!m.counts || env[bootCounter].value == "")
}

// chosen is the entry that GRUB boots by default; files are those that blscfg reads,
// more says whether another file may have more of the menu.
func (m *grubMenu) chosen(env map[string]grubVariable, files []bootEntry, more bool) (e bootEntry, ok bool) {
	want, ok := m.wanted(env)
	if !ok {
		return e, false
	}
	var items []*grubItem
	searches := false // as GRUB does that has blscfg
	for _, item := range m.items {
		if !item.files {
			items = append(items, item)
			continue
		}
		searches = true
		files = slices.DeleteFunc(slices.Clone(files), func(e bootEntry) bool { return e.linux == "" })
		slices.SortFunc(files, func(a, b bootEntry) int { return compareIDs(b.id, a.id) })
		for i, e := range files {
			// Until RHEL 8 their versions are compared first. Of two that are equal GRUB has one.
			maybe := item.maybe || i > 0 && (compareIDs(files[i-1].id, e.id) == 0 || compareReleases(files[i-1].version, e.version) < 0)
			items = append(items, &grubItem{title: cmp.Or(e.title, e.linux), id: e.id, kernels: []bootEntry{e}, maybe: maybe})
		}
	}
	return pickGrubItem(items, want, searches, more)
}

// pickGrubItem follows the path of an entry, TITLE>TITLE, by ids or numbers, too
// (get_entry_number in grub-core/normal/menu.c): what is not there is the first.
func pickGrubItem(items []*grubItem, want string, searches, more bool) (e bootEntry, ok bool) {
	head, rest := want, ""
	for i := 0; i < len(want); i++ {
		if want[i] == '>' && strings.HasPrefix(want[i+1:], ">") {
			i++
		} else if want[i] == '>' {
			head, rest = want[:i], want[i+1:]
			break
		}
	}
	head = strings.ReplaceAll(head, ">>", ">")
	digits := want[:len(want)-len(strings.TrimLeft(want, "0123456789"))]
	id := func(i *grubItem) bool { return i.id == head }
	title := func(i *grubItem) bool { return i.title == head }
	at := -1
	switch {
	case searches:
		if at = slices.IndexFunc(items, id); at < 0 {
			at = slices.IndexFunc(items, title)
		}
	case digits == "":
		at = slices.IndexFunc(items, func(i *grubItem) bool { return id(i) || title(i) })
	}
	named := at >= 0
	if !named && digits != "" && (digits == want || !searches) {
		if digits[0] == '0' && head != "0" {
			return e, false // in another base
		}
		at, _ = strconv.Atoi(digits)
	}
	if at < 0 || at >= len(items) {
		at = 0
		if more && want != "" {
			return e, false
		}
	}
	if len(items) == 0 || items[at].maybe || !named && slices.ContainsFunc(items[:at], func(i *grubItem) bool { return i.maybe }) {
		return e, false
	}
	switch item := items[at]; {
	case item.submenu:
		return pickGrubItem(item.items, rest, searches, false)
	case len(item.kernels) == 0 || slices.ContainsFunc(item.kernels, func(e bootEntry) bool { return !e.same(item.kernels[0]) }):
		return e, false
	default:
		return item.kernels[0], true
	}
}

// compareIDs orders the names of entries as GRUB's blscfg does (split_cmp): they are
// NAME-VERSION-RELEASE.
func compareIDs(a, b string) int {
	split := func(id string) (parts [3]string) {
		name, release := id, ""
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name, release = name[:i], name[i+1:]
		}
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			return [3]string{name[:i], name[i+1:], release}
		}
		return [3]string{name, release, ""}
	}
	x, y := split(a), split(b)
	return cmp.Or(compareReleases(x[0], y[0]), compareReleases(x[1], y[1]), compareReleases(x[2], y[2]))
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

// grubVariable is a line of GRUB's environment block, or one of grub.cfg that sets a
// variable.
type grubVariable struct {
	value, file string
	line        int
}

// addGrubSets adds what grub.cfg sets of the variables that entries use, under their names
// with "$", or under a condition with "?": names without them are the environment block's, which has the entry to be booted
// under some that grub.cfg only clears. Of a variable that is set in both, the block's
// $kernelopts is in force, and grub.cfg's of all others. What "load_env -f FILE" reads is
// set by grub.cfg: Photon OS and Azure Linux have their arguments in such files of /boot.
func addGrubSets(env map[string]grubVariable, entries []bootEntry, file string, data []byte, read func(name string) []byte) {
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
			value, _ := shellValue(cString(text[at+1:]), 0)
			env[sign+name] = grubVariable{value, file, number}
		}
	}
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
	maybe       bool // GRUB has it under a condition
}

// arguments are the entry's, with GRUB's variables replaced ($kernelopts, $tuned_params):
// one that is set nowhere is empty. missing is one that may be set in a file that is not
// read. known is false where there is such a one, and where the kernel has arguments of
// its own.
func (e bootEntry) arguments(env map[string]grubVariable) (list []bootArgument, missing string, known bool) {
	if e.unified {
		return nil, "", false
	}
	options := e.options
	if e.blscfg {
		if e.ends {
			options = options[:e.before]
		}
		options = options[:min(1, len(options))] // the first that it finds
	}
	for _, o := range options {
		text := o.text
		if e.blscfg {
			text = grubCommand(text)
		}
		for tok := range kernelTokens(text) {
			from := bootArgument{token: tok, file: e.file, line: o.number}
			if strings.Contains(tok, "$") {
				from.token = grubReference().ReplaceAllStringFunc(tok, func(reference string) string {
					name := strings.Trim(reference, "${}")
					v, ok := env["$"+name]
					if !ok {
						v, ok = env[name]
					}
					if !ok && (name == kernelOpts && !e.menu && !e.blscfg || env[notRead].line > 0) || e.blscfg && reference[1] == '{' { // which blscfg does not know
						missing = reference
					}
					if v, ok := env["?"+name]; ok {
						for tok := range kernelTokens(v.value) {
							list = append(list, bootArgument{tok, v.file, v.line, true})
						}
					}
					if len(name)+3 >= len(tok) && ok {
						from.file, from.line = v.file, v.line
					}
					if e.blscfg {
						return v.value + " "
					}
					return v.value
				})
			}
			list = appendTokens(list, from.token, from.file, from.line)
		}
	}
	if v, ok := env["$"+defaultKernelOpts]; ok && e.blscfg && len(list) == 0 {
		list = appendTokens(list, v.value, v.file, v.line)
	}
	return list, missing, missing == ""
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

// defaultEntries are the entries that the next boot may take, where the menu does not
// show which one, by the name, the title or the number of the one that GRUB is told to
// boot; sure: there is exactly one.
func defaultEntries(entries []bootEntry, want string) (list []bootEntry, sure bool) {
	if want = strings.TrimSuffix(want, ".conf"); want != "" && want != "0" {
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
		list = append(list, bootArgument{token: tok, file: file, line: line})
	}
	return list
}

// compareReleases orders versions of kernels as rpm does (rpmvercmp), and except
// for unusual characters as "sort -V": runs of digits by their number, others by
// their bytes, a number after letters, and "~" before all, the end included.
func compareReleases(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		earlyA, earlyB := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~")
		switch {
		case earlyA && earlyB:
			a, b = a[1:], b[1:]
			continue
		case earlyA:
			return -1
		case earlyB:
			return 1
		}
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

func separates(r rune) bool { return r >= 0x80 || r != '~' && !isDigit(byte(r)) && !isLetter(byte(r)) }

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
