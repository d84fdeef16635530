package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/internal/programtest"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

// meshAPI serves an API server that lists the mesh's pods and Nodes, and proxies
// to agents: three zones, a ring, and pairs that fail. silent agents refuse.
func meshAPI(t *testing.T, nodes int, fails func(from, to int) bool, silent ...string) (flag string) {
	t.Helper()
	broken := time.Now().Add(-90 * time.Minute)
	name := func(i int) string { return fmt.Sprintf("worker-%d", i) }
	zone := func(i int) string { return string(rune('a' + i%3)) }
	return kubeconfig(t, func(w http.ResponseWriter, r *http.Request) {
		encode := func(value any) {
			if err := json.NewEncoder(w).Encode(value); err != nil {
				t.Error(err)
			}
		}
		switch r.URL.Path {
		case "/api/v1/nodes":
			var list corev1.NodeList
			for i := range nodes {
				list.Items = append(list.Items, corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name(i), Labels: map[string]string{"sctp-agent/ready": "true"}}})
			}
			encode(list)
			return
		case "/api/v1/namespaces/sctp-agent/pods":
			var list corev1.PodList
			for i := range nodes {
				list.Items = append(list.Items, corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: "mesh-" + name(i), OwnerReferences: []metav1.OwnerReference{{Kind: "DaemonSet", Name: "sctp-mesh", Controller: new(true)}}},
					Spec:       corev1.PodSpec{NodeName: name(i), Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: meshview.PortName, ContainerPort: 7443}}}}},
					Status:     corev1.PodStatus{Phase: corev1.PodRunning},
				})
			}
			encode(list)
			return
		}
		var from int
		if _, err := fmt.Sscanf(r.URL.Path, "/api/v1/namespaces/sctp-agent/pods/http:mesh-worker-%d:7443/proxy/mesh", &from); err != nil {
			fmt.Fprint(w, `{"items":[]}`)
			return
		}
		for _, s := range silent {
			if s == name(from) {
				w.WriteHeader(http.StatusBadGateway)
				fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"connection refused","code":502}`)
				return
			}
		}
		p := picture.Picture{APIVersion: picture.APIVersion, Kind: picture.Kind, Node: name(from), Zone: zone(from), Version: "v0.2.0", Self: picture.Self{State: picture.StateOK}, Nodes: nodes}
		for i := 1; i <= 10; i++ {
			to := (from + i) % nodes
			good := picture.Probe{State: picture.StateOK, RTT: 0.00051}
			peer := picture.Peer{Node: name(to), Zone: zone(to), Role: picture.RoleRing, New: good, Kept: good, TCP: picture.Probe{State: picture.StateUnknown}}
			if fails(from, to) {
				bad := picture.Probe{State: picture.StateFailed, Cause: "no answer"}
				peer.New, peer.Kept, peer.TCP = bad, bad, good
				peer.Conclusion, peer.Scope, peer.Since, peer.Asked = picture.ConclusionPath, picture.ScopeSCTP, broken, 3
			}
			p.Peers = append(p.Peers, peer)
		}
		encode(p)
	})
}

const meshTable = `40 nodes, 39 seen; 390 pairs are probed: 379 work, 11 fail, 0 unknown
SCTP fails; nodes: 1, paths: 1

NodeUnreachableBySCTP
  worker-20: SCTP fails from 10 of 10 nodes that probe it; TCP works; for 1h
      fail: worker-10, worker-11, worker-12, worker-13, worker-14 and 5 more
      causes: no answer (10)
    → see what drops IP protocol 132 on this node and on its way to the others
      (nft list ruleset, security groups, NetworkPolicies), and the node's
      verdict: kubectl sctp audit

PathBroken
  worker-3 → worker-5: SCTP fails on this path, and others reach the node; TCP
    works; for 1h
      worker-3 → worker-5: new association failed (no answer), kept one failed
        (no answer), TCP ok; of 3 others that probe worker-5, 0 fail
    → see what drops IP protocol 132 between the two (nft list ruleset,
      conntrack -L -p sctp, security groups), and try it: kubectl sctp verify
      --node worker-3 --node worker-5

FROM ZONE  TO ZONE  PAIRS  FAIL  MEDIAN RTT
a          a        42     0     0.51ms
a          b        49     0     0.51ms
a          c        39     4     0.51ms
b          a        42     0     0.51ms
b          b        39     0     0.51ms
b          c        49     4     0.51ms
c          a        52     0     0.51ms
c          b        39     0     0.51ms
c          c        39     3     0.51ms

Not seen
  worker-33: get pods/mesh-worker-33 in namespace sctp-agent: connection refused
    (HTTP 502)

40 nodes, 39 seen; 390 pairs are probed: 379 work, 11 fail, 0 unknown
SCTP fails; nodes: 1, paths: 1
`

// What fails, since when, how much of it, and what to try: for people, and for
// programs; and the exit status.
func TestMesh(t *testing.T) {
	config := meshAPI(t, 40, func(from, to int) bool { return to == 20 || from == 3 && to == 5 }, "worker-33")
	o := program.Run(t, nil, append(doctest.Args(t, "kubectl sctp mesh"), config)...)
	if o.Stdout != meshTable || o.Code != command.ExitNo {
		t.Errorf("exit status %d\n%s\nwant\n%s", o.Code, o.Stdout, meshTable)
	}
	programtest.Fits(t, o.Stdout)
	if !strings.HasSuffix(o.Stderr, "s asked 40 of 40 agents\n") {
		t.Errorf("progress: %s", o.Stderr)
	}
	o = program.Run(t, nil, "mesh", config, "-q", "-o", "json")
	var r meshview.Result
	if err := json.Unmarshal([]byte(o.Stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.APIVersion != "sctp-agent/v1" || r.Kind != "ClusterMesh" || len(r.Findings) != 2 || len(r.Pairs) != 390 || o.Stderr != "" || o.Code != command.ExitNo {
		t.Errorf("%+v, %s, %d", r.Summary, o.Stderr, o.Code)
	}
	o = program.Run(t, nil, append(doctest.Args(t, "kubectl sctp mesh -o html > mesh.html"), config, "-q")...)
	if !strings.Contains(o.Stdout, "<title>SCTP mesh</title>") || o.Code != command.ExitNo {
		t.Errorf("%d\n%s", o.Code, o.Stdout)
	}
	never := func(int, int) bool { return false }
	for _, c := range []struct {
		silent []string
		want   int
		says   string
	}{{nil, command.ExitYes, "SCTP works on every pair\n"}, {[]string{"worker-1"}, command.ExitUnknown, "No failure is known\n"}} {
		o := program.Run(t, nil, "mesh", meshAPI(t, 40, never, c.silent...), "-q")
		if o.Code != c.want || !strings.HasSuffix(o.Stdout, c.says) {
			t.Errorf("%v: %d, want %d\n%s", c.silent, o.Code, c.want, o.Stdout)
		}
	}
	if _, _, err := execute(t.Context(), "mesh", config, "--agent-timeout", "0"); err == nil || !strings.Contains(err.Error(), "must be more than 0") {
		t.Errorf("%v", err)
	}
}

// A thousand nodes with many faults are some lines; --all has every one.
func TestMeshOfThousand(t *testing.T) {
	config := meshAPI(t, 1000, func(from, to int) bool { return to%100 == 50 || from%100 == 7 && to == from+2 })
	o := program.Run(t, nil, "mesh", config)
	if lines := strings.Count(o.Stdout, "\n"); lines > 90 || o.Code != command.ExitNo {
		t.Errorf("exit status %d, %d lines:\n%s", o.Code, lines, o.Stdout)
	}
	for _, want := range []string{"\nSCTP fails; nodes: 10, paths: 10\n", "  … and 5 more (--all prints them)\n"} {
		if !strings.Contains(o.Stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, o.Stdout)
		}
	}
	if n := strings.Count(o.Stderr, " agents\n"); n != 10 {
		t.Errorf("%d lines of progress:\n%s", n, o.Stderr)
	}
	o = program.Run(t, nil, "mesh", config, "--all", "-q")
	if n := strings.Count(o.Stdout, "\n  worker-"); n != 20 {
		t.Errorf("%d findings:\n%s", n, o.Stdout)
	}
}

// With --mesh the audit reports what the mesh concludes, and what of it was not
// seen.
func TestAuditMesh(t *testing.T) {
	config := meshAPI(t, 12, func(from, to int) bool { return to == 5 || from == 2 && to == 3 }, "worker-11")
	for _, c := range []struct {
		args       []string
		want, lack string
	}{
		{nil, "Nothing found", "PathBroken"},
		{doctest.Args(t, "kubectl sctp audit --mesh")[1:], `"kind": "NodeUnreachableBySCTP"`, "NOT"},
		{[]string{"--mesh"}, `"name": "worker-2 → worker-3"`, "NOT"},
		{[]string{"--mesh"}, `1 of 12 agents of the mesh (kubectl sctp mesh lists them): worker-11: get pods`, "NOT"},
		{[]string{"--mesh=elsewhere"}, `is the mesh installed there`, "worker-2 → worker-3"},
	} {
		args := append([]string{"audit", config, "--fail-on", "never"}, c.args...)
		if len(c.args) > 0 {
			args = append(args, "-o", "json")
		}
		stdout, stderr, err := execute(t.Context(), args...)
		if c.args == nil {
			c.want = "12 ready"
		}
		if err != nil || !strings.Contains(stdout, c.want) || strings.Contains(stdout, c.lack) && c.args == nil {
			t.Errorf("%q: %v, %s\n%s\nwant %q", c.args, err, stderr, stdout, c.want)
		}
	}
	if _, _, err := execute(t.Context(), "audit", "--mesh", "-f", "x"); err == nil || !strings.Contains(err.Error(), "--mesh needs a cluster") {
		t.Errorf("%v", err)
	}
}

// What agents write, and long names, keep to the terminal.
func TestMeshTableFits(t *testing.T) {
	const wide = "ip-10-201-103-47.eu-central-1.compute.internal"
	words := strings.Repeat("many words ", 20)
	r := &meshview.Result{Time: time.Unix(1_700_000_000, 0), Summary: meshview.Summary{Nodes: 123_456, Seen: 123_456, Pairs: 1_234_567}}
	for i := range 40 {
		r.Findings = append(r.Findings, meshview.Finding{Kind: meshview.PathBroken, From: wide, To: wide, Message: words, Evidence: []string{words}, Fix: words, Since: time.Unix(int64(i), 0)})
		r.Zones = append(r.Zones, meshview.ZonePair{From: "a-zone-of-a-long-name-in-a-region-of-a-long-name", To: "another-zone-of-a-long-name-in-that-region", Pairs: 123_456, Failed: i % 2, RTT: 0.1})
		r.Unseen = append(r.Unseen, meshview.Unseen{Node: wide, Why: words + "\x1b[2J"})
	}
	var b strings.Builder
	if err := printMesh(&b, terminal.Sized(terminal.Width), r, false); err != nil {
		t.Fatal(err)
	}
	programtest.Fits(t, b.String())
	for _, want := range []string{"… and 35 more", "… and 20 pairs of zones without failures", `\u001b[2J`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, b.String())
		}
	}
}
