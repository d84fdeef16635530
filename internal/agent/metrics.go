package agent

import (
	"cmp"
	"path/filepath"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/metrics"
	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Metrics of one agent.
type Metrics struct {
	metrics.Registry

	ready        *metrics.Vec
	reason       *metrics.Vec
	module       *metrics.Vec
	onBoot       *metrics.Vec
	check        *metrics.Vec
	probe        *metrics.Histogram
	assessment   *metrics.Histogram
	conclusive   *metrics.Vec
	inspections  *metrics.Vec
	writes       *metrics.Vec
	triggers     *metrics.Vec
	triggerWorks *metrics.Vec
}

// MetricsOptions are what is measured besides the agent itself.
type MetricsOptions struct {
	Build buildinfo.Info
	// Proc is where the SCTP counters of the agent's network namespace are
	// read (net/sctp/snmp); "" means /proc.
	Proc string
	// Contested reports whether another writer keeps changing the agent's keys; may
	// be nil.
	Contested func() bool
	// Unconfined reports whether the API server allows the agent to write what is
	// not its own; may be nil.
	Unconfined func() bool
}

var (
	readyValues = []string{string(kmod.AnswerTrue), string(kmod.AnswerFalse), string(kmod.AnswerUnknown)}
	stateValues = []string{string(kmod.StateLoaded), string(kmod.StateBuiltin), string(kmod.StateLoading), string(kmod.StateUnloading), string(kmod.StateLoadable), string(kmod.StateAbsent), string(kmod.StateUnknown)}
	bootValues  = []string{string(verdict.OnBootLoaded), string(verdict.OnBootOnDemand), string(verdict.OnBootBlocked), string(verdict.OnBootUnknown)}
)

// NewMetrics makes the metrics.
func NewMetrics(opts MetricsOptions) *Metrics {
	m := new(Metrics)
	gauge := func(name, help string, labels ...string) *metrics.Vec {
		return m.NewVec(metrics.Gauge, "sctp_agent_"+name, help, labels...)
	}
	counter := func(name, help string, labels ...string) *metrics.Vec {
		return m.NewVec(metrics.Counter, "sctp_agent_"+name, help, labels...)
	}
	m.ready = gauge("ready", "1 for the current verdict, else 0.", "ready")
	m.reason = gauge("reason", "1 for the verdict's reason, else 0.", "reason")
	m.module = gauge("module_state", "1 for the module's state in the running kernel, else 0.", "state")
	m.onBoot = gauge("on_boot", "1 for what the next boot will bring with today's files, else 0.", "on_boot")
	m.check = gauge("check_result", "1 for the result of each check of the last probe, else 0; no series before the first probe.", "check", "result")
	m.probe = m.NewHistogram("sctp_agent_probe_duration_seconds", "How long the probe took.",
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5)
	m.assessment = m.NewHistogram("sctp_agent_assessment_duration_seconds", "How long a whole assessment took, from reading files to the verdict.",
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 20)
	m.conclusive = gauge("last_conclusive_assessment_timestamp_seconds", "When an assessment last ended in true or false, as a Unix time; 0 for never.")
	m.inspections = counter("inspection_errors_total", "Assessments that could not read a file that decides.")
	m.writes = counter("node_writes_total", "Attempted writes to the Node, by outcome.", "outcome")
	m.triggers = counter("triggers_total", "Events that started an assessment, by trigger.", "trigger")
	m.triggerWorks = gauge("trigger_working", "1 while a trigger works, 0 while the agent assesses more often instead.", "trigger")
	gauge("build_info", "Always 1; the labels have the version, the commit and Go's version.", "version", "commit", "goversion").
		Set(1, opts.Build.Version, opts.Build.Commit, opts.Build.Go)
	m.NewFunc(func(out func(metrics.Kind, string, string, float64)) {
		out(metrics.Gauge, "sctp_agent_labels_contested", "1 while another writer keeps changing the agent's labels or annotations, else 0.",
			truth(opts.Contested != nil && opts.Contested()))
		out(metrics.Gauge, "sctp_agent_unconfined", "1 where no admission policy confines the agent to its own keys of its own Node, else 0.",
			truth(opts.Unconfined != nil && opts.Unconfined()))
	})
	m.NewFunc(snmp(filepath.Join(cmp.Or(opts.Proc, "/proc"), "net/sctp/snmp")))

	// Each value is there from the start: an alert on a series that appears
	// with the trouble itself misses its first occurrence.
	m.conclusive.Set(0)
	m.inspections.Add(0)
	for _, o := range nodewriter.Outcomes() {
		m.writes.Add(0, string(o))
	}
	oneHot(m.ready, readyValues, string(kmod.AnswerUnknown))
	oneHot(m.module, stateValues, string(kmod.StateUnknown))
	oneHot(m.onBoot, bootValues, string(verdict.OnBootUnknown))
	for _, r := range verdict.Reasons() {
		m.reason.Set(0, string(r))
	}
	return m
}

// Wrote counts a write to the Node.
func (m *Metrics) Wrote(o nodewriter.Outcome) { m.writes.Add(1, string(o)) }

// truth is 1 or 0.
func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// oneHot sets the series of the value that holds to 1, the others to 0.
func oneHot(v *metrics.Vec, values []string, holds string) {
	for _, value := range values {
		v.Set(truth(value == holds), value)
	}
}

func (m *Metrics) assessed(r verdict.Report, took time.Duration) {
	m.assessment.Observe(took.Seconds())
	if r.Probe.Attempted {
		m.probe.Observe((time.Duration(r.Probe.DurationMicros) * time.Microsecond).Seconds())
	}
	if r.Ready == kmod.AnswerTrue || r.Ready == kmod.AnswerFalse {
		m.conclusive.Set(float64(time.Now().UnixMilli()) / 1e3)
	}
	if r.Reason == verdict.ReasonInspectionFailed {
		m.inspections.Add(1)
	}
}

func (m *Metrics) published(r verdict.Report) {
	oneHot(m.ready, readyValues, string(r.Ready))
	oneHot(m.module, stateValues, string(r.Module.State))
	oneHot(m.onBoot, bootValues, string(r.OnBoot))
	for _, reason := range verdict.Reasons() {
		m.reason.Set(truth(reason == r.Reason), string(reason))
	}
	m.check.Clear()
	for _, c := range r.Probe.Checks {
		for _, result := range []string{"pass", "fail", "skip", "unknown"} {
			m.check.Set(truth(result == c.Result), c.Name, result)
		}
	}
}

func (m *Metrics) fired(trigger string) { m.triggers.Add(1, trigger) }

func (m *Metrics) trigger(name string, works bool) {
	m.triggerWorks.Set(truth(works), name)
	m.triggers.Add(0, name)
}

// snmp shows the counters of the network namespace that the agent is in. Without
// the module there are no series.
func snmp(path string) func(func(metrics.Kind, string, string, float64)) {
	return func(out func(metrics.Kind, string, string, float64)) {
		counters, _ := sctp.Counters(path)
		for _, c := range counters {
			if c.Name == "SctpCurrEstab" {
				out(metrics.Gauge, "sctp_associations",
					"Associations of this network namespace in state ESTABLISHED, SHUTDOWN-RECEIVED or SHUTDOWN-PENDING (SctpCurrEstab).", float64(c.Value))
				continue
			}
			out(metrics.Counter, "sctp_"+snake(strings.TrimPrefix(c.Name, "Sctp"))+"_total",
				"Counter "+c.Name+" of /proc/net/sctp/snmp.", float64(c.Value))
		}
	}
}

var (
	wordEnds    = pattern.MustCompile(`([a-z0-9])([A-Z])`)
	acronymEnds = pattern.MustCompile(`([A-Z])([A-Z][a-z])`)
)

// snake turns "T3RtxExpireds" into "t3_rtx_expireds".
func snake(s string) string {
	return strings.ToLower(acronymEnds().ReplaceAllString(wordEnds().ReplaceAllString(s, "${1}_$2"), "${1}_$2"))
}
