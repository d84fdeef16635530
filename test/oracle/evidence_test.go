package oracle

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

var (
	evidenceRoots = flag.Int("roots", 1500, "`number` of roots of TestEvidenceIsAllOfIt")
	evidenceSeed  = flag.Uint64("seed", 7, "`seed` of the roots of TestEvidenceIsAllOfIt")
)

// TestEvidenceIsAllOfIt takes the evidence at its word: whoever removes, once,
// every line that a "false" names has nothing left that stops the module, nor an
// install command that may. Where that is not so, a line was missing from the
// evidence. And a "false" always names something.
func TestEvidenceIsAllOfIt(t *testing.T) {
	roots := *evidenceRoots
	if testing.Short() {
		roots = min(roots, 40)
	}
	dir := place(t)
	type host struct {
		name string
		*hostcase.Case
	}
	var hosts []host
	for name, c := range cases(t) {
		hosts = append(hosts, host{name, c})
	}
	for n := range roots {
		hosts = append(hosts, host{fmt.Sprint("root ", n), Generate(Versions[n%len(Versions)], *evidenceSeed, n)})
	}
	fixed := 0
	for _, h := range hosts {
		for caller := range 4 {
			c := *h.Case
			c.Entries = slices.Clone(c.Entries)
			var before string // the root as it was, and what was removed from it
			var removed []kmod.Evidence
			for {
				ins := inspect(t, dir, &c)
				d := []kmod.Decision{ins.ByName, ins.Autoload, ins.AutoloadIPv6, ins.BootLoad.Decision}[caller]
				unknown := removed != nil && d.Cause == kmod.CauseCustomInstall
				if d.Allowed != kmod.AnswerFalse && !unknown {
					fixed++
					break
				}
				if len(d.Evidence) == 0 || d.Cause == kmod.CauseNone {
					t.Fatalf("%s, %s: false without a reason\n%s", h.name, Callers[caller], c.Format())
				}
				if d.Evidence[0].Cause != d.Cause {
					t.Errorf("%s, %s: the first evidence is not for the cause", h.name, Callers[caller])
				}
				if slices.ContainsFunc(d.Evidence, func(e kmod.Evidence) bool { return e.Cause.Before(kmod.CauseInstall) || e.Cause == kmod.CauseUnit }) {
					break // not a matter of modprobe.d
				}
				if removed != nil {
					t.Errorf("%s, %s: removed %q, and still %s: %q\n%s", h.name, Callers[caller], removed, d.Allowed, d.Evidence, before)
					break
				}
				before = c.Format()
				removed = slices.Clone(d.Evidence)
				// An argument may be the beginning of another one.
				slices.SortStableFunc(removed, func(a, b kmod.Evidence) int { return len(b.Text) - len(a.Text) })
				for _, e := range removed {
					remove(t, &c, e)
				}
			}
		}
	}
	if fixed < roots {
		t.Errorf("only %d answers could be turned", fixed)
	}
}

func inspect(t *testing.T, dir string, c *hostcase.Case) *kmod.Inspection {
	t.Helper()
	root, err := os.MkdirTemp(dir, "root")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	if err := c.Build(root); err != nil {
		t.Fatal(err)
	}
	ins, err := kmod.Inspect(t.Context(), kmod.Options{
		Root: root, Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys"),
		KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
	}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	return ins
}

// remove takes a line of evidence out of the case, as an administrator would
// who opens that file at that line.
func remove(t *testing.T, c *hostcase.Case, e kmod.Evidence) {
	t.Helper()
	if e.File == "/proc/cmdline" {
		text := strings.ReplaceAll(e.Text, `\u007f`, "\u007f") // the one that is not printable there
		if !strings.Contains(c.Cmdline, text) {
			t.Errorf("the command line %q has no %q", c.Cmdline, text)
		}
		c.Cmdline = strings.ReplaceAll(c.Cmdline, text, "gone") // wherever it stands
		return
	}
	name, ok := resolve(c, strings.TrimPrefix(e.File, "/"))
	if !ok {
		t.Errorf("evidence names %s, which is not in the case:\n%s", e.File, c.Format())
		return
	}
	for i := range c.Entries {
		if c.Entries[i].Path != name {
			continue
		}
		lines := strings.SplitAfter(c.Entries[i].Content, "\n")
		if e.Line < 1 || e.Line > len(lines) {
			t.Errorf("%s:%d: the file has %d lines", e.File, e.Line, len(lines))
			return
		}
		// The logical line may go on for several.
		last := e.Line - 1
		for strings.HasSuffix(lines[last], "\\\n") && last+1 < len(lines) {
			last++
		}
		for n := e.Line - 1; n <= last; n++ {
			lines[n] = "\n" // the other lines keep their numbers
		}
		c.Entries[i].Content = strings.Join(lines, "")
	}
}

// resolve follows the links of a case.
func resolve(c *hostcase.Case, name string) (string, bool) {
	for range 40 { // as the kernel does, path_resolution(7)
		if !c.Split && strings.HasPrefix(name, "lib/") {
			name = "usr/" + name
		}
		moved := false
		for _, e := range c.Entries {
			switch {
			case e.Kind == hostcase.Link && (e.Path == name || strings.HasPrefix(name, e.Path+"/")):
				target := e.Content
				if !strings.HasPrefix(target, "/") {
					target = filepath.Join("/", filepath.Dir(e.Path), target)
				}
				name = strings.TrimPrefix(filepath.Clean(target+strings.TrimPrefix(name, e.Path)), "/")
				moved = true
			case e.Path == name, !c.Split && "usr/"+e.Path == name:
				return e.Path, true
			}
			if moved {
				break
			}
		}
		if !moved {
			break
		}
	}
	return fmt.Sprint(name), false
}
