package apiserver

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

const (
	merge     = "application/merge-patch+json"
	strategic = "application/strategic-merge-patch+json"
	jsonPatch = "application/json-patch+json"
	apply     = "application/apply-patch+yaml"
	plain     = "application/json"
)

type request struct {
	name, method, path, kind, body string
	header                         map[string]string
}

func (r request) send(t *testing.T, cfg *rest.Config) (int, string) {
	t.Helper()
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), r.method, cfg.Host+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return resp.StatusCode, string(body)
}

// attacks are what somebody who stole the agent's token would try. Own is the
// token's Node, other another one.
func attacks(own, other string) []request {
	self, status := "/api/v1/nodes/"+own, "/api/v1/nodes/"+own+"/status"
	neighbour := "/api/v1/nodes/" + other + "/status"
	applied := func(meta string) string {
		return `{"apiVersion":"v1","kind":"Node","metadata":{"name":"` + own + `",` + meta + `}}`
	}
	return []request{
		// Another Node.
		{name: "another Node's label, merge patch", method: "PATCH", path: neighbour, kind: merge, body: `{"metadata":{"labels":{"sctp-agent/ready":"true"}}}`},
		{name: "another Node's label, apply", method: "PATCH", path: neighbour + "?fieldManager=sctp-agent&force=true", kind: apply, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"` + other + `","labels":{"sctp-agent/ready":"true"}}}`},
		{name: "another Node's condition", method: "PATCH", path: neighbour, kind: strategic, body: `{"status":{"conditions":[{"type":"SCTPReady","status":"True"}]}}`},
		{name: "another Node's label, through the Node itself", method: "PATCH", path: "/api/v1/nodes/" + other, kind: merge, body: `{"metadata":{"labels":{"sctp-agent/ready":"true"}}}`},
		// Another key.
		{name: "a label of another prefix", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`},
		{name: "a label of another prefix, apply", method: "PATCH", path: status + "?fieldManager=sctp-agent&force=true", kind: apply, body: applied(`"labels":{"sctp-agent/ready":"true","example.com/rack":"1"}`)},
		{name: "a label whose key only looks like ours", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"labels":{"sctp-agent":"true"}}}`},
		{name: "a label of a longer prefix", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"labels":{"x.sctp-agent/ready":"true"}}}`},
		{name: "changing another's label, strategic merge", method: "PATCH", path: status, kind: strategic, body: `{"metadata":{"labels":{"example.com/rack":"8"}}}`},
		{name: "removing another's label, merge patch", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"labels":{"example.com/rack":null}}}`},
		{name: "removing another's label, JSON patch", method: "PATCH", path: status, kind: jsonPatch, body: `[{"op":"remove","path":"/metadata/labels/example.com~1rack"}]`},
		{name: "replacing all labels, JSON patch", method: "PATCH", path: status, kind: jsonPatch, body: `[{"op":"replace","path":"/metadata/labels","value":{"sctp-agent/ready":"true"}}]`},
		{name: "replacing all labels, strategic merge", method: "PATCH", path: status, kind: strategic, body: `{"metadata":{"labels":{"$patch":"replace","sctp-agent/ready":"true"}}}`},
		{name: "an annotation of another prefix", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"annotations":{"example.com/note":"hello"}}}`},
		{name: "removing another's annotation", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"annotations":{"volumes.kubernetes.io/controller-managed-attach-detach":null}}}`},
		// The rest of the metadata.
		{name: "removing a finalizer", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"finalizers":null}}`},
		{name: "adding a finalizer", method: "PATCH", path: status, kind: jsonPatch, body: `[{"op":"add","path":"/metadata/finalizers/-","value":"evil.example/x"}]`},
		{name: "an owner", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"11111111-1111-4111-8111-111111111111"}]}}`},
		// The spec.
		{name: "a taint", method: "PATCH", path: self, kind: merge, body: `{"spec":{"taints":null}}`},
		{name: "uncordon", method: "PATCH", path: self, kind: merge, body: `{"spec":{"unschedulable":false}}`},
		{name: "the provider ID, apply", method: "PATCH", path: self + "?fieldManager=sctp-agent&force=true", kind: apply, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"` + own + `"},"spec":{"providerID":"evil"}}`},
		// The status.
		{name: "capacity", method: "PATCH", path: status, kind: merge, body: `{"status":{"capacity":{"cpu":"800"}}}`},
		{name: "allocatable", method: "PATCH", path: status, kind: strategic, body: `{"status":{"allocatable":{"example.com/gpu":"9"}}}`},
		{name: "addresses", method: "PATCH", path: status, kind: merge, body: `{"status":{"addresses":[{"type":"InternalIP","address":"203.0.113.66"}]}}`},
		{name: "another's condition", method: "PATCH", path: status, kind: strategic, body: `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`},
		{name: "another's condition, apply", method: "PATCH", path: status + "?fieldManager=sctp-agent&force=true", kind: apply, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"` + own + `"},"status":{"conditions":[{"type":"Ready","status":"False"}]}}`},
		{name: "removing all conditions", method: "PATCH", path: status, kind: merge, body: `{"status":{"conditions":[]}}`},
		{name: "a new condition", method: "PATCH", path: status, kind: strategic, body: `{"status":{"conditions":[{"type":"MemoryPressure","status":"True"}]}}`},
		{name: "node info", method: "PATCH", path: status, kind: merge, body: `{"status":{"nodeInfo":{"kernelVersion":"evil"}}}`},
		{name: "the kubelet's port", method: "PATCH", path: status, kind: merge, body: `{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":666}}}}`},
		{name: "images", method: "PATCH", path: status, kind: merge, body: `{"status":{"images":null}}`},
		{name: "volumes in use", method: "PATCH", path: status, kind: merge, body: `{"status":{"volumesInUse":["x"]}}`},
		// Other verbs and resources.
		{name: "update of the Node's status", method: "PUT", path: status, kind: plain, body: applied(`"labels":{}`)},
		{name: "update of the Node", method: "PUT", path: self, kind: plain, body: applied(`"labels":{}`)},
		{name: "deleting the Node", method: "DELETE", path: self},
		{name: "deleting all Nodes", method: "DELETE", path: "/api/v1/nodes"},
		{name: "a new Node", method: "POST", path: "/api/v1/nodes", kind: plain, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"evil"}}`},
		{name: "a new Node by apply", method: "PATCH", path: "/api/v1/nodes/evil/status?fieldManager=sctp-agent&force=true", kind: apply, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"evil","labels":{"sctp-agent/ready":"true"}}}`},
		{name: "nodes/proxy", method: "GET", path: self + "/proxy/pods"},
		{name: "nodes/log", method: "GET", path: self + "/log/"},
		{name: "listing Nodes", method: "GET", path: "/api/v1/nodes"},
		{name: "secrets", method: "GET", path: "/api/v1/secrets"},
		{name: "secrets of the own namespace", method: "GET", path: "/api/v1/namespaces/sctp-agent/secrets"},
		{name: "pods", method: "GET", path: "/api/v1/pods"},
		{name: "a pod", method: "POST", path: "/api/v1/namespaces/sctp-agent/pods", kind: plain, body: `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"x","image":"x"}]}}`},
		{name: "a token for another account", method: "POST", path: "/api/v1/namespaces/default/serviceaccounts/default/token", kind: plain, body: `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`},
		{name: "a token for itself, bound to nothing", method: "POST", path: "/api/v1/namespaces/sctp-agent/serviceaccounts/sctp-agent/token", kind: plain, body: `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`},
		{name: "impersonating an administrator", method: "GET", path: "/api/v1/secrets", header: map[string]string{"Impersonate-User": "admin", "Impersonate-Group": "system:masters"}},
		{name: "impersonating another node's agent", method: "PATCH", path: neighbour, kind: merge, body: `{"metadata":{"labels":{"sctp-agent/ready":"true"}}}`,
			header: map[string]string{"Impersonate-User": "system:serviceaccount:sctp-agent:sctp-agent", "Impersonate-Extra-Authentication.kubernetes.io%2fnode-Name": other}},
		{name: "the policy itself", method: "DELETE", path: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/sctp-agent"},
		{name: "its own role", method: "PATCH", path: "/apis/rbac.authorization.k8s.io/v1/clusterroles/sctp-agent", kind: merge, body: `{"rules":[]}`},
		{name: "an Event in another namespace", method: "POST", path: "/api/v1/namespaces/kube-system/events", kind: plain, body: `{"apiVersion":"v1","kind":"Event","metadata":{"name":"x"}}`},
		{name: "reading Events", method: "GET", path: "/api/v1/namespaces/default/events"},
		{name: "a lease", method: "PATCH", path: "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + own, kind: merge, body: `{}`},
	}
}

// denied: refused by RBAC or the policy, or by what the API itself never allows.
func denied(code int) bool {
	switch code {
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// Everything that a stolen token could be used for is denied, and nothing on
// any Node has changed afterwards.
func TestAttacks(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "own")
	c.makeNode(t, "neighbour")
	cfg := c.agentConfig(t, "own")
	own, neighbour := c.node(t, "own"), c.node(t, "neighbour")
	all := attacks("own", "neighbour")
	if len(all) < 25 {
		t.Fatalf("%d attacks", len(all))
	}
	for _, r := range all {
		code, body := r.send(t, cfg)
		if !denied(code) {
			t.Errorf("%s: %d %s", r.name, code, body)
		}
	}
	if got := c.node(t, "own").ResourceVersion; got != own.ResourceVersion {
		t.Error("the attacked Node has changed")
	}
	if got := c.node(t, "neighbour").ResourceVersion; got != neighbour.ResourceVersion {
		t.Error("the neighbour has changed")
	}
	t.Logf("%d attacks denied", len(all))
}

// With the grant of the startup-taint option, which lets the account patch the
// Node itself, only the policy stands between a stolen token and the spec.
func TestAttacksWithStartupTaintGrant(t *testing.T) {
	// With a field of the spec that is newer than the policy: what the policy
	// does not know must not be open. Older API servers do not have it.
	var newer []request
	var args []string
	if controlplane.ServerVersion() == controlplane.Version {
		args = append(args, "--feature-gates=InPlacePodVerticalScalingSchedulerPreemption=true")
		newer = append(newer, request{name: "the preemption policy", method: "PATCH", path: "/api/v1/nodes/own", kind: merge, body: `{"spec":{"podPreemptionPolicy":{"disableResizePreemption":["example.com/x"]}}}`})
	}
	c := ownCluster(t, controlplane.Options{APIServerArgs: args})
	manifest, err := os.ReadFile("../../manifests/components/startup-taint/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	c.makeNode(t, "own")
	c.makeNode(t, "neighbour")
	cfg := c.agentConfig(t, "own")
	within(t, 10*time.Second, func() error {
		r := request{method: "PATCH", path: "/api/v1/nodes/own", kind: merge, body: `{"metadata":{"labels":{"sctp-agent/ready":"false"}}}`}
		if code, body := r.send(t, cfg); code != http.StatusOK {
			return fmt.Errorf("the grant is not in force: %d %s", code, body)
		}
		return nil
	})
	own, neighbour := c.node(t, "own"), c.node(t, "neighbour")
	// What patched the status patches the Node itself now.
	var all []request
	for _, r := range attacks("own", "neighbour") {
		all = append(all, r)
		if strings.Contains(r.path, "/status") && !strings.Contains(r.body, `"status"`) {
			r.name += ", on the Node itself"
			r.path = strings.Replace(r.path, "/status", "", 1)
			all = append(all, r)
		}
	}
	self := "/api/v1/nodes/own"
	all = append(all,
		request{name: "another's taint", method: "PATCH", path: self, kind: jsonPatch, body: `[{"op":"remove","path":"/spec/taints/0"}]`},
		request{name: "a taint of our own", method: "PATCH", path: self, kind: jsonPatch, body: `[{"op":"add","path":"/spec/taints/-","value":{"key":"sctp-agent/x","effect":"NoExecute"}}]`},
		request{name: "our taint with another effect", method: "PATCH", path: self, kind: jsonPatch, body: `[{"op":"replace","path":"/spec/taints/1/effect","value":"NoExecute"}]`},
		request{name: "pod CIDR", method: "PATCH", path: self, kind: merge, body: `{"spec":{"podCIDR":"10.9.0.0/24","podCIDRs":["10.9.0.0/24"]}}`},
	)
	for _, r := range append(all, newer...) {
		code, body := r.send(t, cfg)
		if !denied(code) {
			t.Errorf("%s: %d %s", r.name, code, body)
		}
	}
	if c.node(t, "own").ResourceVersion != own.ResourceVersion || c.node(t, "neighbour").ResourceVersion != neighbour.ResourceVersion {
		t.Error("a Node has changed")
	}
	t.Logf("%d attacks denied", len(all))

	// The one thing the grant is for.
	r := request{method: "PATCH", path: self, kind: jsonPatch, body: `[{"op":"remove","path":"/spec/taints/1"}]`}
	if code, body := r.send(t, cfg); code != http.StatusOK {
		t.Errorf("removing the startup taint: %d %s", code, body)
	}
}

// The same writes as in the attacks, where they are the agent's business.
func TestLegitimateWrites(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "legit")
	cfg := c.agentConfig(t, "legit")
	status := "/api/v1/nodes/legit/status"
	for _, r := range []request{
		{name: "labels and annotations", method: "PATCH", path: status + "?fieldManager=sctp-agent&force=true", kind: apply, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"legit","labels":{"sctp-agent/ready":"true"},"annotations":{"sctp-agent/reason":"ProbePassed"}}}`},
		{name: "with the condition", method: "PATCH", path: status + "?fieldManager=sctp-agent&force=true", kind: apply, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"legit","labels":{"sctp-agent/ready":"true"}},"status":{"conditions":[{"type":"SCTPReady","status":"True","reason":"ProbePassed"}]}}`},
		{name: "nothing any more", method: "PATCH", path: status + "?fieldManager=sctp-agent&force=true", kind: apply, body: `{"apiVersion":"v1","kind":"Node","metadata":{"name":"legit"}}`},
		{name: "a removal", method: "PATCH", path: status, kind: merge, body: `{"metadata":{"labels":{"sctp-agent/ready":null}}}`},
		{name: "reading its Node", method: "GET", path: "/api/v1/nodes/legit"},
		{name: "watching its Node", method: "GET", path: "/api/v1/nodes?watch=true&fieldSelector=metadata.name=legit&timeoutSeconds=1"},
		{name: "an Event", method: "POST", path: "/api/v1/namespaces/default/events", kind: plain, body: `{"apiVersion":"v1","kind":"Event","metadata":{"generateName":"legit."},"involvedObject":{"kind":"Node","name":"legit"},"reason":"X","message":"x","type":"Normal"}`},
	} {
		if code, body := r.send(t, cfg); code >= 300 {
			t.Errorf("%s: %d %s", r.name, code, body)
		}
	}
}

// A token that names no node (a Secret's, or one asked for by hand) may write
// nowhere.
func TestTokenWithoutNodeIsDenied(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "unbound")
	body := bytes.NewBufferString(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`)
	_ = c.agentConfig(t, "unbound") // makes the account
	raw, err := c.admin.CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces/sctp-agent/serviceaccounts/sctp-agent/token").
		SetHeader("Content-Type", plain).SetHeader("Accept", plain).Body(body.Bytes()).Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(raw), `"token":"`)
	token, _, ok := strings.Cut(after, `"`)
	if !ok {
		t.Fatalf("no token in %s", raw)
	}
	r := request{method: "PATCH", path: "/api/v1/nodes/unbound/status", kind: merge, body: `{"metadata":{"labels":{"sctp-agent/ready":"true"}}}`}
	if code, body := r.send(t, c.TokenConfig(token)); code != http.StatusForbidden {
		t.Errorf("%d %s", code, body)
	}
}

func isDryRun(e controlplane.AuditEvent) bool { return strings.Contains(e.RequestURI, "dryRun=All") }

// An agent that runs under another account than the policy's, as kustomize's
// "namespace:" leaves it, says that nobody confines it; one that is confined asks
// once, is refused, and says nothing. The Nodes have nothing of the questions.
func TestPolicyConfinesNobody(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := sharedCluster(t)
	for _, o := range []string{
		`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"moved"}}`,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"moved"},
			"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"sctp-agent"},
			"subjects":[{"kind":"ServiceAccount","name":"sctp-agent","namespace":"moved"}]}`,
	} {
		if err := c.Apply(t.Context(), []byte(o)); err != nil {
			t.Fatal(err)
		}
	}
	token, err := c.NodeToken(t.Context(), controlplane.NodeTokenOptions{Node: "moved", Namespace: "moved", ServiceAccount: serviceAccount})
	if err != nil {
		t.Fatal(err)
	}
	agents := map[string]*running{}
	before := map[string]string{}
	for node, cfg := range map[string]*rest.Config{"confined": c.agentConfig(t, "confined"), "moved": c.TokenConfig(token)} {
		c.makeNode(t, node)
		before[node] = c.others(t, node)
		agents[node] = c.startWriter(t, node, func(w *nodewriter.Config) { w.Conn = connect(t, cfg) })
		agents[node].Publish(report(node, boot1, verdict.ReasonProbePassed))
	}
	warns := func(node string) bool {
		return strings.Contains(c.node(t, node).Annotations["sctp-agent/report"], string(verdict.ReasonPolicyConfinesNobody))
	}
	asked := func(node string) (n int) {
		events, err := c.AuditEvents()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if isDryRun(e) && e.ObjectRef != nil && e.ObjectRef.Name == node {
				n++
			}
		}
		return n
	}
	// Half a minute before the first question, and twenty seconds between two.
	within(t, 90*time.Second, func() error {
		if !warns("moved") || asked("confined") == 0 {
			return fmt.Errorf("the Node of the agent that nobody confines warns: %v; the other has asked %d times", warns("moved"), asked("confined"))
		}
		return nil
	})
	if !agents["moved"].Unconfined() || agents["confined"].Unconfined() || warns("confined") || asked("confined") != 1 {
		t.Errorf("unconfined: %v, want true; %v, want false; the confined one's Node warns: %v, it asked %d times",
			agents["moved"].Unconfined(), agents["confined"].Unconfined(), warns("confined"), asked("confined"))
	}
	for node := range agents {
		if after := c.others(t, node); after != before[node] {
			t.Errorf("the rest of Node %s changed:\n%s\n%s", node, before[node], after)
		}
	}
}
