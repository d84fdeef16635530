package cluster

import (
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// browse loads a page in a real browser and returns what it shows. script, if
// any, runs in the page when it has been loaded, in place of a user. A page
// that asks anybody for anything fails the test.
func browse(t *testing.T, file, fragment, script string) string {
	t.Helper()
	dom, asked := visit(t, file, fragment, script)
	if len(asked) > 0 {
		t.Errorf("the page asks for %q", asked)
	}
	return dom
}

// visit is browse that returns what was asked for: the browser has a proxy for
// everything that is not a file.
func visit(t *testing.T, file, fragment, script string) (dom string, asked []string) {
	t.Helper()
	if script != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(t.TempDir(), "used.html")
		if err := os.WriteFile(file, append(text, "<script>"+script+"</script>"...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.URL.String())
		http.Error(w, "nobody is to be asked", http.StatusForbidden)
	}))
	defer proxy.Close()
	url := "file://" + file
	if fragment != "" {
		url += "#" + fragment
	}
	through := "--proxy-server=" + proxy.Listener.Addr().(*net.TCPAddr).String()
	// To be looked at by people.
	if to := os.Getenv("SCREENSHOTS"); to != "" {
		for i, scheme := range []string{"dark", "light"} { // as Blink numbers them
			shot := filepath.Join(to, strings.ReplaceAll(t.Name(), "/", "-")+"-"+scheme+".png")
			chromium(t, through, fmt.Sprint("--blink-settings=preferredColorScheme=", i), "--screenshot="+shot, url)
		}
	}
	out := chromium(t, through, "--dump-dom", url)
	mu.Lock()
	defer mu.Unlock()
	return out, asked
}

// chromium runs a real browser and returns what it prints.
func chromium(t *testing.T, args ...string) string {
	t.Helper()
	browser := ""
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Fatal("no Chromium on this machine (Debian: chromium-headless-shell)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, browser, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir=" + filepath.Join(t.TempDir(), "profile"),
		"--virtual-time-budget=2000", "--window-size=1280,1600",
	}, args...)...).Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	return string(out)
}

// pageOf writes a page to a file.
func pageOf(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := write(f); err != nil {
		t.Fatal(err)
	}
	return path
}

// A page that does ask is caught.
func TestPageThatAsksIsCaught(t *testing.T) {
	page := pageOf(t, func(w io.Writer) error {
		_, err := io.WriteString(w, `<!doctype html><img src="http://sctp-agent.invalid/x.png">`)
		return err
	})
	if _, asked := visit(t, page, "", ""); len(asked) == 0 || asked[0] != "GET http://sctp-agent.invalid/x.png" {
		t.Errorf("asked for %q", asked)
	}
}

// evil are foreign names: each is shown as it is, whether it would end the
// script, open a tag, or be taken for a place in the page's frame.
const evil = `</script><script>document.title="taken"</script><img src=x onerror=document.title="taken">{{script}}`

func TestPagesShowForeignTextAsText(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{
		"audit": func(w io.Writer) error {
			return audit.WriteHTML(w, audit.Examine(&audit.Snapshot{Nodes: []audit.Node{{Name: "n", Message: evil, Reason: verdict.ReasonProbeFailed, Ready: "false"}}}))
		},
		"verify": func(w io.Writer) error {
			return verify.WriteHTML(w, &verify.Result{
				Nodes: []verify.Node{{Name: evil}}, Paths: []verify.Path{{Kind: verify.PathPod, From: evil, To: evil, Family: "IPv4", Outcome: wire.OK}},
				Findings: []verify.Finding{},
			})
		},
		"mesh": func(w io.Writer) error {
			return meshview.WriteHTML(w, &meshview.Result{
				Nodes: []meshview.Node{{Name: evil}}, Pairs: []meshview.Pair{}, Zones: []meshview.ZonePair{}, Unseen: []meshview.Unseen{},
				Findings: []meshview.Finding{{Kind: meshview.PathBroken, From: evil, To: evil, Message: evil, Evidence: []string{evil}, Fix: evil}},
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dom := browse(t, pageOf(t, write), "", "")
			shown := html.EscapeString(evil)
			shown = strings.ReplaceAll(shown, "&#34;", `"`) // as text content has it
			if strings.Contains(dom, "<title>taken") || !strings.Contains(dom, shown) {
				t.Errorf("foreign text was not shown as text:\n%s", dom)
			}
		})
	}
}

// verify's page has a matrix for each kind of path and family, with the worst
// of each cell, and says what is wrong.
func TestVerifyPage(t *testing.T) {
	r := &verify.Result{
		Time: time.Unix(1_700_000_000, 0).UTC(), DurationMillis: 61_234, Image: "registry.example.com/sctp-agent:v1", Policy: "enforced",
		Findings: []verify.Finding{{Kind: verify.FindingOneWay, Message: "the answers are dropped", Evidence: []string{"n0 → n2, IPv4"}, Fix: "look at the way back"}},
	}
	for i := range 3 {
		r.Nodes = append(r.Nodes, verify.Node{Name: fmt.Sprintf("n%d", i), Index: i})
	}
	add := func(kind verify.PathKind, family, from, to, via string, o wire.Outcome) {
		r.Paths = append(r.Paths, verify.Path{Kind: kind, Family: family, From: from, To: to, Via: via, Outcome: o, RTTMicros: 1234, Address: "192.0.2.1:1"})
	}
	add(verify.PathPod, "IPv4", "n0", "n1", "", wire.OK)
	add(verify.PathPod, "IPv4", "n0", "n2", "", wire.OneWay)
	add(verify.PathPod, "IPv6", "n1", "n1", "", wire.OK)
	add(verify.PathClusterIP, "IPv4", "n0", "n2", "", wire.NotTried)
	// Two ways through n1's port: the worse counts, in whatever order.
	add(verify.PathNodePort, "IPv4", "n0", "n1", "n1", wire.OK)
	add(verify.PathNodePort, "IPv4", "n0", "n2", "n1", wire.NotTried)
	add(verify.PathNodePort, "IPv4", "n2", "n2", "n1", wire.Refused)
	add(verify.PathNodePort, "IPv4", "n2", "n1", "n1", wire.OK)
	add(verify.PathDenied, "IPv4", "n0", "n1", "", wire.Blocked)
	add(verify.PathDenied, "IPv4", "n0", "n2", "", wire.OK)
	add(verify.PathDenied, "IPv4", "n1", "n2", "", wire.Unknown)
	add(verify.PathLoadBalancer, "IPv4", "n1", "n0", "", wire.OK)
	r.Failovers = []verify.Failover{
		{Family: "IPv4", From: "n0", Deleted: "n1", To: "n2", Address: "10.0.0.5:38412", Outcome: wire.OK, Seconds: 3.14},
		{Family: "IPv6", From: "n0", Deleted: "n1", To: "n2", Address: "[fd00::5]:38412", Outcome: wire.Dropped, Seconds: 60, OtherPortSeconds: 2.4},
	}
	dom := browse(t, pageOf(t, func(w io.Writer) error { return verify.WriteHTML(w, r) }), "", "")

	dash := `<td class="dim">–</td>`
	cell := func(text, class, title string) string {
		return fmt.Sprintf(`<td class="%s" title="%s">%s</td>`, class, title, text)
	}
	row := func(from string, cells ...string) string {
		return "<tr><th>" + from + "</th>" + strings.Join(cells, "") + "</tr>"
	}
	const at = "192.0.2.1:1: "
	for _, want := range []string{
		"2023-11-14T22:13:20Z: 3 nodes, 6 of 12 paths are as expected (2 not tried: they depend on pairs of pods that do not reach each other), 61.2 s",
		"NetworkPolicy for SCTP: enforced",
		"SCTPDroppedOneWay: the answers are dropped", "<code>n0 → n2, IPv4</code>", "→ look at the way back",
		"<h2>Failover of a Service</h2>", "IPv4, node n0 to 10.0.0.5:38412: the endpoint on node n2 answered 3.1 s after that on node n1",
		"IPv6, node n0 to [fd00::5]:38412: dropped, from other ports after 2.4 s", `data-kind="loadBalancer" data-family="IPv4"`,
		`data-kind="pod" data-family="IPv4"`, `data-kind="pod" data-family="IPv6"`,
		row("n0", dash, cell("1.23 ms", "good", at+"ok "), cell("one-way", "bad", at+"one-way ")),
		row("n0", dash, dash, cell("not-tried", "dim", at+"not-tried ")),
		row("n0", dash, cell("not-tried", "dim", at+"ok \n"+at+"not-tried "), dash),
		row("n2", dash, cell("refused", "bad", at+"refused \n"+at+"ok "), dash),
		row("n0", dash, cell("blocked", "good", at+"blocked "), cell("open", "bad", at+"ok ")),
		row("n1", dash, dash, cell("unknown", "warn", at+"unknown ")),
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %s", want)
		}
	}
	if strings.Contains(dom, `data-kind="clusterIP" data-family="IPv6"`) {
		t.Error("a matrix without paths is shown")
	}
	if t.Failed() {
		t.Log(dom)
	}
}

// The page of a thousand nodes has a matrix of their zones.
func TestVerifyPageOfManyNodes(t *testing.T) {
	r := &verify.Result{Plan: verify.PlanRing, Findings: []verify.Finding{{Kind: verify.FindingDropped, Evidence: []string{"to node n7: 10 of 10 paths"}}}}
	for i := range 1000 {
		r.Nodes = append(r.Nodes, verify.Node{Name: fmt.Sprintf("n%d", i), Index: i, Zone: fmt.Sprintf("z%d", i%2)})
	}
	for i, from := range r.Nodes {
		for k := range 10 {
			to := r.Nodes[(i+1+k)%1000]
			p := verify.Path{Kind: verify.PathPod, From: from.Name, To: to.Name, Family: "IPv4", Outcome: wire.OK}
			if to.Index == 7 {
				p.Outcome = wire.Dropped
			}
			r.Paths = append(r.Paths, p)
		}
	}
	dom := browse(t, pageOf(t, func(w io.Writer) error { return verify.WriteHTML(w, r) }), "", "")
	for _, want := range []string{
		"1000 nodes, each tried against the next ten on a ring, 9990 of 10000 paths",
		"<tr><th>from zone \\ to</th><th>z0</th><th>z1</th></tr>",
		`<tr><th>z0</th><td class="good">2500 of 2500</td><td class="bad">2495 of 2500</td></tr>`,
		`<tr><th>z1</th><td class="good">2500 of 2500</td><td class="bad">2495 of 2500</td></tr>`,
		"<code>to node n7: 10 of 10 paths</code>",
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %s", want)
		}
	}
}

// The mesh's page has what fails, a matrix of zones, and one of nodes: of many
// those with failures, and those that the filter names.
func TestMeshPage(t *testing.T) {
	const nodes = 1000
	name := func(i int) string { return fmt.Sprintf("worker-%d", i) }
	ok := picture.Probe{State: picture.StateOK, RTT: 0.00051}
	lost := picture.Probe{State: picture.StateFailed, Cause: "no answer"}
	r := &meshview.Result{
		Time: time.Unix(1_700_000_000, 0).UTC(), Summary: meshview.Summary{Nodes: nodes, Seen: nodes - 1, Pairs: nodes, OK: nodes - 2, Failed: 2},
		Findings: []meshview.Finding{
			{Kind: meshview.NodeUnreachableBySCTP, Node: "worker-8", Message: "SCTP fails", Evidence: []string{"fail: worker-7"}, Fix: "see the node", Since: time.Unix(1_600_000_000, 0).UTC()},
			{Kind: meshview.PathBroken, From: "a", To: "b", Zones: true, BothWays: true, Message: "SCTP fails", Evidence: []string{}, Fix: "see firewalls"},
		},
		Unseen: []meshview.Unseen{{Node: "worker-9", Why: "no answer within 10s"}},
		Zones:  []meshview.ZonePair{{From: "a", To: "b", Pairs: 500, OK: 498, Failed: 2, RTT: 0.00051}, {From: "b", To: "a", Pairs: 500, OK: 500}},
	}
	for i := range nodes {
		r.Nodes = append(r.Nodes, meshview.Node{Name: name(i), Zone: string(rune('a' + i%2)), Seen: i != 9})
		p := meshview.Pair{From: name(i), To: name((i + 1) % nodes), State: picture.StateOK, New: ok, Kept: ok, TCP: picture.Probe{State: picture.StateUnknown}}
		switch i {
		case 7:
			p.State, p.New, p.Kept, p.TCP = picture.StateFailed, lost, lost, ok
		case 500:
			p.State, p.Kept = picture.StateFailed, lost
		}
		r.Pairs = append(r.Pairs, p)
	}
	file := pageOf(t, func(w io.Writer) error { return meshview.WriteHTML(w, r) })
	cell := func(text, class, title string) string {
		return fmt.Sprintf(`<td class="%s" title="%s">%s</td>`, class, title, text)
	}
	for fragment, want := range map[string][]string{
		"": {
			"2023-11-14T22:13:20Z: 1000 nodes, 999 seen; 1000 pairs are probed: 998 work, 2 fail, 0 unknown",
			`<strong>worker-8</strong>: SCTP fails; since 2020-09-13T12:26:40Z`, "<code>fail: worker-7</code>", "→ see the node",
			"<strong>zone a ↔ zone b</strong>", "Not seen (1)", "worker-9: no answer within 10s",
			`<td class="bad">2 of 500, 0.51 ms</td>`, `<td class="good">0 of 500</td>`,
			"4 of 1000 nodes: those with failures",
			"<tr><th>from \\ to</th><th>worker-7</th><th>worker-8</th><th>worker-500</th><th>worker-501</th></tr>",
			cell("fails", "bad", "new association: failed (no answer)\nkept: failed (no answer)\nTCP: ok"),
			cell("kept fails", "bad", "new association: ok\nkept: failed (no answer)\nTCP: unknown"),
		},
		"worker-99": {
			"11 of 1000 nodes<", cell("0.51 ms", "good", "new association: ok\nkept: ok\nTCP: unknown"), "<th>worker-990</th>",
		},
		"worker": {"60 of 1000 nodes: the first<"},
	} {
		dom := browse(t, file, fragment, "")
		for _, w := range want {
			if !strings.Contains(dom, w) {
				t.Errorf("%q: the page does not show %s", fragment, w)
			}
		}
		if n := strings.Count(dom, "<td"); n > 4000 {
			t.Errorf("%q: %d cells", fragment, n)
		}
	}
}
