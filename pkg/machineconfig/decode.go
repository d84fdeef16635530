package machineconfig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/manifest"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// Limits on input: a MachineConfig lives in an etcd object of at most 1.5 MiB, a
// cluster may have hundreds of them, a file of modprobe.d or modules-load.d is a
// few lines.
const (
	maxInput    = 512 << 20
	maxContents = 1 << 20
)

// value is the shape of a MachineConfig, of a List of them, and of a plain Ignition
// configuration: the fields that are there show which it is. Other objects with the
// same fields are not decoded.
type value struct {
	APIVersion, Kind      string
	Metadata, Items, Spec json.RawMessage
	Ignition              json.RawMessage
	Variant               string // of Butane
}

// fields decodes those fields of an object that it is given, by their exact names, as
// the API server does: what "oc describe" prints has them in capitals. others are the
// names of further ones.
func fields(raw json.RawMessage, into map[string]any) (others []string, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if into[name] == nil {
			others = append(others, name)
		} else if err := json.Unmarshal(all[name], into[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return others, nil
}

// metadata is that of a MachineConfig.
type metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Owners      []struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"ownerReferences"`
}

// ErrNoConfig is that a stream of objects has none that is decoded.
var ErrNoConfig = errors.New("no MachineConfig and no Ignition configuration in it")

// Decode reads MachineConfigs, Lists of them and plain Ignition configurations
// from a stream of YAML documents or JSON values. A MachineConfigPool becomes a
// configuration that does nothing, by which [Pools] knows what the pool selects.
// Other objects in the stream are passed over; a stream that holds none of these
// is an error, which is [ErrNoConfig] where it has other objects alone. source
// names the stream in errors.
func Decode(r io.Reader, source string) ([]Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if len(text) > maxInput {
		return nil, fmt.Errorf("%s: more than %d MiB", source, maxInput>>20)
	}
	var d decoder
	n := 0
	for raw, err := range manifest.Values(text) {
		n++
		if err == nil {
			err = d.take(raw, source, "", 0)
		} else if bytes.Contains(text, []byte("{{")) {
			err = fmt.Errorf("%w (it is a template: give what helm, or what else it is for, makes of it)", err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", source, n, err)
		}
	}
	first := slices.IndexFunc(d.configs, func(c Config) bool { return c.selects == nil })
	switch {
	case first >= 0 && d.broken < len(d.configs):
		d.configs[first].beside = d.beside
		return d.configs, nil
	case d.err != nil:
		return nil, fmt.Errorf("%s: %w", source, d.err)
	case len(d.configs) > 0: // pools, of which the configurations may be elsewhere
		return d.configs, nil
	case len(d.beside) > 0:
		return nil, fmt.Errorf("%s: %w", source, NotLookedInto{strings.Join(d.beside, "; ")})
	case d.others:
		return nil, fmt.Errorf("%s: %w", source, ErrNoConfig)
	}
	return nil, fmt.Errorf("%s: %s: it has no objects", source, ErrNoConfig.Error())
}

// maxNesting bounds Lists of Lists.
const maxNesting = 3

// decoder collects configurations.
type decoder struct {
	configs []Config
	broken  int   // of them that could not be decoded at all
	others  bool  // there are objects that are not decoded
	err     error // the first thing that was passed over, or broken
	beside  []string
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// take takes one value of a stream, or one item of a list of this kind.
func (d *decoder) take(raw json.RawMessage, source, kind string, depth int) error {
	if raw = bytes.TrimSpace(raw); bytes.Equal(raw, []byte("null")) {
		return nil
	}
	var o value
	switch raw[0] {
	case '[': // as "jq .items" prints it
		o = value{Kind: "List", Items: raw}
	case '{':
		_, err := fields(raw, map[string]any{
			"apiVersion": &o.APIVersion, "kind": &o.Kind, "metadata": &o.Metadata, "items": &o.Items, "spec": &o.Spec, "ignition": &o.Ignition, "variant": &o.Variant,
		})
		if err != nil {
			return manifest.InWords(fmt.Errorf("not a manifest: %w", err))
		}
	default:
		text := string(raw)
		if raw[0] == '"' {
			_ = json.Unmarshal(raw, &text) // it has been read once
		}
		d.fail(fmt.Errorf("not a manifest: %s", clip(text)))
		return nil
	}
	if o.Kind == "" {
		o.Kind = kind
	}
	group, _, _ := strings.Cut(APIVersion, "/")
	switch {
	case (o.Kind == Kind || o.Kind == poolKind) && o.APIVersion != "" && !strings.HasPrefix(o.APIVersion, group+"/"):
		d.passOver(fmt.Sprintf("%s of %s is not looked into: it is not of %s", o.Kind, clip(o.APIVersion), group))
	case o.Kind == Kind:
		d.machineConfig(o, source)
	case o.Kind == poolKind:
		return d.pool(o)
	case o.Kind == "List" || o.Kind == Kind+"List" || o.Kind == poolKind+"List":
		if depth == maxNesting {
			return fmt.Errorf("lists nested more than %d deep", maxNesting)
		}
		var items []json.RawMessage
		if err := json.Unmarshal(o.Items, &items); err != nil && len(o.Items) > 0 {
			return manifest.InWords(fmt.Errorf("not a list: %w", err))
		}
		for i, item := range items {
			if err := d.take(item, source, strings.TrimSuffix(o.Kind, "List"), depth+1); err != nil {
				return fmt.Errorf("item %d: %w", i, err)
			}
		}
	case o.Kind == "" && len(o.Items) > 0: // oc writes it last
		return errors.New("a list without its kind: the input may be cut short")
	case o.Kind == "" && len(o.Ignition) > 0:
		c, err := DecodeConfig(raw)
		if err != nil {
			return manifest.InWords(err)
		}
		c.Name, c.firstBoot = source, nil // all of it is for a first boot
		d.configs = append(d.configs, c)
	case o.Kind == "" && o.Variant != "":
		d.passOver("a Butane configuration is not looked into: give what butane makes of it")
	case !strings.HasPrefix(o.Kind, Kind) && o.Kind != "CustomResourceDefinition" && bytes.Contains(raw, []byte(Kind)) && embedded().Match(raw):
		d.passOver(o.holder())
	case o.Kind != "" || o.APIVersion == "" && len(o.Metadata)+len(o.Spec) == 0: // a kustomization need not have a kind
		d.others = true
		if slices.Contains(tuning, o.Kind) && bytes.Contains(raw, []byte("sctp")) {
			d.beside = append(d.beside, o.called()+" mentions sctp, and is not judged")
		}
	}
	return nil
}

// tuning are kinds, besides MachineConfigs, by which nodes get other modules, kernel
// arguments or images.
var tuning = strings.Fields("MachineOSConfig PerformanceProfile Tuned")

// called is the object's kind and name.
func (o *value) called() string {
	var meta metadata
	_ = json.Unmarshal(o.Metadata, &meta) // one without a name is called by its kind
	what := cmp.Or(clip(o.Kind), "an object without a kind")
	if meta.Name != "" {
		what += " " + strings.TrimPrefix(clip(meta.Namespace)+"/"+clip(meta.Name), "/")
	}
	return what
}

// holder is what to do with an object in which a MachineConfig is.
func (o *value) holder() string {
	what := o.called() + ": a MachineConfig in it is not looked into: "
	switch o.Kind {
	case "ConfigMap": // for a NodePool, if the key is "config"
		return what + "give that alone (oc get configmap NAME -n NAMESPACE -o jsonpath='{.data.KEY}')"
	case "Template":
		return what + `give what "oc process" makes of it`
	case "Kustomization":
		return what + `give what "oc kustomize" makes of it`
	}
	return what + "give that alone"
}

// NotLookedInto is the error of [Decode] where the stream has no MachineConfig but what
// is not looked into. It is an [ErrNoConfig].
type NotLookedInto struct{ What string }

func (e NotLookedInto) Error() string { return e.What }

// Is reports whether it is to be taken for another error.
func (e NotLookedInto) Is(other error) bool { return other == ErrNoConfig }

// passOver notes what is not looked into.
func (d *decoder) passOver(what string) {
	d.fail(NotLookedInto{what})
	if !slices.Contains(d.beside, what) {
		d.beside = append(d.beside, what)
	}
}

// embedded finds a MachineConfig in another object: in the text of a ConfigMap for hosted
// control planes, or in a policy's templates.
var embedded = pattern.MustCompile(`"kind":\s*"` + Kind + `"|kind: ["']?` + Kind + `\b[^A-Za-z]|\\"kind\\":\s*\\"` + Kind + `\\"`)

// renderedName is what the machine-config-operator calls what it renders:
// rendered-POOL-HASH.
var renderedName = pattern.MustCompile(`^rendered-(.+)-[0-9a-f]{32}$`)

// extensions are those of the machine-config-operator (SupportedExtensions), in any
// release: a package is none.
var extensions = strings.Fields("ipsec kerberos kernel-devel sandboxed-containers sysstat two-node-ha usbguard wasm")

// generatedBy is the annotation of what the machine-config-operator makes.
const generatedBy = "machineconfiguration.openshift.io/generated-by-controller-version"

// machineConfig takes a MachineConfig. One that cannot be decoded makes its own
// pool unknown, and no other.
func (d *decoder) machineConfig(o value, source string) {
	var meta metadata
	var spec struct {
		Config                 json.RawMessage
		KernelArguments        []string
		OSImageURL, KernelType string
		FIPS                   bool
		Extensions             []string
		extensionsImage        json.RawMessage
	}
	var c Config
	var others []string
	err := unmarshal(o.Metadata, "metadata", &meta)
	if err == nil && len(o.Spec) > 0 {
		others, err = fields(o.Spec, map[string]any{
			"config": &spec.Config, "kernelArguments": &spec.KernelArguments, "osImageURL": &spec.OSImageURL, "kernelType": &spec.KernelType,
			"fips": &spec.FIPS, "extensions": &spec.Extensions, "baseOSExtensionsContainerImage": &spec.extensionsImage,
		})
		if err != nil {
			err = fmt.Errorf("spec: %w", err)
		}
	}
	if err == nil {
		if c, err = DecodeConfig(spec.Config); err != nil {
			err = fmt.Errorf("spec.config: %w", err)
		}
	}
	if kernel := spec.KernelType; !slices.Contains([]string{"", "default", "realtime", "64k-pages"}, kernel) {
		c.Unread = append(c.Unread, Unread{Err: fmt.Errorf("the machine-config-operator refuses it: kernelType %s", clip(kernel))})
	}
	for _, name := range spec.Extensions {
		if !slices.Contains(extensions, name) && len(spec.Config) > 0 {
			c.unfit = append(c.unfit, "extension "+clip(name))
		}
	}
	for _, why := range c.unfit {
		c.Unread = append(c.Unread, Unread{Err: errors.New("the machine-config-operator refuses it: " + why)})
	}
	for _, f := range c.Files {
		if f.Err != nil {
			c.Unread = append(c.Unread, Unread{f.Path, fmt.Errorf("the machine-config-operator cannot write it: %w", f.Err)})
		}
	}
	c.Files = slices.DeleteFunc(c.Files, func(f HostFile) bool {
		refused := f.noSource && relevant(f.Path)
		if refused {
			c.Unread = append(c.Unread, Unread{Path: f.Path, Err: errors.New(`the machine-config-operator cannot decode an empty source ("data:," is an empty file)`)})
		}
		return refused
	})
	if err != nil {
		err = manifest.InWords(err)
		c = Config{Unread: []Unread{{Err: err}}}
		d.broken++
		d.fail(fmt.Errorf("%s %s: %w", Kind, cmp.Or(meta.Name, "without a name"), err))
	}
	c.Name, c.Role, c.ofOperator, c.labels = cmp.Or(meta.Name, source), meta.Labels[RoleLabel], true, meta.Labels
	c.named = meta.Name != ""
	if c.Role == "" {
		// What copies the object may leave out its owner.
		if name := renderedName().FindStringSubmatch(c.Name); name != nil {
			c.RenderedFor = name[1]
		}
		for _, owner := range meta.Owners {
			if owner.Kind == poolKind {
				c.RenderedFor = owner.Name
			}
		}
	}
	// What the operator itself makes has the release's image.
	if spec.OSImageURL != "" && c.RenderedFor == "" && meta.Annotations[generatedBy] == "" {
		c.Notes = append(c.Notes, "it sets osImageURL: the files of that image are not judged")
	}
	for _, name := range others {
		c.Notes = append(c.Notes, "spec."+clip(name)+" has no effect: a MachineConfig has no such field")
	}
	if spec.FIPS {
		c.firstBoot = append(c.firstBoot, firstBootPart{"spec.fips", ""})
	}
	if len(c.KernelArguments) > 0 || slices.ContainsFunc(c.Links, func(l Link) bool { return relevant(l.Path) }) {
		c.Notes = append(c.Notes, c.refusedLater())
	}
	c.KernelArguments = append(c.KernelArguments, spec.KernelArguments...)
	d.configs = append(d.configs, c)
}

// unmarshal decodes a field that may be absent.
func unmarshal(raw json.RawMessage, field string, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// clip bounds foreign text in messages, and makes it printable.
func clip(s string) string {
	const limit = 80
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}
