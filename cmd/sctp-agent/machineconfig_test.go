package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMachineConfig: what is printed, given to --check, is found to do what it
// says; and the exit status is the worst of the pools judged.
func TestMachineConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	printed := run(t, nil, "machineconfig", "--role", "worker", "--role", "infra", "--include-diag")
	if printed.code != exitYes || printed.stderr != "" {
		t.Fatalf("exit %d, %s", printed.code, printed.stderr)
	}
	enables := write("enables.yaml", printed.stdout)
	undoes := write("undoes.yaml", strings.Replace(hardened, "the-pool-of-the-core-network-in-the-second-data-centre", "worker", 1))
	remote := write("remote.yaml", `{"apiVersion":"machineconfiguration.openshift.io/v1","kind":"MachineConfig","metadata":{"name":"z","labels":{"machineconfiguration.openshift.io/role":"master"}},
"spec":{"config":{"ignition":{"version":"3.2.0","config":{"merge":[{"source":"https://example.com/more.ign"}]}}}}}`)
	for _, c := range []struct {
		name   string
		stdin  string
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		{"what was printed", "", []string{"--check", enables}, exitYes, []string{"pool infra: ENABLES SCTP\n", "pool worker: ENABLES SCTP\n"}, ""},
		{"from standard input", printed.stdout, []string{"--check", "-"}, exitYes, []string{"pool worker: ENABLES SCTP\n"}, ""},
		{"undone by another file", "", []string{"--check", enables, undoes}, exitNo, []string{"pool worker: DOES NOT ENABLE SCTP\n", "install sctp /bin/false", "(MachineConfig 75-the-hardening"}, ""},
		{"several, by a shell's pattern", "", []string{"--check", enables, undoes, "--role", "infra"}, exitNo, []string{"pool infra: DOES NOT ENABLE SCTP\n"}, ""},
		{"contents that are elsewhere", "", []string{"--check", enables, remote}, exitUnknown, []string{"pool master: UNKNOWN\n", "pool worker: ENABLES SCTP\n"}, ""},
		{"one pool of several", "", []string{"--check", enables, remote, "--role", "worker"}, exitYes, []string{"pool worker: ENABLES SCTP\n"}, ""},
		{"for programs", "", []string{"--check", enables, undoes, "-o", "json"}, exitNo, []string{`"enabled": "false"`, `"config": "75-the-hardening`}, ""},
		{"a pool that nothing is for", "", []string{"--check", remote, "--role", "worker"}, exitUnknown, nil, `no MachineConfig applies to pool "worker" in ` + remote},
		{"no such file", "", []string{"--check", filepath.Join(dir, "none.yaml")}, exitUnknown, nil, "none.yaml"},
		{"no MachineConfig", "kind: ConfigMap", []string{"--check", "-"}, exitUnknown, nil, "standard input"},
		{"a file without --check", "", []string{enables}, exitUnknown, nil, "files are judged with --check"},
		{"another form of what is to be applied", "", []string{"-o", "json"}, exitUnknown, nil, "-o is for --check"},
		{"a format that does not exist", "", []string{"--format", "toml"}, exitUnknown, nil, `want "machineconfig", "butane" or "modprobe.d"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := run(t, func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(c.stdin) }, append([]string{"machineconfig"}, c.args...)...)
			if o.code != c.code || !strings.Contains(o.stderr, c.stderr) || c.stderr == "" && o.stderr != "" {
				t.Errorf("exit %d, want %d; stderr %q", o.code, c.code, o.stderr)
			}
			for _, want := range c.stdout {
				if !strings.Contains(o.stdout, want) {
					t.Errorf("it does not say %q:\n%s", want, o.stdout)
				}
			}
			if c.stdout == nil && o.stdout != "" {
				t.Errorf("an error, and on stdout %q", o.stdout)
			}
		})
	}
}
