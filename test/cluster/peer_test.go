package cluster

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/test/guest"
)

// TestPeers has the listener and the client of verify tell apart, on a real
// kernel, whatever a network between two namespaces can do to packets.
func TestPeers(t *testing.T) {
	t.Parallel() // most of it is waiting
	ctx := t.Context()
	bin, err := guest.Program("/bin/sctp-agent", program(t, "sctp-agent"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := guest.Boot(ctx, guest.Config{
		Files:    []guest.File{bin, guest.Text("/tmp/listener", ""), guest.Text("/tmp/dial", "")},
		Packages: []string{"iproute2", "nftables"},
		Modules:  []string{"veth", "nf_tables", "nft_reject_inet", "nft_numgen", "nft_chain_nat", "nft_nat"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	sh := func(script string) string {
		t.Helper()
		res, err := g.Run(ctx, guest.Shell("set -e\n"+script))
		if err != nil || res.ExitCode != 0 {
			t.Fatalf("%s\n%v, exit code %d\n%s%s", script, err, res.ExitCode, res.Stdout, res.Stderr)
		}
		return string(res.Stdout)
	}
	encode := func(job any) string {
		t.Helper()
		text, err := wire.Encode("test", job)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	dial := func(job wire.Job) wire.Say {
		t.Helper()
		out := sh(fmt.Sprintf(": > /tmp/dial; %s='%s' /bin/ip netns exec a /bin/sctp-agent verify-dial --result /tmp/dial || true; cat /tmp/dial", wire.JobVariable, encode(job)))
		var say wire.Say
		if err := wire.Decode(out, &say); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		return say
	}
	sh(`modprobe -a veth nf_tables nft_reject_inet nft_numgen # BusyBox has an ip of its own
/bin/ip netns add a; /bin/ip netns add b
/bin/ip link add toB netns a type veth peer name toA netns b
for n in a b; do /bin/ip -n $n link set lo up; done
/bin/ip -n a address add 10.9.0.1/24 dev toB; /bin/ip -n b address add 10.9.0.2/24 dev toA
/bin/ip -n a address add fd09::1/64 dev toB nodad; /bin/ip -n b address add fd09::2/64 dev toA nodad
/bin/ip -n a link set toB up; /bin/ip -n b link set toA up
# That nobody has an address is known after three questions (arp(7)): well before
# a try's 6 s are over.
/bin/ip netns exec a sh -c 'echo 200 > /proc/sys/net/ipv4/neigh/toB/retrans_time_ms'`)

	const v4, v6 = "10.9.0.2:38412", "[fd09::2]:38412"
	job := func(address string) wire.Job {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return wire.Job{
			Targets: []wire.Target{{ID: 1, Address: address, Control: net.JoinHostPort(host, "8080")}},
			Sizes:   []int{1, 512, 1400, 9000, wire.MaxMessage}, Timeout: 6000, Diagnose: true,
		}
	}
	if say := dial(job(v4)); say.Fault != wire.ModuleMissing || strings.Contains(sh("cat /proc/modules"), "sctp ") {
		t.Fatalf("without the module: %+v", say)
	}
	t.Run("a job of another protocol", func(t *testing.T) {
		out := sh(fmt.Sprintf(": > /tmp/dial; %s='{\"protocol\":99,\"version\":\"v9\",\"content\":[]}' /bin/sctp-agent verify-dial --result /tmp/dial 2>&1 || true; cat /tmp/dial", wire.JobVariable))
		if !strings.Contains(out, "protocol 99") || !strings.Contains(out, fmt.Sprintf(`{"protocol":%d,`, wire.Protocol)) {
			t.Errorf("it leaves %s", out)
		}
	})
	sh("modprobe sctp")
	// The guest ends what a command leaves behind, so this one lasts.
	listening, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	listener := encode(wire.Listener{Index: 7, Ports: []int{38412, 38413}, Control: ":8080"})
	go func() {
		defer close(ended)
		_, _ = g.Run(listening, guest.Shell(fmt.Sprintf("export %s='%s'; exec /bin/ip netns exec b /bin/sctp-agent verify-listen --result /tmp/listener", wire.JobVariable, listener)))
	}()
	t.Cleanup(func() { stop(); <-ended })
	sh("i=0; until /bin/ip netns exec b cat /proc/net/sctp/eps | grep -q 38412; do i=$((i+1)); [ $i -lt 600 ]; sleep 0.1; done")

	// A rule set is that of one namespace; what leaves it is filtered there,
	// what is to enter it is too.
	filter := func(namespace, rules string) string {
		return fmt.Sprintf("/bin/ip netns exec %s nft -f - <<'EOF'\ntable inet f { chain i { type filter hook input priority 0; %s; }; }\nEOF\n", namespace, rules)
	}
	for _, c := range []struct {
		name    string
		rules   string
		address string
		want    wire.Outcome
		size    int
	}{
		{"IPv4", "", v4, wire.OK, 0},
		{"IPv6", "", v6, wire.OK, 0},
		{"nobody listens", "", "10.9.0.2:9", wire.Refused, 0},
		{"no route", "", "192.0.2.1:38412", wire.NoRoute, 0},
		{"nobody has the address", "", "10.9.0.77:38412", wire.NoRoute, 0},
		{"dropped on the way there", filter("b", "meta l4proto sctp drop"), v4, wire.Dropped, 0},
		{"dropped on the way there, IPv6", filter("b", "meta l4proto sctp drop"), v6, wire.Dropped, 0},
		{"dropped on the way back", filter("a", "meta l4proto sctp drop"), v4, wire.OneWay, 0},
		{"dropped on the way back, IPv6", filter("a", "meta l4proto sctp drop"), v6, wire.OneWay, 0},
		{"everything is dropped", filter("b", "meta l4proto { sctp, tcp } drop"), v4, wire.NetworkDown, 0},
		{"rejected as prohibited", filter("b", "meta l4proto sctp reject with icmpx type admin-prohibited"), v4, wire.NoRoute, 0},
		{"rejected as prohibited, IPv6", filter("b", "meta l4proto sctp reject with icmpx type admin-prohibited"), v6, wire.NoRoute, 0},
		{"rejected as unreachable", filter("b", "meta l4proto sctp reject"), v4, wire.Refused, 0},
		{"large packets are lost there", filter("b", "meta l4proto sctp meta length > 1000 drop"), v4, wire.Lost, 1400},
		{"large packets are lost on the way back", filter("a", "meta l4proto sctp meta length > 1000 drop"), v4, wire.Lost, 1400},
		// An answer that comes after the client has looked, and then the path
		// is there: of each rule, the first INIT that comes to it (its
		// verification tag is 0, RFC 9260 section 8.5.1). What is left of the
		// associations before may still come.
		{"dropped, rejected, and then let through", filter("b", "sctp vtag 0 numgen inc mod 100000 == 0 drop; "+
			"sctp vtag 0 numgen inc mod 100000 == 0 reject with icmpx type admin-prohibited"), v4, wire.OK, 0},
		{"IPv4, after all that", "", v4, wire.OK, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh("for n in a b; do /bin/ip netns exec $n nft flush ruleset; done\n" + c.rules)
			j := job(c.address)
			say := dial(j)
			if len(say.Results) != 1 {
				t.Fatalf("got %+v", say)
			}
			r := say.Results[0]
			t.Logf("%+v", r)
			if r.ID != 1 || r.Outcome != c.want || r.Size != c.size {
				t.Errorf("outcome %s (size %d), want %s (size %d)", r.Outcome, r.Size, c.want, c.size)
			}
			if c.want == wire.OK && (r.Peer != 7 || r.RTT == 0 || r.Handshake == 0) {
				t.Errorf("not proved by the listener: %+v", r)
			}
		})
	}
	// What is blocked is told when it has failed often enough, everything else
	// when there is no patience any more.
	const short, long = 8000, 60_000
	for _, c := range []struct {
		name, rules string
		patience    wire.Millis
		want        wire.Outcome
	}{
		{"a port that is not allowed is dropped", filter("b", "sctp dport 38413 drop"), long, wire.Blocked},
		{"a port that is not allowed is rejected", filter("b", "sctp dport 38413 reject"), long, wire.Blocked},
		{"a port that is not allowed is open", "", short, wire.OK},
		{"all ports are dropped", filter("b", "meta l4proto sctp drop"), short, wire.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh("for n in a b; do /bin/ip netns exec $n nft flush ruleset; done\n" + c.rules)
			say := dial(wire.Job{
				Targets: []wire.Target{{ID: 1, Address: "10.9.0.2:38413", Beside: v4, Patience: c.patience}},
				Sizes:   []int{1, 1400}, Timeout: 3000,
			})
			if len(say.Results) != 1 || say.Results[0].Outcome != c.want {
				t.Errorf("got %+v, want %s", say, c.want)
			}
		})
	}
	t.Run("what leads over a path that fails is not tried", func(t *testing.T) {
		sh("for n in a b; do /bin/ip netns exec $n nft flush ruleset; done")
		j := job(v4)
		j.Parallel = 4
		target := func(id int, address string, needs ...int) wire.Target {
			return wire.Target{ID: id, Address: address, Needs: needs, Patience: 30_000}
		}
		j.Targets = []wire.Target{
			{ID: 10, Address: v4}, {ID: 11, Address: "10.9.0.2:9"},
			target(12, v6, 10), target(13, v6, 11), target(14, v6, 10, 11), target(15, v6, 13), target(16, v6, 99, 16),
		}
		want := map[int]wire.Outcome{
			10: wire.OK, 11: wire.Refused, 12: wire.OK, 13: wire.NotTried, 14: wire.NotTried, 15: wire.NotTried,
			16: wire.OK, // what is not there before it is not waited for
		}
		say := dial(j)
		for _, r := range say.Results {
			if r.Outcome != want[r.ID] {
				t.Errorf("%d: %s, want %s", r.ID, r.Outcome, want[r.ID])
			}
		}
		if len(say.Results) != len(want) {
			t.Errorf("got %+v", say)
		}
	})
	t.Run("a second network", func(t *testing.T) { secondNetwork(t, g, sh, encode) })
	t.Run("a client that keeps its port", func(t *testing.T) { keepsPort(t, g, sh, encode) })
}

// keepsPort has a client keep its port in a network like a node's: a Service's
// address is translated to one of two listeners, of which one vanishes, and the
// rule then leads to the other. As long as connection tracking has an entry, the
// client is not led there; a client beside it is.
func keepsPort(t *testing.T, g *guest.Guest, sh func(string) string, encode func(any) string) {
	sh(`modprobe -a nft_chain_nat nft_nat
for n in node pod s0 s1; do /bin/ip netns add $n; /bin/ip -n $n link set lo up; done
i=0
for n in pod s0 s1; do
	/bin/ip link add $n netns node type veth peer name eth0 netns $n
	/bin/ip -n node address add 10.8.$i.1/24 dev $n; /bin/ip -n node link set $n up
	/bin/ip -n $n address add 10.8.$i.2/24 dev eth0; /bin/ip -n $n link set eth0 up
	/bin/ip -n $n route add default via 10.8.$i.1
	i=$((i+1))
done
/bin/ip netns exec node sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'`)
	lead := func(to string) {
		t.Helper()
		sh(fmt.Sprintf(`/bin/ip netns exec node nft -f - <<'EOF'
table ip service
delete table ip service
table ip service { chain p { type nat hook prerouting priority dstnat; ip daddr 10.96.0.1 sctp dport 38412 dnat to %s; }; }
EOF`, to))
	}
	t.Cleanup(start(t, g, encode, "s1", "verify-listen", "/tmp/s1", wire.Listener{Index: 1, Ports: []int{38412}, Control: ":8080"}))
	ready(sh, "s1")
	for _, c := range []struct {
		name string
		// timeout of connection tracking's entries, in seconds.
		timeout  int
		patience wire.Millis
		want     wire.Outcome
	}{{"entries that stay", 60, 20_000, wire.NoRoute}, {"entries that expire", 1, 120_000, wire.OK}} {
		t.Run(c.name, func(t *testing.T) {
			sh(fmt.Sprintf("/bin/ip -n s0 link set eth0 up; /bin/ip -n s0 route replace default via 10.8.1.1; /bin/ip netns exec node sh -c 'for f in /proc/sys/net/netfilter/nf_conntrack_sctp_timeout_*; do echo %d > $f; done'", c.timeout))
			lead("numgen inc mod 2 map { 0 : 10.8.1.2, 1 : 10.8.2.2 }")
			stopListener := start(t, g, encode, "s0", "verify-listen", "/tmp/s0", wire.Listener{Index: 0, Ports: []int{38412}, Control: ":8080"})
			ready(sh, "s0")
			stopClient := start(t, g, encode, "pod", "verify-client", "/tmp/client", wire.Client{
				Targets: []wire.Target{{ID: 5, Address: "10.96.0.1:38412"}}, Timeout: 5000, Begin: 60_000, Patience: c.patience, Control: ":8080",
			})
			defer stopClient()
			ready(sh, "pod")
			sh("/bin/ip -n s0 link set eth0 down")
			stopListener()
			lead("10.8.2.2")
			out := sh("i=0; until [ -s /tmp/client ]; do i=$((i+1)); [ $i -lt 1200 ]; sleep 0.1; done; sleep 1; cat /tmp/client")
			var say wire.Say
			if err := wire.Decode(out, &say); err != nil || len(say.Recoveries) != 1 {
				t.Fatalf("%v in %q", err, out)
			}
			r := say.Recoveries[0]
			t.Logf("%+v", r)
			if r.ID != 5 || r.Outcome != c.want || r.Port == 0 {
				t.Errorf("outcome %s, want %s", r.Outcome, c.want)
			}
			if c.want == wire.OK && (r.Peer != 1 || r.Gap >= c.patience) {
				t.Errorf("it was not answered by the other: %+v", r)
			}
			if c.want != wire.OK && (r.OtherPort == 0 || r.OtherPort >= c.patience) {
				t.Errorf("a client beside it was not answered: %+v", r)
			}
		})
	}
}

// secondNetwork has an association with two paths between two namespaces, of
// which one is cut.
func secondNetwork(t *testing.T, g *guest.Guest, sh func(string) string, encode func(any) string) {
	sh(`for n in m0 m1; do /bin/ip netns add $n; /bin/ip -n $n link set lo up; done
for i in 0 1; do
	/bin/ip link add net$i netns m0 type veth peer name net$i netns m1
	for n in m0 m1; do
		/bin/ip -n $n address add 10.7.$i.$((1 + ${n#m}))/24 dev net$i
		/bin/ip -n $n link set net$i up
	done
done`)
	t.Cleanup(start(t, g, encode, "m1", "verify-listen", "/tmp/m1", wire.Listener{Index: 4, Ports: []int{38412}, Control: ":8080"}))
	ready(sh, "m1")
	const first, second = "10.7.0.2", "10.7.1.2"
	for _, c := range []struct {
		name, rules, also string
		want              wire.Outcome
		state             string
	}{
		{"both paths work", "", second, wire.OK, "active"},
		{"the second is cut", "/bin/ip netns exec m1 nft add rule inet f i iifname net1 drop", second, wire.PathDown, "unconfirmed"},
		{"it is no address of the listener's", "", "10.7.1.9", wire.PathDown, "not-offered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh("/bin/ip netns exec m1 nft -f - <<'EOF'\nflush ruleset\ntable inet f { chain i { type filter hook input priority 0; }; }\nEOF\n" + c.rules)
			out := sh(fmt.Sprintf(": > /tmp/m0; %s='%s' /bin/ip netns exec m0 /bin/sctp-agent verify-dial --result /tmp/m0 || true; cat /tmp/m0", wire.JobVariable, encode(wire.Job{
				Targets: []wire.Target{{ID: 1, Address: first + ":38412", Also: []string{c.also}}}, Sizes: []int{1, 1400}, Timeout: 6000,
			})))
			var say wire.Say
			if err := wire.Decode(out, &say); err != nil || len(say.Results) != 1 {
				t.Fatalf("%v in %q", err, out)
			}
			r := say.Results[0]
			t.Logf("%+v", r)
			if r.Outcome != c.want || !maps.Equal(r.States, map[string]string{first: "active", c.also: c.state}) || r.Peer != 4 {
				t.Errorf("got %+v, want %s, %s", r, c.want, c.state)
			}
		})
	}
}

// start runs a peer in a namespace of a guest until it ends or is stopped. The
// guest ends what a command leaves behind, so this one lasts.
func start(t *testing.T, g *guest.Guest, encode func(any) string, namespace, command, result string, job any) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	text := encode(job)
	go func() {
		defer close(ended)
		_, _ = g.Run(ctx, guest.Shell(fmt.Sprintf(": > %[1]s; export %[2]s='%[3]s'; exec /bin/ip netns exec %[4]s /bin/sctp-agent %[5]s --result %[1]s", result, wire.JobVariable, text, namespace, command)))
	}()
	return func() { cancel(); <-ended }
}

// ready waits until a peer in a namespace says that it is ready.
func ready(sh func(string) string, namespace string) {
	sh(fmt.Sprintf("i=0; until /bin/ip netns exec %s wget -q -O - http://127.0.0.1:8080/ready; do i=$((i+1)); [ $i -lt 600 ]; sleep 0.1; done", namespace))
}
