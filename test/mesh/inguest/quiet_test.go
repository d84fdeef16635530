package inguest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// mostLoss is up to what loss, in percent, nothing may be concluded. More is no
// quiet: what is concluded is printed.
const mostLoss = 1

// TestQuiet: nothing happens but that packets are lost now and then, and nothing
// is concluded.
func TestQuiet(t *testing.T) {
	m := newMesh(t, *nodes)
	began := time.Now()
	if *loss > 0 {
		for i := range *nodes {
			// Towards the node, and so once for each packet on its way.
			run(t, "", "tc", "qdisc", "add", "dev", port(i), "root", "netem", "loss", fmt.Sprintf("%v%%", *loss))
		}
	}
	time.Sleep(*quiet)
	if *loss > mostLoss {
		t.Logf("%v %% loss: %v; %v", *loss, seen(m.pictures()), lines(m.said(began)))
	} else {
		m.quiet(began, fmt.Sprintf("%v with %v %% loss", *quiet, *loss))
	}
	failed, tried := 0.0, 0.0
	for _, i := range m.running() {
		page := string(m.get(i, "/metrics"))
		for _, kind := range []string{"new", "kept"} {
			ok := metric(t, page, `sctp_mesh_probes_total{kind="`+kind+`",result="ok"}`)
			bad := metric(t, page, `sctp_mesh_probes_total{kind="`+kind+`",result="failed"}`)
			failed += bad
			tried += bad + ok
		}
	}
	t.Logf("%v, %v %% loss: %.0f of %.0f tries failed; API server: %v", *quiet, *loss, failed, tried, m.api.counted())
	if want := 1.5 * float64(*nodes) * quiet.Seconds() * min(1, float64(*nodes-1)/10); tried < want {
		t.Errorf("%.0f tries, want %.0f at least", tried, want)
	}
	if *loss > 0 && dropped(t) == 0 {
		t.Error("nothing was lost")
	}
}

// TestComingAndGoing: agents that are updated, crash, leave and join, and an API
// server that is away, are no fault.
func TestComingAndGoing(t *testing.T) {
	m := newMesh(t, *nodes)
	n := *nodes
	began := time.Now()
	inRing := func(p picture.Picture, node string) bool {
		return slices.ContainsFunc(p.Peers, func(p picture.Peer) bool { return p.Node == node && p.Role == picture.RoleRing })
	}

	// As a DaemonSet's controller does with maxUnavailable 10 % and
	// minReadySeconds 10.
	for first := 0; first < n; first += max(1, n/10) {
		batch := m.running()[first:min(n, first+max(1, n/10))]
		for _, i := range batch {
			old := m.pod(i, 0)
			old.serving, old.terminating = false, true
			m.api.put(old)
			m.stop(i)
			run(t, fmt.Sprintf("address delete %s/16 dev eth0\n", old.address), "ip", "-n", namespace(i), "-batch", "-")
			m.api.remove(old.name)
		}
		time.Sleep(2 * time.Second)
		for _, i := range batch {
			p := m.pod(i, 1)
			run(t, fmt.Sprintf("address add %s/16 dev eth0\n", p.address), "ip", "-n", namespace(i), "-batch", "-")
			p.serving = false
			m.api.put(p)
			m.start(p)
		}
		time.Sleep(3 * time.Second)
		for _, i := range batch {
			m.api.put(m.pod(i, 1))
		}
		time.Sleep(10 * time.Second)
	}
	time.Sleep(time.Minute)
	m.quiet(began, "a rolling update")

	crashed := m.running()[0]
	m.crash(crashed)
	time.Sleep(10 * time.Second)
	m.start(m.pod(crashed, 1))
	time.Sleep(time.Minute)
	m.quiet(began, "a crash")

	gone := n - 1
	m.api.remove(m.pod(gone, 1).name)
	m.stop(gone)
	probes := func(p picture.Picture) bool { return inRing(p, nodeName(gone)) }
	m.await(time.Minute, "a node that has left is not probed", probes, 0)
	m.quiet(began, "a node has left")

	m.api.put(m.pod(gone, 1))
	m.start(m.pod(gone, 1))
	m.await(time.Minute, "a node that has joined is probed", probes, min(10, n-1))
	m.quiet(began, "a node has joined")

	drop(t, fmt.Sprintf("input tcp dport %d", apiPort))
	time.Sleep(*away)
	drop(t)
	time.Sleep(time.Minute)
	m.quiet(began, "the API server was away")
	t.Logf("API server: %v", m.api.counted())
}
