package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/sctp-agent/sctp-agent/internal/mesh"
)

// pageSize is how many slices come at once: one has up to 100 peers, of some
// 400 bytes each.
const pageSize = 10

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
			// With publishNotReadyAddresses, ready is always true, and
			// serving is what the pod says.
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
// for each node.
func (p *Peers) List(ctx context.Context) ([]mesh.Peer, error) {
	accept := onlyMetadata
	if p.slices == nil {
		accept = asJSON
	}
	now := map[string]slice{}
	for next := ""; ; {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []endpointSlice `json:"items"`
		}
		query := url.Values{
			"labelSelector": {"kubernetes.io/service-name=" + p.Service},
			"limit":         {fmt.Sprint(pageSize)},
		}
		if next != "" {
			query.Set("continue", next)
		}
		if err := p.Client.call(ctx, http.MethodGet, p.path(""), query, accept, nil, &page); err != nil {
			return nil, fmt.Errorf("list the EndpointSlices of %s: %w", p.Service, err)
		}
		for _, item := range page.Items {
			m := item.Metadata
			if known, found := p.slices[m.Name]; found && known.version == m.ResourceVersion {
				now[m.Name] = known
				continue
			}
			if accept == onlyMetadata {
				item = endpointSlice{}
				if err := p.Client.call(ctx, http.MethodGet, p.path(m.Name), nil, asJSON, nil, &item); err != nil {
					return nil, fmt.Errorf("get EndpointSlice %s: %w", m.Name, err)
				}
			}
			now[m.Name] = slice{item.Metadata.ResourceVersion, p.peers(item)}
		}
		if next = page.Metadata.Continue; next == "" {
			break
		}
	}
	p.slices = now
	return p.all(), nil
}

func (p *Peers) path(name string) string {
	return "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(p.Client.Namespace) + "/endpointslices/" + url.PathEscape(name)
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
