package kubeconn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// kubeconfig is what is read of such a file, for its current context only. See
// k8s.io/client-go/tools/clientcmd/api/v1, Config.
type kubeconfig struct {
	CurrentContext string  `json:"current-context"`
	Contexts       []entry `json:"contexts"`
	Clusters       []entry `json:"clusters"`
	Users          []entry `json:"users"`
}

// entry has one of the fields besides its name.
type entry struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
	Cluster cluster `json:"cluster"`
	User    user    `json:"user"`
}

// named is the last entry with this name.
func named(list []entry, name string) (found entry, ok bool) {
	for _, e := range list {
		if e.Name == name {
			found, ok = e, true
		}
	}
	return found, ok
}

type cluster struct {
	Server        string `json:"server"`
	TLSServerName string `json:"tls-server-name"`
	Insecure      bool   `json:"insecure-skip-tls-verify"`
	CAFile        string `json:"certificate-authority"`
	CAData        []byte `json:"certificate-authority-data"`
	ProxyURL      string `json:"proxy-url"`
}

type user struct {
	CertificateFile string `json:"client-certificate"`
	CertificateData []byte `json:"client-certificate-data"`
	KeyFile         string `json:"client-key"`
	KeyData         []byte `json:"client-key-data"`
	Token           string `json:"token"`
	TokenFile       string `json:"tokenFile"`

	// What is refused: see user.refused.
	Exec         json.RawMessage `json:"exec"`
	AuthProvider json.RawMessage `json:"auth-provider"`
	Username     string          `json:"username"`
	As           string          `json:"as"`
	AsUID        string          `json:"as-uid"`
	AsGroups     []string        `json:"as-groups"`
}

// refused names a field of a user that cannot be used here, and must not be
// ignored; "" if there is none.
func (u user) refused() string {
	given := func(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }
	switch {
	case given(u.Exec):
		return "the credential plugin in exec"
	case given(u.AuthProvider):
		return "auth-provider"
	case u.Username != "":
		return "a user name with a password"
	case u.As != "" || u.AsUID != "" || len(u.AsGroups) > 0:
		return "impersonation"
	default:
		return ""
	}
}

// loadFile reads a kubeconfig file: the cluster and the user of its current
// context. The user is a token or a client certificate. Credential plugins, which
// are a person's programs with caches, are refused.
func loadFile(file string) (Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	cfg, err := decode(text, filepath.Dir(file))
	if err != nil {
		return Config{}, fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	return cfg, nil
}

// decode a kubeconfig. Relative paths in it begin at dir.
func decode(text []byte, dir string) (Config, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return Config{}, err
	}
	if k.CurrentContext == "" {
		return Config{}, errors.New("it has no current-context")
	}
	current, found := named(k.Contexts, k.CurrentContext)
	if !found {
		return Config{}, fmt.Errorf("its current context %q is not in it", k.CurrentContext)
	}
	clusterName, userName := current.Context.Cluster, current.Context.User
	material := func(data []byte, file string) Material {
		if file != "" && !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return Material{Data: data, File: file}
	}
	at, found := named(k.Clusters, clusterName)
	if !found {
		return Config{}, fmt.Errorf("the cluster %q of context %q is not in it", clusterName, k.CurrentContext)
	}
	c := at.Cluster
	cfg := Config{Server: c.Server, ServerName: c.TLSServerName, Insecure: c.Insecure, CA: material(c.CAData, c.CAFile)}
	if c.ProxyURL != "" {
		proxy, err := url.Parse(c.ProxyURL)
		if err != nil || proxy.Host == "" {
			return Config{}, fmt.Errorf("cluster %q: proxy-url %q: want http://HOST:PORT", clusterName, c.ProxyURL)
		}
		cfg.Proxy = proxy
	}
	who, found := named(k.Users, userName)
	if !found && userName != "" {
		return Config{}, fmt.Errorf("the user %q of context %q is not in it", userName, k.CurrentContext)
	}
	u := who.User
	if what := u.refused(); what != "" {
		return Config{}, fmt.Errorf("user %q: %s is not supported on a node: want token, tokenFile, or client-certificate and client-key", userName, what)
	}
	cfg.Certificate, cfg.Key = material(u.CertificateData, u.CertificateFile), material(u.KeyData, u.KeyFile)
	cfg.Token = Material{Data: []byte(u.Token)}
	if u.TokenFile != "" {
		// The file is renewed; a token in the kubeconfig is not.
		cfg.Token = material(nil, u.TokenFile)
	}
	return cfg, nil
}

// serviceAccount is where kubelet mounts a pod's credentials.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// inCluster is the service account of the pod that this process runs in, and the
// API server from the variables that kubelet sets.
func inCluster() (Config, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return Config{}, errors.New("no API server to connect to: this is not a pod (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set), and --kubeconfig is not given")
	}
	return Config{
		Server: "https://" + net.JoinHostPort(host, port),
		CA:     Material{File: filepath.Join(serviceAccount, "ca.crt")},
		Token:  Material{File: filepath.Join(serviceAccount, "token")},
	}, nil
}

// Open connects to the API server of a kubeconfig file, or where that is "", of
// the pod's cluster.
func Open(kubeconfig, userAgent string) (*Conn, error) {
	load := inCluster
	if kubeconfig != "" {
		load = func() (Config, error) { return loadFile(kubeconfig) }
	}
	cfg, err := load()
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = userAgent
	return Connect(cfg)
}
