package audit

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// AgentContainer is the container of an agent's pod that runs it, nil when there is
// none: by its name in the manifests, else by the image's name. There may be
// others, also before it.
func AgentContainer(p *corev1.Pod) *corev1.Container {
	for _, is := range []func(corev1.Container) bool{
		func(c corev1.Container) bool { return c.Name == "agent" },
		func(c corev1.Container) bool {
			name, _, _ := strings.Cut(path.Base(c.Image), "@")
			name, _, _ = strings.Cut(name, ":")
			return name == "sctp-agent"
		},
		func(corev1.Container) bool { return len(p.Spec.Containers) == 1 },
	} {
		if i := slices.IndexFunc(p.Spec.Containers, is); i >= 0 {
			return &p.Spec.Containers[i]
		}
	}
	return nil
}

// Argument is the value of a flag of a container's command line, the last one, and
// whether it is there. pflag accepts it after "=" or as the next word.
func Argument(c *corev1.Container, flag string) (value string, found bool) {
	words := slices.Concat(c.Command, c.Args)
	for i, word := range words {
		if v, ok := strings.CutPrefix(word, flag+"="); ok {
			value, found = v, true
		} else if word == flag && i+1 < len(words) {
			value, found = words[i+1], true
		}
	}
	return value, found
}
