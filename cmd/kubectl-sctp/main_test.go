package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/programtest"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

var program programtest.Program // set once, by TestMain

func TestMain(m *testing.M) { os.Exit(program.Main(m, "kubectl-sctp")) }

// TestExitCodes: 2 is for all that is no result.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"a flag that does not exist", []string{"audit", "--nonsense"}, 2, "", "kubectl-sctp: unknown flag: --nonsense (see \"kubectl sctp audit --help\")\n"},
		{"a flag that is misspelt", []string{"audit", "--fial-on", "info"}, 2, "", "kubectl-sctp: unknown flag: --fial-on: did you mean \"--fail-on\"?\n"},
		{"a flag of kubectl that is misspelt", []string{"audit", "--contex=x"}, 2, "", "kubectl-sctp: unknown flag: --contex: did you mean \"--context\"?\n"},
		{"a word too many", []string{"audit", "now"}, 2, "", "now"},
		{"a command that is misspelt", []string{"aduit"}, 2, "", "kubectl-sctp: unknown command \"aduit\" for \"kubectl sctp\": did you mean \"audit\"?\n"},
		{"the beginning of several", []string{"m"}, 2, "", `did you mean "mesh" or "machineconfig"?`},
		{"a command that does not exist", []string{"nonsense", "--flag"}, 2, "", "unknown"},
		{"a form that does not exist", []string{"audit", "-o", "xml"}, 2, "", "json"},
		{"a severity that does not exist", []string{"audit", "--fail-on", "all"}, 2, "", `want "critical", "warning", "info" or "never"`},
		{"a file that does not exist", []string{"audit", "--kubeconfig", "/does/not/exist"}, 2, "", "/does/not/exist"},
		{"an empty kubeconfig", []string{"audit", "--kubeconfig", os.DevNull}, 2, "", "no API server is configured (kubeconfig /dev/null): give --context NAME"},
		{"help", []string{"audit", "--help"}, 0, "Usage:\n  kubectl sctp audit [flags]\n", ""},
		{"help for a command", []string{"help", "audit"}, 0, "Usage:\n  kubectl sctp audit [flags]\n", ""},
		{"help for none", []string{"help", "aduit"}, 2, "", "kubectl-sctp: unknown command \"aduit\" for \"kubectl sctp\": did you mean \"audit\"?\n"},
		{"the flag", []string{"--version"}, 0, "kubectl sctp version devel\n", ""},
		{"no command", nil, 0, "Available Commands:\n  audit ", ""},
		{"namespaces, and all of them", []string{"audit", "-A", "-n", "x"}, 2, "", "[all-namespaces namespace]"},
		{"a check of sctp_diag, which is none", []string{"machineconfig", "--check", "x", "--include-diag"}, 2, "", "[check include-diag]"},
		{"version", []string{"version"}, 0, "kubectl-sctp devel\ncommit   ", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := program.Run(t, nil, c.args...)
			if o.Code != c.code || !strings.Contains(o.Stdout, c.stdout) || !strings.Contains(o.Stderr, c.stderr) {
				t.Errorf("exit %d, want %d\n%s\n%s", o.Code, c.code, o.Stdout, o.Stderr)
			}
		})
	}
}

// TestPrefixInFixes: with another prefix, the commands in fixes have it, if they
// accept it.
func TestPrefixInFixes(t *testing.T) {
	keys, err := nodelabel.NewKeys("sctp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range newRootCommand().Commands() {
		text := "see the node: kubectl sctp " + cmd.Name() + " --node a"
		want := text
		if cmd.Flags().Lookup("prefix") != nil {
			want = "see the node: kubectl sctp " + cmd.Name() + " --prefix sctp.example.com/ --node a"
		}
		if got := cluster.ForPrefix(keys, text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := cluster.ForPrefix(nodelabel.Keys{}, text); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	if got, want := cluster.ForPrefix(keys, `nodeSelector {sctp-agent/ready: "true"}`), `nodeSelector {sctp.example.com/ready: "true"}`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestReaderGone: a result that could not be delivered is not a success.
func TestReaderGone(t *testing.T) {
	for _, form := range []string{"json", "yaml", "table"} {
		program.ReaderGone(t, "version", "-o", form)
	}
}

// TestHelpFits holds every help text to the width of a terminal.
func TestHelpFits(t *testing.T) {
	if seen := program.HelpFits(t, newRootCommand()); seen < 6 {
		t.Errorf("only %d commands", seen)
	}
}
