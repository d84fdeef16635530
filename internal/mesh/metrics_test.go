package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// The number of series is the same for any cluster, and no peer's name is in
// them.
func TestMetrics(t *testing.T) {
	documented := NewMetrics(buildinfo.Info{Version: "v1"})
	documented.roundTrip.Observe(0, "", "")
	doctest.Section(t, "metrics of sctp-mesh", doctest.Metrics(string(documented.Text()), "state", "conclusion", "scope", "kind", "result", "answered"))

	for _, c := range []struct{ zones, series int }{{1, 26}, {3, 38}, {7, 32}} {
		t.Run(fmt.Sprint(c.zones), func(t *testing.T) {
			m := NewMetrics(buildinfo.Info{Version: "v1", Commit: "c", Go: "go1"})
			var list []Peer
			now := picture.Picture{Nodes: 5000, PeersFrom: time.Now()}
			for i := range 5000 {
				list = append(list, Peer{Node: nodeName(i), Zone: fmt.Sprintf("zone-%d", i%c.zones)})
			}
			m.listed("zone-0", list)
			for i, p := range list {
				m.tried(conclusion.New, conclusion.Outcome{State: picture.StateOK, RTT: time.Millisecond}, p.Zone)
				m.tried(conclusion.Kept, conclusion.Outcome{State: picture.StateFailed}, p.Zone)
				if i < 10 {
					now.Peers = append(now.Peers, picture.Peer{
						Node: p.Node, New: picture.Probe{State: picture.StateFailed}, Kept: picture.Probe{State: picture.StateOK},
						Conclusion: picture.ConclusionPath, Scope: picture.ScopeEverything,
					})
				}
			}
			m.show(now)
			m.asked(nil)
			m.asked(errors.New("no answer"))
			m.Answered(nil)
			m.Answered(errors.New("refused"))
			text := string(m.Text())
			series := 0
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(line, "#") {
					series++
				}
			}
			if series != c.series {
				t.Errorf("%d series, want %d:\n%s", series, c.series, text)
			}
			if strings.Contains(text, "node-") {
				t.Errorf("a peer's name:\n%s", text)
			}
			for _, want := range []string{
				`sctp_mesh_nodes 5000`, `sctp_mesh_peers{state="failed"} 10`,
				`sctp_mesh_failing_peers{conclusion="path",scope="everything"} 10`,
				`sctp_mesh_failing_peers{conclusion="node",scope="sctp"} 0`,
				`sctp_mesh_probes_total{kind="new",result="ok"} 5000`, `sctp_mesh_probes_total{kind="kept",result="failed"} 5000`,
				`sctp_mesh_questions_total{answered="false"} 1`, `sctp_mesh_answers_total{result="refused"} 1`,
				`sctp_mesh_rtt_seconds_bucket{zone="zone-0",peer_zone="zone-0",le="0.001"}`,
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %s in\n%s", want, text)
				}
			}
			problems, err := promlint.New(bytes.NewReader(m.Text())).Lint()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		})
	}
}

// A zone that has gone leaves no series.
func TestZonesChange(t *testing.T) {
	m := NewMetrics(buildinfo.Info{})
	for i := range 5 {
		list := []Peer{{Zone: "a"}, {Zone: "b"}, {Zone: fmt.Sprint(i)}}
		m.listed("a", list)
		for _, p := range list {
			m.tried(conclusion.New, conclusion.Outcome{State: picture.StateOK}, p.Zone)
		}
	}
	if n := strings.Count(string(m.Text()), "sctp_mesh_rtt_seconds_count"); n != 3 {
		t.Errorf("%d pairs of zones, want 3", n)
	}
}
