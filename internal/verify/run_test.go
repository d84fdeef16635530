package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// plan is what a run on n nodes tries, each against each, where pods and Services
// have both families.
func plan(n int, policy bool) []planned { return newPlan(n, policy).paths() }

func newPlan(n int, policy bool) *run {
	r := &run{opts: Options{Policy: policy}, result: &Result{}, services: map[int]*corev1.Service{}}
	for i := range n {
		r.result.Nodes = append(r.result.Nodes, Node{
			Name: fmt.Sprintf("n%d", i), Index: i,
			Addresses:    []string{fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("2001:db8::%d", i)},
			PodAddresses: []string{fmt.Sprintf("10.%d.0.%d", i/256, i%256), fmt.Sprintf("fd00::%d", i)},
		})
		r.services[i] = &corev1.Service{Spec: corev1.ServiceSpec{
			ClusterIPs: []string{fmt.Sprintf("10.1.0.%d", i), fmt.Sprintf("fd01::%d", i)},
			Ports:      []corev1.ServicePort{{NodePort: int32(30000 + i)}},
		}}
	}
	r.result.Plan = PlanAllPairs
	return r
}

// Each path is tried by one job; a job's results fit a termination message; and
// a path needs the direct ones that it depends on, tried before it.
func TestJobs(t *testing.T) {
	for _, c := range []struct {
		nodes  int
		policy bool
	}{{1, false}, {1, true}, {2, true}, {3, false}, {20, true}} {
		paths := plan(c.nodes, c.policy)
		seen := map[int]bool{}
		for _, from := range names(paths) {
			var ids []int
			for i, p := range paths {
				if p.From == from {
					ids = append(ids, i)
				}
			}
			for _, job := range jobs(paths, ids) {
				if len(job) > wire.MaxTargets {
					t.Errorf("%+v: a job of %d targets", c, len(job))
				}
				for at, id := range job {
					if seen[id] {
						t.Errorf("%+v: path %d is tried twice", c, id)
					}
					seen[id] = true
					p := paths[id]
					if p.target.ID != id {
						t.Errorf("%+v: path %d is target %d", c, id, p.target.ID)
					}
					needs := map[string]bool{}
					for _, need := range p.target.Needs {
						n := paths[need]
						if n.Kind != PathPod || n.Family != p.Family || !slices.Contains(job[:at], need) {
							t.Errorf("%+v: %+v needs %+v", c, p.Path, n.Path)
						}
						needs[n.To] = true
					}
					// What a path depends on first is always in the same job; the
					// target of a node port may be in another.
					first := p.To
					if p.Via != "" {
						first = p.Via
					}
					if needs[first] != (p.Kind != PathPod) {
						t.Errorf("%+v: %+v needs %v", c, p.Path, needs)
					}
				}
			}
		}
		if len(seen) != len(paths) || len(paths) == 0 {
			t.Errorf("%+v: %d of %d paths are tried", c, len(seen), len(paths))
		}
	}
}

// A path through a Service may take its time to be there; a direct one is there.
func TestPatience(t *testing.T) {
	for _, p := range plan(2, true) {
		want := servicePatience
		if p.Kind == PathPod || p.Kind == PathBefore {
			want = 0
		}
		if got := p.target.Patience.Duration(); got != want || p.target.Address != p.Address {
			t.Errorf("%+v: patience %v, want %v", p, got, want)
		}
	}
}

// What connects two nodes does so in one direction, and over one family.
func TestConnected(t *testing.T) {
	a, b := &Node{Name: "a"}, &Node{Name: "b"}
	for _, c := range []struct {
		family, works, fails string
	}{{"IPv4", "10.0.0.1", "fd00::1"}, {"IPv6", "fd00::1", "10.0.0.1"}} {
		r := &Result{Paths: []Path{
			{Kind: PathPod, From: "a", To: "b", Family: c.family, Outcome: wire.OK},
			{Kind: PathPod, From: "b", To: "a", Family: c.family, Outcome: wire.Dropped},
		}}
		direct := r.reached(PathPod)
		if !direct.has(a, b, c.works) || !direct.any(a, b) {
			t.Errorf("%s: a does not reach b: %v", c.family, direct)
		}
		if direct.has(a, b, c.fails) || direct.has(b, a, c.works) || direct.any(b, a) {
			t.Errorf("%s: more is reached than works: %v", c.family, direct)
		}
	}
}

// Where only one of two nodes has IPv6 for its pods, there is no path over IPv6
// between them to be tried.
func TestFamilies(t *testing.T) {
	r := newPlan(2, true)
	r.result.Nodes[1].PodAddresses = r.result.Nodes[1].PodAddresses[:1]
	for _, p := range r.paths() {
		if p.Family == "IPv6" && (p.From == "n1" || p.To == "n1") {
			t.Errorf("n1 has no IPv6: %+v", p.Path)
		}
	}
}

// server is an API server with nodes, two unless told otherwise, which does of a
// run's requests what a real one and its kubelets do. It answers within the
// process, so that time may be virtual.
type server struct {
	nodes    int
	mu       sync.Mutex
	agents   []corev1.Pod
	pods     []corev1.Pod
	objects  map[string]any // by path
	requests []string
	// created is called when a namespace has been created, before the answer.
	created func()
	// vanishes is a pod that is deleted before it runs.
	vanishes string
	// noSlices: who asks may not list endpoint slices.
	noSlices bool
	// outcome is a client's result for a target; nil: it is reached.
	outcome func(wire.Job, wire.Target) wire.Outcome
	// recovery is a Service's client's result for a target whose endpoint was
	// deleted; nil: another answers after three seconds.
	recovery func(wire.Target) wire.Recovery
	// ingress are the addresses that a Service of type LoadBalancer gets, and
	// events why it gets none; nil: the right to list these is missing.
	ingress []corev1.LoadBalancerIngress
	events  []corev1.Event
	// status is the annotation with the networks of a pod that asks for some.
	status func(*corev1.Pod) string
	// messages are what pods of a role leave, in place of their job's result.
	messages map[string]string
	// hold reports whether a client does not end.
	hold func(*corev1.Pod) bool
	// stall reports whether a request is not answered; pod is what it creates, if
	// that is one.
	stall func(request string, pod *corev1.Pod) bool
	// lose reports whether a request is lost, or after it was done, its answer.
	lose func(request string) (lost, answer bool)
	// busy reports whether a request has to be repeated a second later.
	busy func(request string) bool
	// refuses is how a request is refused, 0 where it is not.
	refuses func(request string) (int, metav1.StatusReason)
}

func newServer() *server { return &server{nodes: 2, objects: map[string]any{}} }

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request := r.Method + " " + r.URL.RequestURI()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	var object runtime.Object
	if r.Method == http.MethodPost {
		var err error
		if object, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil); err != nil {
			return nil, err
		}
	}
	pod, _ := object.(*corev1.Pod)
	if pod == nil {
		pod = &corev1.Pod{}
	}
	if s.stall != nil && s.stall(request, pod) {
		s.mu.Unlock()
		<-r.Context().Done()
		s.mu.Lock()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	refused, reason := 0, metav1.StatusReason("")
	if s.refuses != nil {
		refused, reason = s.refuses(request)
	}
	lost, lostAnswer := false, false
	if s.lose != nil {
		lost, lostAnswer = s.lose(request)
	}
	switch {
	case lost:
	case refused > 0:
		refuse(w, refused, reason)
	case s.busy != nil && s.busy(request):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
	default:
		s.answer(w, r, object)
	}
	if lost || lostAnswer {
		return nil, io.ErrUnexpectedEOF
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, created runtime.Object) {
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	last := path.Base(r.URL.Path)
	switch object := s.objects[r.URL.Path]; {
	case r.Method == http.MethodGet && last == "nodes":
		var nodes []corev1.Node
		for i := range s.nodes {
			nodes = append(nodes, node(fmt.Sprintf("n%d", i)))
		}
		answer(corev1.NodeList{Items: nodes})
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/pods":
		answer(corev1.PodList{Items: s.agents})
	case r.Method == http.MethodGet && last == "pods":
		role, _ := strings.CutPrefix(r.URL.Query().Get("labelSelector"), labelRole+"=")
		answer(corev1.PodList{Items: slices.DeleteFunc(slices.Clone(s.pods), func(p corev1.Pod) bool { return p.Labels[labelRole] != role })})
	case last == "endpointslices" && s.noSlices:
		refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden)
	case last == "events" && s.events == nil:
		refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden)
	case last == "events":
		answer(corev1.EventList{Items: s.events})
	case r.Method == http.MethodGet && last == "namespaces":
		answer(corev1.NamespaceList{})
	case r.Method == http.MethodGet && last == "endpointslices":
		answer(discoveryv1.EndpointSliceList{})
	case r.Method == http.MethodPost:
		s.create(r.URL.Path, created, w, answer)
	case object == nil:
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
		s.clientEnds(last)
		answer(object)
	default:
		answer(object)
	}
}

// create stores an object with what others add to it.
func (s *server) create(collection string, created runtime.Object, w http.ResponseWriter, answer func(any)) {
	object := created.(metav1.Object)
	at := collection + "/" + object.GetName()
	if s.objects[at] != nil {
		refuse(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
		return
	}
	s.objects[at] = object
	switch o := created.(type) {
	case *corev1.Service:
		o.Spec.ClusterIPs, o.Spec.Ports[0].NodePort = []string{"10.1.0.1"}, 30000
		if o.Spec.Type == corev1.ServiceTypeLoadBalancer {
			o.Status.LoadBalancer.Ingress = s.ingress
		}
	case *corev1.Pod:
		if o.Name != s.vanishes {
			if s.hold == nil || !s.hold(o) {
				s.runs(o)
			}
			s.pods = append(s.pods, *o)
		}
	case *corev1.Namespace:
		s.requests = append(s.requests, "created "+o.Name)
		if s.created != nil {
			s.created()
		}
	}
	answer(object)
}

func node(name string) corev1.Node {
	var n corev1.Node
	n.Name = name
	n.Labels = map[string]string{nodelabel.Keys{}.Ready(): "true"}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}
	return n
}

// listens gives a pod the status of one that is ready.
func listens(p *corev1.Pod, ip string) {
	p.Status.PodIPs = []corev1.PodIP{{IP: ip}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
}

// runs gives a pod the status that it has when it listens, or has reached
// everything.
func (s *server) runs(p *corev1.Pod) {
	if message := s.messages[p.Labels[labelRole]]; message != "" {
		ends(p, message)
		return
	}
	if p.Labels[labelRole] != roleClient {
		listens(p, "10.0.0."+p.Labels[labelIndex])
		if p.Annotations[annotationNetworks] != "" && s.status != nil {
			p.Annotations[annotationNetworkStatus] = s.status(p)
		}
		return
	}
	job := jobOf(p)
	var say wire.Say
	said := map[int]wire.Outcome{}
	for _, t := range job.Targets {
		o := wire.OK
		if s.outcome != nil {
			o = s.outcome(job, t)
		}
		if slices.ContainsFunc(t.Needs, func(id int) bool { return said[id] != wire.OK }) {
			o = wire.NotTried
		}
		said[t.ID] = o
		say.Results = append(say.Results, wire.Result{ID: t.ID, Outcome: o})
	}
	text, _ := wire.Encode("test", say)
	ends(p, text)
}

// clientEnds does of a deleted pod what the Service's client does whose endpoint
// that was, if it is ready.
func (s *server) clientEnds(name string) {
	i := slices.IndexFunc(s.pods, func(p corev1.Pod) bool { return p.Labels[labelRole] == roleFailover && isReady(&p) })
	if name != "endpoint-0" || i < 0 {
		return
	}
	var job wire.Client
	_ = wire.Decode(s.pods[i].Spec.Containers[0].Env[0].Value, &job)
	var say wire.Say
	for _, t := range job.Targets {
		r := wire.Recovery{Outcome: wire.OK, Peer: 1, Port: 40000, Gap: 3000}
		if s.recovery != nil {
			r = s.recovery(t)
		}
		r.ID = t.ID
		say.Recoveries = append(say.Recoveries, r)
	}
	text, _ := wire.Encode("test", say)
	ends(&s.pods[i], text)
}

// ends gives a pod the status of one that has ended and left this message.
func ends(p *corev1.Pod, message string) {
	p.Status.Phase = corev1.PodSucceeded
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}}}
}

// jobOf is a client's job, an empty one for other pods.
func jobOf(p *corev1.Pod) (job wire.Job) {
	if p.Labels[labelRole] == roleClient {
		_ = wire.Decode(p.Spec.Containers[0].Env[0].Value, &job)
	}
	return job
}

func (s *server) run(ctx context.Context, t *testing.T) (*Result, error) {
	t.Helper()
	return s.runWith(ctx, t, Options{Image: "x", Timeout: 20 * time.Second})
}

func (s *server) runWith(ctx context.Context, t *testing.T, opts Options) (*Result, error) {
	t.Helper()
	c, err := cluster.Connect(&rest.Config{Host: "http://api.example", Transport: s}, "kubectl-sctp", "test", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return Run(ctx, c.Kube, opts)
}

// A listener that is gone before it runs (drained, evicted, its node removed)
// leaves its node without any path: that must not pass for a node that works.
func TestListenerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		r, err := s.run(t.Context(), t)
		if err != nil || r.Verdict() != kmod.AnswerTrue || len(r.Paths) != 16 {
			t.Fatalf("%v, %+v", err, r)
		}
		s = newServer()
		s.vanishes = "listener-1"
		r, err = s.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict() != kmod.AnswerUnknown || r.Nodes[1].Fault != wire.Unknown || !strings.Contains(r.Nodes[1].Detail, "gone") {
			t.Errorf("verdict %s, node %+v", r.Verdict(), r.Nodes[1])
		}
	})
}

// One that ends while paths are tried leaves nothing known of those to it, and no
// finding about the network.
func TestListenerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(s *server, i int){
			"ended":   func(s *server, i int) { s.pods[i].Status.Phase = corev1.PodFailed },
			"deleted": func(s *server, i int) { s.pods[i].DeletionTimestamp = new(metav1.Unix(1, 0)) },
			"gone":    func(s *server, i int) { s.pods = slices.Delete(s.pods, i, i+1) },
		} {
			s := newServer()
			s.outcome = func(_ wire.Job, target wire.Target) wire.Outcome {
				i := slices.IndexFunc(s.pods, func(p corev1.Pod) bool { return p.Name == "listener-1" })
				if i >= 0 {
					end(s, i)
				}
				if strings.HasPrefix(target.Address, "10.0.0.1:") {
					return wire.NetworkDown
				}
				return wire.OK
			}
			r, err := s.run(t.Context(), t)
			if err != nil || r.Verdict() != kmod.AnswerUnknown || !strings.Contains(r.Nodes[1].Detail, "has ended") {
				t.Errorf("%s: %v, %+v", name, err, r)
			}
		}
	})
}

// A list that expires is read again.
func TestListExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		expired := map[string]bool{}
		s.refuses = func(request string) (int, metav1.StatusReason) {
			if strings.HasPrefix(request, "GET") && strings.Contains(request, "/pods?") && !expired[request] {
				expired[request] = true
				return http.StatusGone, metav1.StatusReasonExpired
			}
			return 0, ""
		}
		if r, err := s.run(t.Context(), t); err != nil || r.Verdict() != kmod.AnswerTrue || len(expired) < 2 {
			t.Errorf("%v, %+v, %d lists", err, r, len(expired))
		}
	})
}

// More nodes than a million pairs are refused before anything is made, where all
// pairs are asked for; else they are a ring.
func TestTooManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.nodes = mostAllPairs + 1
		_, err := s.runWith(t.Context(), t, Options{Image: "x", AllPairs: true})
		if err == nil || !strings.Contains(err.Error(), "101") || !strings.Contains(err.Error(), "--node") {
			t.Errorf("%v", err)
		}
		if i := slices.IndexFunc(s.requests, func(r string) bool { return !strings.HasPrefix(r, http.MethodGet) }); i >= 0 {
			t.Errorf("%s", s.requests[i])
		}
	})
}

// Only the nodes that are named take part, also where ready ones come after the
// last of them.
func TestNamedNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.nodes = 3
		r, err := s.runWith(t.Context(), t, Options{Image: "x", Nodes: []string{"n0"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Nodes) != 1 || r.Nodes[0].Name != "n0" {
			t.Errorf("%+v", r.Nodes)
		}
		if _, err := s.runWith(t.Context(), t, Options{Image: "x", Nodes: []string{"n0", "n7"}}); err == nil || err.Error() != `there is no node "n7"` {
			t.Errorf("%v", err)
		}
	})
}

// A right that is needed at the end is asked for before the work is done.
func TestRightMissingForTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.noSlices = true
		if _, err := s.run(t.Context(), t); err == nil || !strings.Contains(err.Error(), "the right to list endpointslices.discovery.k8s.io is missing") {
			t.Errorf("%v", err)
		}
		if len(s.pods) > 0 {
			t.Errorf("%d pods were made first", len(s.pods))
		}
	})
}

// An image of another protocol ends the run with one line that names both versions
// and what to do, whichever of the peers notices.
func TestOtherProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			role, message string
			want          []string
		}{
			{roleListener, `{"protocol":7,"version":"v0.9.1","content":["new"]}`, []string{"image x holds sctp-agent v0.9.1", "protocol 7", "kubectl-sctp v0.9.1"}},
			{roleClient, `{"protocol":7,"version":"v0.9.1"}`, []string{"image x holds sctp-agent v0.9.1", "protocol 7"}},
			{roleClient, `{"results":[]}`, []string{"sctp-agent of an unknown version", "protocol 0"}},
		} {
			s := newServer()
			s.messages = map[string]string{c.role: c.message}
			r, err := s.run(t.Context(), t)
			if err == nil || r != nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%s: %v, %+v", c.message, err, r)
			}
			for _, want := range append(c.want, fmt.Sprintf("kubectl-sctp %s has protocol %d", buildinfo.Current().Version, wire.Protocol), "--image") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %q does not name %q", c.message, err, want)
				}
			}
			s.deleted(t)
		}
	})
}

// The progress counts the listeners that listen, not those that have ended.
func TestNoListenerStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		text, err := wire.Encode("test", wire.Say{Fault: wire.ModuleMissing, Detail: "no SCTP"})
		if err != nil {
			t.Fatal(err)
		}
		s.messages = map[string]string{roleListener: text}
		var progress []string
		r, err := s.runWith(t.Context(), t, Options{Image: "x", Timeout: 20 * time.Second, Progress: func(what string) { progress = append(progress, what) }})
		if err != nil || r.Verdict() != kmod.AnswerFalse || len(r.Paths) != 0 {
			t.Fatalf("%v, %+v", err, r)
		}
		if all := strings.Join(progress, "\n"); !strings.Contains(all, "0 of 2 listeners have started, 2 failed") {
			t.Errorf("progress:\n%s", all)
		}
	})
}

// The image is that of an agent that runs and stays, of the newest version that
// does, from the agent's container, wherever in the pod that is.
func TestAgentsImage(t *testing.T) {
	type pod func(*corev1.Pod)
	make := func(name string, changes ...pod) (p corev1.Pod) {
		p.Name = name
		p.Labels = map[string]string{"pod-template-generation": "9"}
		p.Spec.Containers = []corev1.Container{{Name: "agent", Image: name}}
		listens(&p, "192.0.2.1")
		for _, change := range changes {
			change(&p)
		}
		return p
	}
	waits := func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }
	generation := func(n string) pod { return func(p *corev1.Pod) { p.Labels["pod-template-generation"] = n } }
	terminating := func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Unix(1, 0)) }
	owned := func(p *corev1.Pod) {
		p.Spec.NodeName, p.OwnerReferences = "n", []metav1.OwnerReference{{Kind: "DaemonSet", Name: "sctp-agent", Controller: new(true)}}
	}
	created := func(seconds int64) pod {
		return func(p *corev1.Pod) { p.CreationTimestamp = metav1.Unix(seconds, 0) }
	}
	containers := func(list ...corev1.Container) pod { return func(p *corev1.Pod) { p.Spec.Containers = list } }
	proxy := corev1.Container{Name: "proxy", Image: "registry.example/mesh/proxy:1"}
	for _, c := range []struct {
		name string
		pods []corev1.Pod
		want string // "" for none
	}{
		{"no agent", nil, ""},
		{"one", []corev1.Pod{make("a")}, "a"},
		{"an old one is listed last", []corev1.Pod{make("new", generation("10")), make("old")}, "new"},
		{"an old one is listed first", []corev1.Pod{make("old"), make("new", generation("10"))}, "new"},
		{"a terminating one is listed last", []corev1.Pod{make("a"), make("b", generation("10"), terminating)}, "a"},
		{"all are terminating", []corev1.Pod{make("a", terminating)}, ""},
		{"the newest does not start", []corev1.Pod{make("old"), make("new", generation("10"), waits)}, "old"},
		{"none is ready", []corev1.Pod{make("old", waits), make("new", generation("10"), waits), make("older", generation("8"), waits)}, "new"},
		{"created by hand", []corev1.Pod{make("a", generation(""), created(9)), make("b", generation(""), created(8))}, "a"},
		{"another program's pod with the label", []corev1.Pod{make("foreign"), make("a", generation("8"), waits, owned)}, "a"},
		{"a sidecar is first", []corev1.Pod{make("a", containers(proxy, corev1.Container{Name: "agent", Image: "x"}))}, "x"},
		{"by the image's name", []corev1.Pod{make("a", containers(proxy, corev1.Container{Name: "main", Image: "registry.example:5000/k/sctp-agent:v1@sha256:00"}))}, "registry.example:5000/k/sctp-agent:v1@sha256:00"},
		{"the only container", []corev1.Pod{make("a", containers(corev1.Container{Name: "main", Image: "mirror/x"}))}, "mirror/x"},
		{"none that could be the agent's", []corev1.Pod{make("a", containers(proxy, corev1.Container{Name: "main", Image: "mirror/x"}))}, ""},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			s := newServer()
			s.agents = c.pods
			r, err := s.runWith(t.Context(), t, Options{Timeout: 20 * time.Second})
			switch {
			case c.want == "" && (err == nil || !strings.Contains(err.Error(), "--image")):
				t.Errorf("error %v", err)
			case c.want != "" && (err != nil || r.Image != c.want):
				t.Errorf("%v, %+v, want image %s", err, r, c.want)
			}
		})
	}
}

// A creation is repeated when it, or its answer, gets lost, or the server is
// overloaded; a refusal is final.
func TestCreationIsRepeated(t *testing.T) {
	first := func(do func(request string) bool) func(string) bool {
		seen := map[string]int{}
		return func(request string) bool {
			seen[request]++
			return do(request) && seen[request]%2 == 1
		}
	}
	creates := first(func(request string) bool { return strings.HasPrefix(request, http.MethodPost) })
	for name, prepare := range map[string]func(*server){
		"requests get lost": func(s *server) { s.lose = func(request string) (bool, bool) { return creates(request), false } },
		"answers get lost":  func(s *server) { s.lose = func(request string) (bool, bool) { return false, creates(request) } },
		"overloaded":        func(s *server) { s.busy = first(func(string) bool { return true }) },
		"away after the namespace was made": func(s *server) {
			var until time.Time
			s.created = func() { until = time.Now().Add(30 * time.Second) }
			s.lose = func(string) (bool, bool) { return time.Now().Before(until), false }
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			s := newServer()
			prepare(s)
			r, err := s.runWith(t.Context(), t, Options{Image: "x", Policy: true})
			if err != nil || len(r.Paths) != 22 {
				t.Fatalf("%v, %+v", err, r)
			}
			for _, p := range r.Paths {
				if p.Outcome != wire.OK {
					t.Errorf("%+v", p)
				}
			}
			s.deleted(t)
		})
	}
	inBubble(t, "somebody else's object", func(t *testing.T) {
		s := newServer()
		s.created = func() {
			s.objects[strings.Replace(s.requests[len(s.requests)-1], "created ", "/api/v1/namespaces/", 1)+"/serviceaccounts/verify"] = &corev1.ServiceAccount{}
		}
		if _, err := s.run(t.Context(), t); err == nil || !strings.Contains(err.Error(), "create serviceaccounts/verify: ") {
			t.Errorf("%v", err)
		}
		s.deleted(t)
	})
	inBubble(t, "no answer any more", func(t *testing.T) {
		s := newServer()
		s.lose = func(request string) (bool, bool) { return strings.HasSuffix(request, "/services"), false }
		start := time.Now()
		_, err := s.run(t.Context(), t)
		if err == nil || !strings.Contains(err.Error(), "not done within 20s") || !strings.Contains(err.Error(), "create services/listener-") {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took < 20*time.Second || took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		s.deleted(t)
	})
}

// Ctrl-C while the namespace is being created: the answer with its name is not
// heard any more, and yet it is deleted.
func TestInterruptedCreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		ctx, cancel := context.WithCancel(t.Context())
		s.created = cancel
		if _, err := s.run(ctx, t); err == nil {
			t.Error("no error")
		}
		s.deleted(t)
	})
}

// When time runs out after paths have been tried, what is known by then is kept;
// after a refusal or Ctrl-C there is no result.
func TestLate(t *testing.T) {
	dropped := func(_ wire.Job, target wire.Target) wire.Outcome {
		if target.Address == "10.0.0.1:38412" {
			return wire.Dropped
		}
		return wire.OK
	}
	fixed := func(job wire.Job, target wire.Target) wire.Outcome {
		if job.Diagnose {
			return wire.OK
		}
		return dropped(job, target)
	}
	diagnoses := func(_ string, p *corev1.Pod) bool { return jobOf(p).Diagnose }
	for _, c := range []struct {
		name    string
		outcome func(wire.Job, wire.Target) wire.Outcome
		hold    func(*corev1.Pod) bool
		stall   func(string, *corev1.Pod) bool
		late    step
		kinds   []string
		verdict kmod.Answer
		// outcomes are how many paths have which.
		outcomes map[wire.Outcome]int
	}{
		{"while trying paths", nil, func(p *corev1.Pod) bool { return p.Name == "client-1" },
			nth(2, "GET", "/pods?", roleClient), stepPaths, []string{FindingUndecided, FindingUndecided},
			kmod.AnswerUnknown, map[wire.Outcome]int{wire.OK: 9, wire.Unknown: 9}},
		{"while diagnosing", dropped, nil, diagnoses, stepDiagnose, []string{FindingDropped, FindingUndecided},
			kmod.AnswerFalse, map[wire.Outcome]int{wire.Dropped: 2, wire.NotTried: 9, wire.OK: 7}},
		{"while catching up", fixed, nil, func(_ string, p *corev1.Pod) bool { return p.Name == "client-4" }, stepCatchUp,
			[]string{FindingUndecided, FindingUndecided}, kmod.AnswerUnknown, map[wire.Outcome]int{wire.NotTried: 9, wire.OK: 9}},
		{"while trying the policy", nil, nil, nth(1, "POST", "/networkpolicies", ""), stepPolicy, []string{FindingUndecided},
			kmod.AnswerUnknown, map[wire.Outcome]int{wire.OK: 18}},
		{"while trying under the policy", nil, nil, func(_ string, p *corev1.Pod) bool { return p.Name == "client-3" }, stepPolicy,
			[]string{FindingUndecided}, kmod.AnswerUnknown, map[wire.Outcome]int{wire.OK: 18, wire.Unknown: 4}},
		{"at the end", nil, nil, nth(2, "GET", "/endpointslices", ""), stepEndpoints, []string{FindingNotEnforced, FindingUndecided},
			kmod.AnswerFalse, map[wire.Outcome]int{wire.OK: 22}},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			s := newServer()
			s.outcome, s.hold, s.stall = c.outcome, c.hold, c.stall
			// The steps before the late one take three seconds.
			r, err := s.runWith(t.Context(), t, Options{Image: "x", Policy: true, Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(kindsOf(r), c.kinds) || r.Verdict() != c.verdict {
				t.Fatalf("verdict %s, findings %+v", r.Verdict(), r.Findings)
			}
			last := r.Findings[len(r.Findings)-1]
			if !strings.Contains(last.Message, string(c.late)) || strings.Contains(last.Fix, "--timeout") != (c.late != stepEndpoints) {
				t.Errorf("%+v", last)
			}
			outcomes := map[wire.Outcome]int{}
			for _, p := range r.Paths {
				outcomes[p.Outcome]++
			}
			if !maps.Equal(outcomes, c.outcomes) {
				t.Errorf("outcomes %v, want %v", outcomes, c.outcomes)
			}
			s.deleted(t)
		})
	}
	inBubble(t, "nothing is known yet", func(t *testing.T) {
		s := newServer()
		s.stall = func(_ string, p *corev1.Pod) bool { return p.Name == "client-0" }
		if r, err := s.runWith(t.Context(), t, Options{Image: "x", Timeout: 5 * time.Second}); err == nil || r != nil || !strings.Contains(err.Error(), "not done within 5s") {
			t.Errorf("%v, %+v", err, r)
		}
		s.deleted(t)
	})
	inBubble(t, "Ctrl-C", func(t *testing.T) {
		s := newServer()
		ctx, cancel := context.WithCancel(t.Context())
		s.outcome = dropped
		s.stall = func(_ string, p *corev1.Pod) bool {
			if !jobOf(p).Diagnose {
				return false
			}
			cancel()
			return true
		}
		if r, err := s.run(ctx, t); err == nil || r != nil {
			t.Errorf("%v, %+v", err, r)
		}
		s.deleted(t)
	})
}

// tries runs a healthy cluster's further trials, and fails unless the verdict and
// the kinds of the findings are these, and the last finding, or a failover where
// there is no finding, says this.
func (s *server) tries(t *testing.T, opts Options, verdict kmod.Answer, kinds []string, says string) *Result {
	t.Helper()
	opts.Image, opts.Timeout = "x", 5*time.Minute
	r, err := s.runWith(t.Context(), t, opts)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(r.Failovers)
	for _, f := range r.Findings {
		text = f.Message + fmt.Sprint(f.Evidence)
	}
	if got := kindsOf(r); !slices.Equal(got, kinds) || r.Verdict() != verdict || !strings.Contains(text, says) {
		t.Errorf("verdict %s, findings %q, which do not say %q: %s", r.Verdict(), got, says, text)
	}
	s.deleted(t)
	return r
}

func kindsOf(r *Result) (kinds []string) {
	for _, f := range r.Findings {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// outcomesOf are the paths of a kind with their outcomes.
func outcomesOf(r *Result, kind PathKind) (out []string) {
	for _, p := range r.Paths {
		if p.Kind == kind {
			out = append(out, fmt.Sprintf("%s %s %s", p.From, p.To, p.Outcome))
		}
	}
	return out
}

// inBubble runs a subtest in virtual time.
func inBubble(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// nth is true of the nth request of a kind.
func nth(n int, method, path, query string) func(string, *corev1.Pod) bool {
	seen := 0
	return func(request string, _ *corev1.Pod) bool {
		if !strings.HasPrefix(request, method) || !strings.Contains(request, path) || !strings.Contains(request, query) {
			return false
		}
		seen++
		return seen == n
	}
}

// deleted fails where the namespace of a run still exists.
func (s *server) deleted(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.requests, func(r string) bool { return strings.HasPrefix(r, "created ") })
	if at < 0 {
		t.Fatalf("no namespace was created: %q", s.requests)
	}
	if name := strings.TrimPrefix(s.requests[at], "created "); name == "" || !slices.Contains(s.requests, "DELETE /api/v1/namespaces/"+name) {
		t.Errorf("namespace %q is left behind: %q", name, s.requests)
	}
}

func names(paths []planned) (out []string) {
	for _, p := range paths {
		if !slices.Contains(out, p.From) {
			out = append(out, p.From)
		}
	}
	return out
}
