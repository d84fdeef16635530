package agent

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Metrics of one agent, on a registry of their own. A nil *Metrics hears of
// everything and keeps nothing.
type Metrics struct {
	registry *prometheus.Registry

	ready        *prometheus.GaugeVec
	reason       *prometheus.GaugeVec
	module       *prometheus.GaugeVec
	onBoot       *prometheus.GaugeVec
	check        *prometheus.GaugeVec
	probe        prometheus.Histogram
	assessment   prometheus.Histogram
	conclusive   prometheus.Gauge
	inspections  prometheus.Counter
	writes       *prometheus.CounterVec
	triggers     *prometheus.CounterVec
	triggerWorks *prometheus.GaugeVec
}

// BuildInfo is what "sctp-agent version" says.
type BuildInfo struct{ Version, Commit, GoVersion string }

// MetricsOptions say what is measured besides the agent itself.
type MetricsOptions struct {
	Build BuildInfo
	// Proc is where the SCTP counters of the agent's network namespace are
	// read (net/sctp/snmp); "" means /proc.
	Proc string
	// Contested says whether somebody else keeps changing the agent's keys;
	// may be nil.
	Contested func() bool
}

var (
	readyValues = []string{string(kmod.AnswerTrue), string(kmod.AnswerFalse), string(kmod.AnswerUnknown)}
	stateValues = []string{string(kmod.StateLoaded), string(kmod.StateBuiltin), string(kmod.StateLoading), string(kmod.StateUnloading), string(kmod.StateLoadable), string(kmod.StateAbsent), string(kmod.StateUnknown)}
	bootValues  = []string{string(verdict.OnBootLoaded), string(verdict.OnBootOnDemand), string(verdict.OnBootBlocked), string(verdict.OnBootUnknown)}
)

// NewMetrics makes the metrics and registers them.
func NewMetrics(opts MetricsOptions) *Metrics {
	gauge := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		ready:    gauge("sctp_agent_ready", "The verdict: 1 for the value that holds (true, false or unknown), else 0.", "ready"),
		reason:   gauge("sctp_agent_reason", "The verdict's reason: 1 for the one that holds, else 0.", "reason"),
		module:   gauge("sctp_agent_module_state", "State of the sctp module in the running kernel: 1 for the one that holds, else 0.", "state"),
		onBoot:   gauge("sctp_agent_on_boot", "What the next boot will bring with today's files: 1 for the value that holds, else 0.", "on_boot"),
		check: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sctp_agent_check_result", Help: "Result of each check of the last probe: 1 for the one that holds (pass, fail, skip or unknown); no series while no probe was made.",
		}, []string{"check", "result"}),
		probe: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sctp_agent_probe_duration_seconds", Help: "How long the probe took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5},
		}),
		assessment: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sctp_agent_assessment_duration_seconds", Help: "How long a whole assessment took, from reading files to the verdict.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 20},
		}),
		conclusive: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sctp_agent_last_conclusive_assessment_timestamp_seconds", Help: "When an assessment last ended in true or false, as a Unix time; 0 for never.",
		}),
		inspections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sctp_agent_inspection_errors_total", Help: "Assessments that could not read something that decides.",
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sctp_agent_node_writes_total", Help: "Writes to the Node that were tried, by outcome.",
		}, []string{"outcome"}),
		triggers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sctp_agent_triggers_total", Help: "How often something happened that made the agent look, by trigger.",
		}, []string{"trigger"}),
		triggerWorks: gauge("sctp_agent_trigger_working", "Whether a trigger works: 1, or 0 while the agent looks more often instead.", "trigger"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sctp_agent_build_info", Help: "Always 1; the labels say what was built.",
		ConstLabels: prometheus.Labels{"version": opts.Build.Version, "commit": opts.Build.Commit, "goversion": opts.Build.GoVersion},
	})
	build.Set(1)
	contested := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sctp_agent_labels_contested", Help: "1 while another writer keeps changing the agent's labels or annotations, else 0.",
	}, func() float64 {
		if opts.Contested != nil && opts.Contested() {
			return 1
		}
		return 0
	})
	proc := opts.Proc
	if proc == "" {
		proc = "/proc"
	}
	m.registry.MustRegister(m.ready, m.reason, m.module, m.onBoot, m.check, m.probe, m.assessment, m.conclusive,
		m.inspections, m.writes, m.triggers, m.triggerWorks, build, contested,
		&snmpCollector{path: filepath.Join(proc, "net/sctp/snmp")})
	// Each value is there from the start: an alert on a series that appears
	// with the trouble itself misses its first occurrence.
	for _, o := range nodewriter.Outcomes() {
		m.writes.WithLabelValues(string(o))
	}
	oneHot(m.ready, readyValues, string(kmod.AnswerUnknown))
	oneHot(m.module, stateValues, string(kmod.StateUnknown))
	oneHot(m.onBoot, bootValues, string(verdict.OnBootUnknown))
	for _, r := range verdict.Reasons() {
		m.reason.WithLabelValues(string(r)).Set(0)
	}
	return m
}

// Gatherer is what /metrics shows.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Wrote counts a write to the Node.
func (m *Metrics) Wrote(o nodewriter.Outcome) {
	if m != nil {
		m.writes.WithLabelValues(string(o)).Inc()
	}
}

func oneHot(g *prometheus.GaugeVec, values []string, holds string) {
	for _, v := range values {
		var x float64
		if v == holds {
			x = 1
		}
		g.WithLabelValues(v).Set(x)
	}
}

func (m *Metrics) assessed(r verdict.Report, took time.Duration) {
	if m == nil {
		return
	}
	m.assessment.Observe(took.Seconds())
	if r.Probe.Attempted {
		m.probe.Observe((time.Duration(r.Probe.DurationMicros) * time.Microsecond).Seconds())
	}
	if r.Ready == kmod.AnswerTrue || r.Ready == kmod.AnswerFalse {
		m.conclusive.SetToCurrentTime()
	}
	if r.Reason == verdict.ReasonInspectionFailed {
		m.inspections.Inc()
	}
}

func (m *Metrics) published(r verdict.Report) {
	if m == nil {
		return
	}
	oneHot(m.ready, readyValues, string(r.Ready))
	oneHot(m.module, stateValues, string(r.Module.State))
	oneHot(m.onBoot, bootValues, string(r.OnBoot))
	for _, reason := range verdict.Reasons() {
		var x float64
		if reason == r.Reason {
			x = 1
		}
		m.reason.WithLabelValues(string(reason)).Set(x)
	}
	m.check.Reset()
	for _, c := range r.Probe.Checks {
		for _, result := range []string{"pass", "fail", "skip", "unknown"} {
			var x float64
			if result == c.Result {
				x = 1
			}
			m.check.WithLabelValues(c.Name, result).Set(x)
		}
	}
}

func (m *Metrics) fired(trigger string) {
	if m != nil {
		m.triggers.WithLabelValues(trigger).Inc()
	}
}

func (m *Metrics) trigger(name string, works bool) {
	if m == nil {
		return
	}
	var x float64
	if works {
		x = 1
	}
	m.triggerWorks.WithLabelValues(name).Set(x)
	m.triggers.WithLabelValues(name)
}

// snmpCollector shows the counters of /proc/net/sctp/snmp (net/sctp/proc.c,
// sctp_snmp_list; RFC 3873), of the network namespace that the agent is in.
// Without the module there is no such file, and there are no series.
type snmpCollector struct{ path string }

// Describe says nothing: the counters are the kernel's to name.
func (c *snmpCollector) Describe(chan<- *prometheus.Desc) {}

func (c *snmpCollector) Collect(out chan<- prometheus.Metric) {
	f, err := os.Open(c.path)
	if err != nil {
		return
	}
	defer f.Close()
	// 31 lines of some 40 bytes.
	for s := bufio.NewScanner(io.LimitReader(f, 64<<10)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) != 2 || !strings.HasPrefix(fields[0], "Sctp") {
			continue
		}
		value, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			continue
		}
		if fields[0] == "SctpCurrEstab" {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc("sctp_associations",
				"Associations of this network namespace in state ESTABLISHED, SHUTDOWN-RECEIVED or SHUTDOWN-PENDING (SctpCurrEstab).", nil, nil),
				prometheus.GaugeValue, value)
			continue
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("sctp_"+snake(strings.TrimPrefix(fields[0], "Sctp"))+"_total",
			"Counter "+fields[0]+" of /proc/net/sctp/snmp.", nil, nil),
			prometheus.CounterValue, value)
	}
}

// snake turns "T3RtxExpireds" into "t3_rtx_expireds".
func snake(s string) string {
	var b strings.Builder
	for i, r := range s {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 {
			previous := s[i-1]
			next := byte(0)
			if i+1 < len(s) {
				next = s[i+1]
			}
			lower := func(c byte) bool { return c >= 'a' && c <= 'z' }
			digit := previous >= '0' && previous <= '9'
			if lower(previous) || digit || lower(next) && previous >= 'A' && previous <= 'Z' {
				b.WriteByte('_')
			}
		}
		if upper {
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
