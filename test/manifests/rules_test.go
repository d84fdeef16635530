package manifests_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/agent"
	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/mesh"
	"github.com/sctp-agent/sctp-agent/test/debian"
)

const monitoring = root + "/components/monitoring/"

// promtool of Debian's package.
func promtool(ctx context.Context, t *testing.T) string {
	t.Helper()
	tree, err := debian.Open(debian.Bookworm, "").Tree(ctx, "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(tree, "usr/bin/promtool")
}

func prometheusRule(t *testing.T) *monitoringv1.PrometheusRule {
	t.Helper()
	b, err := os.ReadFile(monitoring + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return objects[0].(*monitoringv1.PrometheusRule)
}

// Each alert fires when it should, and not otherwise.
func TestRules(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tool := promtool(ctx, t)
	rule := prometheusRule(t)
	spec, err := yaml.Marshal(rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile("testdata/rules/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range rule.Spec.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" && !strings.Contains(string(cases), "alertname: "+r.Alert) {
				t.Errorf("the alert %s has no test", r.Alert)
			}
		}
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"rules.yaml": spec, "alerts_test.yaml": cases} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.CommandContext(ctx, tool, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// dashboardExprs are the queries of the dashboards.
func dashboardExprs(t *testing.T) []string {
	t.Helper()
	var exprs []string
	for _, file := range []string{"dashboard.json", "mesh-dashboard.json"} {
		b, err := os.ReadFile(monitoring + file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct{ Targets []struct{ Expr string } }
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		if len(d.Panels) < 10 {
			t.Fatalf("%s: %d panels", file, len(d.Panels))
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				exprs = append(exprs, target.Expr)
			}
		}
	}
	return exprs
}

// The dashboards' queries are PromQL.
func TestDashboardQueriesParse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	type group struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	}
	g := group{Name: "dashboard"}
	for i, e := range dashboardExprs(t) {
		g.Rules = append(g.Rules, rule{Record: fmt.Sprint("dashboard:query", i), Expr: e})
	}
	b, err := yaml.Marshal(map[string]any{"groups": []group{g}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(ctx, promtool(ctx, t), "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

// Rules and dashboards speak of metrics that the agents have, by labels and values
// that those have.
func TestMetricsExist(t *testing.T) {
	text := append(agent.NewMetrics(agent.MetricsOptions{Proc: t.TempDir()}).Text(), mesh.NewMetrics(buildinfo.Current()).Text()...)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{} // metric → label=value
	for _, f := range families {
		pairs := map[string]bool{}
		for _, metric := range f.GetMetric() {
			for _, l := range metric.GetLabel() {
				pairs[l.GetName()+"="+l.GetValue()] = true
			}
		}
		known[f.GetName()] = pairs
	}
	// These have series only after an assessment or an event.
	for _, name := range []string{"sctp_agent_check_result", "sctp_agent_triggers_total", "sctp_agent_trigger_working", "sctp_mesh_rtt_seconds"} {
		if known[name] == nil {
			known[name] = map[string]bool{}
		}
	}
	exprs := dashboardExprs(t)
	for _, g := range prometheusRule(t).Spec.Groups {
		for _, r := range g.Rules {
			exprs = append(exprs, r.Expr.String())
		}
	}
	name := regexp.MustCompile(`sctp_(?:agent|mesh)_[a-z_]+(\{[^}]*\})?`)
	match := regexp.MustCompile(`(\w+)=~?"([^"]*)"`)
	for _, e := range exprs {
		for _, use := range name.FindAllString(e, -1) {
			metric, labels, _ := strings.Cut(use, "{")
			pairs, ok := known[strings.TrimSuffix(metric, "_bucket")]
			if !ok {
				t.Errorf("no agent has a metric %s, in %s", metric, e)
				continue
			}
			if len(pairs) == 0 {
				continue
			}
			for _, m := range match.FindAllStringSubmatch(labels, -1) {
				for value := range strings.SplitSeq(m[2], "|") {
					if !pairs[m[1]+"="+value] {
						t.Errorf("%s never has %s=%q, in %s", metric, m[1], value, e)
					}
				}
			}
		}
	}
}
