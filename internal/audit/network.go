package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

// Network is what serves Services, as far as is known from its configuration.
type Network struct {
	// Cilium is nil where the cluster does not run it.
	Cilium *Cilium
	// ProxyMode is kube-proxy's, ProxySeen whether it has a configuration.
	ProxyMode string
	ProxySeen bool
}

// Cilium is what its configuration has about SCTP.
type Cilium struct {
	// SCTP: Cilium has it off by default (enable-sctp).
	SCTP bool
	// Replacement: it does the work of kube-proxy. NodePorts: or of that the node
	// ports.
	Replacement, NodePorts bool
}

// Where Cilium's chart and kubeadm put their configurations.
const (
	networkNamespace = metav1.NamespaceSystem
	ciliumConfig     = "cilium-config"
	proxyConfig      = "kube-proxy"
)

// readCilium reads the ConfigMap that Cilium's chart writes.
func readCilium(data map[string]string) *Cilium {
	yes := func(key string) bool { // as Cilium itself reads it
		is, err := strconv.ParseBool(data[key])
		return is && err == nil
	}
	// "strict" until Cilium 1.15.
	replacement := yes("kube-proxy-replacement") || data["kube-proxy-replacement"] == "strict"
	return &Cilium{SCTP: yes("enable-sctp"), Replacement: replacement, NodePorts: replacement || yes("enable-node-port")}
}

// readProxy reads the ConfigMap that kubeadm writes.
func (n *Network) readProxy(data map[string]string) error {
	var config struct {
		Mode string `json:"mode"`
	}
	text, found := data["config.conf"]
	if !found { // another installer's, with its configuration elsewhere
		return nil
	}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return fmt.Errorf("decode configmaps/%s: config.conf: %w", proxyConfig, err)
	}
	n.ProxyMode, n.ProxySeen = config.Mode, true
	return nil
}

// collectNetwork reads the two configurations by name.
func (s *Snapshot) collectNetwork(ctx context.Context, c *cluster.Client, unseen func(Source, error)) {
	get := func(name string, read func(map[string]string) error) {
		m, err := c.Kube.CoreV1().ConfigMaps(networkNamespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			unseen(SourceNetwork, cluster.Failed("get", SourceNetwork.resource(), networkNamespace, name, err))
		default:
			if err := read(m.Data); err != nil {
				unseen(SourceNetwork, err)
			}
		}
	}
	get(ciliumConfig, func(data map[string]string) error { s.Network.Cilium = readCilium(data); return nil })
	local := slices.ContainsFunc(s.Services, func(svc Service) bool { return svc.Local })
	if c := s.Network.Cilium; c == nil || c.SCTP && !c.Replacement && local { // else kube-proxy's makes no difference
		get(proxyConfig, s.Network.readProxy)
	}
}

// errUnknownNetwork is why a cluster's Services were not judged.
var errUnknownNetwork = errors.New("the cluster's network: neither Cilium's configuration nor kube-proxy's is in " +
	networkNamespace + ", whether it serves SCTP Services is not known")

// unserved finds the Services whose SCTP ports the network cannot serve.
func unserved(v *view, found report) {
	for _, s := range v.Services {
		if s.Type == corev1.ServiceTypeExternalName {
			continue
		}
		f := Finding{Object: s.object()}
		outside := s.Type == corev1.ServiceTypeNodePort || s.Type == corev1.ServiceTypeLoadBalancer
		cilium := v.Network.Cilium
		switch {
		case cilium != nil && !cilium.SCTP:
			f.Message = "Cilium has SCTP switched off"
			f.Evidence = []string{fmt.Sprintf("ConfigMap %s/%s: enable-sctp is not \"true\"", networkNamespace, ciliumConfig)}
			f.Fix = "set sctp.enabled=true in Cilium's chart and restart its pods"
		case cilium != nil && !s.Headless && len(s.translated()) > 0:
			f.Message = "Cilium does not translate SCTP ports: port and targetPort must be equal"
			f.Evidence = s.translated()
			f.Fix = "give the Service the port that its pods listen on"
		case cilium != nil && cilium.NodePorts && outside:
			setting := "enable-node-port"
			if cilium.Replacement {
				setting = "kube-proxy-replacement"
			}
			f.Message = "Cilium in the place of kube-proxy does not serve SCTP node ports"
			f.Evidence = []string{fmt.Sprintf("ConfigMap %s/%s: %s", networkNamespace, ciliumConfig, setting), "Service type " + string(s.Type)}
			f.Fix = "reach the pods in another way, for example over a second network"
		case v.Network.ProxyMode == "ipvs" && s.Local: // also one with externalIPs
			f.Message = "kube-proxy in ipvs mode does not keep the client's address of SCTP traffic, which externalTrafficPolicy: Local is for"
			f.Evidence = []string{fmt.Sprintf("ConfigMap %s/%s: mode: ipvs", networkNamespace, proxyConfig), "externalTrafficPolicy: Local"}
			f.Fix = "run kube-proxy in nftables or iptables mode"
		default:
			continue
		}
		found(f)
	}
}

// translated are the Service's SCTP ports whose pods listen on another. A named
// target port is resolved by the endpoints.
func (s *Service) translated() []string {
	var out []string
	for _, p := range s.Ports {
		targets := []int32{p.TargetPort.IntVal}
		if p.TargetPort.Type == intstr.String {
			targets = nil
			for _, e := range s.Endpoints {
				if e.PortName == p.Name && !slices.Contains(targets, e.Port) {
					targets = append(targets, e.Port)
				}
			}
		}
		for _, target := range targets {
			if target != 0 && target != p.Port {
				out = append(out, fmt.Sprintf("port %d/SCTP, targetPort %d", p.Port, target))
			}
		}
	}
	return out
}
