package api

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Access says how the API server is found, by kubectl's rules.
type Access struct {
	// Kubeconfig is a file; "" means $KUBECONFIG, then ~/.kube/config, then
	// the pod's own service account.
	Kubeconfig string
	// Context of the kubeconfig; "" means its current one.
	Context string
}

// Config finds the API server's address and the credentials.
func (a Access) Config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server (kubeconfig %s): %w", rules.GetDefaultFilename(), err)
	}
	return cfg, nil
}
