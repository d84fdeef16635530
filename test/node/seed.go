package node

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/node/internal/guestapi"
)

// toolsDisk is the second disk: the programs of Kubernetes, the same for every
// guest, or nothing.
func toolsDisk(ctx context.Context, kubernetes bool) (string, error) {
	name, programs := "none", map[controlplane.Component]string{}
	if kubernetes {
		var err error
		if programs, err = controlplane.Build(ctx, nil, controlplane.Kubelet, controlplane.KubeProxy, controlplane.Kubectl); err != nil {
			return "", err
		}
		// The directory of the binaries is named by what they were built from.
		name = filepath.Base(filepath.Dir(programs[controlplane.Kubelet]))
	}
	dir, err := cache.Once(ctx, "node/tools-"+name, func(ctx context.Context, dir string) error {
		files := filepath.Join(dir, "files")
		if err := os.Mkdir(files, 0o755); err != nil {
			return err
		}
		for _, path := range programs {
			program, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(files, filepath.Base(path)), program, 0o755); err != nil {
				return err
			}
		}
		if err := makeDisk(ctx, filepath.Join(dir, "tools.ext4"), files, 1<<29); err != nil {
			return err
		}
		return os.RemoveAll(files)
	})
	return filepath.Join(dir, "tools.ext4"), err
}

// build compiles a program of this module for guests.
func build(ctx context.Context, name, dst string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dst, "github.com/sctp-agent/sctp-agent/test/node/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOFLAGS=")
	_, err := child.Output(cmd)
	return err
}

// The guest's files, by the names that image/files knows.
const (
	guestDir    = "/opt/guest/"
	imageDir    = guestDir + "images/"
	pauseImage  = "localhost/pause:test" // containerd/config.toml
	kubeletDir  = "/etc/kubernetes/"
	clusterCA   = kubeletDir + "ca.crt"
	networkFile = "/etc/guest/network.sh"
)

// writeSeed makes the third disk: a tar archive of this guest's own files.
func (n *Node) writeSeed(ctx context.Context, path string) error {
	guestd := filepath.Join(n.dir, "guestd")
	if err := build(ctx, "guestd", guestd); err != nil {
		return err
	}
	files := []File{
		{Path: guestapi.TokenFile, Content: n.token, Mode: 0o600},
		{Path: networkFile, Content: n.addr.network()},
		{Path: "/etc/hostname", Content: n.cfg.Name + "\n"},
		{Path: "/etc/hosts", Content: "127.0.0.1 localhost\n::1 localhost\n" + n.addr.node()[0] + " " + n.cfg.Name + "\n"},
	}
	archives := map[string]string{guestDir + "guestd": guestd}
	if n.cfg.ControlPlane != nil {
		pause, archive := filepath.Join(n.dir, "pause"), filepath.Join(n.dir, "pause.tar")
		if err := build(ctx, "pause", pause); err != nil {
			return err
		}
		if err := WriteImage(archive, pauseImage, ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535"}, map[string]string{"/pause": pause}); err != nil {
			return err
		}
		archives[imageDir+"pause.tar"] = archive
		for i, image := range n.cfg.Images {
			archives[fmt.Sprintf("%s%d.tar", imageDir, i)] = image
		}
		kube, err := n.kubeFiles()
		if err != nil {
			return err
		}
		files = append(files, kube...)
	}
	return writeTar(path, append(files, n.cfg.Files...), archives)
}

func (n *Node) kubeFiles() ([]File, error) {
	kubelet, err := n.kubeconfig("system:node:"+n.cfg.Name, "system:nodes")
	if err != nil {
		return nil, err
	}
	cni, err := json.MarshalIndent(n.cniConfig(), "", "  ")
	if err != nil {
		return nil, err
	}
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(n.cfg.Labels)) {
		labels = append(labels, k+"="+n.cfg.Labels[k])
	}
	args := []string{
		"--config=" + kubeletDir + "kubelet.yaml", "--kubeconfig=" + kubeletDir + "kubelet.conf",
		"--hostname-override=" + n.cfg.Name, "--node-ip=" + strings.Join(n.addr.node(), ","),
	}
	if len(labels) > 0 {
		args = append(args, "--node-labels="+strings.Join(labels, ","))
	}
	files := []File{
		{Path: clusterCA, Content: string(n.cfg.ControlPlane.CA())},
		{Path: kubeletDir + "kubelet.conf", Content: string(kubelet), Mode: 0o600},
		{Path: kubeletDir + "kubelet.env", Content: "KUBELET_ARGS=" + strings.Join(args, " ") + "\n"},
		{Path: kubeletDir + "kubelet.yaml", Content: n.kubeletConfig()},
		{Path: "/etc/cni/net.d/10-pods.conflist", Content: string(cni)},
	}
	if n.cfg.KubeProxy == "" {
		return files, nil
	}
	proxy, err := n.kubeconfig("system:kube-proxy")
	if err != nil {
		return nil, err
	}
	return append(files,
		File{Path: kubeletDir + "kube-proxy.conf", Content: string(proxy), Mode: 0o600},
		File{Path: kubeletDir + "kube-proxy.yaml", Content: `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ` + string(n.cfg.KubeProxy) + `
hostnameOverride: ` + n.cfg.Name + `
clientConnection: {kubeconfig: ` + kubeletDir + `kube-proxy.conf}
clusterCIDR: 10.244.0.0/16
# The guest's limits are its own; kube-proxy need not raise them.
conntrack: {maxPerCore: 0}
` + string(n.cfg.KubeProxy) + `: {minSyncPeriod: 100ms, syncPeriod: 30s}
`}), nil
}

func (n *Node) kubeletConfig() string {
	config := `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: ` + clusterCA + `}
authorization: {mode: Webhook}
clusterDomain: cluster.local
# Nobody is there; without it kubelet warns at every pod.
clusterDNS: [10.0.0.10]
resolvConf: ""
# Nothing is pulled, and the disk of a guest is a thin layer.
imageGCHighThresholdPercent: 100
evictionHard: {}
nodeStatusUpdateFrequency: 5s
shutdownGracePeriod: 0s
volumePluginDir: /var/lib/kubelet/volumeplugins
# A guest runs some ten times slower than a machine.
runtimeRequestTimeout: 5m
`
	if len(n.cfg.Taints) > 0 {
		config += "registerWithTaints:\n"
		for _, t := range n.cfg.Taints {
			key, effect, _ := strings.Cut(t, ":")
			key, value, _ := strings.Cut(key, "=")
			config += fmt.Sprintf("- {key: %q, value: %q, effect: %q}\n", key, value, effect)
		}
	}
	return config
}

func (n *Node) cniConfig() any {
	var ranges [][]map[string]string
	for _, cidr := range n.addr.pods() {
		ranges = append(ranges, []map[string]string{{"subnet": cidr}})
	}
	return map[string]any{
		"cniVersion": "1.0.0",
		"name":       "pods",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
				"ipam": map[string]any{"type": "host-local", "ranges": ranges},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
}

// kubeconfig for the guest, which finds the API server at another address than
// this machine does.
func (n *Node) kubeconfig(user string, groups ...string) ([]byte, error) {
	cfg, err := n.cfg.ControlPlane.ClientConfig(user, groups...)
	if err != nil {
		return nil, err
	}
	return controlplane.Kubeconfig(cfg, n.cfg.ControlPlane.GuestURL())
}

func writeTar(path string, files []File, archives map[string]string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, file := range files {
		h := &tar.Header{Name: strings.TrimPrefix(file.Path, "/"), Mode: int64(file.mode()), Size: int64(len(file.Content))}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("packing %s: %w", file.Path, err)
		}
		if _, err := io.WriteString(w, file.Content); err != nil {
			return fmt.Errorf("packing %s: %w", file.Path, err)
		}
	}
	for _, to := range slices.Sorted(maps.Keys(archives)) {
		if err := addFile(w, archives[to], to); err != nil {
			return fmt.Errorf("packing %s: %w", archives[to], err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("packing %s: %w", path, err)
	}
	return f.Close()
}

func addFile(w *tar.Writer, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(to, "/"), Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}
