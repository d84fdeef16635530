package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/programtest"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

var program programtest.Program // set once, by TestMain

func TestMain(m *testing.M) { os.Exit(program.Main(m, "sctp-agent")) }

// hostTree makes a host root from a map of path to content; a content of
// "-> target" is a link.
func hostTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, isLink := strings.CutPrefix(content, "-> "); isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func decodeReport(t *testing.T, o programtest.Outcome) verdict.Report {
	t.Helper()
	var r verdict.Report
	if err := json.Unmarshal([]byte(o.Stdout), &r); err != nil {
		t.Fatalf("stdout is not a report: %v\n%s\n%s", err, o.Stdout, o.Stderr)
	}
	return r
}

// TestThisMachine: this machine's kernel decides what is right; where it has no
// SCTP, the program reports that at once.
func TestThisMachine(t *testing.T) {
	protocols, err := os.ReadFile("/proc/net/protocols")
	if err != nil {
		t.Fatal(err)
	}
	registered := regexp.MustCompile(`(?m)^SCTP `).Match(protocols)
	o := program.Run(t, nil, "check", "-o", "json")
	r := decodeReport(t, o)
	if registered {
		if r.Ready == kmod.AnswerFalse && !strings.HasPrefix(string(r.Reason), "Probe") {
			t.Errorf("this kernel has SCTP registered, and the report says %s", r.Reason)
		}
		return
	}
	if o.Code == command.ExitYes || r.Ready == kmod.AnswerTrue {
		t.Errorf("this kernel has no SCTP, and the report says ready=%s, exit %d", r.Ready, o.Code)
	}
	if r.Probe.Attempted || r.Probe.CausedLoad {
		t.Errorf("a socket was opened: %+v", r.Probe)
	}
	// The process's own time, not that of other programs on this machine, compared
	// with a start that inspects nothing: normally about twice as much.
	if start := program.Run(t, nil, "version").CPU; o.CPU > 100*start {
		t.Errorf("it took %v of processor time to report that, and a start alone takes %v", o.CPU, start)
	}
	after, err := os.ReadFile("/proc/net/protocols")
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^SCTP `).Match(after) {
		t.Errorf("SCTP was loaded by the check")
	}
}

// TestExitCodes: the code is the verdict, and 2 is for all that is no verdict.
func TestExitCodes(t *testing.T) {
	missing := hostTree(t, map[string]string{"etc/modprobe.d/a.conf": "", "usr/lib/modules/9.9.9/modules.dep": ""})
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"a flag that does not exist", []string{"check", "--nonsense"}, 2, `unknown flag: --nonsense (see "sctp-agent check --help")`},
		{"a flag that is misspelt", []string{"check", "--rooot", "/host"}, 2, `unknown flag: --rooot: did you mean "--root"?`},
		{"a short flag that does not exist", []string{"check", "-x"}, 2, "unknown shorthand flag: 'x' in -x"},
		{"a word too many", []string{"check", "now"}, 2, "now"},
		{"a command that does not exist", []string{"chekc"}, 2, `unknown command "chekc" for "sctp-agent": did you mean "check"?`},
		{"a form that does not exist", []string{"check", "-o", "xml"}, 2, "json"},
		{"an autoload policy that does not exist", []string{"check", "--autoload", "yes"}, 2, `want "never" or "allow"`},
		{"a release that names no directory", []string{"check", "--kernel-release", "../../x"}, 2, "as uname -r prints it"},
		{"a suite that does not exist", []string{"check", "--suite", "all"}, 2, `want "quick" or "full"`},
		{"less than no time", []string{"check", "--timeout", "-1s"}, 2, "--timeout -1s: want more than 0, or 0 for the default"},
		{"no time at all is the default", []string{"check", "--timeout", "0", "--root", missing, "--kernel-release", "9.9.9-none"}, 1, ""},
		{"no such root", []string{"check", "--root", "/does/not/exist"}, 2, ""},
		{"a root that is a file", []string{"check", "--root", "/etc/hostname"}, 2, ""},
		{"run without a node's name", []string{"run"}, 2, "NODE_NAME"},
		{"run with a prefix that is Kubernetes' own", []string{"run", "--node-name", "n", "--prefix", "kubernetes.io/"}, 2, "reserved"},
		{"run with less than no time between looks", []string{"run", "--node-name", "n", "--resync", "-5m"}, 2, "--resync -5m0s: want more than 0, or 0 for the default (10m0s)"},
		{"run with the default between looks", []string{"run", "--node-name", "n", "--resync", "0", "--kubeconfig", "/does/not/exist"}, 2, "/does/not/exist"},
		{"run without a cluster", []string{"run", "--node-name", "n", "--kubeconfig", "/does/not/exist"}, 2, "/does/not/exist"},
		{"help", []string{"check", "--help"}, 0, ""},
		{"version", []string{"version"}, 0, ""},
		{"a root without this kernel's modules", []string{"check", "--root", missing, "--kernel-release", "9.9.9-none"}, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := program.Run(t, nil, c.args...)
			if o.Code != c.code {
				t.Errorf("exit %d, want %d\n%s\n%s", o.Code, c.code, o.Stdout, o.Stderr)
			}
			if o.Code == command.ExitUnknown && o.Stdout == "" && strings.Count(o.Stderr, "\n") != 1 {
				t.Errorf("more than a line: %s", o.Stderr)
			}
			if !strings.Contains(o.Stderr, c.stderr) {
				t.Errorf("stderr does not say %q:\n%s", c.stderr, o.Stderr)
			}
		})
	}
}

// TestMoved: the administrator's commands are a program of their own, and one line
// names it, with any arguments.
func TestMoved(t *testing.T) {
	for _, args := range [][]string{
		{"audit"}, {"audit", "-o", "json", "--context", "x"}, {"verify", "a", "b"}, {"cleanup", "--help"}, {"machineconfig", "--check", "-"},
	} {
		o := program.Run(t, nil, args...)
		if o.Code != command.ExitUnknown || o.Stdout != "" || strings.Count(o.Stderr, "\n") != 1 || !strings.Contains(o.Stderr, "kubectl sctp "+args[0]+"\n") {
			t.Errorf("%v: exit %d\n%s\n%s", args, o.Code, o.Stdout, o.Stderr)
		}
	}
}

// TestVersion: the flag and the command name the same version.
func TestVersion(t *testing.T) {
	var v struct{ Version string }
	if err := json.Unmarshal([]byte(program.Run(t, nil, "version", "-o", "json").Stdout), &v); err != nil || v.Version == "" {
		t.Fatalf("version %q, %v", v.Version, err)
	}
	if o := program.Run(t, nil, "--version"); o.Code != 0 || o.Stdout != "sctp-agent version "+v.Version+"\n" {
		t.Errorf("exit %d, %s%s", o.Code, o.Stdout, o.Stderr)
	}
}

// TestKubeconfigOfAPerson: a credential plugin is refused by name, and a person's
// kubeconfig is not searched for.
func TestKubeconfigOfAPerson(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, ".kube", "config")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	text := `{current-context: c, contexts: [{name: c, context: {cluster: c, user: me}}],
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: me, user: {exec: {command: aws}}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	atHome := func(c *exec.Cmd) {
		c.Env = append(os.Environ(), "HOME="+home, "KUBECONFIG="+file, "KUBERNETES_SERVICE_HOST=")
	}
	o := program.Run(t, atHome, "run", "--node-name", "n")
	if o.Code != 2 || !strings.Contains(o.Stderr, "--kubeconfig") || strings.Contains(o.Stderr, home) {
		t.Errorf("exit %d\n%s", o.Code, o.Stderr)
	}
	o = program.Run(t, atHome, "run", "--node-name", "n", "--kubeconfig", file)
	if o.Code != 2 || !strings.Contains(o.Stderr, file) || !strings.Contains(o.Stderr, `user "me"`) || !strings.Contains(o.Stderr, "exec") {
		t.Errorf("exit %d\n%s", o.Code, o.Stderr)
	}
}

// TestNoSuchRoot names the directory and what to do.
func TestNoSuchRoot(t *testing.T) {
	o := program.Run(t, nil, "check", "--root", "/does/not/exist", "-o", "json")
	r := decodeReport(t, o)
	if o.Code != command.ExitUnknown || r.Ready != kmod.AnswerUnknown || r.Reason != verdict.ReasonInspectionFailed ||
		!strings.Contains(r.Message, "/does/not/exist") || !strings.Contains(r.Remedy, "--root") {
		t.Errorf("exit %d, %s %s: %s; %s", o.Code, r.Ready, r.Reason, r.Message, r.Remedy)
	}
}

// TestOtherHost: a root that is not this machine's is refused, and the line names
// the command that judges it; not this machine's own root, by any name, and not
// where a kernel release is given. What takes a machine's own first process is
// tested in a guest (test/scenarios).
func TestOtherHost(t *testing.T) {
	const bootID = "proc/sys/kernel/random/boot_id"
	ours, err := os.ReadFile("/" + bootID)
	if err != nil {
		t.Fatal(err)
	}
	modprobe := map[string]string{"etc/modprobe.d/a.conf": "blacklist sctp\n"}
	with := func(name, text string) map[string]string {
		tree := maps.Clone(modprobe)
		tree[name] = text
		return tree
	}
	for _, c := range []struct {
		name string
		root string
		args []string
		says string // "" where it is judged
	}{
		{"a sosreport", hostTree(t, with("sos_commands/kernel/lsmod", "")), nil, "it is a sosreport"},
		{"a copy of another boot's files", hostTree(t, with(bootID, "2b9a4d0e-0000-4000-8000-000000000000\n")), nil, "another boot"},
		{"a host's root as a pod has it", hostTree(t, with(bootID, string(ours))), nil, ""},
		{"a link to /", hostTree(t, map[string]string{"link": "-> /"}) + "/link", nil, ""},
		{"the root of a process", "/proc/self/root", nil, ""},
		{"a kernel release", hostTree(t, with("sos_commands/kernel/lsmod", "")), []string{"--kernel-release", "9.9.9"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := program.Run(t, nil, append([]string{"check", "--root", c.root, "-o", "json"}, c.args...)...)
			if c.says == "" {
				if decodeReport(t, o); o.Stderr != "" {
					t.Errorf("stderr: %s", o.Stderr)
				}
				return
			}
			if o.Code != command.ExitUnknown || o.Stdout != "" || strings.Count(o.Stderr, "\n") != 1 || !strings.Contains(o.Stderr, c.says) || !strings.Contains(o.Stderr, "kubectl sctp host "+c.root) {
				t.Errorf("exit %d, %s%s", o.Code, o.Stdout, o.Stderr)
			}
		})
	}
}

// TestReaderGone: a result that could not be delivered is not a success.
func TestReaderGone(t *testing.T) {
	for _, form := range []string{"json", "yaml", "table"} {
		program.ReaderGone(t, "check", "-o", form)
	}
}

// TestHelpFits holds every help text to the width of a terminal.
func TestHelpFits(t *testing.T) {
	if seen := program.HelpFits(t, newRootCommand()); seen < 6 {
		t.Errorf("only %d commands", seen)
	}
}

// TestUnreadable: an ordinary user who may not read modprobe.d gets no verdict
// about what it decides, never a wrong one.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to run the program as another user")
	}
	root := hostTree(t, map[string]string{
		"etc/modprobe.d/sctp-blacklist.conf": "blacklist sctp\n",
		"etc/modules-load.d/sctp.conf":       "sctp",
	})
	// The directory of t.TempDir is in one that is the test's own as well.
	for _, dir := range []string{root, filepath.Dir(root), filepath.Dir(program.Path)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "etc/modprobe.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := program.Run(t, func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}, "check", "--root", root, "--kernel-release", "9.9.9", "-o", "json")
	r := decodeReport(t, o)
	if r.Policy.Autoload.Allowed == "true" || r.Policy.ModulesLoad.Allowed == "true" || r.OnBoot == verdict.OnBootLoaded {
		t.Errorf("an unreadable directory was taken for an empty one: %+v", r.Policy)
	}
	if !strings.Contains(o.Stdout, "/etc/modprobe.d") {
		t.Errorf("the unreadable directory is not named:\n%s", o.Stdout)
	}
}

// TestForms: the three forms have the same content.
func TestForms(t *testing.T) {
	asJSON := decodeReport(t, program.Run(t, nil, "check", "-o", "json"))
	o := program.Run(t, nil, "check", "-o", "yaml")
	var asYAML verdict.Report
	if err := yaml.UnmarshalStrict([]byte(o.Stdout), &asYAML); err != nil {
		t.Fatal(err)
	}
	table := program.Run(t, nil, "check")
	prose := strings.Join(strings.Fields(table.Stdout), " ") // however it is broken
	if asYAML.Reason != asJSON.Reason || asYAML.Ready != asJSON.Ready || !strings.Contains(table.Stdout, string(asJSON.Reason)) ||
		!strings.Contains(prose, asJSON.Message) || !strings.Contains(prose, asJSON.Remedy[:20]) {
		t.Errorf("json: %+v\nyaml: %+v\ntable:\n%s", asJSON, asYAML, table.Stdout)
	}
	if strings.Contains(table.Stdout, "\x1b") {
		t.Errorf("colour into a pipe:\n%q", table.Stdout)
	}
	if first, _, _ := strings.Cut(table.Stdout, "\n"); !strings.Contains(first, string(asJSON.Reason)) {
		t.Errorf("the verdict is not first: %s", first)
	}
}
