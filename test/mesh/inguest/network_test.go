package inguest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The network: a bridge in the guest's first namespace, where the stand-in of
// the API server is, and a namespace for each node behind a port of the bridge.
const (
	gateway = "10.0.255.254"
	apiPort = 6443
	// meshPort is sctp-mesh's, for SCTP and TCP.
	meshPort = 9476
)

func namespace(i int) string { return fmt.Sprintf("n%d", i) }

// port of the bridge.
func port(i int) string { return fmt.Sprintf("v%d", i) }

// address of a node's pod, of which there may be several, one after the other.
func address(i, generation int) string { return fmt.Sprintf("10.0.%d.%d", generation, i+1) }

// newNetwork makes it, for as long as the test runs.
func newNetwork(t *testing.T, nodes int) {
	t.Helper()
	// All namespaces share one table of neighbours, and each node may have all
	// others in it (Documentation/networking/ip-sysctl.rst).
	for i := range 3 {
		limit := fmt.Sprintf("/proc/sys/net/ipv4/neigh/default/gc_thresh%d", i+1)
		if err := os.WriteFile(limit, fmt.Append(nil, 2*nodes*nodes+1024), 0); err != nil {
			t.Fatal(err)
		}
	}
	var batch strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&batch, format+"\n", args...) }
	add("link add br0 type bridge")
	add("address add %s/16 dev br0", gateway)
	add("link set br0 up")
	for i := range nodes {
		add("netns add %s", namespace(i))
		add("link add %s type veth peer name eth0 netns %s", port(i), namespace(i))
		add("link set %s master br0 up", port(i))
	}
	run(t, batch.String(), "ip", "-batch", "-")
	t.Cleanup(func() {
		var batch strings.Builder
		for i := range nodes {
			fmt.Fprintf(&batch, "netns delete %s\nlink delete %s\n", namespace(i), port(i))
		}
		run(t, batch.String()+"link delete br0\n", "ip", "-batch", "-")
		run(t, "flush ruleset", "nft", "-f", "-")
	})
	for i := range nodes {
		run(t, fmt.Sprintf("link set lo up\naddress add %s/16 dev eth0\nlink set eth0 up\n", address(i, 0)), "ip", "-n", namespace(i), "-batch", "-")
	}
	run(t, `table bridge fault {
	chain forward { type filter hook forward priority 0; }
	chain input { type filter hook input priority 0; }
	chain output { type filter hook output priority 0; }
}`, "nft", "-f", "-")
}

// in runs f in a thread of its own that is in a node's namespace: what it starts
// is in there, too.
func in(i int, f func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		ended <- func() error {
			ns, err := os.Open("/run/netns/" + namespace(i))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return os.NewSyscallError("setns", err)
			}
			return f()
		}()
	}()
	return <-ended
}

// drop has packets dropped that match the rules, each "CHAIN EXPRESSION", in
// place of those before.
func drop(t *testing.T, rules ...string) {
	t.Helper()
	script := "flush table bridge fault\n"
	for _, r := range rules {
		script += "add rule bridge fault " + r + " drop\n"
	}
	run(t, script, "nft", "-f", "-")
}

// associations that a node listens to, by their peers' address and port.
func associations(t *testing.T, i int) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for line := range strings.Lines(run(t, "", "ip", "netns", "exec", namespace(i), "cat", "/proc/net/sctp/assocs")) {
		// See net/sctp/proc.c, sctp_assocs_seq_show.
		f := strings.Fields(line)
		at := 13
		for at < len(f) && f[at] != "<->" {
			at++
		}
		if at+1 >= len(f) || f[11] != fmt.Sprint(meshPort) {
			continue
		}
		found[strings.TrimPrefix(f[at+1], "*")+" "+f[12]] = true
	}
	return found
}

// lost are rules as of a filter that has lost its state: it drops what belongs
// to associations that last, and lets new ones pass. They are those to some nodes,
// from one address or from all ("").
func lost(t *testing.T, from string, to ...int) (rules []string) {
	t.Helper()
	before := map[int]map[string]bool{}
	for _, i := range to {
		before[i] = associations(t, i)
	}
	time.Sleep(3 * time.Second)
	for _, i := range to {
		found := false
		for a := range associations(t, i) {
			addr, p, _ := strings.Cut(a, " ")
			if !before[i][a] || from != "" && addr != from {
				continue
			}
			found = true
			rules = append(rules,
				fmt.Sprintf("forward oifname %s ip saddr %s sctp sport %s", port(i), addr, p),
				fmt.Sprintf("forward iifname %s ip daddr %s sctp dport %s", port(i), addr, p))
		}
		if !found {
			t.Errorf("%s keeps no association from %q", nodeName(i), from)
		}
	}
	return rules
}
