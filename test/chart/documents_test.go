package chart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// step is a command line as the documents have it, and what must be so afterwards.
type step struct {
	line  string
	check func(output string) error
}

// reader runs the command lines of the documents, with the real kubectl and helm.
// oc is kubectl here.
type reader struct {
	*testing.T
	c *cluster
	// names in the documents, and what a reader puts in their place.
	names *strings.Replacer
	env   []string
	ran   map[string]bool
}

// runHere are the lines of the documents with a command of kubectl's, oc's or helm's
// own, or one of the plugin that asks the API server and nothing else. Those that read
// files, verify and mesh are run elsewhere, with the flags of the documents.
var runHere = regexp.MustCompile(`(^|\| )(oc|helm|kubectl ([^s]|s[^c]))|^kubectl sctp (machineconfig|audit($| -o| --[^wm]))`)

// Every such command line of the documents is run, word for word, from the
// repository's directory, in the order that the documents mean.
func TestDocumentedCommands(t *testing.T) {
	c := sharedCluster(t)
	needsPlacement(t)
	dir := t.TempDir()
	r := &reader{T: t, c: c, ran: map[string]bool{}, names: strings.NewReplacer(
		"sctp-agent-VERSION.tgz", filepath.Join(dir, "sctp-agent-*.tgz"), "amf.yaml", filepath.Join(dir, "amf.yaml"), "NODE", "worker-1",
		"sctp.html", filepath.Join(dir, "sctp.html"), "monday.json", filepath.Join(dir, "monday.json"), "fleet.yaml", filepath.Join(dir, "fleet.yaml"))}
	r.install(dir)
	helm(t, c.kubeconfig, "package", chartDir, "--destination", dir)
	d := deployment("", podTemplate(nil))
	d.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
	amf, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "amf.yaml"), amf, 0o600); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	intent := regexp.MustCompile("(?s)```yaml\n(apiVersion: sctp-agent/v1\nkind: AuditIntent\n.*?)```").FindSubmatch(document)
	if intent == nil {
		t.Fatal("docs/audit.md shows no intent")
	}
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), intent[1], 0o600); err != nil {
		t.Fatal(err)
	}
	c.makeNode(t, "worker-1", map[string]string{"sctp-agent/ready": "true", "sctp-agent/on-boot": "loaded", "kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": ""})
	note := []byte(`{"metadata":{"annotations":{"sctp-agent/message":"SCTP works here"}}}`)
	if _, err := c.admin.CoreV1().Nodes().Patch(t.Context(), "worker-1", types.MergePatchType, note, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	prints := func(want string) func(string) error {
		return func(output string) error {
			if !strings.Contains(output, want) {
				return fmt.Errorf("%q is not in the output", want)
			}
			return nil
		}
	}
	shown := func(document, line string) step {
		return step{line, func(output string) error { doctest.Shows(t, document, line, output); return nil }}
	}

	const nodes = "kubectl get nodes -L sctp-agent/ready,sctp-agent/on-boot"
	t.Run("kustomize", func(t *testing.T) {
		r.follow(t,
			step{"kubectl apply -k manifests/overlays/kubernetes", r.has("DaemonSet", "sctp-agent")},
			step{"kubectl -n sctp-agent rollout status daemonset/sctp-agent", prints("successfully rolled out")},
			step{nodes, prints("worker-1")},
			step{"kubectl get nodes -L sctp-agent/on-boot -l node-role.kubernetes.io/worker", prints("loaded")},
			step{"kubectl get node worker-1 -o jsonpath='{.metadata.annotations.sctp-agent/message}'", prints("SCTP works here")},
			step{`kubectl get node NODE -o jsonpath='{.metadata.annotations.sctp-agent/message}{"\n"}'`, prints("SCTP works here\n")},
			// On worker-1 no agent runs here.
			step{"kubectl sctp audit", prints("Nodes whose labels no agent updates")},
			step{"kubectl sctp audit --require node-role.kubernetes.io/worker --fail-on critical", nil},
			step{"kubectl sctp audit -o html > sctp.html", nil},
			step{`kubectl sctp audit -o jsonpath='{range .nodes[?(@.ready=="false")]}{.name}{"\t"}{.reason}{"\n"}{end}'`, nil},
			step{"kubectl sctp audit --intent fleet.yaml --fail-on critical", nil},
			step{"kubectl sctp audit --require node-role.kubernetes.io/worker --accept kind=ServiceWithoutEndpoints,object=core/standby", nil},
			step{"kubectl sctp audit -o json > monday.json", nil},
			step{"kubectl sctp audit --baseline monday.json", prints("Nothing found.\n")},
			step{"kubectl delete --ignore-not-found -k manifests/overlays/kubernetes", nil},
			step{"kubectl label namespaces --all sctp-agent/placement-", nil},
		)
		c.nothingRemains(t)
		r.gone(t, "sctp-agent")
	})
	t.Run("a registry of one's own", func(t *testing.T) {
		r.follow(t, step{"kubectl kustomize manifests/overlays/kubernetes | sed s,ghcr.io/sctp-agent,registry.example, | kubectl apply -f -", func(string) error {
			ds, err := c.admin.AppsV1().DaemonSets("sctp-agent").Get(t.Context(), "sctp-agent", metav1.GetOptions{})
			if err == nil && !strings.HasPrefix(ds.Spec.Template.Spec.Containers[0].Image, "registry.example/") {
				err = fmt.Errorf("image %s", ds.Spec.Template.Spec.Containers[0].Image)
			}
			return err
		}})
		c.delete(t, kustomize(t, "kubernetes"))
	})
	t.Run("OpenShift", func(t *testing.T) {
		defer c.clean(context.Background())
		r.follow(t,
			step{"oc apply -k manifests/overlays/openshift", r.has("SecurityContextConstraints", "sctp-agent")},
			step{"kubectl sctp machineconfig | oc apply -f -", prints("99-worker-load-sctp created")},
			step{"kubectl sctp machineconfig --role worker | oc apply -f -", prints("unchanged")},
			step{"oc get machineconfig -o yaml | kubectl sctp machineconfig --check -", prints("pool worker: ENABLES SCTP")},
			step{"kubectl sctp machineconfig --role worker --role infra", prints("99-infra-load-sctp")},
			step{"kubectl sctp machineconfig --check manifests/examples/machineconfig-worker.yaml docs/examples/75-stig.yaml", nil},
			step{"oc annotate namespace core openshift.io/node-selector=sctp-agent/ready=true", prints("annotated")},
		)
		c.delete(t, kustomize(t, "openshift"))
	})
	t.Run("placement", func(t *testing.T) {
		rendered := kustomize(t, "kubernetes", "placement")
		if err := c.Apply(t.Context(), rendered); err != nil {
			t.Fatal(err)
		}
		defer c.delete(t, rendered)
		placement{prefix: "sctp-agent/", warning: "sctp-agent-placement-warning", in: "in", out: "out", no: "no", c: c}.prepare(t)
		r.follow(t,
			shown("docs/labels.md", "kubectl label namespace core sctp-agent/placement=enabled"),
			shown("docs/labels.md", "kubectl -n core create -f amf.yaml"))
		within(t, func() error {
			pods, err := c.admin.CoreV1().Pods("core").List(t.Context(), metav1.ListOptions{})
			if err == nil && len(pods.Items) == 0 {
				err = fmt.Errorf("no pods")
			}
			return err
		})
		r.follow(t,
			shown("docs/labels.md", "kubectl -n core get pod -o jsonpath='{.items[0].spec.nodeSelector}'"),
			step{"kubectl -n elsewhere create -f amf.yaml", prints("Warning: Validation failed for ValidatingAdmissionPolicy 'sctp-agent-placement-warning'")})
	})
	t.Run("helm", func(t *testing.T) {
		r.gone(t, "sctp-agent")
		r.follow(t,
			step{"kubectl create namespace sctp-agent", nil},
			step{"kubectl label namespace sctp-agent pod-security.kubernetes.io/enforce=privileged", nil},
			step{"helm install sctp-agent charts/sctp-agent --namespace sctp-agent", r.has("DaemonSet", "sctp-agent")})
		ctx, cancel := context.WithCancel(t.Context())
		var kubelet sync.WaitGroup
		kubelet.Go(func() { c.kubelet(ctx, t, "sctp-agent", "sctp-agent-test") })
		r.follow(t, step{"helm test sctp-agent --namespace sctp-agent", prints("Succeeded")})
		cancel()
		kubelet.Wait()
		r.follow(t,
			step{"helm upgrade sctp-agent charts/sctp-agent --namespace sctp-agent --reset-then-reuse-values --set mesh.enabled=true", r.has("DaemonSet", "sctp-mesh")},
			step{"kubectl -n sctp-agent create rolebinding mesh-readers --role=sctp-mesh-reader --group=sctp-operators", r.has("Role", "sctp-mesh-reader")},
			step{"helm uninstall sctp-agent --namespace sctp-agent", nil})
		c.nothingRemains(t)
		r.follow(t, step{"helm install sctp-agent charts/sctp-agent --namespace sctp-agent --set openshift.enabled=true", r.has("SecurityContextConstraints", "sctp-agent")})
		helm(t, c.kubeconfig, "uninstall", "sctp-agent", "--namespace", "sctp-agent")
		r.gone(t, "sctp-agent")
		r.follow(t,
			step{"kubectl create namespace sctp-agent", nil},
			step{"helm install sctp-agent sctp-agent-VERSION.tgz --namespace sctp-agent", r.has("DaemonSet", "sctp-agent")})
		helm(t, c.kubeconfig, "uninstall", "sctp-agent", "--namespace", "sctp-agent")
	})

	// On the full node: TestDeployment.
	r.ran["kubectl -n sctp-agent exec POD -- /usr/bin/sctp-agent check --root /host"] = true
	for _, l := range doctest.Lines(t) {
		if runHere.MatchString(l.Line) && !r.ran[l.Line] {
			t.Errorf("%s: %s is run by no test", l.Document, l.Line)
		}
	}
}

// install puts the programs into a directory on the path, and makes the namespaces
// of the documents.
func (r *reader) install(dir string) {
	r.Helper()
	programs, err := controlplane.Build(r.Context(), nil, controlplane.Kubectl)
	if err != nil {
		r.Fatal(err)
	}
	helm, err := helmProgram()
	if err != nil {
		r.Fatal(err)
	}
	ours, err := plugin()
	if err != nil {
		r.Fatal(err)
	}
	for name, program := range map[string]string{"kubectl": programs[controlplane.Kubectl], "oc": programs[controlplane.Kubectl], "helm": helm, "kubectl-sctp": ours} {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			r.Fatal(err)
		}
	}
	r.env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+r.c.kubeconfig,
		"HELM_CACHE_HOME="+dir, "HELM_CONFIG_HOME="+dir, "HELM_DATA_HOME="+dir)
	for _, name := range []string{"core", "elsewhere"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := r.c.admin.CoreV1().Namespaces().Create(r.Context(), ns, metav1.CreateOptions{}); err != nil {
			r.Fatal(err)
		}
		r.Cleanup(func() { _ = r.c.admin.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{}) })
	}
}

// follow runs the steps, each of which the documents must have.
func (r *reader) follow(t *testing.T, steps ...step) {
	t.Helper()
	for _, s := range steps {
		if !slices.ContainsFunc(doctest.Lines(t), func(l doctest.Shown) bool { return l.Line == s.line }) {
			t.Errorf("no document shows %s", s.line)
		}
		r.ran[s.line] = true
		cmd := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", r.names.Replace(s.line))
		cmd.Dir, cmd.Env = "../..", r.env
		out, err := cmd.CombinedOutput()
		// Something was found.
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 && strings.HasPrefix(s.line, "kubectl sctp ") {
			err = nil
		}
		if err == nil && s.check != nil {
			err = s.check(string(out))
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.line, err, out)
		}
	}
}

// has checks that an object of the manifests is there.
func (r *reader) has(kind, name string) func(string) error {
	return func(string) error {
		for _, o := range r.c.managed(r.T) {
			if o.GetKind() == kind && o.GetName() == name {
				return nil
			}
		}
		return fmt.Errorf("no %s %s", kind, name)
	}
}

// gone deletes a namespace and waits for its end.
func (r *reader) gone(t *testing.T, name string) {
	t.Helper()
	within(t, func() error {
		err := r.c.admin.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("namespace %s is there: %w", name, err)
	})
}
