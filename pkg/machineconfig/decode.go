package machineconfig

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sctp-agent/sctp-agent/internal/manifest"
)

// Limits on input: a MachineConfig lives in an etcd object of at most 1.5 MiB, a
// cluster may have hundreds of them, a file of modprobe.d or modules-load.d is a
// few lines.
const (
	maxInput    = 512 << 20
	maxContents = 1 << 20
)

// Config is what one MachineConfig (or plain Ignition configuration) does to a
// host, as far as it bears on a module.
type Config struct {
	// Name of the MachineConfig; for one without a name, and for a plain Ignition
	// configuration, the name of its source.
	Name string
	// Role is the pool it is for, "" when it has no role label.
	Role string
	// RenderedFor is the pool of which this is all configurations merged, by the
	// machine-config-operator: a MachineConfigPool owns it, and it has no role
	// label. "" for every other one.
	RenderedFor string
	Files       []HostFile
	Links       []Link
	// KernelArguments are added to the kernel command line.
	KernelArguments []string
	Units           []Unit
	// Unread is what could not be decoded, and why.
	Unread []Unread
	// Notes are what else is worth knowing before it is applied.
	Notes []string
	// unfit is what Ignition takes and the machine-config-operator does not.
	unfit []string
	// firstBoot is what only a node's first boot applies.
	firstBoot []firstBootPart
	// beside are notes on what else the stream has.
	beside []string
	// ofOperator: it is a MachineConfig; labels are its own.
	ofOperator bool
	labels     map[string]string
	// selects is not nil for a MachineConfigPool, of which nothing else is set but
	// its name.
	selects *selector
}

// firstBootPart is something that the machine-config-operator refuses on nodes that were
// not installed with it: a section, and what it is about.
type firstBootPart struct{ section, name string }

// HostFile is a decoded file.
type HostFile struct {
	Path     string
	Contents []byte
	// Keeps: the file has no contents here; those of an earlier configuration stay.
	Keeps bool
	// Err is why its contents are not known, where only a reader of the file may
	// need them.
	Err error
	// noSource: its source is empty, which is an empty file for Ignition.
	noSource bool
}

// Unit is a configuration's entry about a systemd unit.
type Unit struct {
	Name string
	// Contents is the unit's own file, nil if there is none. An empty one is not
	// written.
	Contents *string
	// DropIns by their names.
	DropIns map[string]string
	// Enabled and Masked are nil where they are not set.
	Enabled, Masked *bool
}

// texts are the unit's own file and its drop-ins.
func (u *Unit) texts() []string {
	list := slices.Collect(maps.Values(u.DropIns))
	if u.Contents != nil {
		list = append(list, *u.Contents)
	}
	return list
}

// Link is a symbolic link.
type Link struct {
	Path, Target string
	overwrite    bool
}

// Unread is something that stayed unknown.
type Unread struct {
	// Path of the file on the host; "" for the whole configuration.
	Path string
	Err  error
}

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

// ignition is the part of an Ignition configuration, of specification 2 and 3
// alike, that can bear on a module.
type ignition struct {
	Ignition struct {
		Version string `json:"version"`
		Config  struct {
			Merge   []resource `json:"merge"`
			Append  []resource `json:"append"` // 2.x
			Replace resource   `json:"replace"`
		} `json:"config"`
	} `json:"ignition"`
	KernelArguments struct {
		ShouldExist    []string `json:"shouldExist"`
		ShouldNotExist []string `json:"shouldNotExist"`
	} `json:"kernelArguments"`
	Passwd struct {
		Groups []device `json:"groups"`
		Users  []device `json:"users"`
	} `json:"passwd"`
	Storage struct {
		Disks       []device `json:"disks"`
		Raid        []device `json:"raid"`
		Filesystems []device `json:"filesystems"`
		Directories []struct {
			Path      string `json:"path"`
			Overwrite bool   `json:"overwrite"`
		} `json:"directories"`
		Files []struct {
			Path      string          `json:"path"`
			Mode      int             `json:"mode"`
			Contents  resource        `json:"contents"`
			Overwrite *bool           `json:"overwrite"`
			Append    json.RawMessage `json:"append"` // a list in 3.x, a boolean in 2.x
		} `json:"files"`
		Links []struct {
			Path      string `json:"path"`
			Target    string `json:"target"`
			Hard      bool   `json:"hard"`
			Overwrite bool   `json:"overwrite"`
		} `json:"links"`
	} `json:"storage"`
	Systemd struct {
		Units []struct {
			Name     string   `json:"name"`
			Contents *string  `json:"contents"`
			Enable   bool     `json:"enable"` // 2.x
			Enabled  *bool    `json:"enabled"`
			Mask     *bool    `json:"mask"`
			DropIns  []dropIn `json:"dropins"`
		} `json:"units"`
	} `json:"systemd"`
}

// device is a part of a configuration of which the name suffices.
type device struct {
	Name   string `json:"name"`
	Device string `json:"device"`
}

type dropIn struct {
	Name     string  `json:"name"`
	Contents *string `json:"contents"`
}

type resource struct {
	Source      *string `json:"source"`
	Compression string  `json:"compression"`
	Redacted    string  `json:"_REDACTED"`
	// Butane's, in the place of a source.
	Inline json.RawMessage `json:"inline"`
	Local  json.RawMessage `json:"local"`
}

// redacted is the field that the machine-config-operator's mco-sanitize puts in place of
// contents of files, units and drop-ins (devex/cmd/mco-sanitize/redactor.go).
const redacted = "_REDACTED"

var errRedacted = errors.New("its contents were redacted (mco-sanitize): ask for the MachineConfig itself")

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
			return fmt.Errorf("not a manifest: %w", err)
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
			return fmt.Errorf("not a list: %w", err)
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
			return err
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
var embedded = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`"kind":\s*"` + Kind + `"|kind: ["']?` + Kind + `\b[^A-Za-z]|\\"kind\\":\s*\\"` + Kind + `\\"`)
})

// renderedName is what the machine-config-operator calls what it renders:
// rendered-POOL-HASH.
var renderedName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^rendered-(.+)-[0-9a-f]{32}$`) })

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
		err = inWords(err)
		c = Config{Unread: []Unread{{Err: err}}}
		d.broken++
		d.fail(fmt.Errorf("%s %s: %w", Kind, cmp.Or(meta.Name, "without a name"), err))
	}
	c.Name, c.Role, c.ofOperator, c.labels = cmp.Or(meta.Name, source), meta.Labels[RoleLabel], true, meta.Labels
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

// inWords is the error of a value of a wrong type, without Go's words for it.
func inWords(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	before, _, _ := strings.Cut(err.Error(), "json: ")
	want := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "bool", reflect.Int: "number", reflect.Slice: "array"}[wrong.Type.Kind()]
	return fmt.Errorf("%s%s is of the type %s, want %s", before, cmp.Or(wrong.Field, "it"), wrong.Value, cmp.Or(want, "object"))
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

// DecodeConfig reads an Ignition configuration, as in a MachineConfig's
// spec.config (which may be absent: one with kernel arguments only). What
// cannot be read of it is listed in Unread.
func DecodeConfig(raw json.RawMessage) (Config, error) {
	var c Config
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) || bytes.Equal(raw, []byte("{}")) {
		return c, nil
	}
	var ign ignition
	if err := json.Unmarshal(raw, &ign); err != nil {
		if bytes.Contains(raw, []byte(`"`+redacted+`"`)) {
			err = errRedacted
		}
		return c, err
	}
	for _, why := range ign.refused() {
		c.Unread = append(c.Unread, Unread{Err: fmt.Errorf("refused by Ignition and the machine-config-operator: %s", why)})
	}
	remote := append(append([]resource{ign.Ignition.Config.Replace}, ign.Ignition.Config.Merge...), ign.Ignition.Config.Append...)
	for _, r := range remote {
		if r.Source != nil && *r.Source != "" {
			c.Unread = append(c.Unread, Unread{Err: fmt.Errorf("it refers to another configuration, which was not read: %s", clip(*r.Source))})
		}
	}
	if version := ign.Ignition.Version; specification().MatchString(version) && !ofOperator().MatchString(version) {
		c.unfit = append(c.unfit, "ignition.version "+version)
	}
	for _, f := range ign.Storage.Files {
		if f.Mode > int(fs.ModePerm) {
			c.unfit = append(c.unfit, fmt.Sprintf("mode 0%o of %s is more than 0777", f.Mode, clip(f.Path))) // 644, which is 01204
		}
		file := HostFile{Path: f.Path, Keeps: f.Contents.Source == nil && !strings.HasPrefix(ign.Ignition.Version, "2.")}
		file.noSource = f.Contents.Source != nil && *f.Contents.Source == "" && !strings.HasPrefix(ign.Ignition.Version, "2.")
		file.Contents, file.Err = f.Contents.decode()
		if appends(f.Append) {
			c.unfit = append(c.unfit, clip(f.Path)+" has an append section") // which those of other configurations do not replace
			if file.Err == nil {
				file.Err, file.Keeps = errors.New("it appends to whatever the host has"), false
			}
		}
		if f.Contents.Redacted != "" && relevant(f.Path) {
			c.Unread = append(c.Unread, Unread{Path: f.Path, Err: errRedacted})
			continue
		}
		if len(f.Contents.Inline)+len(f.Contents.Local) > 0 {
			c.Notes = append(c.Notes, "contents.inline and contents.local are Butane's, and have no effect here: give a source (data:,…), or what butane makes of it: "+clip(f.Path))
		}
		if f.Overwrite != nil && !*f.Overwrite && relevant(f.Path) {
			c.Notes = append(c.Notes, "overwrite is false: Ignition fails on a new node that already has "+clip(f.Path))
		}
		if file.Err != nil && (relevant(f.Path) || ign.runs(f.Path)) {
			c.Unread = append(c.Unread, Unread{Path: f.Path, Err: file.Err})
			continue
		}
		c.Files = append(c.Files, file)
	}
	for _, l := range ign.Storage.Links {
		switch {
		case l.Hard && !relevant(l.Path):
		case l.Hard:
			c.Unread = append(c.Unread, Unread{Path: l.Path, Err: fmt.Errorf("a hard link to %s, whose contents are the host's", l.Target)})
		default:
			c.Links = append(c.Links, Link{l.Path, l.Target, l.Overwrite})
		}
	}
	for _, d := range ign.Storage.Directories {
		if d.Overwrite && relevant(d.Path+"/") {
			c.Unread = append(c.Unread, Unread{Path: d.Path, Err: errors.New("a directory in place of what the host has")})
		}
	}
	c.KernelArguments, c.firstBoot = ign.KernelArguments.ShouldExist, ign.firstBoot()
	for _, u := range ign.Systemd.Units {
		if u.Name == "" {
			continue // refused
		}
		unit := Unit{Name: u.Name, Contents: u.Contents, Enabled: u.Enabled, Masked: u.Mask, DropIns: map[string]string{}}
		if u.Enable {
			unit.Enabled = &u.Enable
		}
		for _, d := range u.DropIns {
			if d.Contents != nil {
				unit.DropIns[d.Name] = *d.Contents
			}
		}
		c.Units = append(c.Units, unit)
	}
	return c, nil
}

// firstBoot is what the machine-config-operator refuses on nodes that were not installed
// with it (isConfigReconcilable, in its pkg/controller/common/reconcile.go): its
// controller, and until OpenShift 4.14 its daemon.
func (ign *ignition) firstBoot() (list []firstBootPart) {
	s := &ign.Storage
	for _, l := range s.Links {
		list = append(list, firstBootPart{storageLinks, l.Path})
	}
	for _, arg := range slices.Concat(ign.KernelArguments.ShouldExist, ign.KernelArguments.ShouldNotExist) {
		list = append(list, firstBootPart{ignitionArguments, arg})
	}
	for _, d := range s.Directories {
		list = append(list, firstBootPart{"storage.directories", d.Path})
	}
	for _, d := range slices.Concat(s.Disks, s.Raid, s.Filesystems) {
		list = append(list, firstBootPart{"storage.disks, raid or filesystems", d.Name + d.Device})
	}
	for _, g := range ign.Passwd.Groups {
		list = append(list, firstBootPart{"passwd.groups", g.Name})
	}
	for _, u := range ign.Passwd.Users {
		if u.Name != "core" {
			list = append(list, firstBootPart{"a user that is not core", u.Name})
		}
	}
	return list
}

const (
	storageLinks      = "storage.links"
	ignitionArguments = "Ignition's kernelArguments"
)

// refusedLater is what becomes of that.
func (c *Config) refusedLater() string {
	section, advice := c.firstBoot[0].section, ""
	switch section {
	case storageLinks:
		advice = ": write an empty file in place of a link to /dev/null"
	case ignitionArguments:
		advice = ": use spec.kernelArguments"
	}
	return "only a node's first boot applies " + section + "; on nodes that exist the machine-config-operator refuses the whole MachineConfig" + advice
}

// refused is what the specification forbids, of what is decoded here. Of
// specification 2, the machine-config-operator removes duplicates.
func (ign *ignition) refused() (why []string) {
	version := ign.Ignition.Version
	switch {
	case version == "":
		return []string{"it has no ignition.version"}
	case !specification().MatchString(version):
		return []string{"ignition.version " + clip(version)}
	}
	spec2 := version[0] == '2'
	seen := map[string]bool{}
	once := func(what, name string) {
		if key := what + " " + name; !spec2 && seen[key] {
			why = append(why, "two entries of "+what+" "+clip(name))
		} else {
			seen[key] = true
		}
		if what == "path" && name == "" {
			why = append(why, "a file or link without a path (is the input whole?)")
		} else if what == "path" && !spec2 && (!path.IsAbs(name) || path.Clean(name) != name) {
			why = append(why, clip(name)+" is not the plain path of a file")
		}
	}
	for _, f := range ign.Storage.Files {
		once("path", f.Path)
		if source := f.Contents.Source; source == nil && f.Overwrite != nil && *f.Overwrite && !spec2 {
			why = append(why, "overwrite is true, and there is no source, of "+clip(f.Path))
		} else if source != nil && strings.HasPrefix(strings.ToLower(*source), "data:") {
			if _, err := decodeDataURL(*source); err != nil {
				why = append(why, fmt.Sprintf("%v, of %s", err, clip(f.Path)))
			}
		}
	}
	for _, l := range ign.Storage.Links {
		once("path", l.Path)
	}
	read := func(name string, text *string) {
		if text == nil || *text == "" {
			return
		}
		if line := refusedLine(*text); line != "" {
			why = append(why, fmt.Sprintf("line %s of unit %s", clip(line), clip(name)))
		}
		if seen["path "+unitConfigDir+name] && !spec2 {
			why = append(why, "a file has the path of unit "+clip(name))
		}
	}
	for _, u := range ign.Systemd.Units {
		once("unit", u.Name)
		if u.Name == "" {
			why = append(why, "a unit without a name (is the input whole?)")
		} else if !slices.Contains(unitTypes, path.Ext(u.Name)) {
			why = append(why, clip(u.Name)+" is not the name of a unit")
		}
		read(u.Name, u.Contents)
		for _, d := range u.DropIns {
			if path.Ext(d.Name) != ".conf" {
				why = append(why, fmt.Sprintf("drop-in %s of unit %s is not called .conf", clip(d.Name), clip(u.Name)))
			}
			read(u.Name+".d/"+d.Name, d.Contents)
		}
	}
	return why
}

// The versions of Ignition's configuration that there are, and of them those of the
// machine-config-operator (IgnParseWrapper), which takes 3.5 from OpenShift 4.19 on.
var (
	specification = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(2\.[0-4]|3\.[0-6])\.0$`) })
	ofOperator    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(2\.[0-2]|3\.[0-5])\.0$`) })
)

// unitTypes are the suffixes that Ignition takes for those of units.
var unitTypes = strings.Fields(".service .socket .device .mount .automount .swap .target .path .timer .snapshot .slice .scope")

// refusedLine is the first line of a unit that Ignition cannot read
// (github.com/coreos/go-systemd, unit/deserialize.go), "" if there is none.
func refusedLine(text string) string {
	const maxLine = 2048
	section, open, hidden := false, false, false // in one; the value, the comment goes on
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		more := strings.HasSuffix(strings.TrimSuffix(line, "\r"), `\`)
		switch {
		case len(line) > maxLine:
			return line
		case hidden, trimmed != "" && !open && (trimmed[0] == '#' || trimmed[0] == ';'):
			hidden = strings.HasSuffix(strings.TrimSuffix(line, " "), `\`)
		case open:
			open = trimmed != "" && more
		case trimmed == "":
		case trimmed[0] == '[':
			if section = true; strings.IndexByte(trimmed, ']') != len(trimmed)-1 {
				return line
			}
		case section:
			_, value, ok := strings.Cut(line, "=")
			if !ok {
				return line
			}
			open = strings.TrimSpace(value) != "" && more
		}
	}
	return ""
}

// runs reports whether a unit of the configuration names a file.
func (ign *ignition) runs(file string) bool {
	names := func(text *string) bool { return text != nil && strings.Contains(*text, file) }
	for _, u := range ign.Systemd.Units {
		if names(u.Contents) || slices.ContainsFunc(u.DropIns, func(d dropIn) bool { return names(d.Contents) }) {
			return true
		}
	}
	return false
}

// relevant reports whether a path is one where libkmod and systemd look for
// configuration of modules (modprobe.d(5), modules-load.d(5), sysctl.d(5),
// systemd.unit(5)).
func relevant(path string) bool {
	for _, dir := range []string{"/modprobe.d/", "/modules-load.d/", "/sysctl.d/", "/systemd/system/"} {
		if strings.Contains(path, dir) {
			return true
		}
	}
	return false
}

// appends: a list of resources (3.x) or true (2.x).
func appends(raw json.RawMessage) bool {
	s := string(bytes.TrimSpace(raw))
	return s != "" && s != "null" && s != "false" && s != "[]"
}

// decode reads a resource that carries its own contents.
func (r resource) decode() ([]byte, error) {
	if r.Source == nil || *r.Source == "" {
		return nil, nil
	}
	data, err := decodeDataURL(*r.Source)
	if err != nil {
		return nil, err
	}
	switch r.Compression {
	case "":
	case "gzip":
		data, err = gunzip(data)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
	default:
		return nil, fmt.Errorf("unknown compression %q", clip(r.Compression))
	}
	if len(data) > maxContents {
		return nil, fmt.Errorf("more than %d KiB", maxContents>>10)
	}
	return data, nil
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxContents+1))
}

// mediaType and urlText are what may stand before, and after, the comma of a data URL
// for Ignition and the machine-config-operator (github.com/vincent-petithory/dataurl,
// lex.go), which take no blanks and no line breaks.
var (
	mediaType = sync.OnceValue(func() *regexp.Regexp {
		const token = "[!#$%&'*+.0-9A-Z^_`a-z{|}~-]"
		return regexp.MustCompile(`^(?:(?:text|image|audio|video|application|message|multipart|[xX]-)` + token + `*/` + token + `*)?(?:;` + token + `+=(?:` + token + `+|"[^"\\]*"))*(?:;base64)?$`)
	})
	urlText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^[^\\x00- <>#\"{}|\\\\^\\[\\]`\\x7f-\\x{10ffff}]*$") })
)

// decodeDataURL reads a URL of RFC 2397: data:[<mediatype>][;base64],<data>.
func decodeDataURL(source string) ([]byte, error) {
	rest, found := strings.CutPrefix(source, "data:")
	if !found {
		if !strings.Contains(source, ":") {
			return nil, fmt.Errorf(`not a URL, which Ignition refuses (contents begin with "data:,"): %s`, clip(source))
		}
		return nil, fmt.Errorf("its contents are elsewhere: %s", clip(source))
	}
	kind, encoded, found := strings.Cut(rest, ",")
	if !found {
		return nil, fmt.Errorf("not a data URL (no comma): %s", clip(source))
	}
	if !mediaType().MatchString(kind) || !urlText().MatchString(encoded) {
		return nil, fmt.Errorf("a data URL with what must be escaped, or is no media type: %s", clip(source))
	}
	if strings.HasSuffix(kind, ";base64") {
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("data URL: %w", err)
		}
		return data, nil
	}
	data, err := url.PathUnescape(encoded)
	if err != nil {
		return nil, fmt.Errorf("data URL: %w", err)
	}
	return []byte(data), nil
}

// clip bounds foreign text in messages, and makes it printable.
func clip(s string) string {
	const limit = 80
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}
