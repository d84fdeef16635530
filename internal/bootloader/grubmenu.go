package bootloader

import (
	"bytes"
	"cmp"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// grubMenu is what a grub.cfg has in it.
type grubMenu struct {
	file    string
	kernels []Entry     // each once
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

// grubItem is an entry of GRUB's menu, a submenu, or the place of the entries that
// blscfg reads.
type grubItem struct {
	title, id      string
	kernels        []Entry
	items          []*grubItem
	submenu, files bool
	maybe          bool // a condition decides whether it is there
}

var (
	grubWord       = pattern.MustCompile(`(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\{])+`)
	grubCorrection = pattern.MustCompile(`if \[ "x\$default" = '([^']*)' \]; then default='([^']*)'; fi;`)
)

const (
	nextEntry  = "next_entry"
	savedEntry = "saved_entry"
	idOption   = "$menuentry_id_option"
)

// envBlock is the variable of the environment block that says which blocks of the disk have
// the rest of it, where GRUB cannot write to the file: on Btrfs.
const envBlock = "env_block"

// bootCounter is the variable of GRUB by which boots that failed are counted.
const bootCounter = "boot_counter"

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
		line = strings.TrimSpace(line)
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
			if item := open[len(open)-1]; item != nil && !item.submenu && len(item.kernels) < maxEntries {
				item.kernels = append(item.kernels, e)
			}
			if len(m.kernels) < maxEntries && !slices.ContainsFunc(m.kernels, e.same) {
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
	words := grubWord().FindAllString(line, maxWords)
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
		case open == 0 && c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
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
		if list := grubCorrection().FindAllStringSubmatch(line, maxWords); len(list) == n {
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

// grubKernel is the kernel of a line of grub.cfg, if it has one.
func grubKernel(file string, number int, fields []string) (e Entry, ok bool) {
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
	return Entry{File: file, id: file, linux: fields[1], menu: true, options: []line{{number: number, text: text}}}, true
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
	saves := m.next || strings.Trim(m.wants, "${}") == savedEntry
	return want, !m.vague && (!m.counts || env[bootCounter].value == "") && (!saves || env[envBlock].value == "")
}

// chosen is the entry that GRUB boots by default; files are those that blscfg reads,
// more says whether another file may have more of the menu.
func (m *grubMenu) chosen(env map[string]grubVariable, files []Entry, more bool) (e Entry, ok bool) {
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
		files = slices.DeleteFunc(slices.Clone(files), func(e Entry) bool { return e.linux == "" })
		slices.SortFunc(files, func(a, b Entry) int { return compareIDs(b.id, a.id) })
		for i, e := range files {
			// Until RHEL 8 their versions are compared first. Of two that are equal GRUB has one.
			maybe := item.maybe || i > 0 && (compareIDs(files[i-1].id, e.id) == 0 || CompareReleases(files[i-1].version, e.version) < 0)
			items = append(items, &grubItem{title: cmp.Or(e.title, e.linux), id: e.id, kernels: []Entry{e}, maybe: maybe})
		}
	}
	return pickGrubItem(items, want, searches, more)
}

// pickGrubItem follows the path of an entry, TITLE>TITLE, by ids or numbers, too
// (get_entry_number in grub-core/normal/menu.c): what is not there is the first.
func pickGrubItem(items []*grubItem, want string, searches, more bool) (e Entry, ok bool) {
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
	case len(item.kernels) == 0 || slices.ContainsFunc(item.kernels, func(e Entry) bool { return !e.same(item.kernels[0]) }):
		return e, false
	default:
		return item.kernels[0], true
	}
}

// grubLines are the lines of grub.cfg as lines has them: one that ends with a backslash,
// and is no comment, goes on in the next.
func grubLines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		number, start, comment := 0, 0, false
		var joined []byte
		whole := func() bool {
			text, _, _ := strings.Cut(string(joined), "\x00")
			joined = joined[:0]
			return yield(start, text)
		}
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
			if !whole() {
				return
			}
		}
		if len(joined) > 0 {
			whole()
		}
	}
}
