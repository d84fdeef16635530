package dump

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
)

// unused are the fields of objects that are not needed and take most of their text;
// a path goes through all items of a list.
var unused = map[string][]string{
	"Node": {"status.images"},
	"Pod": {
		"metadata.annotations", "spec.volumes",
		"spec.containers.env", "spec.containers.envFrom", "spec.containers.volumeMounts", "spec.containers.resources",
		"spec.containers.securityContext", "spec.containers.livenessProbe", "spec.containers.readinessProbe", "spec.containers.startupProbe", "spec.containers.lifecycle",
		"spec.initContainers.env", "spec.initContainers.envFrom", "spec.initContainers.volumeMounts", "spec.initContainers.resources", "spec.initContainers.securityContext",
		"status.containerStatuses.imageID", "status.containerStatuses.containerID", "status.containerStatuses.lastState",
	},
}

func drop(value any, field string) {
	if list, ok := value.([]any); ok {
		for _, item := range list {
			drop(item, field)
		}
		return
	}
	fields, _ := value.(map[string]any)
	first, rest, deeper := strings.Cut(field, ".")
	if !deeper {
		delete(fields, first)
		return
	}
	drop(fields[first], rest)
}

// object takes one object; nil if its kind is not needed.
func (d *Dump) object(text json.RawMessage, h head) (*object, schema.GroupResource, error) {
	resource, ok := resourceOf(h)
	if !ok {
		return nil, resource, nil
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, resource, err
	}
	if whole == nil { // null
		return nil, resource, fmt.Errorf("a %s has no name", h.Kind)
	}
	whole["apiVersion"], whole["kind"] = h.APIVersion, h.Kind
	metadata, _ := whole["metadata"].(map[string]any)
	o := &object{}
	o.namespace, _ = metadata["namespace"].(string)
	if o.name, _ = metadata["name"].(string); o.name == "" {
		return nil, resource, fmt.Errorf("a %s has no name", h.Kind)
	}
	revision, _ := metadata["resourceVersion"].(string)
	o.revision, _ = strconv.ParseUint(revision, 10, 64)
	d.seeTimes(metadata, whole)
	if h.Kind == "Namespace" {
		d.seeCluster(o, metadata)
	}
	delete(metadata, "managedFields") // a third of a pod
	if h.Kind == "EndpointSlice" && strings.HasSuffix(h.APIVersion, "/v1beta1") {
		nameNodes(whole["endpoints"])
	}
	for _, field := range unused[h.Kind] {
		drop(whole, field)
	}
	kept, err := json.Marshal(whole)
	if err == nil {
		err = decodes(kept, resource, h.Kind)
	}
	if err != nil {
		return nil, resource, fmt.Errorf("%s %s: %w", h.Kind, strings.TrimPrefix(o.namespace+"/"+o.name, "/"), err)
	}
	if d.shelves[resource] == nil {
		d.shelves[resource] = &shelf{like: kept}
	}
	if o.packed, err = d.shelves[resource].pack(kept); err != nil {
		return nil, resource, err
	}
	if annotations, _ := metadata["annotations"].(map[string]any); h.Kind == "Node" && annotations[machineConfigs+"/currentConfig"] != nil {
		d.openShift = true
	}
	if d.objects[resource] == nil {
		d.objects[resource] = map[string]*object{}
	}
	key := o.namespace + "/" + o.name
	old := d.objects[resource][key]
	if old != nil {
		o.listed = old.listed
	}
	if old == nil || old.revision <= o.revision {
		d.objects[resource][key] = o
	}
	return o, resource, nil
}

// nameNodes gives endpoints of discovery.k8s.io/v1beta1 the field that v1 has in
// place of a topology.
func nameNodes(endpoints any) {
	list, _ := endpoints.([]any)
	for _, e := range list {
		e, _ := e.(map[string]any)
		topology, _ := e["topology"].(map[string]any)
		if name := topology["kubernetes.io/hostname"]; name != nil && e["nodeName"] == nil {
			e["nodeName"] = name
		}
	}
}

// decodes is the error of a client that reads the object. In a list it would fail
// for all of the list's objects.
func decodes(text []byte, resource schema.GroupResource, kind string) error {
	into, err := scheme.Scheme.New(schema.GroupVersionKind{Group: resource.Group, Version: "v1", Kind: kind})
	if err != nil {
		return nil // not a kind of Kubernetes' own: it is read field by field
	}
	return utiljson.Unmarshal(text, into)
}
