package machineconfig

import (
	"fmt"
	"slices"

	"github.com/sctp-agent/sctp-agent/internal/manifest"
)

const poolKind = Kind + "Pool"

// selector is which MachineConfigs a MachineConfigPool takes, by their labels.
type selector struct {
	Labels      map[string]string `json:"matchLabels"`
	Expressions []requirement     `json:"matchExpressions"`
}

type requirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values"`
}

// pool takes a MachineConfigPool. One that selects nothing has no configurations
// (getMachineConfigsForPool in the machine-config-operator's pkg/controller/render), or
// is a patch of one that does.
func (d *decoder) pool(o value) error {
	var meta metadata
	var spec struct {
		Selector selector `json:"machineConfigSelector"`
	}
	err := unmarshal(o.Metadata, "metadata", &meta)
	if err == nil {
		err = unmarshal(o.Spec, "spec", &spec)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", poolKind, meta.Name, manifest.InWords(err))
	}
	d.others = true
	if s := &spec.Selector; len(s.Labels)+len(s.Expressions) > 0 {
		d.configs = append(d.configs, Config{Name: meta.Name, selects: s})
	}
	return nil
}

func (s *selector) takes(c Config) bool {
	for key, value := range s.Labels {
		if have, found := c.labels[key]; !found || have != value {
			return false
		}
	}
	for _, r := range s.Expressions {
		if !r.matches(c.labels) {
			return false
		}
	}
	return true
}

// matches is as in k8s.io/apimachinery (labels.Requirement).
func (r *requirement) matches(labels map[string]string) bool {
	value, found := labels[r.Key]
	switch r.Operator {
	case "In":
		return found && slices.Contains(r.Values, value)
	case "NotIn":
		return !found || !slices.Contains(r.Values, value)
	case "Exists":
		return found
	case "DoesNotExist":
		return !found
	}
	return false // refused
}
