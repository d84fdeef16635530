package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
)

// TestMachineConfig: what is printed, given to --check, is found to do what it
// should; and the exit status is the worst of the pools judged.
func TestMachineConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	printed := program.Run(t, nil, "machineconfig", "--role", "worker", "--role", "infra", "--include-diag")
	if printed.Code != command.ExitYes || printed.Stderr != "" {
		t.Fatalf("exit %d, %s", printed.Code, printed.Stderr)
	}
	enables := write("enables.yaml", printed.Stdout)
	undoes := write("undoes.yaml", strings.Replace(hardened, "the-pool-of-the-core-network-in-the-second-data-centre", "worker", 1))
	kustomization := write("kustomization.yaml", "resources:\n- enables.yaml\n- namespace.yaml\n")
	pool := write("pool.yaml", "kind: MachineConfigPool\nmetadata: {name: worker}\nspec: {machineConfigSelector: {matchLabels: {machineconfiguration.openshift.io/role: worker}}}\n")
	namespace, nothing := write("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: openshift-marketplace}\n"), write("nothing.yaml", "")
	policy := write("policy.yaml", "kind: Policy\nmetadata: {name: p}\nspec:\n  policy-templates: [{objectDefinition: {kind: MachineConfig}}]\n")
	tuned := write("tuned.yaml", "kind: Tuned\nmetadata: {name: t}\nspec:\n  profile: [{data: \"[modules]\\nsctp=+r\"}]\n")
	remote := write("remote.yaml", `{"apiVersion":"machineconfiguration.openshift.io/v1","kind":"MachineConfig","metadata":{"name":"z","labels":{"machineconfiguration.openshift.io/role":"master"}},
"spec":{"config":{"ignition":{"version":"3.2.0","config":{"merge":[{"source":"https://example.com/more.ign"}]}}}}}`)
	var gz, tape bytes.Buffer
	z, tr := gzip.NewWriter(&gz), tar.NewWriter(&tape)
	if err := errors.Join(compress(z, printed.Stdout), tr.WriteHeader(&tar.Header{Name: "a"}), tr.Close()); err != nil {
		t.Fatal(err)
	}
	packed, cut, archive := write("enables.yaml.gz", gz.String()), write("cut.yaml.gz", gz.String()[:gz.Len()/2]), write("must-gather.tar", tape.String())
	for _, c := range []struct {
		name   string
		stdin  string
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		{"what was printed", "", []string{"--check", enables}, command.ExitYes, []string{"pool infra: ENABLES SCTP\n", "pool worker: ENABLES SCTP\n"}, ""},
		{"from standard input", printed.Stdout, []string{"--check", "-"}, command.ExitYes, []string{"pool worker: ENABLES SCTP\n"}, ""},
		{"undone by another file", "", []string{"--check", enables, undoes}, command.ExitNo, []string{"pool worker: DOES NOT ENABLE SCTP\n", "install sctp /bin/false", "(MachineConfig 75-the-hardening"}, ""},
		{"several, by a shell's pattern", "", []string{"--check", enables, undoes, "--role", "infra"}, command.ExitNo, []string{"pool infra: DOES NOT ENABLE SCTP\n"}, ""},
		{"contents that are elsewhere", "", []string{"--check", enables, remote}, command.ExitUnknown, []string{"pool master: UNKNOWN\n", "pool worker: ENABLES SCTP\n"}, ""},
		{"one pool of several", "", []string{"--check", enables, remote, "--role", "worker"}, command.ExitYes, []string{"pool worker: ENABLES SCTP\n"}, ""},
		{"for programs", "", []string{"--check", enables, undoes, "-o", "json"}, command.ExitNo, []string{`"enabled": "false"`, `"config": "75-the-hardening`}, ""},
		{"a pool that nothing is for", "", []string{"--check", remote, "--role", "worker"}, command.ExitUnknown, nil, `no MachineConfig applies to pool "worker" in ` + remote},
		{"a version that no kmod has", "", []string{"--check", enables, "--kmod-version", "-3"}, command.ExitUnknown, nil, "want a positive number"},
		{"a directory's files, one of which is about something else", "", []string{"--check", kustomization, namespace, enables}, command.ExitYes, []string{"pool worker: ENABLES SCTP\n"}, ""},
		{"one of which has one in another object", "", []string{"--check", policy, enables}, command.ExitYes, []string{"pool worker: ENABLES SCTP\n", "policy.yaml: Policy p: a"}, ""},
		{"one of which is for TuneD", "", []string{"--check", tuned, enables}, command.ExitYes, []string{"pool worker: ENABLES SCTP\n", "tuned.yaml: Tuned t mentions sctp"}, ""},
		{"and no other", "", []string{"--check", policy, namespace}, command.ExitUnknown, nil, "policy.yaml: Policy p: a MachineConfig in it is not looked into"},
		{"one that is empty may have been something", "", []string{"--check", enables, nothing}, command.ExitUnknown, nil, "nothing.yaml: no MachineConfig and no Ignition configuration in it: it has no objects"},
		{"files about something else", "", []string{"--check", namespace, namespace}, command.ExitUnknown, nil, "namespace.yaml: no MachineConfig and no Ignition configuration in it"},
		{"compressed", "", []string{"--check", packed}, command.ExitYes, []string{"pool worker: ENABLES SCTP\n"}, ""},
		{"a file that lost its end", "", []string{"--check", cut}, command.ExitUnknown, nil, "cut.yaml.gz: unexpected EOF"},
		{"an archive", "", []string{"--check", archive}, command.ExitUnknown, nil, "must-gather.tar is an archive: unpack it"},
		{"a directory", "", []string{"--check", dir}, command.ExitUnknown, nil, dir + " is a directory: give its files (" + filepath.Join(dir, "*.yaml") + ")"},
		{"no such file", "", []string{"--check", filepath.Join(dir, "none.yaml")}, command.ExitUnknown, nil, "none.yaml"},
		{"only its pool", "kind: MachineConfigPool\nmetadata: {name: a}\nspec: {machineConfigSelector: {matchLabels: {a: b}}}", []string{"--check", "-"}, command.ExitUnknown, nil, "no MachineConfig and no Ignition configuration in -"},
		{"no MachineConfig", "kind: ConfigMap", []string{"--check", "-"}, command.ExitUnknown, nil, "standard input"},
		{"a file without --check", "", []string{enables}, command.ExitUnknown, nil, "files are judged with --check"},
		{"another form of what is to be applied", "", []string{"-o", "json"}, command.ExitUnknown, nil, "-o is for --check"},
		{"with other files emptied", "", []string{"--empty", "/etc/modprobe.d/sctp.conf"}, command.ExitYes, []string{"- path: /etc/modprobe.d/sctp.conf\n", "- path: /etc/modules-load.d/sctp-load.conf\n"}, ""},
		{"with a file emptied that must not be", "", []string{"--empty", "/etc/shadow"}, command.ExitUnknown, nil, `--empty: empty "/etc/shadow": want a file below /etc/modprobe.d`},
		{"with the vendor's file emptied once", "", []string{"--empty", "/etc/modprobe.d/sctp-blacklist.conf", "--empty", "/etc/modprobe.d/x.conf", "--empty", "/etc/modprobe.d/x.conf"}, command.ExitYes, []string{"- path: /etc/modprobe.d/x.conf\n"}, ""},
		{"with a file emptied that modprobe does not read", "", []string{"--empty", "/etc/modprobe.d/sctp"}, command.ExitUnknown, nil, "ends in .conf or .alias"},
		{"nothing, if one of the pools cannot be", "", []string{"--role", "worker", "--role", "Bad!"}, command.ExitUnknown, nil, `role "Bad!" is no name`},
		{"a pool without a name", "", []string{"--check", enables, "--role", ""}, command.ExitUnknown, nil, "--role names no pool"},
		{"a pool that is none of those given", "", []string{"--check", enables, pool, "--role", "wroker"}, command.ExitUnknown, nil, `no MachineConfig applies to pool "wroker"`},
		{"a value of a wrong type", `{"ignition":{"version":"3.2.0"},"storage":{"files":"x"}}`, []string{"--check", "-"}, command.ExitUnknown, nil, "storage.files is of the type string, want array"},
		{"a format that does not exist", "", []string{"--format", "toml"}, command.ExitUnknown, nil, `want "machineconfig", "butane" or "modprobe.d"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := program.Run(t, func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(c.stdin) }, append([]string{"machineconfig"}, c.args...)...)
			if o.Code != c.code || !strings.Contains(o.Stderr, c.stderr) || c.stderr == "" && o.Stderr != "" {
				t.Errorf("exit %d, want %d; stderr %q", o.Code, c.code, o.Stderr)
			}
			if n := strings.Count(o.Stdout, "- path: /etc/modprobe.d/x.conf"); n > 1 || strings.Count(o.Stdout, "- path: /etc/modprobe.d/sctp-blacklist.conf") > 1 {
				t.Errorf("a file twice:\n%s", o.Stdout)
			}
			unfolded := strings.Join(strings.Fields(o.Stdout), " ") // where a line ends depends on the names of files
			for _, want := range c.stdout {
				if !strings.Contains(o.Stdout, want) && !strings.Contains(unfolded, want) {
					t.Errorf("it does not say %q:\n%s", want, o.Stdout)
				}
			}
			if c.stdout == nil && o.Stdout != "" {
				t.Errorf("an error, and on stdout %q", o.Stdout)
			}
		})
	}
}

func compress(z io.WriteCloser, text string) error {
	_, err := io.WriteString(z, text)
	return errors.Join(err, z.Close())
}

// TestRolesOfRenderedConfigs: a pool that has been rendered several times is judged
// as often, whichever other pools are wanted, and a pool that is not wanted never.
func TestRolesOfRenderedConfigs(t *testing.T) {
	var objects []string
	for _, name := range []string{"worker-1", "zone-1", "master-1", "worker-2"} {
		pool, _, _ := strings.Cut(name, "-")
		objects = append(objects, fmt.Sprintf(`{"kind":"MachineConfig","metadata":{"name":"rendered-%s",
"ownerReferences":[{"kind":"MachineConfigPool","name":%q}]},"spec":{"config":{"ignition":{"version":"3.4.0"}}}}`, name, pool))
	}
	for roles, want := range map[string][]string{
		"":             {"master", "worker (rendered-worker-1)", "worker (rendered-worker-2)", "zone"},
		"worker":       {"worker (rendered-worker-1)", "worker (rendered-worker-2)"},
		"master":       {"master"},
		"zone,worker":  {"worker (rendered-worker-1)", "worker (rendered-worker-2)", "zone"},
		"worker,other": nil,
	} {
		t.Run(roles, func(t *testing.T) {
			args := []string{"machineconfig", "--check", "-"}
			if roles != "" {
				args = append(args, "--role", roles)
			}
			o := program.Run(t, func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(strings.Join(objects, "\n---\n")) }, args...)
			var got []string
			for line := range strings.Lines(o.Stdout) {
				if rest, ok := strings.CutPrefix(line, "pool "); ok {
					name, _, _ := strings.Cut(rest, ":")
					got = append(got, name)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pools %q, want %q\n%s%s", got, want, o.Stdout, o.Stderr)
			}
		})
	}
}

// A read that blocks ends when the command is interrupted.
func TestCheckEndsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stdin, writer := io.Pipe()
	defer writer.Close()
	if err := checkMachineConfigs(ctx, stdin, io.Discard, &outputFlags{}, []string{"-"}, nil, machineconfig.Host{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
