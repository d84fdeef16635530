package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cleanup"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/internal/report"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// usual are values of the types that decide how something is printed.
var usual = map[reflect.Type][]string{
	reflect.TypeFor[kmod.Answer]():     {"true", "false", "unknown"},
	reflect.TypeFor[audit.Severity]():  {"critical", "warning", "info"},
	reflect.TypeFor[audit.Kind]():      {string(audit.PodOnUnreadyNode), string(audit.NodeUnproved), string(audit.SCTPUnused)},
	reflect.TypeFor[verdict.OnBoot]():  {string(verdict.OnBootBlocked), string(verdict.OnBootLoaded), string(verdict.OnBootOnDemand)},
	reflect.TypeFor[meshview.Kind]():   {string(meshview.PathBroken), string(meshview.NodeUnreachableBySCTP), string(meshview.PathBroken)},
	reflect.TypeFor[verify.PathKind](): {string(verify.PathPod), string(verify.PathDenied), string(verify.PathClusterIP)},
	reflect.TypeFor[wire.Outcome]():    {string(wire.OK), string(wire.Refused), string(wire.NotTried)},
}

// fill puts a text into every string below v, into keys of maps, too. Those of
// the types in usual have one of their values instead, unless all is given.
func fill(v reflect.Value, text string, turn int, all bool) {
	switch v.Kind() {
	case reflect.String:
		if values := usual[v.Type()]; values != nil && !all {
			text = values[turn%len(values)]
		}
		v.SetString(text)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(turn%2 == 0)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, turn, all)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text, turn+i, all)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, text, turn, all)
		fill(value, text, turn, all)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[metav1.FieldsV1]() {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), text, turn, all)
			}
		}
	}
}

// printings are what the commands print of a result that has a text everywhere.
func printings(text string, turn int, all bool) map[string]struct {
	value any
	forms map[command.Output]form
} {
	var (
		a  audit.Result
		v  verify.Result
		m  meshview.Result
		c  cleanup.List
		e  machineconfig.Effects
		r  verdict.Report
		id command.Version
	)
	for _, result := range []any{&a, &v, &m, &c, &e, &r, &id} {
		fill(reflect.ValueOf(result).Elem(), text, turn, all)
	}
	table := func(o tableOptions) form {
		return func(w io.Writer, p terminal.Palette) error { return printAudit(w, p, a, o) }
	}
	page := func(write func(io.Writer) error) form {
		return func(w io.Writer, _ terminal.Palette) error { return write(w) }
	}
	return map[string]struct {
		value any
		forms map[command.Output]form
	}{
		"audit": {a, map[command.Output]form{
			"table": table(tableOptions{}), "wide": table(tableOptions{wide: true, bare: true}),
			"name": func(w io.Writer, p terminal.Palette) error { return printNames(w, p, a) },
			"html": page(func(w io.Writer) error { return audit.WriteHTML(w, a) }),
		}},
		"verify": {v, map[command.Output]form{
			"table": func(w io.Writer, p terminal.Palette) error { return printVerify(w, p, &v) },
			"html":  page(func(w io.Writer) error { return verify.WriteHTML(w, &v) }),
		}},
		"mesh": {m, map[command.Output]form{
			"table": func(w io.Writer, p terminal.Palette) error { return printMesh(w, p, &m, turn%2 == 0) },
			"html":  page(func(w io.Writer) error { return meshview.WriteHTML(w, &m) }),
		}},
		"cleanup": {c, map[command.Output]form{"table": func(w io.Writer, p terminal.Palette) error { return printCleanup(w, p, c.Items) }}},
		"machineconfig": {e, map[command.Output]form{"table": func(w io.Writer, p terminal.Palette) error {
			return printEffects(w, p, e.Items, map[string]int{text: 2})
		}}},
		"host":    {r, map[command.Output]form{"table": func(w io.Writer, p terminal.Palette) error { return report.Print(w, p, r) }}},
		"version": {id, map[command.Output]form{"table": func(io.Writer, terminal.Palette) error { return nil }}},
	}
}

// ours are the colours of a palette.
var ours = regexp.MustCompile("\x1b\\[(0|1|1;3[1-3])m")

// actsNot fails where a terminal acts on what it received, beside our colours,
// which foreign text has before this word. Templates may have tabs.
func actsNot(t *testing.T, what, received string, tabs bool) {
	t.Helper()
	if strings.Contains(received, "mFOREIGN") && strings.Contains(received, "\x1b[1;31mFOREIGN") {
		t.Errorf("%s: a foreign colour: %q", what, received)
	}
	for _, r := range ours.ReplaceAllString(received, "") {
		if r != '\n' && (r != '\t' || !tabs) && terminal.Acts(r) {
			t.Fatalf("%s: %q reaches the terminal:\n%q", what, r, received)
		}
	}
}

// slowSearch leaves the search of a target whose runs are those of a whole command
// to make test-full. Its seeds are always tested.
func slowSearch(f *testing.F) {
	if testing.Short() && flag.Lookup("test.fuzz").Value.String() != "" {
		f.Skip("only in make test-full, the search; the seeds are unit tests")
	}
}

// FuzzForeignResults: nothing in a result acts on the terminal, in whichever field
// and whichever form, with colours.
func FuzzForeignResults(f *testing.F) {
	slowSearch(f)
	f.Setenv("TERM", "xterm")
	f.Setenv("NO_COLOR", "")
	for _, s := range []string{"", "\x1b[2J\x1b]0;title\x07", "\u009b2J", "\x7f\r\b\x00", "\u202e\u2066\u200b", "\xff\x9b\xc0", "a\nworker-9  true", "\U000E0001\uFEFF\uFDD0ABC:0\uFDD1", "]]>--></script>\u2028"} {
		for turn := range 3 {
			f.Add(s, turn, turn == 0)
		}
	}
	f.Fuzz(func(t *testing.T, s string, turn int, all bool) {
		text := "x" + s + "\x1b[1;31mFOREIGN\x1b[0m"
		for name, p := range printings(text, turn&0xff, all) {
			for _, args := range [][]string{{"-o", "table"}, {"-o", "wide"}, {"-o", "name"}, {"-o", "html"}, {"-o", "json"}, {"-o", "yaml"}, {"-o", "jsonpath={}"}, {"-o", "jsonpath-as-json={}"}, {"-o", "go-template={{.}}"}} {
				if name != "audit" && (args[1] == "wide" || args[1] == "name") || args[1] == "html" && p.forms["html"] == nil {
					continue
				}
				var o outputFlags
				cmd := &cobra.Command{}
				o.register(cmd, "wide", "name", "html")
				if err := cmd.ParseFlags(args); err != nil {
					t.Fatal(err)
				}
				if err := o.parse(t.Context()); err != nil {
					t.Fatal(err)
				}
				received := onTerminal(t, func(w *os.File) error { return o.Print(w, p.value, p.forms) })
				if received == "" && name != "version" {
					t.Errorf("%s %v: nothing is printed", name, args)
				}
				actsNot(t, fmt.Sprint(name, " ", args), received, strings.Contains(args[1], "="))
			}
		}
	})
}

// FuzzForeignErrors: no text of an API server or a file in an error or a warning
// acts on the terminal.
func FuzzForeignErrors(f *testing.F) {
	for _, s := range []string{"\x1b[2J", "\u009b2J", "\u202e\x07\r", "\xff\x9b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := s + "\x1b[1;31mFOREIGN"
		config := kubeconfig(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Warning", "299 - "+fmt.Sprintf("%q", strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f || r == '"' || r == '\\' { // no header has them
					return -1
				}
				return r
			}, text)))
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%[1]q,"code":422}`, text)
		})
		dir := t.TempDir()
		file := filepath.Join(dir, "objects.yaml")
		for name, content := range map[string]string{
			file: "kind: Node\napiVersion: v1\nmetadata: {name: a}\nspec: [" + text, filepath.Join(dir, "config.yaml"): "kind: MachineConfig\nspec: {config: {storage: {files: [{path: " + text,
		} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{
			{"audit", config}, {"cleanup", config}, {"mesh", config}, {"verify", config}, {"audit", "-f", file}, {"audit", "-f", dir},
			{"machineconfig", "--check", filepath.Join(dir, "config.yaml")}, {"audit", "--" + text}, {text}, {"host", file},
		} {
			if strings.ContainsRune(strings.Join(args, ""), 0) {
				continue // no argument has it
			}
			received := onTerminal(t, func(w *os.File) error {
				if code := command.Main(newRootCommand(), args, w, w); code == command.ExitYes {
					t.Errorf("%q: exit status 0", args)
				}
				return nil
			})
			if received == "" {
				t.Errorf("%q: nothing is printed", args)
			}
			actsNot(t, fmt.Sprintf("%q", args), received, false)
		}
	})
}
