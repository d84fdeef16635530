package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// stdoutOf runs a command whose exit status is that of a result.
func stdoutOf(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := command.Main(newRootCommand(), args, &out, &errs); errs.Len() > 0 {
		t.Fatalf("%q: exit status %d: %s", args, code, &errs)
	}
	return out.String()
}

// The forms of kubectl: templates of the JSON, names, more columns, no heads.
func TestForms(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, map[string]string{
		"nodes.yaml":  nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed) + nodeYAML("worker-1", kmod.AnswerFalse, verdict.ReasonModuleBlacklisted),
		"pods.yaml":   "apiVersion: v1\nkind: PodList\nitems:\n" + strings.Replace(amf, "  apiVersion", "- apiVersion", 1),
		"path.txt":    `{.summary.nodes}`,
		"go.txt":      `{{.summary.nodes}}`,
		"config.yaml": hardened,
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	audit := []string{"audit", "-f", at("nodes.yaml"), "-f", at("pods.yaml")}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", `jsonpath={range .nodes[*]}{.name}{"\t"}{.ready}{"\n"}{end}`}, "worker-0\ttrue\nworker-1\tfalse\n"},
		{[]string{"-o", `jsonpath={.summary.nodes}`}, "2"},
		{[]string{"-o", `jsonpath={.nodes[?(@.ready=="false")].reason}`}, "ModuleBlacklisted"},
		{[]string{"-o", "jsonpath-as-json={.nodes[*].name}"}, "[\n    \"worker-0\",\n    \"worker-1\"\n]\n"},
		{[]string{"-o", "jsonpath-file=" + at("path.txt")}, "2"},
		{[]string{"-o", "jsonpath", "--template", "{.nodes[1].name}"}, "worker-1"},
		{[]string{"-o", "jsonpath={.none}"}, ""},
		{[]string{"-o", `go-template={{range .nodes}}{{.name}} {{end}}`}, "worker-0 worker-1 "},
		{[]string{"-o", "go-template-file=" + at("go.txt")}, "2"},
		{[]string{"--template", `{{(index .nodes 0).name}}`}, "worker-0"},
		{[]string{"-o", "name"}, "node/worker-1\npod/amf-0\n"},
	} {
		got := stdoutOf(t, append(audit, c.args...)...)
		if c.args[1] == "name" {
			// The order is that of the findings.
			lines := strings.SplitAfter(got, "\n")
			if len(lines) == 3 && lines[0] > lines[1] {
				got = lines[1] + lines[0]
			}
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
	if got := stdoutOf(t, append(audit, "-o", "wide")...); !strings.Contains(got, "REASON") || !strings.Contains(got, "AGENT-POD") || !strings.Contains(got, "  ProbePassed  ") {
		t.Errorf("-o wide:\n%s", got)
	}
	if got := stdoutOf(t, append(audit, "--no-headers")...); strings.Contains(got, "POOL") || !strings.Contains(got, "\n\nworker-0  worker  true   loaded  ") {
		t.Errorf("--no-headers:\n%s", got)
	}
	if got := stdoutOf(t, "machineconfig", "--check", at("config.yaml"), "-o", "jsonpath={.items[*].enabled}"); got != "false" {
		t.Errorf("machineconfig: %q", got)
	}

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "jsonpath={.nodes"}, "unclosed"},
		{[]string{"-o", "go-template={{"}, "template"},
		{[]string{"-o", "jsonpath"}, "no template given"},
		{[]string{"-o", "jsonpath-file=" + at("none")}, "none"},
		{[]string{"-o", "json", "--template", "x"}, "--template cannot be combined with -o json"},
		{[]string{"-o", "custom-columns=a:b"}, `want "table", "wide", "name", "html", "json", "yaml", "jsonpath=…" or "go-template=…"`},
		// The printers' own error has the whole object.
		{[]string{"-o", "jsonpath={.none}", "--allow-missing-template-keys=false"}, "none is not found"},
		{[]string{"-o", "go-template={{.none.x.y}}", "--allow-missing-template-keys=false"}, `no entry for key "none"`},
	} {
		var out, errs bytes.Buffer
		code := command.Main(newRootCommand(), append(audit, c.args...), &out, &errs)
		if code != command.ExitUnknown || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%q: exit status %d, stdout %q, stderr %q, want %q", c.args, code, &out, &errs, c.want)
		}
	}
}
