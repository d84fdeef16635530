package dump

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// workloads are the kinds that are judged together, namespace by namespace.
var workloads = []schema.GroupResource{
	{Resource: "pods"}, {Resource: "services"}, {Group: "discovery.k8s.io", Resource: "endpointslices"}, {Group: "networking.k8s.io", Resource: "networkpolicies"},
}

// Gaps are what the files leave out of a cluster's workloads.
type Gaps struct {
	// Some: workloads of some namespaces only are in the files.
	Some bool
	// Seen are those namespaces; Missing, others that the files name.
	Seen, Missing []string
	// Inspected: oc has written the files, or the cluster is an OpenShift.
	Inspected bool
	// Fewer are the resources that the files have for fewer namespaces than the
	// others.
	Fewer []string
}

// Partial are the resources of which the files have single objects, and may lack
// others.
func (d *Dump) Partial() (list []schema.GroupResource) {
	for resource, c := range d.coverage {
		for namespace := range c.some {
			if !c.covers(namespace) && !slices.Contains(list, resource) {
				list = append(list, resource)
			}
		}
	}
	slices.SortFunc(list, func(a, b schema.GroupResource) int { return strings.Compare(a.Resource, b.Resource) })
	return list
}

// Gaps compares what the files have of each kind.
func (d *Dump) Gaps() Gaps {
	g := Gaps{Inspected: d.openShift || d.inspected}
	all, namespaces := false, map[string]bool{}
	for _, resource := range workloads {
		if c := d.coverage[resource]; c != nil {
			all = all || c.all
			maps.Copy(namespaces, c.namespaces)
		}
	}
	delete(namespaces, "") // an empty list of kubectl's
	for _, resource := range workloads {
		c := d.coverage[resource]
		switch {
		case c == nil: // the request for it fails
		case c.all:
		case all, !covers(c.namespaces, namespaces):
			g.Fewer = append(g.Fewer, resource.Resource)
		}
	}
	if g.Some = !all; g.Some {
		g.Seen = slices.Sorted(maps.Keys(namespaces))
		for _, o := range d.sorted[schema.GroupResource{Resource: "namespaces"}] {
			if !namespaces[o.name] && !strings.HasPrefix(o.name, "openshift") && !strings.HasPrefix(o.name, "kube-") {
				g.Missing = append(g.Missing, o.name)
			}
		}
	}
	return g
}

func covers(have, want map[string]bool) bool {
	for name := range want {
		if !have[name] {
			return false
		}
	}
	return true
}
