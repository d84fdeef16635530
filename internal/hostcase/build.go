package hostcase

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/kmodindex"
)

// Build writes the tree below root, which must exist: the files, the module
// directory with its indexes, and stand-ins for /proc and /sys below
// root/proc and root/sys.
func (c *Case) Build(root string) error {
	for _, e := range c.Tree() {
		if err := e.build(root); err != nil {
			return err
		}
	}
	return nil
}

func (e Entry) build(root string) error {
	name := filepath.Join(root, filepath.FromSlash(e.Path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch e.Kind {
	case File:
		return os.WriteFile(name, []byte(e.Content), e.mode())
	case Link:
		return os.Symlink(e.Content, name)
	case Dir:
		return os.MkdirAll(name, 0o755)
	case FIFO:
		return mkfifo(name)
	}
	return fmt.Errorf("entry %s: unknown kind %q", e.Path, e.Kind)
}

// mode is the file mode of an entry. What begins like a script or an ELF file may
// be executed.
func (e Entry) mode() fs.FileMode {
	switch {
	case e.Kind == Link:
		return fs.ModeSymlink | 0o777
	case e.Kind == Dir:
		return fs.ModeDir | 0o755
	case e.Kind == FIFO:
		return fs.ModeNamedPipe | 0o644
	case strings.HasPrefix(e.Content, "#!"), strings.HasPrefix(e.Content, "\x7fELF"):
		return 0o755
	default:
		return 0o644
	}
}

// FS is the same tree in memory. All of it was modified when the case's kernel
// booted.
func (c *Case) FS() fstest.MapFS {
	tree := fstest.MapFS{}
	for _, e := range c.Tree() {
		tree[follow(tree, e.Path)] = &fstest.MapFile{Data: []byte(e.Content), Mode: e.mode(), ModTime: time.Unix(bootTime, 0)}
	}
	return tree
}

// follow takes the links out of the directories of a name, as writing a file
// does.
func follow(tree fstest.MapFS, name string) string {
	name = path.Clean(name)
	for i := 0; i < len(name); i++ {
		if name[i] != '/' {
			continue
		}
		if f := tree[name[:i]]; f != nil && f.Mode&fs.ModeSymlink != 0 {
			target := string(f.Data)
			if !path.IsAbs(target) {
				target = path.Join(path.Dir(name[:i]), target)
			}
			return follow(tree, path.Join("/", target, name[i:])[1:])
		}
	}
	return name
}

// Tree is everything that the case has, in the order of writing.
func (c *Case) Tree() []Entry {
	tree := []Entry{{Kind: Dir, Path: "usr/lib"}}
	lib := "usr/lib"
	if c.Split {
		lib = "lib"
		tree = append(tree, Entry{Kind: Dir, Path: lib})
	} else {
		tree = append(tree, Entry{Kind: Link, Path: "lib", Content: "usr/lib"})
	}
	tree = append(tree, c.Entries...)
	tree = append(tree, c.modules(path.Join(lib, "modules", Release))...)
	for _, k := range c.Kernels {
		var dep kmodindex.Builder
		for _, name := range k.Modules {
			dep.Add(name, "kernel/"+name+".ko:", 0)
			tree = append(tree, Entry{File, path.Join(lib, "modules", k.Release, "kernel", name+".ko"), "MODULE " + name + "\n"})
		}
		tree = append(tree, Entry{File, path.Join(lib, "modules", k.Release, "modules.dep.bin"), string(dep.Bytes())})
	}
	return append(tree, c.kernel()...)
}

// modules are module files, which say in their text what they are, and the
// indexes that depmod would write.
func (c *Case) modules(dir string) (tree []Entry) {
	files := map[string]string{}
	for _, m := range c.Modules {
		files[m.Name] = m.File
	}
	var dep, alias, builtin, builtinAlias kmodindex.Builder
	for _, m := range c.Modules {
		line := m.File + ":"
		for _, need := range m.Needs {
			if !slices.Contains(c.Builtin, need) {
				line += " " + files[need]
			}
		}
		dep.Add(m.Name, line, 0)
		if !m.Gone {
			content := fmt.Sprintf("MODULE %s NEEDS %s\n", m.Name, strings.Join(m.Needs, ","))
			tree = append(tree, Entry{File, path.Join(dir, m.File), content})
		}
	}
	for i, a := range c.Aliases {
		alias.Add(a.Pattern, a.Name, uint32(i))
	}
	for _, name := range c.Builtin {
		builtin.Add(name, "", 0)
	}
	for i, a := range c.BuiltinAliases {
		builtinAlias.Add(a.Pattern, a.Name, uint32(i))
	}
	if len(c.Modules)+len(c.Builtin) == 0 {
		return tree
	}
	tree = append(tree, Entry{Kind: Dir, Path: dir})
	indexes := map[string]*kmodindex.Builder{
		"modules.dep.bin": &dep, "modules.alias.bin": &alias, "modules.symbols.bin": {},
		"modules.builtin.bin": &builtin, "modules.builtin.alias.bin": &builtinAlias,
	}
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		if !slices.Contains(c.Without, name) {
			tree = append(tree, Entry{File, path.Join(dir, name), string(indexes[name].Bytes())})
		}
	}
	return tree
}

// bootTime is when the case's kernel started.
const bootTime = 1700000000

func (c *Case) kernel() (tree []Entry) {
	zeroOne := map[bool]string{false: "0\n", true: "1\n"}
	helper := cmp.Or(c.Helper, "/sbin/modprobe")
	if c.NoHelper {
		helper = ""
	}
	files := map[string]string{
		"proc/cmdline":                                  c.Cmdline,
		"proc/modules":                                  "",
		"proc/stat":                                     fmt.Sprintf("btime %d\n", bootTime),
		"proc/sys/kernel/osrelease":                     Release + "\n",
		"proc/sys/kernel/modules_disabled":              zeroOne[c.ModulesDisabled],
		"proc/sys/kernel/modprobe":                      helper + "\n",
		"proc/sys/kernel/random/boot_id":                "11111111-2222-3333-4444-555555555555\n",
		"sys/module/kernel/parameters/module_blacklist": cmp.Or(c.Denied, "(null)") + "\n",
	}
	for _, name := range c.Live {
		files["sys/module/"+name+"/initstate"] = "live\n"
		users := ""
		for _, m := range c.Modules {
			if slices.Contains(c.Live, m.Name) && slices.Contains(m.Needs, name) {
				users += m.Name + ","
			}
		}
		files["proc/modules"] += name + " 16384 0 " + cmp.Or(users, "-") + " Live 0x0000000000000000\n"
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		tree = append(tree, Entry{File, name, files[name]})
	}
	return tree
}
