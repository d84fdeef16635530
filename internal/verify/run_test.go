package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// plan is what a run on n nodes tries, where pods and Services have both
// families.
func plan(n int, policy bool) []planned { return newPlan(n, policy).paths() }

func newPlan(n int, policy bool) *run {
	r := &run{opts: Options{Policy: policy}, result: &Result{}, services: map[int]*api.Service{}}
	for i := range n {
		r.result.Nodes = append(r.result.Nodes, Node{
			Name: fmt.Sprintf("n%d", i), Index: i,
			Addresses:    []string{fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("2001:db8::%d", i)},
			PodAddresses: []string{fmt.Sprintf("10.0.0.%d", i), fmt.Sprintf("fd00::%d", i)},
		})
		r.services[i] = &api.Service{Spec: api.ServiceSpec{
			ClusterIPs: []string{fmt.Sprintf("10.1.0.%d", i), fmt.Sprintf("fd01::%d", i)},
			Ports:      []api.ServicePort{{NodePort: int32(30000 + i)}},
		}}
	}
	return r
}

// Each path is tried by one job; a job's results fit a termination message; and
// a path needs the direct ones that it leads over, tried before it.
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
					// What is met first is in the same job always; behind a
					// node port it may be in another's.
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
// run's requests what a real one and its kubelets do.
type server struct {
	*httptest.Server
	nodes    int
	mu       sync.Mutex
	pods     []api.Pod
	requests []string
	// created is called when a namespace has been created, before the answer.
	created func()
	// vanishes is a pod that somebody deletes before it runs.
	vanishes string
	// noSlices: who asks may not list endpoint slices.
	noSlices bool
	// outcome is what a dialler says of a target; nil: it is reached.
	outcome func(wire.Job, wire.Target) wire.Outcome
	// messages are what pods of a role leave, in place of their job's result.
	messages map[string]string
	// hold says of a dialler that it does not end.
	hold func(*api.Pod) bool
	// stall says of a request that it is not answered; pod is what it creates,
	// if that is one.
	stall func(request string, pod *api.Pod) bool
}

func newServer(t *testing.T) *server {
	s := &server{nodes: 2}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	var pod api.Pod
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/pods") {
		_ = json.NewDecoder(r.Body).Decode(&pod)
	}
	if s.stall != nil && s.stall(r.Method+" "+r.URL.RequestURI(), &pod) {
		// The server notices that the client is gone once the body is read.
		_, _ = io.Copy(io.Discard, r.Body)
		s.mu.Unlock()
		<-r.Context().Done()
		s.mu.Lock()
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	list := func(items any) { answer(map[string]any{"items": items}) }
	switch last := parts[len(parts)-1]; {
	case r.Method == http.MethodGet && last == "nodes":
		var nodes []api.Node
		for i := range s.nodes {
			nodes = append(nodes, node(fmt.Sprintf("n%d", i)))
		}
		list(nodes)
	case r.Method == http.MethodGet && last == "pods":
		role, _ := strings.CutPrefix(r.URL.Query().Get("labelSelector"), labelRole+"=")
		list(slices.DeleteFunc(slices.Clone(s.pods), func(p api.Pod) bool { return p.Labels[labelRole] != role }))
	case last == "endpointslices" && s.noSlices:
		http.Error(w, `{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}`, http.StatusForbidden)
	case r.Method == http.MethodGet && (last == "namespaces" || last == "endpointslices"):
		list([]any{})
	case r.Method == http.MethodPost && last == "namespaces":
		var n api.Namespace
		_ = json.NewDecoder(r.Body).Decode(&n)
		if n.Name == "" {
			n.Name = n.GenerateName + "x7k2p"
		}
		s.requests = append(s.requests, "created "+n.Name)
		if s.created != nil {
			s.created()
		}
		answer(n)
	case r.Method == http.MethodPost && last == "services":
		var v api.Service
		_ = json.NewDecoder(r.Body).Decode(&v)
		v.Spec.ClusterIPs, v.Spec.Ports[0].NodePort = []string{"10.1.0.1"}, 30000
		answer(v)
	case r.Method == http.MethodPost && last == "pods":
		if pod.Name != s.vanishes {
			if s.hold == nil || !s.hold(&pod) {
				s.runs(&pod)
			}
			s.pods = append(s.pods, pod)
		}
		answer(pod)
	case r.Method == http.MethodGet:
		http.NotFound(w, r)
	default:
		answer(map[string]any{})
	}
}

func node(name string) api.Node {
	var n api.Node
	n.Name = name
	n.Labels = map[string]string{nodelabel.Keys{}.Ready(): "true"}
	n.Status.Addresses = []api.NodeAddress{{Type: api.NodeInternalIP, Address: "192.0.2.1"}}
	return n
}

// runs gives a pod the status that it has when it listens, or has reached
// everything.
func (s *server) runs(p *api.Pod) {
	if message := s.messages[p.Labels[labelRole]]; message != "" {
		ends(p, message)
		return
	}
	if p.Labels[labelRole] == roleListener {
		p.Status.PodIPs = []api.PodIP{{IP: "10.0.0." + p.Labels[labelIndex]}}
		p.Status.Conditions = []api.Condition{{Type: api.PodReady, Status: api.ConditionTrue}}
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

// ends gives a pod the status of one that has ended and left this message.
func ends(p *api.Pod, message string) {
	p.Status.Phase = api.PodSucceeded
	p.Status.ContainerStatuses = []api.ContainerStatus{{State: api.ContainerState{Terminated: &api.ContainerStateTerminated{Message: message}}}}
}

// jobOf is a dialler's job, an empty one for other pods.
func jobOf(p *api.Pod) (job wire.Job) {
	if p.Labels[labelRole] == roleDialler {
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
	c, err := api.New(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return Run(ctx, c, opts)
}

// A listener that is gone before it runs (drained, evicted, its node removed)
// leaves its node without any path: that must not pass for a node that works.
func TestListenerGone(t *testing.T) {
	s := newServer(t)
	r, err := s.run(t.Context(), t)
	if err != nil || r.Verdict() != kmod.AnswerTrue || len(r.Paths) != 16 {
		t.Fatalf("%v, %+v", err, r)
	}
	s = newServer(t)
	s.vanishes = "listener-1"
	r, err = s.run(t.Context(), t)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict() != kmod.AnswerUnknown || r.Nodes[1].Fault != wire.Unknown || !strings.Contains(r.Nodes[1].Detail, "gone") {
		t.Errorf("verdict %s, node %+v", r.Verdict(), r.Nodes[1])
	}
}

// A cluster too large for every node to be tried against every other is asked
// for names before anything is made there.
func TestTooManyNodes(t *testing.T) {
	s := newServer(t)
	s.nodes = MostUnnamed + 1
	_, err := s.run(t.Context(), t)
	if err == nil || !strings.Contains(err.Error(), "101 nodes") || !strings.Contains(err.Error(), "--node") {
		t.Errorf("%v", err)
	}
	if i := slices.IndexFunc(s.requests, func(r string) bool { return !strings.HasPrefix(r, http.MethodGet) }); i >= 0 {
		t.Errorf("%s", s.requests[i])
	}
}

// A right that is needed at the end is asked for before the work is done.
func TestRightMissingForTheEnd(t *testing.T) {
	s := newServer(t)
	s.noSlices = true
	if _, err := s.run(t.Context(), t); err == nil || !strings.Contains(err.Error(), "endpointslices") {
		t.Errorf("%v", err)
	}
	if len(s.pods) > 0 {
		t.Errorf("%d pods were made first", len(s.pods))
	}
}

// An image of another protocol ends the run with one line that names both
// versions and what to do, whoever of the peers notices.
func TestOtherProtocol(t *testing.T) {
	for _, c := range []struct {
		role, message string
		want          []string
	}{
		{roleListener, `{"protocol":7,"version":"v0.9.1","content":["new"]}`, []string{"image x holds sctp-agent v0.9.1", "protocol 7", "kubectl-sctp v0.9.1"}},
		{roleDialler, `{"protocol":7,"version":"v0.9.1"}`, []string{"image x holds sctp-agent v0.9.1", "protocol 7"}},
		{roleDialler, `{"results":[]}`, []string{"sctp-agent of an unknown version", "protocol 0"}},
	} {
		s := newServer(t)
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
}

// The progress counts the listeners that listen, not those that have ended.
func TestNoListenerStarts(t *testing.T) {
	s := newServer(t)
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
}

// Ctrl-C while the namespace is being created: the answer with its name is not
// heard any more, and yet it is deleted.
func TestInterruptedCreation(t *testing.T) {
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.created = func() { cancel(); time.Sleep(100 * time.Millisecond) }
	if _, err := s.run(ctx, t); err == nil {
		t.Error("no error")
	}
	s.deleted(t)
}

// Time that runs out when paths have been tried does not take with it what is
// known by then; a refusal and Ctrl-C leave nothing to be said.
func TestLate(t *testing.T) {
	dropped := func(_ wire.Job, target wire.Target) wire.Outcome {
		if target.Address == "10.0.0.1:38412" {
			return wire.Dropped
		}
		return wire.OK
	}
	mended := func(job wire.Job, target wire.Target) wire.Outcome {
		if job.Diagnose {
			return wire.OK
		}
		return dropped(job, target)
	}
	diagnoses := func(_ string, p *api.Pod) bool { return jobOf(p).Diagnose }
	for _, c := range []struct {
		name    string
		outcome func(wire.Job, wire.Target) wire.Outcome
		hold    func(*api.Pod) bool
		stall   func(string, *api.Pod) bool
		late    step
		kinds   []string
		verdict kmod.Answer
		// outcomes are how many paths have which.
		outcomes map[wire.Outcome]int
	}{
		{"while trying paths", nil, func(p *api.Pod) bool { return p.Name == "dialler-1" },
			nth(2, "GET", "/pods?", roleDialler), stepPaths, []string{FindingUndecided, FindingUndecided},
			kmod.AnswerUnknown, map[wire.Outcome]int{wire.OK: 9, wire.Unknown: 9}},
		{"while diagnosing", dropped, nil, diagnoses, stepDiagnose, []string{FindingDropped, FindingUndecided},
			kmod.AnswerFalse, map[wire.Outcome]int{wire.Dropped: 2, wire.NotTried: 9, wire.OK: 7}},
		{"while catching up", mended, nil, func(_ string, p *api.Pod) bool { return p.Name == "dialler-4" }, stepCatchUp,
			[]string{FindingUndecided, FindingUndecided}, kmod.AnswerUnknown, map[wire.Outcome]int{wire.NotTried: 9, wire.OK: 9}},
		{"while trying the policy", nil, nil, nth(1, "POST", "/networkpolicies", ""), stepPolicy, []string{FindingUndecided},
			kmod.AnswerUnknown, map[wire.Outcome]int{wire.OK: 18}},
		{"while trying under the policy", nil, nil, func(_ string, p *api.Pod) bool { return p.Name == "dialler-3" }, stepPolicy,
			[]string{FindingUndecided}, kmod.AnswerUnknown, map[wire.Outcome]int{wire.OK: 18, wire.Unknown: 4}},
		{"at the end", nil, nil, nth(2, "GET", "/endpointslices", ""), stepEndpoints, []string{FindingNotEnforced, FindingUndecided},
			kmod.AnswerFalse, map[wire.Outcome]int{wire.OK: 22}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.outcome, s.hold, s.stall = c.outcome, c.hold, c.stall
			// The steps before the late one take three seconds.
			r, err := s.runWith(t.Context(), t, Options{Image: "x", Policy: true, Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, f := range r.Findings {
				kinds = append(kinds, f.Kind)
			}
			if !slices.Equal(kinds, c.kinds) || r.Verdict() != c.verdict {
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
	t.Run("nothing is known yet", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.stall = func(_ string, p *api.Pod) bool { return p.Name == "dialler-0" }
		if r, err := s.runWith(t.Context(), t, Options{Image: "x", Timeout: 5 * time.Second}); err == nil || r != nil || !strings.Contains(err.Error(), "not done within 5s") {
			t.Errorf("%v, %+v", err, r)
		}
		s.deleted(t)
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		ctx, cancel := context.WithCancel(t.Context())
		s.outcome = dropped
		s.stall = func(_ string, p *api.Pod) bool {
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

// nth is true of the nth request of a kind.
func nth(n int, method, path, query string) func(string, *api.Pod) bool {
	seen := 0
	return func(request string, _ *api.Pod) bool {
		if !strings.HasPrefix(request, method) || !strings.Contains(request, path) || !strings.Contains(request, query) {
			return false
		}
		seen++
		return seen == n
	}
}

// deleted fails where the namespace of a run is left behind.
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
