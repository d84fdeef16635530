package oracle

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/test/debian"
)

// TestGrubMenus: of generated menus, the real GRUB boots by default the entry that the
// inspection goes by (grub-emu, GRUB as a program). One entry of each menu, or more, has
// an argument that stops the module.
func TestGrubMenus(t *testing.T) {
	needPrograms(t)
	root, err := debian.Open(debian.Bookworm, "amd64").TreeWithDepends(t.Context(), "grub-emu")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(root, "menus-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	menus := 2000
	if testing.Short() {
		menus = 100
	}
	sure, differs := 0, 0
	for seed := range menus {
		g := grubMenus{r: rand.New(rand.NewPCG(uint64(seed), 1))}
		menu, env := g.menu(), g.environment()
		real, err := bootedByGrub(t.Context(), root, dir, menu, env)
		if err != nil {
			t.Fatalf("%v\n%s%s", err, menu, env)
		}
		c := &hostcase.Case{
			Kmod: 30, Systemd: 252, Cmdline: "root=/dev/sda2 ro\n", Live: []string{"sctp"},
			Modules: []hostcase.Module{{Name: "sctp", File: "kernel/net/sctp/sctp.ko"}},
			Entries: []hostcase.Entry{
				{Kind: hostcase.File, Path: "etc/modules-load.d/sctp.conf", Content: "sctp\n"},
				{Kind: hostcase.File, Path: "boot/grub/grub.cfg", Content: menu},
				{Kind: hostcase.File, Path: "boot/grub/grubenv", Content: env},
			},
		}
		ins, err := kmod.Inspect(t.Context(), kmod.Options{FS: c.FS(), KernelRelease: hostcase.Release, KmodVersion: c.Kmod, SystemdVersion: c.Systemd}, kmod.SCTP())
		if err != nil {
			t.Fatal(err)
		}
		if !ins.Next.Known || !strings.HasPrefix(real, "BOOTS ") {
			continue
		}
		sure++
		stops := len(ins.Next.Pending) > 0
		if is := strings.Contains(real, "module_blacklist=sctp"); is != stops {
			t.Errorf("seed %d: GRUB %s, the inspection has %+v\n%s%s", seed, real, ins.Next.Pending, menu, strings.TrimRight(env, "#"))
		} else if is {
			differs++
		}
	}
	t.Logf("of %d menus, sure of %d, %d of which have the argument", menus, sure, differs)
	if sure < menus/2 || differs < sure/10 {
		t.Error("that is too few")
	}
}

// booted is what the functions print that take the place of GRUB's commands.
var booted = regexp.MustCompile(`BOOTS [^\r\n]*`)

// bootedByGrub is the line that the entry prints which GRUB boots by default, "" if none
// was booted. dir is in root.
func bootedByGrub(ctx context.Context, root, dir, menu, env string) (string, error) {
	for name, text := range map[string]string{
		"grub.cfg": "function linux { echo BOOTS $1 $2 $3 $4; exit; }\nset timeout=0\n" + menu, "grubenv": env,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // where none is booted, it waits for a key
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/grub-emu", "-d", strings.TrimPrefix(dir, root), "-r", "host")
	cmd.Dir, cmd.Env = "/", []string{"TERM=dumb"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	line := booted.Find(out)
	if line == nil && err != nil && ctx.Err() == nil {
		return "", fmt.Errorf("grub-emu: %w\n%s", err, out)
	}
	return string(bytes.TrimSpace(line)), nil
}

// grubMenus makes one menu.
type grubMenus struct {
	r       *rand.Rand
	entry   int
	defined []string // titles, ids and paths
}

func (g *grubMenus) one(of ...string) string { return of[g.r.IntN(len(of))] }
func (g *grubMenus) often(percent int) bool  { return g.r.IntN(100) < percent }

// environment is GRUB's environment block.
func (g *grubMenus) environment() string {
	text := "# GRUB Environment Block\n"
	for _, name := range []string{"saved_entry", "next_entry", "prev_saved_entry", "other", "boot_counter"} {
		if g.often(35) {
			text += name + "=" + g.wanted() + "\n"
		}
	}
	return text + strings.Repeat("#", max(0, 1024-len(text)))
}

// wanted is a default that an administrator may name.
func (g *grubMenus) wanted() string {
	if len(g.defined) > 0 && g.often(50) {
		return g.one(g.defined...)
	}
	return g.one("0", "1", "2", "1>0", "1>1", "1>2", "2>0", "nowhere", "9", "1>nowhere", "nowhere>1", "01", "2x", "", "1>", "0>1")
}

func (g *grubMenus) menu() string {
	items := ""
	for range 1 + g.r.IntN(4) {
		items += g.item("", 0)
	}
	return g.header() + items + g.one("", "if [ -f $prefix/custom.cfg ]; then\n  source $prefix/custom.cfg\nfi\n", "set default="+g.one("1", "'1>0'")+"\n")
}

// header is what grub-mkconfig writes before the entries, and what people make of it.
func (g *grubMenus) header() string {
	text := g.one("load_env\n", "if [ -s $prefix/grubenv ]; then\n  load_env\nfi\n", "if [ -s $prefix/grubenv ]; then\n  set have_grubenv=true\n  load_env\nfi\n")
	value := g.wanted()
	quote := g.one(`"`, `'`)
	set := g.one("set default=", "default=") + quote + value + quote
	switch g.r.IntN(8) {
	case 0, 1, 2:
		text += "if [ \"${next_entry}\" ] ; then\n   set default=\"${next_entry}\"\n   set next_entry=\n   set boot_once=true\nelse\n   " + g.one(set, `set default="${saved_entry}"`) + "\nfi\n"
	case 3:
		text += "set default=\"${saved_entry}\"\n"
	case 4:
		text += set + "\nif [ \"${other}\" ]; then\n  set default=" + g.one("0", "1") + "\nfi\n"
	case 5:
		text += set + "\nif [ \"${boot_counter}\" = 0 ]; then\n  set default=1\nfi\n"
	case 6:
		text += set + "\n"
	}
	if g.often(50) {
		text += "if [ x\"${feature_menuentry_id}\" = xy ]; then\n  menuentry_id_option=\"--id\"\nelse\n  menuentry_id_option=\"\"\nfi\nexport menuentry_id_option\n"
	} else {
		text += "menuentry_id_option=\"--id\"\n"
		if g.often(80) {
			text += "export menuentry_id_option\n"
		}
	}
	if g.often(40) {
		text += "if [ \"${prev_saved_entry}\" ]; then\n  set saved_entry=\"${prev_saved_entry}\"\n  set prev_saved_entry=\n  set boot_once=true\nfi\n"
	}
	if g.often(40) {
		text += "function savedefault {\n  if [ -z \"${boot_once}\" ]; then\n    saved_entry=\"${chosen}\"\n  fi\n}\nfunction load_video {\n  if [ x$feature_all_video_module = xy ]; then\n    true\n  else\n    true\n  fi\n}\n"
	}
	return text
}

// item is an entry, or a submenu with some.
func (g *grubMenus) item(path string, depth int) string {
	indent := strings.Repeat("\t", depth)
	title := g.one("Debian", "Debian GNU/Linux", "Linux 6.1", "a>b", "1", "2 x", "with 'x", "other", "Advanced options")
	id, option := title, ""
	if g.often(60) {
		id = g.one("simple-1", "advanced-2", "x>y", "3", "other", "gnulinux-6.1")
		option = g.one(" --id ", " $menuentry_id_option ") + "'" + id + "'"
	}
	quoted := `"` + title + `"`
	if !strings.Contains(title, "'") && g.often(70) {
		quoted = "'" + title + "'"
	}
	escape := func(s string) string { return path + strings.ReplaceAll(s, ">", ">>") }
	g.defined = append(g.defined, escape(title), escape(id), title)
	class := g.one("", " --class debian --class gnu-linux", " --unrestricted")
	if depth < 2 && g.often(25) {
		text := indent + "submenu " + quoted + class + option + " {\n"
		for range 1 + g.r.IntN(3) {
			text += g.item(escape(id)+">", depth+1)
		}
		return text + indent + "}\n"
	}
	if g.often(10) {
		return indent + "if [ \"${" + g.one("other", "nothing") + "}\" ]; then\n" + g.plain(indent+"\t", quoted+class+option) + indent + "fi\n"
	}
	return g.plain(indent, quoted+class+option)
}

func (g *grubMenus) plain(indent, head string) string {
	g.entry++
	args := fmt.Sprintf("n=%d ro", g.entry)
	if g.often(40) {
		args = fmt.Sprintf("n=%d module_blacklist=sctp", g.entry)
	}
	body := g.one("", "load_video\n", "if [ x$grub_platform = xxen ]; then true; fi\n", "savedefault\n", "echo 'Loading {'\n")
	return indent + "menuentry " + head + " {\n" + indent + "\t" + body + indent + "\tlinux /boot/vmlinuz-" + hostcase.Release + " " + args + "\n" + indent + "\techo done\n" + indent + "}\n"
}
