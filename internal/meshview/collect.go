package meshview

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// Options of a collection.
type Options struct {
	// Namespace of the mesh; "" means [DefaultNamespace].
	Namespace string
	// Timeout of one agent's answer; 0 means [DefaultTimeout].
	Timeout time.Duration
	// Progress hears what has been read; it may be nil.
	Progress func(string)
}

// What the manifests deploy.
const (
	DefaultNamespace = "sctp-agent"
	// Selector finds the pods of the DaemonSet.
	Selector = "app.kubernetes.io/name=sctp-mesh"
	// PortName is the container port that serves /mesh.
	PortName = "metrics"
)

// DefaultTimeout is generous for an agent, and short enough for the few that do
// not answer among a thousand.
const DefaultTimeout = 10 * time.Second

const (
	// parallel requests: one API server proxies each to a node.
	parallel = 32
	// maxPicture bounds an answer: eleven peers take 4 KiB.
	maxPicture = 256 << 10
	// progressEvery is after how many answers progress is reported.
	progressEvery = 100
)

// agent is the mesh's pod on one node.
type agent struct {
	node, pod, port string
	// trouble is why it is not asked, or why its answer is not valid.
	trouble string
	picture *picture.Picture
}

// Collect reads the pictures of all agents, by way of the API server, and joins
// them. It needs the rights to list pods and to get pods/proxy in the mesh's
// namespace, and fails where one is missing; an agent that does not answer is
// not seen.
func Collect(ctx context.Context, c kubernetes.Interface, opts Options) (*Result, error) {
	opts.Namespace, opts.Timeout = cmp.Or(opts.Namespace, DefaultNamespace), cmp.Or(opts.Timeout, DefaultTimeout)
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	agents, err := findAgents(ctx, c, opts.Namespace)
	if err != nil {
		return nil, err
	}
	if err := ask(ctx, c, opts, agents); err != nil {
		return nil, err
	}
	return join(time.Now(), agents), nil
}

// findAgents lists the DaemonSet's pods, one for each node.
func findAgents(ctx context.Context, c kubernetes.Interface, namespace string) ([]*agent, error) {
	byNode := map[string]*agent{}
	var all []*agent
	err := cluster.List(ctx, "pods", namespace, c.CoreV1().Pods(namespace).List, metav1.ListOptions{LabelSelector: Selector}, func(p *corev1.Pod) {
		owner := metav1.GetControllerOf(p) // anybody can set the labels
		if owner == nil || owner.Kind != "DaemonSet" || p.Spec.NodeName == "" {
			return
		}
		found := agent{node: p.Spec.NodeName, pod: p.Name, trouble: podTrouble(p)}
		for _, container := range p.Spec.Containers {
			for _, port := range container.Ports {
				if port.Name == PortName {
					found.port = strconv.Itoa(int(port.ContainerPort))
				}
			}
		}
		if found.port == "" && found.trouble == "" {
			found.trouble = fmt.Sprintf("the pod %s has no port %q", p.Name, PortName)
		}
		// During a rolling update a node may have two.
		switch old := byNode[found.node]; {
		case old == nil:
			byNode[found.node] = &found
			all = append(all, &found)
		case old.trouble != "":
			*old = found
		}
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no pods of a DaemonSet with the label %s in namespace %s: is the mesh installed there (docs/mesh.md)?", Selector, namespace)
	}
	return all, nil
}

// podTrouble is why a pod cannot answer, "" where it may. One that is not ready is
// asked, too: its answer is useful.
func podTrouble(p *corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "its pod is being deleted"
	}
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return "its pod waits: " + w.Reason
		}
	}
	if p.Status.Phase != corev1.PodRunning {
		return "its pod is " + string(p.Status.Phase)
	}
	return ""
}

// ask gets the pictures. A missing right ends it at once, as the end of the
// context does.
func ask(ctx context.Context, c kubernetes.Interface, opts Options, agents []*agent) error {
	all, asking := errgroup.WithContext(ctx)
	all.SetLimit(parallel)
	var mu sync.Mutex
	done := 0
	for _, a := range agents {
		all.Go(func() error {
			if asking.Err() != nil {
				return nil
			}
			if a.trouble == "" {
				err := a.get(asking, c, opts)
				if apierrors.IsForbidden(err) {
					return err
				}
				if err != nil {
					a.trouble = err.Error()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; done%progressEvery == 0 || done == len(agents) {
				opts.Progress(fmt.Sprintf("asked %d of %d agents", done, len(agents)))
			}
			return nil
		})
	}
	if err := cmp.Or(all.Wait(), context.Cause(ctx)); err != nil {
		return fmt.Errorf("reading the mesh: %w", err)
	}
	return nil
}

// get asks one agent for its picture.
func (a *agent) get(ctx context.Context, c kubernetes.Interface, opts Options) error {
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Timeout, fmt.Errorf("no answer within %v", opts.Timeout))
	defer cancel()
	body, err := c.CoreV1().Pods(opts.Namespace).ProxyGet("http", a.pod, a.port, "mesh", nil).Stream(ctx)
	var text []byte
	if err == nil {
		defer body.Close()
		text, err = io.ReadAll(io.LimitReader(body, maxPicture+1))
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		// An answer that is not the API server's comes from the pod, or from a
		// proxy before it: no right is missing.
		if status := apierrors.APIStatus(nil); errors.As(err, &status) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
			return fmt.Errorf("the pod %s answers with HTTP %d", a.pod, status.Status().Code)
		}
		return cluster.Failed("get", "pods/proxy", opts.Namespace, a.pod, err)
	}
	if len(text) > maxPicture {
		return fmt.Errorf("the pod %s answers with more than %d KiB", a.pod, maxPicture>>10)
	}
	var p picture.Picture
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("the answer of pod %s cannot be read: %w", a.pod, err)
	}
	if p.APIVersion != picture.APIVersion || p.Kind != picture.Kind {
		return fmt.Errorf("the pod %s answers with a %q of %q, want a %q of %q", a.pod, p.Kind, p.APIVersion, picture.Kind, picture.APIVersion)
	}
	if p.Node != a.node {
		return errors.New("the pod " + a.pod + " answers for another node, " + p.Node)
	}
	a.picture = &p
	return nil
}
