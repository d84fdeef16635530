// Package hostcase describes small host roots in text, one entry a line, and
// builds them on disk: what the tests of pkg/kmod and the oracle that compares
// it with the real programs have in common.
//
// A case begins with comment lines, its story. Then, in any order:
//
//	kmod 30                       version whose rules apply
//	systemd 252
//	layout split                  /lib is a directory of its own; default: a link to usr/lib
//	file PATH "CONTENT"           a Go string literal, so that any byte can stand in it
//	link PATH "TARGET"
//	dir PATH
//	fifo PATH
//	cmdline "CONTENT"             /proc/cmdline
//	module NAME [FILE [NEEDS...]] a loadable module; FILE is relative to the module directory
//	gone NAME                     its file is missing, though indexed
//	alias PATTERN NAME            in modules.alias.bin, normalised
//	builtin NAME
//	builtinalias PATTERN NAME
//	without INDEX                 this index does not exist
//	live NAME                     /sys/module/NAME/initstate
//	modules-disabled              /proc/sys/kernel/modules_disabled is 1
//	no-helper                     /proc/sys/kernel/modprobe is empty
//	helper PATH                   /proc/sys/kernel/modprobe; default: /sbin/modprobe
//	denied LIST                   the kernel's module_blacklist
//	kernel RELEASE [MODULE...]    another kernel's index, which has these modules
//	want CALLER ANSWER            what the real programs did; see the tests
package hostcase

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Release is the kernel release of every case.
const Release = "5.14.0-427.el9.x86_64"

// EntryKind is what an entry of a tree is.
type EntryKind string

const (
	File EntryKind = "file"
	Link EntryKind = "link"
	Dir  EntryKind = "dir"
	FIFO EntryKind = "fifo"
)

// Entry is one file of the tree; Path is relative to the root.
type Entry struct {
	Kind    EntryKind
	Path    string
	Content string // or the target of a link
}

// Module is one loadable module.
type Module struct {
	Name  string
	File  string // relative to the module directory
	Needs []string
	Gone  bool
}

// Kernel is another kernel in the root, with the names of its modules.
type Kernel struct {
	Release string
	Modules []string
}

// Alias is one line of an alias index.
type Alias struct{ Pattern, Name string }

// Case is one host root with its kernel, and what is known of it.
type Case struct {
	Story           string
	Kmod, Systemd   int
	Split           bool
	Entries         []Entry
	Cmdline         string
	Modules         []Module
	Aliases         []Alias
	Builtin         []string
	BuiltinAliases  []Alias
	Without         []string
	Live            []string
	ModulesDisabled bool
	NoHelper        bool
	Helper          string
	Kernels         []Kernel
	Denied          string
	Want            map[string]string
}

// Format writes the case as text that Parse reads back.
func (c *Case) Format() string {
	var b strings.Builder
	for line := range strings.Lines(c.Story) {
		fmt.Fprintf(&b, "# %s\n", strings.TrimRight(line, "\n"))
	}
	fmt.Fprintf(&b, "kmod %d\nsystemd %d\n", c.Kmod, c.Systemd)
	if c.Split {
		b.WriteString("layout split\n")
	}
	for _, e := range c.Entries {
		switch e.Kind {
		case File, Link:
			fmt.Fprintf(&b, "%s %s %q\n", e.Kind, e.Path, e.Content)
		default:
			fmt.Fprintf(&b, "%s %s\n", e.Kind, e.Path)
		}
	}
	if c.Cmdline != "" {
		fmt.Fprintf(&b, "cmdline %q\n", c.Cmdline)
	}
	for _, m := range c.Modules {
		fmt.Fprintf(&b, "module %s\n", strings.Join(append([]string{m.Name, m.File}, m.Needs...), " "))
		if m.Gone {
			fmt.Fprintf(&b, "gone %s\n", m.Name)
		}
	}
	for _, a := range c.Aliases {
		fmt.Fprintf(&b, "alias %s %s\n", a.Pattern, a.Name)
	}
	for _, name := range c.Builtin {
		fmt.Fprintf(&b, "builtin %s\n", name)
	}
	for _, a := range c.BuiltinAliases {
		fmt.Fprintf(&b, "builtinalias %s %s\n", a.Pattern, a.Name)
	}
	for _, name := range c.Without {
		fmt.Fprintf(&b, "without %s\n", name)
	}
	for _, name := range c.Live {
		fmt.Fprintf(&b, "live %s\n", name)
	}
	if c.ModulesDisabled {
		b.WriteString("modules-disabled\n")
	}
	if c.NoHelper {
		b.WriteString("no-helper\n")
	}
	if c.Helper != "" {
		fmt.Fprintf(&b, "helper %s\n", c.Helper)
	}
	if c.Denied != "" {
		fmt.Fprintf(&b, "denied %s\n", c.Denied)
	}
	for _, k := range c.Kernels {
		fmt.Fprintf(&b, "kernel %s\n", strings.Join(append([]string{k.Release}, k.Modules...), " "))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Want)) {
		fmt.Fprintf(&b, "want %s %s\n", k, c.Want[k])
	}
	return b.String()
}

// Parse reads one case.
func Parse(r io.Reader) (*Case, error) {
	c := &Case{Want: map[string]string{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if story, ok := strings.CutPrefix(line, "#"); ok {
			if c.Story != "" {
				c.Story += "\n"
			}
			c.Story += strings.TrimPrefix(story, " ")
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := c.parseLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return c, lines.Err()
}

func (c *Case) parseLine(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	fields := strings.Fields(rest)
	need := func(n int) error {
		if len(fields) < n {
			return fmt.Errorf("%q: too few words", line)
		}
		return nil
	}
	var err error
	switch word {
	case "kmod":
		c.Kmod, err = strconv.Atoi(rest)
	case "systemd":
		c.Systemd, err = strconv.Atoi(rest)
	case "layout":
		c.Split = rest == "split"
	case "file", "link":
		name, quoted, _ := strings.Cut(rest, " ")
		e := Entry{Kind: EntryKind(word), Path: name}
		e.Content, err = strconv.Unquote(quoted)
		c.Entries = append(c.Entries, e)
	case "dir", "fifo":
		c.Entries = append(c.Entries, Entry{Kind: EntryKind(word), Path: rest})
	case "cmdline":
		c.Cmdline, err = strconv.Unquote(rest)
	case "module":
		if err = need(1); err != nil {
			return err
		}
		m := Module{Name: fields[0], File: "kernel/" + fields[0] + ".ko"}
		if len(fields) > 1 {
			m.File, m.Needs = fields[1], fields[2:]
		}
		c.Modules = append(c.Modules, m)
	case "gone":
		for i := range c.Modules {
			if c.Modules[i].Name == rest {
				c.Modules[i].Gone = true
			}
		}
	case "alias", "builtinalias":
		if err = need(2); err != nil {
			return err
		}
		a := Alias{fields[0], fields[1]}
		if word == "alias" {
			c.Aliases = append(c.Aliases, a)
		} else {
			c.BuiltinAliases = append(c.BuiltinAliases, a)
		}
	case "builtin":
		c.Builtin = append(c.Builtin, rest)
	case "without":
		c.Without = append(c.Without, rest)
	case "live":
		c.Live = append(c.Live, rest)
	case "modules-disabled":
		c.ModulesDisabled = true
	case "no-helper":
		c.NoHelper = true
	case "kernel":
		if err = need(1); err != nil {
			return err
		}
		c.Kernels = append(c.Kernels, Kernel{fields[0], fields[1:]})
	case "helper":
		c.Helper = rest
	case "denied":
		c.Denied = rest
	case "want":
		key, value, _ := strings.Cut(rest, " ")
		c.Want[key] = value
	default:
		return fmt.Errorf("%q: unknown word", line)
	}
	return err
}
