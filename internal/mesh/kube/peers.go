package kube

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/sctp-agent/sctp-agent/internal/mesh"
)

const (
	// pageSize is how many slices come at once, and metadataPageSize of how
	// many the metadata: a slice has up to 100 peers, of some 300 bytes each.
	pageSize, metadataPageSize = 10, 500
	// fewChanged are read one by one. Of more, pages are less: the API server
	// compresses an answer of 128 kB or more, to a quarter.
	fewChanged = 10
)

// onlyMetadata has a list come without its contents.
const onlyMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

// Peers reads the list of peers from the EndpointSlices of a headless Service:
// all of them once, then those that have changed. It is for one goroutine.
type Peers struct {
	Client  *Client
	Service string
	// Family is that of this node's address: peers are those of the same.
	Family netip.Addr

	slices map[string]slice
}

type slice struct {
	version string
	peers   []mesh.Peer
}

type metadata struct {
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion"`
}

// endpointSlice is discovery.k8s.io/v1's, as far as it matters here.
type endpointSlice struct {
	Metadata    metadata `json:"metadata"`
	AddressType string   `json:"addressType"`
	Endpoints   []struct {
		Addresses  []string `json:"addresses"`
		NodeName   string   `json:"nodeName"`
		Zone       string   `json:"zone"`
		Conditions struct {
			// With publishNotReadyAddresses, ready is always true, and serving is
			// the pod's own state.
			Serving     *bool `json:"serving"`
			Terminating *bool `json:"terminating"`
		} `json:"conditions"`
		TargetRef struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"targetRef"`
	} `json:"endpoints"`
}

// List reads what has changed since the last time, and returns all peers, one
// for each node. What was read before an error need not be read again.
func (p *Peers) List(ctx context.Context) ([]mesh.Peer, error) {
	changed, err := p.changed(ctx)
	if err != nil {
		return nil, err
	}
	if p.slices == nil || len(changed) > fewChanged {
		now := map[string]slice{}
		err := p.pages(ctx, asJSON, pageSize, func(item endpointSlice) { now[item.Metadata.Name] = p.read(item) })
		if err != nil {
			return nil, err
		}
		p.slices, changed = now, nil
	}
	for _, name := range changed {
		var item endpointSlice
		if err := p.Client.call(ctx, http.MethodGet, p.path(name), nil, asJSON, nil, &item); err != nil {
			return nil, fmt.Errorf("get EndpointSlice %s: %w", name, err)
		}
		p.slices[name] = p.read(item)
	}
	return p.all(), nil
}

// changed are the slices that are not as they were read, and forgets those that
// have gone.
func (p *Peers) changed(ctx context.Context) (names []string, err error) {
	if p.slices == nil {
		return nil, nil
	}
	there := map[string]bool{}
	err = p.pages(ctx, onlyMetadata, metadataPageSize, func(item endpointSlice) {
		m := item.Metadata
		there[m.Name] = true
		if known, found := p.slices[m.Name]; !found || known.version != m.ResourceVersion {
			names = append(names, m.Name)
		}
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(p.slices, func(name string, _ slice) bool { return !there[name] })
	return names, nil
}

// pages reads all slices, some at a time.
func (p *Peers) pages(ctx context.Context, accept string, size int, each func(endpointSlice)) error {
	for next := ""; ; {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []endpointSlice `json:"items"`
		}
		query := url.Values{
			"labelSelector": {"kubernetes.io/service-name=" + p.Service},
			"limit":         {fmt.Sprint(size)},
		}
		if next != "" {
			query.Set("continue", next)
		}
		if err := p.Client.call(ctx, http.MethodGet, p.path(""), query, accept, nil, &page); err != nil {
			return fmt.Errorf("list the EndpointSlices of %s: %w", p.Service, err)
		}
		for _, item := range page.Items {
			each(item)
		}
		if next = page.Metadata.Continue; next == "" {
			return nil
		}
	}
}

func (p *Peers) path(name string) string {
	return "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(p.Client.Namespace) + "/endpointslices/" + url.PathEscape(name)
}

func (p *Peers) read(s endpointSlice) slice {
	return slice{s.Metadata.ResourceVersion, p.peers(s)}
}

func (p *Peers) peers(s endpointSlice) (list []mesh.Peer) {
	family := "IPv6"
	if p.Family.Is4() {
		family = "IPv4"
	}
	if s.AddressType != family {
		return nil
	}
	for _, e := range s.Endpoints {
		if e.NodeName == "" || len(e.Addresses) == 0 {
			continue
		}
		address, err := netip.ParseAddr(e.Addresses[0])
		if err != nil {
			continue
		}
		is := func(b *bool, missing bool) bool { return b == nil && missing || b != nil && *b }
		list = append(list, mesh.Peer{
			Node: e.NodeName, Zone: e.Zone, Address: address, Pod: e.TargetRef.Name, UID: e.TargetRef.UID,
			Ready: is(e.Conditions.Serving, true), Leaving: is(e.Conditions.Terminating, false),
		})
	}
	return list
}

// all peers. Of two pods on a node, one replaces the other.
func (p *Peers) all() (list []mesh.Peer) {
	at := map[string]int{}
	better := func(a, b mesh.Peer) bool {
		if a.Leaving != b.Leaving {
			return !a.Leaving
		}
		return a.Ready && !b.Ready
	}
	for _, s := range p.slices {
		for _, peer := range s.peers {
			i, found := at[peer.Node]
			switch {
			case !found:
				at[peer.Node] = len(list)
				list = append(list, peer)
			case better(peer, list[i]):
				list[i] = peer
			}
		}
	}
	return list
}
