package oracle

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// Generate makes the nth random host root of a seed for one version: what
// administrators, distributions and hardening scripts write, what they get
// wrong, and now and then bytes that nobody writes. The same arguments give
// the same root.
func Generate(v Version, seed uint64, n int) *hostcase.Case {
	c, _ := generate(v, seed, n)
	return c
}

// generate also says which rare constructs are in the root.
func generate(v Version, seed uint64, n int) (*hostcase.Case, map[string]bool) {
	g := &generator{
		Rand: rand.New(rand.NewPCG(seed<<8|uint64(v.Kmod)+uint64(max(v.Systemd, 257)-257), uint64(n))),
		rare: map[string]bool{},
		c:    &hostcase.Case{Story: fmt.Sprintf("Generated: seed %d, number %d.", seed, n), Kmod: v.Kmod, Systemd: v.Systemd},
	}
	g.kernel()
	g.layout()
	g.modprobeFiles()
	g.modulesLoadFiles()
	g.c.Cmdline = g.arguments()
	if g.rarely(5, "arguments of the firmware") {
		const file = "run/systemd/efivars/SystemdOptions-8cf2644b-4b0b-428f-9387-6d876050dc67"
		g.c.Entries = append(g.c.Entries, hostcase.Entry{Kind: hostcase.File, Path: file, Content: g.arguments()})
	}
	g.helper()
	g.oddDirectories()
	if v.BusyBox && g.chance(20) {
		// Little else is known of what it loads.
		g.c.Denied, g.c.ModulesDisabled = pick(g, "sctp", "dummy,sctp", "sctpx"), g.chance(30)
	}
	return g.c, g.rare
}

type generator struct {
	*rand.Rand
	c    *hostcase.Case
	rare map[string]bool
	used map[string]bool
	// linkTargets are files outside the configuration directories.
	hasDir map[string]bool
}

// chance is true in percent of all calls.
func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// rarely is chance for a construct that is counted.
func (g *generator) rarely(percent int, construct string) bool {
	if !g.chance(percent) {
		return false
	}
	g.rare[construct] = true
	return true
}

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// weighted picks by weight.
func (g *generator) weighted(choices map[string]int) string {
	var keys []string
	total := 0
	for k, w := range choices {
		keys = append(keys, k)
		total += w
	}
	slices.Sort(keys)
	n := g.IntN(total)
	for _, k := range keys {
		if n -= choices[k]; n < 0 {
			return k
		}
	}
	panic("unreachable")
}

func (g *generator) kernel() {
	c := g.c
	sctpNeeds := []string{"udp_tunnel", "ip6_udp_tunnel", "libcrc32c"}
	if g.chance(30) {
		sctpNeeds = []string{"libcrc32c"}
	}
	gone := func() bool { return g.chance(2) }
	for _, name := range []string{"udp_tunnel", "ip6_udp_tunnel", "libcrc32c", "crc32c_generic", "dummy", "inet_diag"} {
		c.Modules = append(c.Modules, hostcase.Module{Name: name, File: "kernel/lib/" + name + ".ko", Gone: gone()})
	}
	if !g.chance(4) {
		file := "kernel/net/sctp/sctp.ko"
		if g.chance(10) {
			file = "extra/sctp.ko"
		} else if g.rarely(5, "weak-updates") {
			file = "weak-updates/net/sctp/sctp.ko"
		}
		c.Modules = append(c.Modules, hostcase.Module{Name: "sctp", File: file, Needs: sctpNeeds, Gone: gone()})
		c.Modules = append(c.Modules, hostcase.Module{Name: "sctp_diag", File: "kernel/net/sctp/sctp_diag.ko",
			Needs: append([]string{"sctp", "inet_diag"}, sctpNeeds...), Gone: gone()})
	}
	for _, a := range []hostcase.Alias{
		{Pattern: "net_pf_2_proto_132", Name: "sctp"},
		{Pattern: "net_pf_10_proto_132", Name: "sctp"},
		{Pattern: "net_pf_16_proto_4_type_2_132", Name: "sctp_diag"},
	} {
		if !g.chance(3) {
			c.Aliases = append(c.Aliases, a)
		}
	}
	if g.chance(6) {
		c.Aliases = append(c.Aliases, hostcase.Alias{
			Pattern: pick(g, "net_pf_*_proto_132", "net_pf_[12]*_proto_132*", "net_pf_2_proto_132_type_?", "net_*", "net_pf_2_proto_13[!1]"),
			Name:    pick(g, "sctp", "sctp", "dummy", "nonexistent"),
		})
	}
	if g.chance(2) {
		c.Builtin = append(c.Builtin, "sctp")
	}
	if g.rarely(5, "built-in dependency") {
		// The file asks for its symbols, and modules.dep does not list it.
		name := pick(g, "libcrc32c", "udp_tunnel")
		c.Builtin = append(c.Builtin, name)
		c.Modules = slices.DeleteFunc(c.Modules, func(m hostcase.Module) bool { return m.Name == name })
	}
	if g.chance(4) {
		c.BuiltinAliases = append(c.BuiltinAliases, hostcase.Alias{Pattern: pick(g, "net_pf_2_proto_132", "crypto_crc32c"), Name: "kernelthing"})
	}
	if g.chance(5) {
		c.Without = append(c.Without, pick(g, "modules.dep.bin", "modules.alias.bin", "modules.builtin.bin", "modules.builtin.alias.bin", "modules.symbols.bin"))
	}
	for _, name := range []string{"udp_tunnel", "libcrc32c", "dummy", "inet_diag"} {
		if g.chance(10) {
			c.Live = append(c.Live, name)
		}
	}
	c.ModulesDisabled = g.chance(1)
	c.NoHelper = g.chance(1)
	if g.chance(3) {
		c.Denied = pick(g, "sctp", "dummy,sctp", "libcrc32c", "sctp_diag", "sctpx", "udp-tunnel,sctp")
	}
	if g.chance(12) {
		// modules.softdep is what depmod collects from the modules.
		g.file(path.Join("usr/lib/modules", hostcase.Release, "modules.softdep"),
			"# Soft dependencies extracted from modules themselves.\n"+pick(g,
				"softdep libcrc32c pre: crc32c_generic\n",
				"softdep sctp pre: crc32c_generic\n",
				"softdep sctp_diag post: sctp\n",
				"softdep libcrc32c pre: nonexistent\n"))
	}
}

func (g *generator) layout() {
	if g.chance(20) {
		g.c.Split = true
		for i := range g.c.Entries {
			// The module directory is below /lib itself then.
			g.c.Entries[i].Path = strings.TrimPrefix(g.c.Entries[i].Path, "usr/")
		}
	}
}

func (g *generator) file(name, content string) {
	g.c.Entries = append(g.c.Entries, hostcase.Entry{Kind: hostcase.File, Path: name, Content: content})
}

// entry puts one entry into a configuration directory, at most one of a name.
func (g *generator) entry(dir, name string, content func() string) {
	full := path.Join(dir, name)
	if g.used == nil {
		g.used, g.hasDir = map[string]bool{}, map[string]bool{}
	}
	if g.used[full] {
		return
	}
	g.used[full] = true
	e := hostcase.Entry{Kind: hostcase.File, Path: full}
	switch g.weighted(map[string]int{"file": 84, "empty": 4, "null": 4, "link": 4, "dangling": 2, "loop": 1, "dir": 1}) {
	case "file":
		e.Content = content()
	case "null":
		e.Kind, e.Content = hostcase.Link, pick(g, "/dev/null", "/dev/null", "../../../dev/null")
		if e.Content[0] == '.' {
			e.Content = strings.Repeat("../", strings.Count(dir, "/")+1) + "dev/null"
		}
	case "link":
		target := "opt/conf/" + strings.ReplaceAll(full, "/", "_")
		g.file("usr/share/"+target, content())
		e.Kind = hostcase.Link
		e.Content = pick(g, "/usr/share/"+target, strings.Repeat("../", strings.Count(dir, "/")+1)+"usr/share/"+target,
			"/../../../usr/share/"+target)
	case "dangling":
		if g.hasDir[dir] {
			return // see Root.byChance
		}
		e.Kind, e.Content = hostcase.Link, pick(g, "/nowhere/x.conf", "nowhere", "/etc/passwd/x")
	case "loop":
		if g.hasDir[dir] {
			return
		}
		e.Kind, e.Content = hostcase.Link, name
	case "dir":
		for _, o := range g.c.Entries {
			if path.Dir(o.Path) == dir && o.Kind == hostcase.Link {
				return
			}
		}
		g.hasDir[dir] = true
		e.Kind = hostcase.Dir
	}
	g.c.Entries = append(g.c.Entries, e)
}

func (g *generator) dirs(below string) []string {
	dirs := []string{"etc/" + below, "run/" + below, "usr/local/lib/" + below, "usr/lib/" + below}
	if g.c.Split {
		dirs = append(dirs, "lib/"+below)
	}
	return dirs
}

func (g *generator) modprobeFiles() {
	names := map[string]int{
		"sctp.conf": 10, "sctp-blacklist.conf": 12, "a.conf": 4, "Z.conf": 4, "10-local.conf": 4, "99-hardening.conf": 5,
		"modules.conf": 3, "x.alias": 2, "sctp.conf~": 1, "sctp": 1, ".hidden.conf": 1, "B.CONF": 1, "sctp.conf.rpmsave": 1,
		".conf": 1, "sctp.cnf": 1, "m.conf": 2, "n.conf": 2, "\xc3\xa9.conf": 1, "a b.conf": 1,
	}
	if g.chance(2) {
		// The directory is a link to another one.
		g.c.Entries = append(g.c.Entries, hostcase.Entry{Kind: hostcase.Link, Path: "run/modprobe.d", Content: pick(g, "/etc/modprobe.d", "/opt/none", "../usr/share/m.d")})
		g.file("usr/share/m.d/linked.conf", g.modprobeFile())
		for _, d := range g.dirs("modprobe.d") {
			if d != "run/modprobe.d" {
				g.fill(d, names)
			}
		}
		return
	}
	if g.chance(1) {
		g.file("run/modprobe.d", g.modprobeFile())
		g.fill("etc/modprobe.d", names)
		g.fill("usr/lib/modprobe.d", names)
		return
	}
	for _, d := range g.dirs("modprobe.d") {
		g.fill(d, names)
	}
}

func (g *generator) fill(dir string, names map[string]int) {
	if !g.chance(map[bool]int{true: 85, false: 30}[strings.HasPrefix(dir, "etc")]) {
		return
	}
	for range 1 + g.IntN(3) {
		g.entry(dir, g.weighted(names), g.modprobeFile)
	}
}

// modprobeFile is the text of one file of modprobe.d.
func (g *generator) modprobeFile() string {
	var b strings.Builder
	if g.chance(1) {
		b.WriteString("\ufeff")
	}
	lines := g.IntN(5)
	if g.rarely(2, "many lines") {
		lines = 20 + g.IntN(80)
	}
	for range lines {
		if g.rarely(1, "long line") {
			b.WriteString(g.longLine())
		} else {
			b.WriteString(g.line())
		}
		switch {
		case g.chance(3):
			b.WriteString("\r\n")
		case g.chance(1):
			b.WriteString("\\\r\n")
		default:
			b.WriteString("\n")
		}
	}
	return g.smudge(b.String())
}

// longLine is one that is longer than readers' buffers, or is joined of many.
func (g *generator) longLine() string {
	switch g.IntN(4) {
	case 0:
		return "#" + strings.Repeat("x", 4000+g.IntN(6000))
	case 1:
		return "blacklist" + strings.Repeat(" ", 4080+g.IntN(40)) + "sctp"
	case 2:
		return "install sctp /bin/true" + strings.Repeat(" ;/bin/true", 300+g.IntN(200))
	}
	return strings.Repeat("\\\n", 50+g.IntN(100)) + "blacklist sctp"
}

// smudge does to a text what editors, scripts and broken disks do.
func (g *generator) smudge(s string) string {
	if g.chance(12) {
		s = strings.TrimSuffix(s, "\n")
	}
	if g.chance(2) {
		s += "\\"
	}
	if len(s) > 0 && g.chance(4) {
		i := g.IntN(len(s))
		switch g.IntN(6) {
		case 0:
			s = s[:i] + "\\\n" + s[i:]
		case 1:
			s = s[:i] + "\\" + s[i:]
		case 2:
			s = s[:i] + "\x00" + s[i:]
		case 3:
			s = s[:i] + string([]byte{byte(g.IntN(256))}) + s[i+1:]
		case 4:
			s = s[:i] + s[i+1:]
		case 5:
			s = s[:i] + pick(g, "\t", " ", "\v", "\f", "\r", "#", "-", "[", "]", "*", "\n") + s[i:]
		}
	}
	return s
}

func (g *generator) sep() string {
	return g.weighted(map[string]int{" ": 80, "\t": 8, "  ": 6, " \t ": 4, "\v": 1, "\u00a0": 1})
}

func (g *generator) moduleName() string {
	return g.weighted(map[string]int{
		"sctp": 50, "sctp_diag": 5, "sctp-diag": 4, "SCTP": 1, "sctp.ko": 2, "sctpp": 1, "\"sctp\"": 1, "dummy": 4, "libcrc32c": 5,
		"udp_tunnel": 3, "udp-tunnel": 3, "dccp": 3, "crc32c_generic": 2, "nonexistent": 2, "sctp,dccp": 1, "sctp#x": 1, "net/sctp": 1,
	})
}

func (g *generator) pattern() string {
	if g.chance(60) {
		return g.moduleName()
	}
	return g.weighted(map[string]int{
		"net-pf-2-proto-132": 14, "net-pf-10-proto-132": 8, "net-pf-2-proto-132-type-1": 5, "net-pf-10-proto-132-type-1": 3,
		"net-pf-*-proto-132": 5, "net-pf-2-proto-*": 3, "net-pf-*": 2, "net_pf_2_proto_132": 3, "sctp*": 4, "sct?": 2, "[rs]ctp": 2,
		"[!a]ctp": 1, "s[a-d]tp": 1, "s[-c]tp": 1, "*": 2, "sc[tp": 1, "sctp]": 1, "*tp": 1, "\\\\sctp": 1, "net-pf-16-proto-4-type-2-132": 2,
		"net-pf-2-proto-132*": 2, "libcrc*": 2, "???p": 1, "*_*": 1,
	})
}

func (g *generator) target() string {
	return g.weighted(map[string]int{"off": 6, "sctp": 8, "dummy": 4, "null": 2, "sctp_diag": 2, "sctp-diag": 1, "nonexistent": 2, "libcrc32c": 1, "/bin/true": 1})
}

func (g *generator) command() string {
	if g.rarely(12, "free shell grammar") {
		return g.shell(2)
	}
	return g.weighted(map[string]int{
		"/bin/true": 14, "/bin/false": 14, "/usr/bin/true": 3, ":": 2, "true": 2, "false": 2, "exit 0": 2, "exit 3": 2, "exit": 1,
		"/bin/true # off": 2, "/bin/false ; exit 0": 1, "echo no; /bin/false": 1, "/bin/echo no": 1, "/bin/nonexistent": 1,
		"/sbin/modprobe --ignore-install sctp $CMDLINE_OPTS": 4, "/sbin/modprobe -i sctp": 4, "modprobe -qi sctp && true": 2,
		"/bin/false || /sbin/modprobe -i sctp": 2, "/bin/true || /sbin/modprobe -i sctp": 1, "/sbin/modprobe dummy; /sbin/modprobe -i sctp": 1,
		"/sbin/modprobe -i sctp_diag": 1, "/sbin/modprobe -i libcrc32c": 2, "/sbin/modprobe -b -i sctp": 1, "exit 256": 1,
		"/bin/true >/dev/null 2>&1": 2, "/sbin/modprobe nonexistent || /bin/true": 1, "/sbin/modprobe --ignore-install net-pf-2-proto-132": 1,
		"/bin/sh -c '/sbin/modprobe -i sctp'": 1, "'/bin/false'": 1, "{ /sbin/modprobe -i sctp; }": 1, "/sbin/modprobe -n -i sctp": 1,
		"/bin/true;": 1, "; /bin/true": 1, "/sbin/modprobe -a -i sctp dummy": 1, "": 1,
	})
}

// shell is a line of the shell's grammar (POSIX, "Shell Command Language"), and
// now and then not quite of it.
func (g *generator) shell(depth int) string {
	simple := func() string {
		return g.weighted(map[string]int{
			"/sbin/modprobe -i sctp": 12, "/bin/true": 5, "/bin/false": 5, "true": 2, "false": 2, ":": 2, "exit 0": 1, "exit 1": 2, "exit": 1,
			"echo x": 2, "echo \"a b\"": 1, "echo 'a;b'": 1, "printf x": 1, "printf": 1, "printf %d x": 1, "A=b": 1, "A=b /bin/true": 1,
			"/bin/false >/dev/null": 1, "/bin/true 2>&1": 1, "/bin/true </dev/null": 1, "/bin/true >>/run/x": 1, "test -e /etc": 1, "[ -e /x ]": 1,
			"command /bin/true": 1, "exec /bin/false": 1, "\"/bin/true\"": 1, "/bin/tr''ue": 1, "'": 1, "\"": 1, "`false`": 1, "$(true)": 1, "$X": 1,
			"/bin/true;": 1, "fi": 1, "done": 1, "then": 1, "esac": 1, "}": 1, ")": 1, "!": 1, "-": 1, "exit x": 1, "exit +0": 1, "exit 0 1": 1,
			"/bin/true #": 1, "#": 1, "modprobe": 1, "/sbin/modprobe -i sctp #x": 1, "/sbin/modprobe nonexistent": 1, "/bin/sh -c true": 1,
			"/bin/sh -c '/sbin/modprobe -i sctp; false'": 1, "/bin/sh -c 'exit 2' x": 1, "/bin/sh -ec 'false; /sbin/modprobe -i sctp'": 1,
		})
	}
	if depth == 0 {
		return simple()
	}
	a, b := g.shell(depth-1), g.shell(depth-1)
	switch g.weighted(map[string]int{"one": 30, "list": 20, "and": 15, "or": 15, "pipe": 4, "background": 2, "subshell": 3, "group": 3, "not": 3, "if": 3, "for": 1, "case": 1, "odd": 6, "redirection": 4}) {
	case "list":
		return a + pick(g, ";", "; ", " ; ") + b
	case "and":
		return a + pick(g, "&&", " && ") + b
	case "or":
		return a + pick(g, "||", " || ") + b
	case "pipe":
		return a + " | " + b
	case "background":
		return a + " & " + b
	case "subshell":
		return "(" + a + ")"
	case "group":
		return "{ " + a + "; }"
	case "not":
		return "! " + a
	case "if":
		return "if " + a + "; then " + b + "; fi"
	case "for":
		return "for i in 1 2; do " + a + "; done"
	case "case":
		return "case x in x) " + a + ";; esac"
	case "odd":
		return a + pick(g, " ;; ", "; ;", " &&", " ||", " |", " &", "&& ;", " || && ", " ; fi", " then ") + pick(g, "", b)
	case "redirection": // never into a program
		return a + pick(g, " >", " <", " >&", " 2>", ">>", " <>") + pick(g, "", "/dev/null", " /run/x", "3", "&-") + pick(g, "", "; "+b)
	}
	return a
}

func (g *generator) softdeps() string {
	words := func() string {
		var w []string
		for range g.IntN(3) {
			w = append(w, pick(g, "dummy", "crc32c_generic", "nonexistent", "sctp", "net-pf-2-proto-132", "udp-tunnel", "sctp_diag", "sc]tp"))
		}
		return strings.Join(w, pick(g, " ", " ", "\t", "  "))
	}
	switch g.IntN(6) {
	case 0:
		return "pre: " + words()
	case 1:
		return "post: " + words()
	case 2:
		return words()
	case 3:
		return "pre:" + words()
	}
	return "pre: " + words() + " post: " + words()
}

// line is one line of modprobe.d.
func (g *generator) line() string {
	tail := g.weighted(map[string]int{"": 85, " ": 4, "\t": 2, " # why": 4, "#why": 1, " dccp": 2, "\r": 2})
	indent := g.weighted(map[string]int{"": 92, " ": 4, "\t": 4})
	switch g.weighted(map[string]int{
		"blacklist": 34, "install": 26, "alias": 14, "softdep": 8, "options": 4, "remove": 3, "weakdep": 1, "include": 1,
		"comment": 10, "blank": 3, "junk": 4, "misspelt": 4,
	}) {
	case "blacklist":
		return indent + "blacklist" + g.sep() + g.moduleName() + tail
	case "install":
		return indent + "install" + g.sep() + g.pattern() + g.sep() + g.command() + tail
	case "alias":
		return indent + "alias" + g.sep() + g.pattern() + g.sep() + g.target() + tail
	case "softdep":
		return indent + "softdep" + g.sep() + g.pattern() + g.sep() + g.softdeps() + tail
	case "options":
		return "options" + g.sep() + g.moduleName() + g.sep() + "no_checksums=1" + tail
	case "remove":
		return "remove" + g.sep() + g.pattern() + g.sep() + "/bin/true"
	case "weakdep":
		return "weakdep sctp dummy"
	case "include":
		return "include /etc/modprobe.d/more"
	case "comment":
		return indent + "#" + pick(g, "", " blacklist sctp", " why not \\", "blacklist sctp") + tail
	case "junk":
		return pick(g, "x23x23x23", "sctp", "install sctp/bin/false", "blacklist", "install sctp", "alias sctp", "blacklist\\", ";blacklist sctp", "\\", "blacklist sctp\x00dccp")
	case "misspelt":
		return pick(g, "BLACKLIST", "denylist", "blacklst", "Install", "black\\\nlist", "blacklist\\\n") + g.sep() + g.moduleName() + pick(g, "", " /bin/false")
	}
	return ""
}

func (g *generator) modulesLoadFiles() {
	names := map[string]int{
		"sctp.conf": 10, "sctp-load.conf": 12, "a.conf": 3, "Z.conf": 3, "modules.conf": 4, "sctp": 1, ".hidden.conf": 1,
		"sctp.conf~": 1, "s.conf.bak": 1, "B.CONF": 1, ".conf": 1,
	}
	for i, d := range g.dirs("modules-load.d") {
		if !g.chance([]int{45, 6, 6, 15, 10}[i]) {
			continue
		}
		for range 1 + g.IntN(2) {
			g.entry(d, g.weighted(names), g.modulesLoadFile)
		}
	}
}

func (g *generator) modulesLoadFile() string {
	var b strings.Builder
	for range g.IntN(4) {
		b.WriteString(g.weighted(map[string]int{
			"sctp": 40, "  sctp\t": 3, "sctp # why": 3, "sctp#why": 1, "# sctp": 5, ";sctp": 2, " # sctp": 2, "sctp_diag": 4, "sctp-diag": 3,
			"net-pf-2-proto-132": 4, "SCTP": 1, "sctp.ko": 2, "dummy": 5, "nonexistent": 2, "": 3, "blacklist sctp": 2, "sctp dummy": 1,
			"sc]tp": 1, "sctp\x00dummy": 1, "dummy\rsctp": 1, "sctp\\": 1, "[s]ctp": 1, "\"sctp\"": 1, "\vsctp": 1, "libcrc32c": 2,
		}))
		b.WriteString(g.weighted(map[string]int{"\n": 88, "\r\n": 6, "\r": 2, "\n\r": 1, "\n\n": 3}))
	}
	return g.smudge(b.String())
}

// arguments are a kernel's command line.
func (g *generator) arguments() string {
	var words []string
	words = append(words, "BOOT_IMAGE=/boot/vmlinuz", "root=UUID=1-2", "ro")
	for range g.IntN(4) {
		if !g.chance(35) {
			words = append(words, pick(g, "quiet", "console=ttyS0,115200n8", "mitigations=auto", "nf_conntrack.hashsize=1", "systemd.unit=x.target"))
			continue
		}
		words = append(words, g.weighted(map[string]int{
			"modprobe.blacklist=sctp": 14, "modprobe.blacklist=dummy,sctp": 5, "modprobe.blacklist=sctp,,dummy": 2, "modprobe.blacklist=sctp-diag": 2,
			"modprobe.blacklist=\"sctp\"": 3, "\"modprobe.blacklist=sctp\"": 3, "\"modprobe.blacklist=a,sctp,b\"": 3, "modprobe.blacklist=": 1,
			"modprobe.blacklist=x=sctp": 2, "modprobe.blacklist": 1, "modprobe_blacklist=sctp": 1, "rd.modprobe.blacklist=sctp": 2,
			"modprobe.blacklist=sctp\"": 1, "\"foo": 2, "foo\"bar": 1, "modprobe.black.list=sctp": 1, "modprobe.blacklist=a\"b c\",sctp": 1,
			"modules_load=sctp": 10, "modules-load=dummy,sctp": 4, "rd.modules_load=sctp": 2, "modules_load=\"sctp\"": 2, "'modules_load=sctp'": 1,
			"modules_load=,,": 1, "modules_load": 1, "--": 3, "modules_load=sctp\\,dummy": 1, "modules_load=sct\\p": 1, "modules_load=sctp\\\\": 1, "modules_load=sctp\\": 1, "\"modules_load=sctp,dummy\"": 1,
			"a.b=modprobe.blacklist=sctp": 1, "modprobe.blacklist.x=sctp": 1, ".blacklist=sctp": 1, "modprobe.=sctp": 1, "modprobe.blacklist=s\\ctp": 1,
			"modules_load=net-pf-2-proto-132": 1, "modules_load=sctp_diag": 1, "modprobe..blacklist=sctp": 1, "=sctp": 1, "modules_load='sc'tp": 1,
		}))
	}
	g.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	line := strings.Join(words, g.weighted(map[string]int{" ": 90, "  ": 6, "\t": 4}))
	if !g.chance(10) {
		line += "\n"
	}
	if g.chance(1) {
		line = strings.Repeat("x", 4080) + " " + line
	}
	if g.rarely(4, "odd bytes in the command line") {
		at := g.IntN(len(line))
		line = line[:at] + pick(g, "\n", "\v", "\f", "\r", "\x7f", "\xff", "\t", "\\", "\u00a0") + line[at:]
	}
	return line
}

// helper is another value of kernel.modprobe.
func (g *generator) helper() {
	if g.rarely(3, "another helper") {
		g.c.Helper = pick(g, "/sbin/../sbin/modprobe", "//sbin//modprobe", "/bin/../sbin/modprobe", "/bin/true", "/bin/false", "/nowhere/modprobe", "/sbin", "/sbin/modprobe ", "/dev/null")
	}
}

// oddDirectories makes a configuration directory a link, a file or a loop.
func (g *generator) oddDirectories() {
	if !g.rarely(4, "directory that is a link, a file or a loop") {
		return
	}
	dir := pick(g, append(g.dirs("modprobe.d"), g.dirs("modules-load.d")...)...)
	if strings.HasPrefix(dir, "lib/") {
		return
	}
	below := func(e hostcase.Entry) bool { return e.Path == dir || strings.HasPrefix(e.Path, dir+"/") }
	var moved []hostcase.Entry
	for _, e := range g.c.Entries {
		// A relative link would lead elsewhere.
		if below(e) && (e.Kind == hostcase.File || strings.HasPrefix(e.Content, "/")) && e.Path != dir {
			e.Path = "usr/share/moved" + strings.TrimPrefix(e.Path, dir)
			moved = append(moved, e)
		}
	}
	g.c.Entries = slices.DeleteFunc(g.c.Entries, below)
	link := func(name, target string) {
		g.c.Entries = append(g.c.Entries, hostcase.Entry{Kind: hostcase.Link, Path: name, Content: target})
	}
	switch pick(g, "link", "link", "chain", "file", "loop", "dangling") {
	case "link":
		link(dir, pick(g, "/usr/share/moved", strings.Repeat("../", strings.Count(dir, "/"))+"usr/share/moved", "/../usr/share/./moved/"))
		g.c.Entries = append(g.c.Entries, moved...)
	case "chain":
		g.rare["chain of links"] = true
		n := 1 + g.IntN(44) // the kernel follows 40 (MAXSYMLINKS)
		if strings.HasSuffix(dir, "modules-load.d") {
			n = 1 + n%28 // systemd itself, 31 since 248 (src/basic/chase.h, CHASE_MAX): not judged
		}
		link(dir, "/usr/share/l0")
		for i := range n {
			link(fmt.Sprintf("usr/share/l%d", i), fmt.Sprintf("/usr/share/l%d", i+1))
		}
		link(fmt.Sprintf("usr/share/l%d", n), "/usr/share/moved")
		g.c.Entries = append(g.c.Entries, moved...)
	case "file":
		g.file(dir, g.modprobeFile())
	case "loop":
		link(dir, "/"+dir)
	case "dangling":
		link(dir, "/nowhere")
	}
}
