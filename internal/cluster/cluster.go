// Package cluster connects the administrator's commands to a cluster: the
// connection by kubectl's rules, lists read page by page, and errors that name
// the request and the missing right.
package cluster

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the credential plugins that kubectl has: OIDC
	"k8s.io/client-go/rest"
)

// Client talks to one API server.
type Client struct {
	// Kube is for the types that every cluster has.
	Kube kubernetes.Interface
	// Dynamic is for all others.
	Dynamic dynamic.Interface
}

// RequestTimeout is the deadline of one request where no other is given
// (--request-timeout), also where the caller's context has a later one.
const RequestTimeout = 60 * time.Second

// Connect makes a client. Nothing is sent yet. Warnings of the API server go to
// this writer, each once.
func Connect(cfg *rest.Config, product, version string, warnings io.Writer) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = fmt.Sprintf("%s/%s (%s/%s)", product, version, runtime.GOOS, runtime.GOARCH)
	// The commands send few requests, and large ones. The server has limits of
	// its own (API priority and fairness).
	cfg.QPS = -1
	// Protobuf takes a third of the time and memory of JSON to decode. What is
	// sent stays JSON, which every server reads.
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	cfg.WarningHandler = rest.NewWarningWriter(warnings, rest.WarningWriterOptions{Deduplicate: true})
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the API server: %w", err)
	}
	if cfg.ExecProvider != nil || cfg.AuthProvider != nil {
		httpClient.Transport = credentials{httpClient.Transport}
	}
	kube, err := kubernetes.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("the API server's address %q: %w", cfg.Host, err)
	}
	dyn, err := dynamic.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("the API server's address %q: %w", cfg.Host, err)
	}
	return &Client{Kube: kube, Dynamic: dyn}, nil
}
