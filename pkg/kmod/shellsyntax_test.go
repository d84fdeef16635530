package kmod

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// TestShell runs install commands in the shell of this machine, with a modprobe
// that writes down what it is called with. What is understood of a command must be
// what happens.
func TestShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, script := range map[string]string{
		"modprobe": "#!" + sh + "\necho \"$@\" >> loaded\n",
		"logger":   "#!" + sh + "\nexit 3\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for command, want := range map[string]commandEffect{
		"sh -c 'logger -t x blocked 2>/dev/null; exit 0'":              commandSucceeds,
		"sh -c 'logger -t x blocked'":                                  commandHarmless,
		"sh -c 'exit 3' || modprobe -i sctp":                           commandSucceeds,
		"sh -c 'exit 0'; exit 4":                                       commandFails,
		"sh -c 'exit 0; modprobe -i sctp'":                             commandSucceeds,
		"sh -c 'true >/dev/null 2>&1; modprobe --ignore-install sctp'": commandSucceeds,
		"sh -c \"sh -c 'modprobe -i sctp'\"":                           commandSucceeds,
		"sh -c 'modprobe -i sctp &&'":                                  commandFails,
		"sh -c ''":                                                     commandSucceeds,
		"sh -c true modprobe -i sctp":                                  commandSucceeds,
		"sh -c":                                                        commandUnknown,
		"sh -ec 'modprobe -i sctp'":                                    commandUnknown,
		"sh -c 'modprobe -i $0' sctp":                                  commandUnknown,
		"modprobe -i sctp &&":                                          commandFails,
		"modprobe -i sctp || # nothing":                                commandFails,
		"modprobe -i sctp;;":                                           commandFails,
		"modprobe -i sctp; ;":                                          commandFails,
		"; modprobe -i sctp":                                           commandFails,
		"modprobe -i sctp; fi":                                         commandFails,
		"modprobe -i sctp; done":                                       commandFails,
		"modprobe -i sctp && then":                                     commandFails,
		"modprobe -i sctp; 'fi'":                                       commandUnknown,
		"if true; then modprobe -i sctp; fi":                           commandUnknown,
		"modprobe -i sctp;":                                            commandSucceeds,
		"modprobe -i sctp; >/dev/null":                                 commandSucceeds,
		">/dev/null; modprobe -i sctp":                                 commandUnknown,
		"printf":                                                       commandHarmless,
		"printf x && modprobe -i sctp":                                 commandUnknown,
	} {
		t.Run(command, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(sh, "-c", command)
			cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":/usr/bin:/bin"}
			err := cmd.Run()
			if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
				t.Fatal(err)
			}
			_, statErr := os.Stat(filepath.Join(dir, "loaded"))
			loaded := statErr == nil

			tree, treeErr := hostroot.FromFS(fstest.MapFS{"sctp.ko": &fstest.MapFile{}})
			if treeErr != nil {
				t.Fatal(treeErr)
			}
			h := &host{
				hostFiles: treeFiles(t.Context(), tree, Options{}), ctx: t.Context(), work: maxWork, target: "sctp", moddir: "/lib/modules/x",
				indexes: map[string]*hostIndex{}, modules: map[string]*indexedModule{}, states: map[string]State{},
			}
			h.modules["sctp"] = &indexedModule{file: "/sctp.ko"}
			kern := h.newKernel()
			p := h.newProcess(&policy{kmod: 30, target: "sctp"}, kern)
			effect := p.shell(command)
			asked := kern.inserted["sctp"]
			if effect != want {
				t.Errorf("taken for %d, want %d", effect, want)
			}
			switch {
			case effect == commandUnknown:
			case asked != loaded:
				t.Errorf("taken to ask for the module: %v; the shell did: %v", asked, loaded)
			case effect == commandSucceeds && err != nil, effect == commandFails && err == nil:
				t.Errorf("taken for %d, the shell says %v", effect, err)
			}
		})
	}
}

// TestReservedWords: quoted, they are names of commands.
func TestReservedWords(t *testing.T) {
	for _, word := range append(reservedNext, reservedFirst...) {
		if words, ok := shellWords(word + " x"); ok && shellSyntax(word+" x", words) == syntaxGood {
			t.Errorf("%s is taken for a command", word)
		}
		if words, ok := shellWords("echo " + word); ok && shellSyntax("echo "+word, words) != syntaxGood && !strings.ContainsAny(word, "{}![") {
			t.Errorf("%s is taken for a reserved word where it is an argument", word)
		}
	}
}
