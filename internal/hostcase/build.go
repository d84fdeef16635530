package hostcase

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Build writes the tree below root, which must exist: the files, the module
// directory with its indexes, and stand-ins for /proc and /sys below
// root/proc and root/sys.
func (c *Case) Build(root string) error {
	lib := filepath.Join(root, "usr/lib")
	if err := os.MkdirAll(lib, 0o755); err != nil {
		return err
	}
	if c.Split {
		lib = filepath.Join(root, "lib")
		if err := os.MkdirAll(lib, 0o755); err != nil {
			return err
		}
	} else if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		return err
	}
	for _, e := range c.Entries {
		if err := e.build(root); err != nil {
			return err
		}
	}
	if err := c.buildModules(filepath.Join(lib, "modules", Release)); err != nil {
		return err
	}
	return c.buildKernel(root)
}

func (e Entry) build(root string) error {
	name := filepath.Join(root, e.Path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch e.Kind {
	case File:
		return os.WriteFile(name, []byte(e.Content), 0o644)
	case Link:
		return os.Symlink(e.Content, name)
	case Dir:
		return os.MkdirAll(name, 0o755)
	case FIFO:
		return unix.Mkfifo(name, 0o644)
	}
	return fmt.Errorf("entry %s: unknown kind %q", e.Path, e.Kind)
}

// buildModules writes module files, which say in their text what they are, and
// the indexes that depmod would write.
func (c *Case) buildModules(dir string) error {
	files := map[string]string{}
	for _, m := range c.Modules {
		files[m.Name] = m.File
	}
	var dep, alias, builtin, builtinAlias Index
	for _, m := range c.Modules {
		line := m.File + ":"
		for _, need := range m.Needs {
			line += " " + files[need]
		}
		dep.Add(m.Name, line, 0)
		if m.Gone {
			continue
		}
		name := filepath.Join(dir, m.File)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		content := fmt.Sprintf("MODULE %s NEEDS %s\n", m.Name, strings.Join(m.Needs, ","))
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
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
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, x := range map[string]*Index{
		"modules.dep.bin": &dep, "modules.alias.bin": &alias, "modules.symbols.bin": {},
		"modules.builtin.bin": &builtin, "modules.builtin.alias.bin": &builtinAlias,
	} {
		if slices.Contains(c.Without, name) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), x.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (c *Case) buildKernel(root string) error {
	zeroOne := map[bool]string{false: "0\n", true: "1\n"}
	helper := "/sbin/modprobe\n"
	if c.NoHelper {
		helper = "\n"
	}
	denied := c.Denied
	if denied == "" {
		denied = "(null)"
	}
	files := map[string]string{
		"proc/cmdline":                                  c.Cmdline,
		"proc/modules":                                  "",
		"proc/stat":                                     "btime 1700000000\n",
		"proc/sys/kernel/osrelease":                     Release + "\n",
		"proc/sys/kernel/modules_disabled":              zeroOne[c.ModulesDisabled],
		"proc/sys/kernel/modprobe":                      helper,
		"proc/sys/kernel/random/boot_id":                "11111111-2222-3333-4444-555555555555\n",
		"sys/module/kernel/parameters/module_blacklist": denied + "\n",
	}
	for _, name := range c.Live {
		files["sys/module/"+name+"/initstate"] = "live\n"
		files["proc/modules"] += name + " 16384 0 - Live 0x0000000000000000\n"
	}
	for name, content := range files {
		if err := (Entry{Kind: File, Path: name, Content: content}).build(root); err != nil {
			return err
		}
	}
	return nil
}
