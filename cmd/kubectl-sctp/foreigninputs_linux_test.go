package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/dump"
	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/internal/hostcase/sosreport"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// odd are texts that a terminal would act on.
var odd = []string{
	"\x1b[2J\x1b]0;title\x07", "\u009b2J", "\x7f\r\b\x00", "\u202e\u2066\u200b", "\xff\x9b\xc0", "a\nworker-9  true", "\U000E0001\uFEFF\uFDD0ABC:0\uFDD1", "]]>--></script>\u2028",
}

// foreign is a text with characters that must not reach a terminal.
func foreign(s string) string { return "x" + s + "\x1b[1;31mFOREIGN\x1b[0m" }

// wholeCluster is one in which each kind of object is printed in some finding.
const wholeCluster = `
- {apiVersion: v1, kind: Namespace, metadata: {name: core}}
- apiVersion: v1
  kind: Node
  metadata:
    name: worker-0
    labels: {sctp-agent/ready: "true", sctp-agent/on-boot: blocked, sctp-agent/ipv6: "false", pool: a, node-role.kubernetes.io/worker: "", kubernetes.io/os: linux}
    annotations: {sctp-agent/reason: ProbePassed, sctp-agent/message: SCTP works, sctp-agent/since: "2026-01-02T03:04:05Z", machineconfiguration.openshift.io/currentConfig: rendered-worker-1}
  status:
    nodeInfo: {bootID: boot}
    conditions:
    - {type: Ready, status: "False", reason: KubeletNotReady, message: no network, lastHeartbeatTime: "2026-02-03T04:05:06Z"}
    - {type: SCTPReady, status: "True", reason: ProbePassed, message: SCTP works, lastHeartbeatTime: "2026-01-03T04:05:06Z"}
- apiVersion: v1
  kind: Node
  metadata:
    name: worker-1
    labels: {sctp-agent/ready: "false", sctp-agent/on-boot: blocked, node-role.kubernetes.io/worker: ""}
    annotations: {sctp-agent/reason: ModuleBlacklisted, sctp-agent/message: sctp is blacklisted}
  status: {nodeInfo: {bootID: boot}}
- apiVersion: v1
  kind: Node
  metadata: {name: worker-2, labels: {sctp-agent/ready: "true"}, annotations: {sctp-agent/report: no report}}
- apiVersion: v1
  kind: Pod
  metadata: {name: amf-0, namespace: core, labels: {app: amf, pod-template-hash: h}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: amf-h, uid: u, controller: true}]}
  spec: {nodeName: worker-1, containers: [{name: main, ports: [{name: ngap, containerPort: 38412, protocol: SCTP}]}]}
  status: {phase: Running}
- apiVersion: v1
  kind: Pod
  metadata: {name: smf-0, namespace: core}
  spec:
    nodeSelector: {sctp-agent/ipv6: "true"}
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [a]}]}]}}}
    containers: [{name: main}]
  status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: 0/3 nodes are available}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: agent-0, namespace: sctp-agent, labels: {app.kubernetes.io/name: sctp-agent}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: agent, uid: u, controller: true}]}
  spec: {nodeName: worker-0, containers: [{name: agent, image: registry.example.com/agent:v1, args: [run, --condition-heartbeat=5m]}]}
  status: {phase: Pending, conditions: [{type: Ready, status: "False", message: not yet}], containerStatuses: [{name: agent, image: agent, imageID: agent, ready: false, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff, message: back-off}}}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: agent-1, namespace: sctp-agent, labels: {app.kubernetes.io/name: sctp-agent}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: agent, uid: u, controller: true}]}
  spec: {nodeName: worker-1, containers: [{name: agent, image: registry.example.com/agent:v2}]}
  status: {phase: Running, conditions: [{type: Ready, status: "True"}]}
- apiVersion: v1
  kind: Service
  metadata: {name: amf, namespace: core}
  spec: {type: LoadBalancer, ports: [{name: ngap, port: 38412, targetPort: ngap, protocol: SCTP}]}
  status: {loadBalancer: {ingress: [{ip: 192.0.2.1, hostname: lb, ports: [{port: 38412, protocol: SCTP, error: MixedProtocolNotSupported}]}]}}
- {apiVersion: v1, kind: Service, metadata: {name: alias, namespace: core}, spec: {type: ExternalName, externalName: elsewhere, ports: [{port: 38412, protocol: SCTP}]}}
- {apiVersion: v1, kind: Service, metadata: {name: idle, namespace: core}, spec: {type: ClusterIP, ports: [{port: 38412, protocol: SCTP}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: amf-1, namespace: core, labels: {kubernetes.io/service-name: amf}}
  addressType: IPv4
  ports: [{name: ngap, port: 38413, protocol: SCTP}]
  endpoints: [{addresses: [10.1.0.1], nodeName: worker-1, targetRef: {kind: Pod, name: amf-0}}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: ngap, namespace: core}
  spec:
    podSelector: {matchLabels: {app: amf}}
    ingress: [{ports: [{port: other, protocol: SCTP}]}]
    egress: [{ports: [{port: 9, protocol: SCTP}], to: [{podSelector: {}}]}]
- {apiVersion: v1, kind: ConfigMap, metadata: {name: cilium-config, namespace: kube-system}, data: {enable-sctp: "true", kube-proxy-replacement: "false"}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: kube-proxy, namespace: kube-system}, data: {config.conf: "mode: ipvs\n"}}
- apiVersion: machineconfiguration.openshift.io/v1
  kind: MachineConfigPool
  metadata: {name: worker}
  spec: {configuration: {name: rendered-worker-2}}
  status: {configuration: {name: rendered-worker-1}, machineCount: 2, updatedMachineCount: 1, conditions: [{type: Degraded, status: "True", message: stuck}]}
- apiVersion: machineconfiguration.openshift.io/v1
  kind: MachineConfigPool
  metadata: {name: infra}
  spec: {configuration: {name: rendered-infra-1}}
  status: {configuration: {name: rendered-infra-1}, machineCount: 1, updatedMachineCount: 1}
` + configs

// configs are MachineConfigs whose files, units and arguments are judged.
const configs = `
- apiVersion: machineconfiguration.openshift.io/v1
  kind: MachineConfig
  metadata: {name: rendered-worker-1, ownerReferences: [{kind: MachineConfigPool, name: worker}]}
  spec:
    config:
      ignition: {version: 3.4.0}
      storage:
        files: [{path: /etc/modprobe.d/a.conf, contents: {source: "data:,install%20sctp%20/bin/false"}}]
        links: [{path: /etc/modules-load.d/b.conf, target: /etc/c}]
      systemd: {units: [{name: a.service, enabled: true, contents: "[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n", dropins: [{name: a.conf, contents: "[Service]\n"}]}]}
    kernelArguments: [module_blacklist=sctp]
- apiVersion: machineconfiguration.openshift.io/v1
  kind: MachineConfig
  metadata: {name: rendered-worker-2, ownerReferences: [{kind: MachineConfigPool, name: worker}]}
  spec: {config: {ignition: {version: 3.4.0}, storage: {files: [{path: /etc/modprobe.d/sctp-blacklist.conf, contents: {source: "data:,"}}, {path: /etc/modules-load.d/a.conf, contents: {source: "data:,sctp"}}]}}}
- apiVersion: machineconfiguration.openshift.io/v1
  kind: MachineConfig
  metadata: {name: rendered-infra-1, ownerReferences: [{kind: MachineConfigPool, name: infra}]}
  spec:
    config:
      ignition: {version: 3.4.0, config: {merge: [{source: "https://example.com/more.ign"}]}}
      storage:
        files: [{path: /etc/modprobe.d/a.conf, overwrite: false, contents: {source: "data:;base64,c2N0cA==", compression: gzip}}]
        links: [{path: /etc/modules-load.d/b.conf, target: /etc/c, hard: true}]
- apiVersion: machineconfiguration.openshift.io/v1
  kind: MachineConfig
  metadata: {name: 75-hardening, labels: {machineconfiguration.openshift.io/role: master}}
  spec: {osImageURL: image, config: {ignition: {version: 2.2.0}, kernelArguments: {shouldExist: [module_blacklist=sctp]}, storage: {files: [{path: /etc/modprobe.d/a.conf, contents: {source: "https://example.com/a"}}]}}}
`

// objectTypes have all the fields that objects of these kinds may have. Events are
// in many a dump.
var objectTypes = map[string]func() any{
	"Node": func() any { return new(corev1.Node) }, "Pod": func() any { return new(corev1.Pod) }, "Service": func() any { return new(corev1.Service) },
	"EndpointSlice": func() any { return new(discoveryv1.EndpointSlice) }, "NetworkPolicy": func() any { return new(networkingv1.NetworkPolicy) },
	"ConfigMap": func() any { return new(corev1.ConfigMap) }, "Namespace": func() any { return new(corev1.Namespace) },
	"DaemonSet": func() any { return new(appsv1.DaemonSet) }, "Event": func() any { return new(corev1.Event) },
}

// objects decodes a list of objects.
func objects(t testing.TB, text string) (list []any) {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// alter puts a text into the string number at below v, or into the key of a map,
// and returns v and how many there are.
func alter(v any, at int, change func(string) string) (any, int) {
	n := 0
	next := func(s string) string {
		if n++; n-1 == at {
			return change(s)
		}
		return s
	}
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return next(v)
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				value := walk(v[key])
				delete(v, key)
				v[next(key)] = value
			}
		}
		return v
	}
	v = walk(v)
	return v, n
}

// over replaces fields of an object by those of another.
func over(under, object map[string]any) map[string]any {
	for key, value := range object {
		below, _ := under[key].(map[string]any)
		if above, ok := value.(map[string]any); ok && below != nil {
			value = over(below, above)
		}
		under[key] = value
	}
	return under
}

// everywhere gives the objects all the fields of their kinds, with this text, and
// keeps those that they have. The text is in a report, too.
func everywhere(t *testing.T, list []any, text string) []any {
	t.Helper()
	for i := range list {
		o := list[i].(map[string]any)
		kind := objectTypes[o["kind"].(string)]
		if kind == nil {
			continue
		}
		full := kind()
		fill(reflect.ValueOf(full).Elem(), text, 0, true)
		raw, err := json.Marshal(full)
		var fields map[string]any
		if err == nil {
			err = json.Unmarshal(raw, &fields)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, decides := range []string{"deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"} {
			delete(fields["metadata"].(map[string]any), decides)
		}
		list[i] = over(fields, o)
	}
	var r verdict.Report
	fill(reflect.ValueOf(&r).Elem(), text, 0, false)
	r.APIVersion, r.Kind, r.Kernel.BootID = verdict.APIVersion, verdict.Kind, "boot"
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	list[1].(map[string]any)["metadata"].(map[string]any)["annotations"].(map[string]any)[nodelabel.Keys{}.Report()] = string(raw)
	return list
}

// asList is the text of a list, with the odd bytes unescaped.
func asList(t *testing.T, list []any, s string) []byte {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": list})
	if err != nil {
		t.Fatal(err)
	}
	var quoted strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&quoted, `\u%04x`, c)
		case c == '"' || c == '\\':
			quoted.WriteString(`\` + string(c))
		default:
			quoted.WriteByte(c)
		}
	}
	return bytes.ReplaceAll(raw, []byte(placeholder), []byte(quoted.String()))
}

const placeholder = "ODDTEXT"

// printed is what a terminal receives of a command.
func printed(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	return onTerminal(t, func(w *os.File) error {
		root := newRootCommand()
		root.SetIn(bytes.NewReader(stdin))
		command.Main(root, args, w, w)
		return nil
	})
}

// outputs are the forms in turn; the first is used most.
var outputs = []string{"table", "table", "wide", "table", "html", "json", "table", "yaml", "name", "jsonpath={}", "go-template={{.}}"}

// FuzzForeignObjects: no string of an object, be it read from files or from an API
// server, acts on the terminal: in one field where it decides, or in all others.
func FuzzForeignObjects(f *testing.F) {
	slowSearch(f)
	f.Setenv("TERM", "xterm")
	f.Setenv("NO_COLOR", "")
	_, n := alter(objects(f, wholeCluster), -1, nil)
	for i, s := range odd {
		f.Add(s, n, i) // all fields
	}
	for at := range n {
		f.Add(odd[at%len(odd)], at, at)
	}
	f.Fuzz(func(t *testing.T, s string, at, turn int) {
		text := foreign(placeholder)
		list := objects(t, wholeCluster)
		at, turn = (at&0xfffff)%(n+1), turn&0xff
		if at == n {
			list = everywhere(t, list, text)
		}
		list = slices.DeleteFunc(list, func(v any) bool { // kube-proxy's counts where Cilium's is not there
			return turn%2 == 0 && strings.Contains(fmt.Sprint(v), "cilium-config")
		})
		altered, _ := alter(list, at, func(old string) string {
			if turn%3 == 0 {
				return text
			}
			return old + text
		})
		list = altered.([]any)
		file := asList(t, list, s)
		output := outputs[turn%len(outputs)]
		received := printed(t, file, "audit", "-f", "-", "--require", "pool in (a, b)", "-o", output)
		actsNot(t, fmt.Sprintf("audit -f -o %s, field %d", output, at), received, strings.Contains(output, "="))
		if output == "table" && !strings.Contains(received, "Findings: ") && !strings.Contains(received, "Kubernetes objects") {
			t.Errorf("field %d: nothing was found\n%s", at, received)
		}
		if turn%4 != 0 {
			return
		}
		files, err := dump.Open(t.Context(), bytes.NewReader(file), []string{"-"})
		if err != nil {
			return
		}
		server := kubeconfig(t, func(w http.ResponseWriter, r *http.Request) {
			answer, err := files.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			w.WriteHeader(answer.StatusCode)
			_, _ = io.Copy(w, answer.Body) // the client may have gone
		})
		for _, args := range [][]string{{"audit", server}, {"cleanup", server, "--dry-run"}} {
			actsNot(t, fmt.Sprintf("%s, field %d", args[0], at), printed(t, nil, args...), false)
		}
	})
}

// FuzzForeignFiles: no name and no content of a must-gather's files acts on the
// terminal.
func FuzzForeignFiles(f *testing.F) {
	slowSearch(f)
	for i, s := range odd {
		f.Add(s, i)
	}
	f.Fuzz(func(t *testing.T, s string, turn int) {
		text := foreign(s)
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i, content := range []string{
			nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed), "kind: Node\nmetadata: {name: " + text, "kind: Pod\nmetadata: {namespace: " + fmt.Sprintf("%q", text) + "}\n",
			"apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a, namespace: " + fmt.Sprintf("%q", text) + "}\n", text,
		} {
			name := fmt.Sprintf("namespaces/%s/%d%s.yaml", text, i, text)
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatGNU}); err != nil && strings.Contains(name, "\x00") {
				t.Skip("no archive has such a name")
			} else if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		output := outputs[(turn&0xff)%len(outputs)]
		actsNot(t, "audit -f of an archive", printed(t, b.Bytes(), "audit", "-f", "-", "-o", output), strings.Contains(output, "="))
		actsNot(t, "audit -f of a text", printed(t, []byte(text), "audit", "-f", "-"), false)
	})
}

// FuzzForeignMachineConfigs: no string of a MachineConfig acts on the terminal.
func FuzzForeignMachineConfigs(f *testing.F) {
	slowSearch(f)
	f.Setenv("TERM", "xterm")
	f.Setenv("NO_COLOR", "")
	_, n := alter(objects(f, configs), -1, nil)
	for at := range n {
		f.Add(odd[at%len(odd)], at, at)
	}
	f.Fuzz(func(t *testing.T, s string, at, turn int) {
		text, turn := foreign(placeholder), turn&0xff
		altered, _ := alter(objects(t, configs), (at&0xfffff)%n, func(old string) string {
			if turn%3 == 0 {
				return text
			}
			return old + text
		})
		output := outputs[turn%len(outputs)]
		if output == "wide" || output == "html" || output == "name" {
			output = "table"
		}
		received := printed(t, asList(t, altered.([]any), s), "machineconfig", "--check", "-", "-o", output)
		if received == "" {
			t.Errorf("field %d: nothing is printed", at)
		}
		actsNot(t, fmt.Sprintf("machineconfig --check -o %s, field %d", output, at), received, strings.Contains(output, "="))
	})
}

// hostFiles are those of hosts on which much is found.
func hostFiles() []fstest.MapFS {
	file := func(path, content string) hostcase.Entry {
		return hostcase.Entry{Kind: hostcase.File, Path: path, Content: content}
	}
	c := &hostcase.Case{
		Kmod: 28, Systemd: 252, Cmdline: "BOOT_IMAGE=/vmlinuz root=/dev/sda1 module_blacklist=floppy\n",
		Entries: []hostcase.Entry{
			file("etc/hostname", "worker-1\n"), file("etc/os-release", "ID=\"rhel\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Red Hat Enterprise Linux 9.4 (Plow)\"\n"),
			file("etc/modprobe.d/a.conf", "# Ansible managed\ninstall sctp /bin/sh -c 'exit 1'\nblacklist sctp\nsoftdep sctp pre: a\n"), file("etc/modules-load.d/a.conf", "sctp\n"),
			file("etc/systemd/system/a.service", "[Service]\nExecStart=/usr/local/bin/load sctp\n"), {Kind: hostcase.Link, Path: "etc/systemd/system/multi-user.target.wants/a.service", Content: "../a.service"},
			file("etc/sysctl.d/a.conf", "kernel.modprobe = /none\n"), file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\n"),
			{Kind: hostcase.Link, Path: "etc/modprobe.d/b.conf", Content: "/elsewhere"},
			file("boot/loader/entries/a.conf", "title RHEL\nversion "+hostcase.Release+"\nlinux /vmlinuz\noptions module_blacklist=sctp\n"),
		},
		Modules: []hostcase.Module{{Name: "sctp", File: "kernel/net/sctp/sctp.ko"}},
		Aliases: []hostcase.Alias{{Pattern: "net_pf_2_proto_132", Name: "sctp"}, {Pattern: "net_pf_10_proto_132", Name: "sctp"}},
	}
	return []fstest.MapFS{c.FS(), sosreport.Of(c, kmod.StateLoadable)}
}

// FuzzForeignHost: no content, name or link of a host's files acts on the terminal.
func FuzzForeignHost(f *testing.F) {
	slowSearch(f)
	f.Setenv("TERM", "xterm")
	f.Setenv("NO_COLOR", "")
	hosts := hostFiles()
	n := 0
	for _, files := range hosts {
		n = max(n, len(files))
	}
	for at := range n {
		f.Add(odd[at%len(odd)], at, at)
	}
	f.Fuzz(func(t *testing.T, s string, at, turn int) {
		turn &= 0xff
		files := maps.Clone(hosts[turn%len(hosts)])
		names := slices.Sorted(maps.Keys(files))
		name := names[(at&0xfffff)%len(names)]
		changed, text := *files[name], foreign(s)
		switch data := string(changed.Data); turn / len(hosts) % 4 {
		case 0:
			changed.Data = []byte(strings.ReplaceAll(data, "\n", text+"\n"))
		case 1:
			changed.Data = []byte(text)
		case 2:
			changed.Data = []byte(strings.ReplaceAll(data, " ", " "+text))
		default:
			delete(files, name)
			name += text
		}
		files[name] = &changed
		output := outputs[turn%len(outputs)]
		if output == "wide" || output == "html" || output == "name" {
			output = "table"
		}
		archive := filepath.Join(t.TempDir(), "host.tar")
		if err := os.WriteFile(archive, tarOf(t, files), 0o600); err != nil {
			t.Fatal(err)
		}
		received := printed(t, nil, "host", archive, "-o", output)
		if received == "" {
			t.Errorf("%q: nothing is printed", name)
		}
		actsNot(t, fmt.Sprintf("host -o %s, %q", output, name), received, strings.Contains(output, "="))
	})
}

// tarOf packs files.
func tarOf(t *testing.T, files fstest.MapFS) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := files[name]
		h := &tar.Header{Name: name, Mode: int64(file.Mode.Perm()), Size: int64(len(file.Data)), Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		switch file.Mode.Type() {
		case fs.ModeSymlink:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, string(file.Data), 0
		case fs.ModeDir:
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(h); err != nil && strings.Contains(h.Name+h.Linkname, "\x00") {
			t.Skip("no archive has such a name")
		} else if err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(file.Data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
