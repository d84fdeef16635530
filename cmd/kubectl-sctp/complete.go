package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

// completionTimeout bounds how long a shell waits for the names of objects.
const completionTimeout = 5 * time.Second

// completeValues offers the values of a flag that takes one of a few.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	register(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completeFiles offers files for flags that take one; no others are completed
// so.
func completeFiles(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		register(cmd, flag, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
	}
}

// complete offers what the kubeconfig holds, and files where a flag takes one.
func (f *clusterFlags) complete(cmd *cobra.Command) {
	for flag, names := range map[string]func(clientcmdapi.Config) []string{
		"context": func(c clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.Contexts)) },
		"cluster": func(c clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.Clusters)) },
		"user":    func(c clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.AuthInfos)) },
	} {
		register(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			raw, err := f.kubectl.ToRawKubeConfigLoader().RawConfig()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return names(raw), cobra.ShellCompDirectiveNoFileComp
		})
	}
	completeFiles(cmd, "kubeconfig", "certificate-authority", "client-certificate", "client-key")
}

// listing is the List method of a typed client.
type listing[L runtime.Object] = func(context.Context, metav1.ListOptions) (L, error)

// completeObjects offers the names of the objects of one kind.
func completeObjects[L runtime.Object](cmd *cobra.Command, connect *clusterFlags, flag string, list func(*cluster.Client) listing[L]) {
	register(cmd, flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		client, _, err := connect.open(ctx, cmd.ErrOrStderr())
		var names []string
		if err == nil {
			err = cluster.List(ctx, flag+"s", "", list(client), metav1.ListOptions{}, func(object runtime.Object) { names = append(names, object.(metav1.Object).GetName()) })
		}
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// register panics for a flag that does not exist, or twice: a mistake here.
func register(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}
