package mesh

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/metrics"
)

// Metrics of one node. Their number is the same at any size of the cluster: no peer
// is in a label, and of zones at most three (see zoneOf). A nil *Metrics ignores
// everything.
type Metrics struct {
	metrics.Registry

	nodes, listFrom    *metrics.Vec
	peers, failing     *metrics.Vec
	probes             *metrics.Vec
	questions, answers *metrics.Vec
	roundTrip          *metrics.Histogram

	mu sync.Mutex
	// own zone, and those of the cluster, sorted.
	own   string
	zones []string
}

// NewMetrics makes the metrics.
func NewMetrics(build buildinfo.Info) *Metrics {
	m := new(Metrics)
	gauge := func(name, help string, labels ...string) *metrics.Vec {
		return m.NewVec(metrics.Gauge, "sctp_mesh_"+name, help, labels...)
	}
	counter := func(name, help string, labels ...string) *metrics.Vec {
		return m.NewVec(metrics.Counter, "sctp_mesh_"+name, help, labels...)
	}
	m.nodes = gauge("nodes", "Nodes of the mesh, this one included.")
	m.listFrom = gauge("list_timestamp_seconds", "When the list of nodes was read last, as a Unix time; 0 for never.")
	m.peers = gauge("peers", "Peers that this node probes, by the state of the probes.", "state")
	m.failing = gauge("failing_peers", "Peers that this node fails to reach, by what is concluded (node, path or self) and how much is concerned (sctp or everything).", "conclusion", "scope")
	m.probes = counter("probes_total", "Tries, of new associations and of echoes on kept ones, by result.", "kind", "result")
	m.questions = counter("questions_total", "Other nodes that were asked about a peer, by whether they answered.", "answered")
	m.answers = counter("answers_total", "Questions of other nodes, by whether they were answered.", "result")
	m.roundTrip = m.NewHistogramVec("sctp_mesh_rtt_seconds", "Round trips of echoes, from this node's zone to the peer's.",
		[]string{"zone", "peer_zone"}, .001, .01, .1)
	gauge("build_info", "Always 1; the labels have the version, the commit and Go's version.", "version", "commit", "goversion").
		Set(1, build.Version, build.Commit, build.Go)

	// Each value is there from the start: an alert on a series that appears
	// with the trouble itself misses its first occurrence.
	m.nodes.Set(0)
	m.listFrom.Set(0)
	for _, k := range conclusion.Kinds() {
		m.probes.Add(0, string(k), string(picture.StateOK))
		m.probes.Add(0, string(k), string(picture.StateFailed))
	}
	for _, b := range []string{"true", "false"} {
		m.questions.Add(0, b)
	}
	for _, r := range []string{"answered", "refused"} {
		m.answers.Add(0, r)
	}
	m.show(picture.Picture{})
	return m
}

func (m *Metrics) tried(k conclusion.Kind, o conclusion.Outcome, peerZone string) {
	if m == nil || o.State == picture.StateUnknown {
		return
	}
	m.probes.Add(1, string(k), string(o.State))
	if o.State == picture.StateOK {
		m.mu.Lock()
		own, peer := m.own, m.zoneOf(peerZone)
		m.mu.Unlock()
		m.roundTrip.Observe(o.RTT.Seconds(), own, peer)
	}
}

// zoneOf is a peer's zone as its label has it: in clusters of more than three,
// all but this node's are "other".
func (m *Metrics) zoneOf(zone string) string {
	if zone != m.own && len(m.zones) > 3 {
		return "other"
	}
	return zone
}

func (m *Metrics) listed(own string, list []Peer) {
	if m == nil {
		return
	}
	var zones []string
	for _, p := range list {
		if at, found := slices.BinarySearch(zones, p.Zone); !found {
			zones = slices.Insert(zones, at, p.Zone)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := slices.ContainsFunc(m.zones, func(zone string) bool { return !slices.Contains(zones, zone) })
	if own != m.own || (len(zones) > 3) != (len(m.zones) > 3) || gone && len(zones) <= 3 {
		m.roundTrip.Clear()
	}
	m.own, m.zones = own, zones
}

// show what holds now.
func (m *Metrics) show(now picture.Picture) {
	if m == nil {
		return
	}
	states := map[picture.State]float64{}
	type failure struct {
		picture.Conclusion
		picture.Scope
	}
	failing := map[failure]float64{}
	for _, p := range now.Peers {
		states[worst(p.New.State, p.Kept.State)]++
		failing[failure{p.Conclusion, cmp.Or(p.Scope, picture.ScopeSCTP)}]++
	}
	for _, s := range []picture.State{picture.StateOK, picture.StateFailed, picture.StateUnknown} {
		m.peers.Set(states[s], string(s))
	}
	for _, c := range []picture.Conclusion{picture.ConclusionNode, picture.ConclusionPath, picture.ConclusionSelf} {
		for _, s := range []picture.Scope{picture.ScopeSCTP, picture.ScopeEverything} {
			m.failing.Set(failing[failure{c, s}], string(c), string(s))
		}
	}
	m.nodes.Set(float64(now.Nodes))
	if !now.PeersFrom.IsZero() {
		m.listFrom.Set(float64(now.PeersFrom.UnixMilli()) / 1e3)
	}
}

// worst of the states of both kinds of probes.
func worst(a, b picture.State) picture.State {
	for _, s := range []picture.State{picture.StateFailed, picture.StateOK} {
		if a == s || b == s {
			return s
		}
	}
	return picture.StateUnknown
}

func (m *Metrics) asked(err error) {
	if m != nil {
		m.questions.Add(1, strconv.FormatBool(err == nil))
	}
}

// Answered counts a question of another node.
func (m *Metrics) Answered(err error) {
	if m == nil {
		return
	}
	if err == nil {
		m.answers.Add(1, "answered")
	} else {
		m.answers.Add(1, "refused")
	}
}
