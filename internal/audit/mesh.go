package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
)

// collectMesh reads what the mesh's agents see. Those that do not answer are one
// thing that was not seen.
func (s *Snapshot) collectMesh(ctx context.Context, c *cluster.Client, namespace string, unseen func(Source, error)) {
	r, err := meshview.Collect(ctx, c.Kube, meshview.Options{Namespace: namespace})
	if err != nil {
		unseen(SourceMesh, err)
		return
	}
	s.Mesh = r
	if n := len(r.Unseen); n > 0 {
		unseen(SourceMeshAgents, fmt.Errorf("%d of %d agents of the mesh (kubectl sctp mesh lists them): %s: %s", n, r.Summary.Nodes, r.Unseen[0].Node, r.Unseen[0].Why))
	}
}

// meshFindings are the mesh's findings of one kind about nodes that were asked for.
func (v *view) meshFindings(kind Kind, found report) {
	if v.Mesh == nil {
		return
	}
	for _, m := range v.Mesh.Findings {
		if Kind(m.Kind) != kind {
			continue
		}
		f := Finding{Object: Object{Kind: objectPath, Name: m.Subject()}, Message: m.Message, Evidence: m.Evidence, Fix: m.Fix}
		if kind == NodeUnreachableBySCTP {
			n := v.nodes[m.Node]
			if n == nil {
				continue
			}
			f.Object, f.Pool = Object{Kind: "Node", Name: n.Name}, n.Pool
		} else if !m.Zones && v.nodes[m.From] == nil && v.nodes[m.To] == nil {
			continue
		}
		if !m.Since.IsZero() {
			f.Evidence = append(slices.Clip(f.Evidence), "since "+m.Since.UTC().Format(time.RFC3339))
		}
		found(f)
	}
}
