package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/dump"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// auditFiles examines the cluster in the files, as of the time when they were
// written.
func auditFiles(ctx context.Context, stdin io.Reader, warnings io.Writer, names []string, prefix string, opts audit.Options) (*audit.Snapshot, error) {
	var err error
	if opts.Keys, err = nodelabel.NewKeys(prefix); err != nil {
		return nil, fmt.Errorf("--prefix: %w", err)
	}
	files, err := until(ctx, strings.Join(names, ", "), func() (*dump.Dump, error) { return dump.Open(ctx, stdin, names) })
	if err != nil {
		return nil, err
	}
	client, err := cluster.Connect(files.Config(), "kubectl-sctp", buildinfo.Current().Version, warnings)
	if err != nil {
		return nil, err
	}
	snapshot, err := audit.Collect(ctx, client, opts)
	if err != nil {
		return nil, err
	}
	if at := files.Time(); !at.IsZero() {
		snapshot.Time = at
	}
	for _, resource := range files.Partial() {
		source, everywhere := audit.Source(resource.Resource), " -A"
		if source == audit.SourceNodes {
			snapshot.SomeNodes, everywhere = true, ""
		}
		if slices.Contains([]audit.Source{audit.SourceNodes, audit.SourcePods, audit.SourceServices, audit.SourceSlices, audit.SourcePolicies}, source) {
			snapshot.Unseen = append(snapshot.Unseen, audit.Unseen{Source: source, Some: true, Why: fmt.Sprintf("the files have some %s, and no list of all (kubectl get %[1]s%s -o yaml)", resource, everywhere)})
		}
	}
	noteGaps(snapshot, files.Gaps())
	if broken := files.Unread(); len(broken) > 0 {
		snapshot.Unseen = append(snapshot.Unseen, audit.Unseen{Source: audit.SourceFiles, Why: "files that could not be decoded: " + cluster.FirstNames(broken, most), Objects: len(broken)})
	}
	broken := files.Broken()
	for _, resource := range slices.Sorted(maps.Keys(broken)) {
		list := broken[resource]
		snapshot.Unseen = append(snapshot.Unseen, audit.Unseen{
			Source: cmp.Or(audit.Source(resource), audit.SourceFiles), Objects: len(list),
			Why: cmp.Or(resource, "objects") + " that could not be decoded: " + cluster.FirstNames(list, most),
		})
	}
	return snapshot, nil
}

// noteGaps notes what the files leave out, and the command that brings it.
func noteGaps(s *audit.Snapshot, gaps dump.Gaps) {
	unseen := func(source audit.Source, some bool, why string) {
		if !slices.ContainsFunc(s.Unseen, func(u audit.Unseen) bool { return u.Source == source }) {
			s.Unseen = append(s.Unseen, audit.Unseen{Source: source, Some: some, Why: why})
		}
	}
	for _, resource := range gaps.Fewer {
		unseen(audit.Source(resource), true, "the files have "+resource+" of fewer namespaces than other workloads (kubectl get "+resource+" -A -o yaml)")
	}
	if !gaps.Some || len(gaps.Seen) == 0 {
		return
	}
	s.Narrowed = true
	bring, agents := "oc adm inspect ns/NAMESPACE, and audit -f with both", "oc adm inspect ns/sctp-agent"
	why := "workloads of other namespaces than " + cluster.FirstNames(gaps.Seen, most)
	switch {
	case !gaps.Inspected:
		bring, agents = "kubectl get pods,services,endpointslices,networkpolicies -A -o yaml", "kubectl get pods -n sctp-agent -o yaml"
	case len(gaps.Missing) > 0:
		all := make([]string, len(gaps.Missing))
		for i, name := range gaps.Missing {
			all[i] = "ns/" + name
		}
		bring = "oc adm inspect " + strings.Join(all[:min(most, len(all))], " ") + ", and audit -f with both"
	}
	if gaps.Inspected {
		why += ": a must-gather leaves application namespaces out"
	}
	unseen(audit.SourceNamespaces, false, fmt.Sprintf("%s (%s)", why, bring))
	if !slices.ContainsFunc(s.Nodes, func(n audit.Node) bool { return n.Agent != nil }) {
		unseen(audit.SourceAgents, false, "the agent's pods: their namespace is not in the files ("+agents+")")
	}
}
