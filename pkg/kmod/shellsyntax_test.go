package kmod

import (
	"errors"
	"math/rand/v2"
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
		"echo blocked > /var/log/none/x; exit 1":                       commandFails,
		"sh -c 'echo blocked 1>>/var/log/none/x.log; false'":           commandFails,
		"echo blocked 2> /var/log/none/x && exit 0":                    commandHarmless,
		"echo blocked >/var/log/none/x":                                commandHarmless,
		"modprobe -i sctp > /var/log/none/x":                           commandUnknown,
		"echo blocked >/var/log/none/x && modprobe -i sctp":            commandUnknown,
		"echo blocked >/var/log/none/x || modprobe -i sctp":            commandUnknown,
		"echo blocked >/var/log/none/x; modprobe -i sctp":              commandSucceeds,
		": >/var/log/none/x; false":                                    commandUnknown,
		"{ false; } >/var/log/none/x":                                  commandUnknown,
		"echo blocked > /var/none/x; false":                            commandUnknown,
		"echo blocked > /var/log/../none/x; false":                     commandUnknown,
		"modprobe -i sctp; >/dev/null":                                 commandSucceeds,
		">/dev/null; modprobe -i sctp":                                 commandSucceeds,
		">/dev/null { modprobe -i sctp; }":                             commandUnknown,
		">/dev/null modprobe -i sctp":                                  commandSucceeds,
		"exec modprobe -i sctp":                                        commandSucceeds,
		"exec modprobe -i sctp; false":                                 commandSucceeds,
		"exec /bin/true; modprobe -i sctp":                             commandSucceeds,
		"exec false || modprobe -i sctp":                               commandFails,
		"exec >/dev/null 2>&1; modprobe -i sctp":                       commandSucceeds,
		"exec :; modprobe -i sctp":                                     commandUnknown,
		"exec exit 0; modprobe -i sctp":                                commandUnknown,
		"exec -a x modprobe -i sctp":                                   commandUnknown,
		"(exec false); modprobe -i sctp":                               commandSucceeds,
		"{ exec false; }; modprobe -i sctp":                            commandFails,
		"sh -c 'exec modprobe -i sctp'; false":                         commandFails,
		"{ modprobe -i sctp; }":                                        commandSucceeds,
		"{ modprobe -i sctp; } >/dev/null 2>&1 || true":                commandSucceeds,
		"{ modprobe -i sctp }":                                         commandFails,
		"{ modprobe -i sctp; ":                                         commandFails,
		"{ }; modprobe -i sctp":                                        commandFails,
		"{modprobe -i sctp; }":                                         commandUnknown,
		"{ false; modprobe -i sctp; } && true":                         commandSucceeds,
		"{ exit 3; }; modprobe -i sctp":                                commandFails,
		"{ true; } modprobe -i sctp":                                   commandFails,
		"{ true; }; }; modprobe -i sctp":                               commandFails,
		"{ { modprobe -i sctp; }; }":                                   commandSucceeds,
		"{ (modprobe -i sctp) }":                                       commandSucceeds,
		"{ echo }; }; echo {":                                          commandSucceeds,
		"echo } && echo ! && modprobe -i sctp":                         commandSucceeds,
		"(modprobe -i sctp)":                                           commandSucceeds,
		"( exit 3 ); modprobe -i sctp":                                 commandSucceeds,
		"(exit 3) || modprobe -i sctp":                                 commandSucceeds,
		"(exit 3) && modprobe -i sctp":                                 commandFails,
		"(true;modprobe -i sctp;false)":                                commandFails,
		"((modprobe -i sctp) )":                                        commandUnknown,
		"( (modprobe -i sctp) )":                                       commandSucceeds,
		"( ); modprobe -i sctp":                                        commandFails,
		"(true; modprobe -i sctp":                                      commandFails,
		"true) ; modprobe -i sctp":                                     commandFails,
		"(true) modprobe -i sctp":                                      commandFails,
		"true (modprobe -i sctp)":                                      commandUnknown,
		"(true &&); modprobe -i sctp":                                  commandFails,
		"! modprobe -i sctp":                                           commandFails,
		"! false && modprobe -i sctp":                                  commandSucceeds,
		"! true || modprobe -i sctp":                                   commandSucceeds,
		"! true; modprobe -i sctp":                                     commandSucceeds,
		"! { false; modprobe -i sctp; }":                               commandFails,
		"! (false) && modprobe -i sctp":                                commandSucceeds,
		"! exit 3":                                                     commandFails,
		"!":                                                            commandUnknown,
		"! ! modprobe -i sctp":                                         commandUnknown,
		"!modprobe -i sctp":                                            commandUnknown,
		"'!' modprobe -i sctp":                                         commandUnknown,
		"! logger x || true":                                           commandHarmless,
		"logger x || { echo y; }; modprobe -i sctp":                    commandSucceeds,
		"logger x || exit 0; modprobe -i sctp":                         commandUnknown,
		"logger x || exit 0; true":                                     commandHarmless,
		"logger x || (exit 0); modprobe -i sctp":                       commandSucceeds,
		"logger x || { exit 0; }; modprobe -i sctp":                    commandUnknown,
		"logger x && (modprobe -i sctp)":                               commandUnknown,
		"env modprobe -i sctp":                                         commandSucceeds,
		"env LC_ALL=C A=b modprobe -i sctp && false":                   commandFails,
		"env A=b false || modprobe -i sctp":                            commandSucceeds,
		"env PATH=/nowhere modprobe -i sctp":                           commandUnknown,
		"env -i modprobe -i sctp":                                      commandUnknown,
		"env exec modprobe -i sctp":                                    commandUnknown,
		"env exit 0":                                                   commandUnknown,
		"env sh -c 'exec env modprobe -i sctp'":                        commandSucceeds,
		"env":                                                          commandUnknown,
		"printf":                                                       commandHarmless,
		`echo "$0: not allowed | args: $@" >&2; exit 1`:                commandFails,
		`echo $0 ${HOME} "$HOME$$"; modprobe -i sctp`:                  commandSucceeds,
		`logger "blocked $MODPROBE_MODULE"; exit 0`:                    commandSucceeds,
		`modprobe -i "$M" sctp`:                                        commandUnknown,
		`$M modprobe -i sctp`:                                          commandUnknown,
		`"$M" modprobe -i sctp`:                                        commandUnknown,
		`env "$M" modprobe -i sctp`:                                    commandUnknown,
		`exec $M; modprobe -i sctp`:                                    commandUnknown,
		`exit $?; modprobe -i sctp`:                                    commandUnknown,
		`sh -c "modprobe -i $M"`:                                       commandUnknown,
		`echo "$(modprobe -i sctp)"`:                                   commandUnknown,
		`echo ${M:-$(modprobe -i sctp)}`:                               commandUnknown,
		"echo \"`modprobe -i sctp`\"":                                  commandUnknown,
		`echo "$((1))" $`:                                              commandUnknown,
		`true $'x'; modprobe -i sctp`:                                  commandUnknown,
		`M=1; modprobe -i sctp`:                                        commandUnknown,
		"printf x && modprobe -i sctp":                                 commandUnknown,
	} {
		t.Run(command, func(t *testing.T) {
			if effect := compareShell(t, sh, bin, command); effect != want {
				t.Errorf("taken for %d, want %d", effect, want)
			}
		})
	}
	// And of words in any order.
	words := strings.Split("{,},(,),!,;,&&,||,true,false,modprobe -i sctp,modprobe -i sctp;,echo,>/dev/null,exec,exit,env,:,logger,true; },false ),'fi'", ",")
	random := rand.New(rand.NewPCG(1, 1))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	var any func(depth int) string
	any = func(depth int) string {
		if random.IntN(4) >= depth {
			return pick("true", "false", "modprobe -i sctp", "echo", ">/dev/null", "exec true", "exit 3", "exit 0", "env false", "logger x", "false 2>&1")
		}
		list := any(depth-1) + pick("; ", " && ", " || ", " ; ") + any(depth-1)
		return pick(list, list, any(depth-1), "{ "+list+"; }", "("+list+")", "( "+list+"; )", "! "+any(0), "! ("+list+")", "{ "+list+"; } >/dev/null")
	}
	for i := range 400 {
		command := any(3)
		for range (i % 2) * (1 + random.IntN(9)) {
			command += " " + pick(words...)
		}
		t.Run(command, func(t *testing.T) { compareShell(t, sh, bin, command) })
	}
}

// compareShell runs a command, and returns what it is taken for.
func compareShell(t *testing.T, sh, bin, command string) commandEffect {
	dir := t.TempDir()
	cmd := exec.Command(sh, "-c", command)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":/usr/bin:/bin"}
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	_, statErr := os.Stat(filepath.Join(dir, "loaded"))
	loaded := statErr == nil

	tree, treeErr := hostroot.FromFS(fstest.MapFS{"sctp.ko": &fstest.MapFile{}, "usr/bin/env": &fstest.MapFile{Mode: 0o755}})
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
	switch {
	case effect == commandUnknown:
	case asked != loaded:
		t.Errorf("taken to ask for the module: %v; the shell did: %v", asked, loaded)
	case effect == commandSucceeds && err != nil, effect == commandFails && err == nil:
		t.Errorf("taken for %d, the shell says %v", effect, err)
	}
	return effect
}

// TestReservedWords: quoted, or as arguments, they are names.
func TestReservedWords(t *testing.T) {
	parse := func(command string) (good bool) {
		words, ok := shellWords(command)
		parser := shellParser{words: words}
		parser.list("")
		return ok && !parser.bad && !parser.unknown
	}
	for _, word := range append(reservedNext, reservedFirst...) {
		if word != "!" && parse(word+" x") {
			t.Errorf("%s is taken for a command", word)
		}
		if !strings.Contains(word, "[") && !parse("echo "+word) || !parse("'"+word+"' x") {
			t.Errorf("%s is taken for a reserved word where it is none", word)
		}
	}
}
