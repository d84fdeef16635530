package kubeconn

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// kubeconfigOf has one context, with these fields of its cluster and its user.
func kubeconfigOf(cluster, user string) string {
	return `apiVersion: v1
kind: Config
preferences: {}
current-context: here
contexts:
- name: elsewhere
  context: {cluster: other, user: other}
- name: here
  context: {cluster: c, user: u, namespace: ignored}
clusters:
- name: other
  cluster: {server: "https://other.example.com"}
- name: c
  cluster: {` + cluster + `}
users:
- name: other
  user: {exec: {command: aws}}
- name: u
  user: {` + user + `}
`
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	for _, tt := range []struct {
		name, cluster, user string
		want                Config
	}{
		{"a token", `server: "https://10.0.0.1:6443"`, `token: abc`,
			Config{Server: "https://10.0.0.1:6443", Token: Material{Data: []byte("abc")}}},
		{"a kubelet's: files, renewed in their place", `server: "https://api.example.com", certificate-authority: /etc/kubernetes/ca.crt`,
			`client-certificate: /var/lib/kubelet/pki/current.pem, client-key: /var/lib/kubelet/pki/current.pem`,
			Config{Server: "https://api.example.com", CA: Material{File: "/etc/kubernetes/ca.crt"},
				Certificate: Material{File: "/var/lib/kubelet/pki/current.pem"}, Key: Material{File: "/var/lib/kubelet/pki/current.pem"}}},
		{"paths from the file's directory on", `server: "https://a", certificate-authority: pki/ca.crt`, `tokenFile: ../token`,
			Config{Server: "https://a", CA: Material{File: filepath.Join(dir, "pki/ca.crt")}, Token: Material{File: filepath.Join(filepath.Dir(dir), "token")}}},
		{"data before files", `server: "https://a", certificate-authority: /no, certificate-authority-data: Y2E=`,
			`client-certificate: /no, client-certificate-data: Y2VydA==, client-key: /no, client-key-data: a2V5`,
			Config{Server: "https://a", CA: Material{Data: []byte("ca"), File: "/no"},
				Certificate: Material{Data: []byte("cert"), File: "/no"}, Key: Material{Data: []byte("key"), File: "/no"}}},
		{"a token's file before a token", `server: "https://a"`, `token: old, tokenFile: /new`,
			Config{Server: "https://a", Token: Material{File: "/new"}}},
		{"another name in the certificate", `server: "https://10.0.0.1", tls-server-name: kubernetes`, `token: t`,
			Config{Server: "https://10.0.0.1", ServerName: "kubernetes", Token: Material{Data: []byte("t")}}},
		{"no trust", `server: "https://a", insecure-skip-tls-verify: true`, `token: t`,
			Config{Server: "https://a", Insecure: true, Token: Material{Data: []byte("t")}}},
		{"an empty exec is none", `server: "https://a"`, `exec: null, token: t`,
			Config{Server: "https://a", Token: Material{Data: []byte("t")}}},
	} {
		if err := os.WriteFile(file, []byte(kubeconfigOf(tt.cluster, tt.user)), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := loadFile(file)
		if len(got.Token.Data) == 0 {
			got.Token.Data = nil
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", tt.name, got, err, tt.want)
		}
	}
	if err := os.WriteFile(file, []byte(kubeconfigOf(`server: "https://a", proxy-url: "socks5://proxy:1080"`, `token: t`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := loadFile(file); err != nil || got.Proxy.String() != "socks5://proxy:1080" {
		t.Errorf("proxy %v, %v", got.Proxy, err)
	}
}

// What cannot be used is refused with the file's name and the reason: an agent that
// ignored half of it would get answers that nobody understands.
func TestLoadRefuses(t *testing.T) {
	const server = `server: "https://a"`
	file := filepath.Join(t.TempDir(), "agent.kubeconfig")
	for _, tt := range []struct{ name, text, want string }{
		{"a credential plugin", kubeconfigOf(server, `exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}`), `user "u": the credential plugin in exec is not supported`},
		{"an auth provider", kubeconfigOf(server, `auth-provider: {name: oidc}`), `user "u": auth-provider is not supported`},
		{"a password", kubeconfigOf(server, `username: admin, password: x`), `user "u": a user name with a password`},
		{"somebody else", kubeconfigOf(server, `token: t, as: admin`), `user "u": impersonation`},
		{"a proxy that is none", kubeconfigOf(server+`, proxy-url: "proxy"`, `token: t`), `proxy-url "proxy"`},
		{"no current context", "kind: Config\n", "no current-context"},
		{"a context that is not there", "current-context: x\n", `"x"`},
		{"a cluster that is not there", "current-context: x\ncontexts: [{name: x, context: {cluster: gone}}]\n", `cluster "gone"`},
		{"a user that is not there", "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: gone}}]\nclusters: [{name: c, cluster: {" + server + "}}]\n", `user "gone"`},
		{"data that is not base64", kubeconfigOf(server+`, certificate-authority-data: "%"`, `token: t`), "base64"},
		{"no YAML", "\t{", "yaml"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadFile(file); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want the file and %q", tt.name, err, tt.want)
		}
	}
	if _, err := loadFile("/does/not/exist"); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestInCluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if got, err := inCluster(); err != nil || got.Server != "https://[fd00::1]:443" || got.Token.File == "" || got.CA.File == "" {
		t.Errorf("%+v, %v", got, err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := inCluster(); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("outside of a pod: %v", err)
	}
}

// Any kubeconfig is read or refused.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(kubeconfigOf(`server: "https://a", certificate-authority-data: Y2E=`, `token: t`)))
	f.Add([]byte(kubeconfigOf(`server: "https://a"`, `exec: {command: aws}`)))
	f.Add([]byte("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := decode(text, "/dir")
		if err != nil {
			return
		}
		_, _ = Connect(Config{Server: cfg.Server, ServerName: cfg.ServerName, Insecure: cfg.Insecure, Proxy: cfg.Proxy})
	})
}
