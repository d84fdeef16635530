package verify

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/cluster/api"
	"github.com/sctp-agent/sctp-agent/pkg/cluster/verify/peer"
)

// plan is what a run on n nodes tries, where pods and Services have both
// families.
func plan(n int, policy bool) []planned {
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
	return r.paths()
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
				if len(job) > peer.MaxTargets {
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

func names(paths []planned) (out []string) {
	for _, p := range paths {
		if !slices.Contains(out, p.From) {
			out = append(out, p.From)
		}
	}
	return out
}
