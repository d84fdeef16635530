// Command nfd does for one node what node-feature-discovery's worker and
// master do, by their own packages: it reads the feature files of
// /etc/kubernetes/node-feature-discovery/features.d, applies the
// NodeFeatureRule given on standard input, and prints as JSON the labels that
// the Node would get.
//
// It is a module of its own: NFD brings Kubernetes' own go.mod along.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"

	nfdv1alpha1 "sigs.k8s.io/node-feature-discovery/api/nfd/v1alpha1"
	"sigs.k8s.io/node-feature-discovery/pkg/apis/nfd/nodefeaturerule"
	"sigs.k8s.io/node-feature-discovery/source"
	"sigs.k8s.io/node-feature-discovery/source/local"
	"sigs.k8s.io/yaml"
)

// defaultNS is what NFD puts before a name without a prefix.
const defaultNS = nfdv1alpha1.FeatureLabelNs + "/"

func main() {
	log.SetFlags(0)
	if err := run(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(in io.Reader, out io.Writer) error {
	b, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("reading the rule: %w", err)
	}
	var rule nfdv1alpha1.NodeFeatureRule
	if err := yaml.UnmarshalStrict(b, &rule); err != nil {
		return fmt.Errorf("reading the rule: %w", err)
	}
	src := source.GetFeatureSource(local.Name)
	if src == nil {
		return errors.New("NFD has no source called " + local.Name)
	}
	if err := src.Discover(); err != nil {
		return fmt.Errorf("reading the feature files: %w", err)
	}
	own, err := source.GetLabelSource(local.Name).GetLabels()
	if err != nil {
		return fmt.Errorf("making labels of the feature files: %w", err)
	}
	labels := map[string]string{}
	for k, v := range own {
		labels[defaultNS+k] = fmt.Sprint(v)
	}
	all := source.GetAllFeatures()
	for i := range rule.Spec.Rules {
		res, err := nodefeaturerule.Execute(&rule.Spec.Rules[i], all, true)
		if err != nil {
			return fmt.Errorf("applying the rule %q: %w", rule.Spec.Rules[i].Name, err)
		}
		maps.Copy(labels, res.Labels)
	}
	return json.NewEncoder(out).Encode(labels)
}
