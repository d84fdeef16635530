package bootloader

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestLookedAt: docs/contract.md lists what is read here.
func TestLookedAt(t *testing.T) {
	contract, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{entriesDir, grubEnvironments[0], defaultGrub, grubDir, kernelCmdline, bootcKargs, grubMenus[0], grubMenus[1]} {
		if !strings.Contains(string(contract), "`"+name+"`") {
			t.Errorf("the contract does not list %s as looked at", name)
		}
	}
}

// TestCompareReleases: the order of kernels is that of rpm, and "sort -V" agrees
// about the releases that distributions use.
func TestCompareReleases(t *testing.T) {
	order := []string{
		"4.18.0-553.el8_10.x86_64",
		"5.10.0-9-amd64",
		"5.10.0-28-amd64",
		"5.14.0-70.el9.x86_64",
		"5.14.0-427.el9.x86_64",
		"5.14.0-570.12.1.el9_6.x86_64",
		"5.14.0-611.5.1.el9_7.x86_64",
		"6.8.0-9-generic",
		"6.8.0-31-generic",
		"6.12.0-55.el10.x86_64",
		"6.12.10-200.fc41.x86_64",
		"6.13.0~rc1",
		"6.13.0",
	}
	for i, a := range order {
		for j, b := range order {
			if got := CompareReleases(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	backwards := slices.Clone(order)
	slices.Reverse(backwards)
	cmd := exec.Command("sort", "-V")
	cmd.Stdin = strings.NewReader(strings.Join(backwards, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sort -V: %v", err)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, order) {
		t.Errorf("sort -V: %v", got)
	}
}

// TestFlavour: only kernels of one kind follow each other.
func TestFlavour(t *testing.T) {
	same := func(a, b string) bool { return Flavour(a) == Flavour(b) }
	for _, pair := range [][2]string{
		{"5.14.0-427.el9.x86_64", "5.14.0-611.5.1.el9_7.x86_64"},
		{"6.8.0-31-generic", "6.11.0-8-generic"},
		{"6.1.0-28-amd64", "6.12.6-amd64"},
		{"6.1.0-28-amd64", "6.12.9+bpo-amd64"},
		{"5.10.0-30-rt-amd64", "6.1.0-0.deb11.21-rt-amd64"},
		{"5.14.0-284.11.1.rt14.296.el9_2.x86_64", "5.14.0-427.13.1.el9_4.x86_64+rt"},
		{"6.13.0-rc3", "6.13.0"},
		{"5.10.0-60.18.0.50.oe2203.x86_64", "5.10.0-136.12.0.86.oe2203sp1.x86_64"},
	} {
		if !same(pair[0], pair[1]) {
			t.Errorf("%v are of two kinds", pair)
		}
	}
	for _, pair := range [][2]string{
		{"5.14.0-427.el9.x86_64", "5.14.0-611.el9.x86_64+debug"},
		{"5.14.0-427.el9.x86_64", "5.15.0-100.el9uek.x86_64"},
		{"6.1.0-28-amd64", "6.1.0-29-cloud-amd64"},
		{"5.14.0-427.el9.x86_64", "5.14.0-427.el9.x86_64+rt"},
		{"5.14.0-427.el9.aarch64", "5.14.0-503.el9.aarch64+64k"},
		{"6.8.0-31-generic", "6.8.0-1010-aws"},
	} {
		if same(pair[0], pair[1]) {
			t.Errorf("%v are of one kind", pair)
		}
	}
}

func FuzzBootEntry(f *testing.F) {
	f.Add([]byte("title x\nversion 5.14\nlinux /vmlinuz-5.14\noptions root=/dev/sda $kernelopts\noptions module_blacklist=sctp\n"), []byte("# GRUB Environment Block\nkernelopts=ro module_blacklist=sctp\nsaved_entry=x\n###"))
	f.Add([]byte("options \"a b\" $x\x00y\n\n#"), []byte("=\n\\\\=\\"))
	f.Fuzz(func(t *testing.T, entry, env []byte) {
		e := parseEntry("/boot/loader/entries/x.conf", entry)
		lines := 1 + strings.Count(string(entry), "\n")
		variables := parseGrubEnvironment("", env)
		if len(variables) > maxWords {
			t.Fatalf("%d variables", len(variables))
		}
		list, _, _ := e.arguments(variables)
		for _, a := range list {
			if a.Token == "" || a.File == e.File && (a.Line < 1 || a.Line > lines) {
				t.Fatalf("argument %+v of %d lines", a, lines)
			}
		}
		if e.rescue() && e.Kernel() == "" && e.version != "" {
			t.Fatal("a version without a kernel")
		}
		entries, sure := defaultEntries([]Entry{e}, variables[savedEntry].value)
		if sure && len(entries) != 1 {
			t.Fatalf("sure of %d entries", len(entries))
		}
	})
}

func FuzzGrubMenu(f *testing.F) {
	f.Add([]byte("set default=\"1>0\"\nmenuentry 'a' --id b {\n linux /vmlinuz-1 ro\n}\nsubmenu c {\n menuentry d { linux /vmlinuz-2 ro }\n}\nblscfg\n"), "0")
	f.Add([]byte("if [ \"${next_entry}\" ]; then\n set default=\"${next_entry}\"\nelse\n set default=\"${saved_entry}\"\nfi\nmenuentry x {\n}\n"), "x>>y")
	f.Add([]byte("menuentry"), ">")
	f.Fuzz(func(t *testing.T, data []byte, want string) {
		m := parseGrubMenu("x", data)
		if len(m.kernels) > maxEntries || len(m.items) > maxGrubItems {
			t.Fatalf("%d kernels, %d items", len(m.kernels), len(m.items))
		}
		files := []Entry{{id: "a-1-2", linux: "/x"}, {id: want, linux: "/y"}}
		env := map[string]grubVariable{savedEntry: {value: want}, nextEntry: {value: want}}
		addGrubSets(env, append(m.kernels, Entry{options: []line{{text: "$x ${kernelopts} $" + want}}}), "x", data, func(string) []byte { return data })
		for _, more := range []bool{false, true} {
			if e, ok := m.chosen(env, files, more); ok != (e.linux != "") {
				t.Fatalf("%v: %+v", ok, e)
			}
		}
	})
}

// TestCompareIDs: the order of entries is that of GRUB's blscfg.
func TestCompareIDs(t *testing.T) {
	order := []string{
		"m-0-rescue", "m-4.18.0-553.el8_10.x86_64", "m-5.14.0-70.el9.x86_64", "m-5.14.0-427.el9.x86_64", "m-5.14.0-427.el9.x86_64+debug", "m-6.12.0-55.el10.x86_64",
		"ostree-1-rhcos", "ostree-2-rhcos", "ostree-10-rhcos",
	}
	for i, a := range order {
		for j, b := range order {
			if got := compareIDs(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
}

func FuzzBootFiles(f *testing.F) {
	f.Add([]byte("GRUB_CMDLINE_LINUX=\"ro modprobe.blacklist=sctp\"\n"))
	f.Add([]byte("kargs = [\n \"a\", # \"b\"\n 'c=[d]', ]\nx = [\"e\"]"))
	f.Add([]byte("kargs\x00\x00\x00module_blacklist=sctp\x00\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 1 + strings.Count(string(data), "\n")
		grub := grubDefaults{}
		grub.parse("x", data)
		all := slices.Concat(grub["GRUB_CMDLINE_LINUX"], grub["GRUB_CMDLINE_LINUX_DEFAULT"], parseOtherLoader("x", data), parseKernelCmdline("x", data), parseKargs("x", data, "x86_64"), parseStaged("x", data))
		for _, a := range all {
			if a.Token == "" || a.Line < 0 || a.Line > lines {
				t.Fatalf("argument %+v of %d lines", a, lines)
			}
		}
	})
}

// A command of many lines costs as much as its text, not its square.
func TestGrubLinesLong(t *testing.T) {
	const lines = 100_000
	data := []byte("linux /vmlinuz-1 \\\n" + strings.Repeat("a\\\n", lines) + "sctp=1\n")
	allocs := testing.AllocsPerRun(1, func() {
		for number, line := range grubLines(data) {
			if number != 1 || len(line) != len("linux /vmlinuz-1 ")+lines+len("sctp=1") {
				t.Errorf("line %d has %d bytes", number, len(line))
			}
		}
	})
	if allocs > 1000 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzCompareReleases(f *testing.F) {
	f.Add("5.14.0-427.el9.x86_64", "5.14.0-611.el9.x86_64+debug")
	f.Add("1.0~rc1", "1.0")
	f.Add("", "é0")
	f.Fuzz(func(t *testing.T, a, b string) {
		if x, y := CompareReleases(a, b), CompareReleases(b, a); (x < 0) != (y > 0) || (x == 0) != (y == 0) {
			t.Fatalf("%q and %q: %d and %d", a, b, x, y)
		}
	})
}
