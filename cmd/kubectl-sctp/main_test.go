package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/programtest"
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
		{"a flag that does not exist", []string{"audit", "--nonsense"}, 2, "", "kubectl-sctp: unknown flag: --nonsense"},
		{"a word too many", []string{"audit", "now"}, 2, "", "now"},
		{"a command that does not exist", []string{"aduit"}, 2, "", "aduit"},
		{"a form that does not exist", []string{"audit", "-o", "xml"}, 2, "", "json"},
		{"a severity that does not exist", []string{"audit", "--fail-on", "all"}, 2, "", `want "critical", "warning", "info" or "never"`},
		{"a file that does not exist", []string{"audit", "--kubeconfig", "/does/not/exist"}, 2, "", "/does/not/exist"},
		{"help", []string{"audit", "--help"}, 0, "Usage:\n  kubectl sctp audit [flags]\n", ""},
		{"the flag", []string{"--version"}, 0, "kubectl sctp version devel\n", ""},
		{"no command", nil, 0, "Available Commands:\n  audit ", ""},
		{"namespaces, and all of them", []string{"audit", "-A", "-n", "x"}, 2, "", "[all-namespaces namespace]"},
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
