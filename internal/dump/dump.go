// Package dump answers the requests of a Kubernetes client from files: a
// must-gather, the output of "oc adm inspect" or of "kubectl get -o yaml|json".
// A request for what the files do not contain fails like one without the right.
package dump

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sctp-agent/sctp-agent/internal/manifest"
	"github.com/sctp-agent/sctp-agent/internal/tarball"
)

// Limits on what is kept of the files.
const (
	maxDocuments = 4 << 30 // bytes of all files
	maxFile      = 1 << 30
)

// kinds are read; of all others a dump has many, and nobody asks for them.
var kinds = []string{
	"Node", "Namespace", "Pod", "Service", "EndpointSlice", "NetworkPolicy", "MachineConfig", "MachineConfigPool",
	"ConfigMap", "DaemonSet", "Deployment", "StatefulSet",
}

// mayHold finds documents with one of these kinds without decoding them.
var mayHold = regexp.MustCompile(`"?kind"?:\s*"?(?:List|(?:` + strings.Join(kinds, "|") + `)(?:List)?)\b`)

// Dump is the objects of some files.
type Dump struct {
	objects map[schema.GroupResource]map[string]*object // by namespace/name
	sorted  map[schema.GroupResource][]*object
	// coverage is what the files have all objects of.
	coverage map[schema.GroupResource]*coverage
	read     int64
	started  time.Time // by the must-gather's own file
	newest   time.Time // by the objects
	unread   []string
}

// coverage is where the files have all objects of one kind.
type coverage struct {
	all        bool
	namespaces map[string]bool
}

type object struct {
	namespace, name string
	version         string
	revision        uint64
	json            []byte
}

// Open reads directories, archives and files; "-" is this reader.
func Open(ctx context.Context, stdin io.Reader, names []string) (*Dump, error) {
	d := &Dump{objects: map[schema.GroupResource]map[string]*object{}, coverage: map[schema.GroupResource]*coverage{}, sorted: map[schema.GroupResource][]*object{}}
	for _, name := range names {
		if err := d.open(ctx, stdin, name); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	if len(d.objects) == 0 {
		return nil, fmt.Errorf("read %s: no Kubernetes objects of the kinds %s", strings.Join(names, ", "), strings.Join(kinds[:8], ", "))
	}
	for resource, byName := range d.objects {
		list := make([]*object, 0, len(byName))
		for _, o := range byName {
			list = append(list, o)
		}
		slices.SortFunc(list, func(a, b *object) int {
			return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name))
		})
		d.sorted[resource] = list
	}
	return d, nil
}

func (d *Dump) open(ctx context.Context, stdin io.Reader, name string) error {
	if name == "-" {
		return d.file(ctx, "-", stdin)
	}
	info, err := os.Stat(name)
	if err != nil {
		return bare(err)
	}
	if !info.IsDir() {
		f, err := os.Open(name)
		if err != nil {
			return bare(err)
		}
		defer f.Close()
		return d.file(ctx, filepath.Base(name), f)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return bare(err)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(at string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var f *os.File
		if err == nil {
			if !e.Type().IsRegular() || !named(at) {
				return nil
			}
			f, err = root.Open(at)
		}
		if err != nil {
			d.unread = append(d.unread, fmt.Sprintf("%s: %v", at, bare(err)))
			return nil // of a directory, WalkDir leaves the rest out
		}
		defer f.Close()
		return d.oneOfMany(at, f)
	})
}

// oneOfMany reads one of a dump's many files, of which some may be broken.
func (d *Dump) oneOfMany(name string, r io.Reader) error {
	err := d.documentsOf(name, r)
	if errors.Is(err, errObjects) {
		d.unread = append(d.unread, err.Error())
		return nil
	}
	return err
}

// errObjects: a file's text is not that of objects.
var errObjects = errors.New("no Kubernetes objects")

// Unread are the files of a dump that could not be read, each with why.
func (d *Dump) Unread() []string { return d.unread }

func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// named says whether a file of a dump has objects, by its name.
func named(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return path.Base(name) == "timestamp"
}

// file reads an archive, or one file of objects, compressed or not.
func (d *Dump) file(ctx context.Context, name string, r io.Reader) error {
	in, err := tarball.Unpack(ctx, r)
	if err != nil {
		return bare(err)
	}
	if !tarball.Is(in) {
		return d.documentsOf(name, in)
	}
	archive, err := tarball.New(in)
	if err != nil {
		return err
	}
	for {
		name, head, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !head.FileInfo().Mode().IsRegular() || !named(name):
			continue
		}
		if err := d.oneOfMany(name, archive); err != nil {
			return err
		}
	}
}

// inNamespace is the namespace of a file of a must-gather.
var inNamespace = regexp.MustCompile(`(?:^|/)namespaces/([^/]+)/`)

func (d *Dump) documentsOf(name string, r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, bare(err))
	}
	if d.read += int64(len(text)); len(text) > maxFile || d.read > maxDocuments {
		return fmt.Errorf("%s: %w", name, tarball.ErrTooMuch)
	}
	if path.Base(name) == "timestamp" {
		d.readTimestamp(text)
		return nil
	}
	if text = manifest.UTF8(text); !mayHold.Match(text) {
		return nil
	}
	namespace := ""
	if m := inNamespace.FindStringSubmatch(name); m != nil {
		namespace = m[1]
	}
	for document, err := range manifest.Values(text) {
		if err == nil {
			err = d.document(name, document, namespace, 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %w", name, errObjects, err)
		}
	}
	return nil
}

// readTimestamp reads the file in which oc notes when it began and ended, as
// time.Time prints itself.
func (d *Dump) readTimestamp(text []byte) {
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " m=")
		if at, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", line); err == nil && at.After(d.started) {
			d.started = at
		}
	}
}

// Time is when the dump was made: what the must-gather notes, or the newest
// time in its objects; zero if neither is there.
func (d *Dump) Time() time.Time {
	if !d.started.IsZero() {
		return d.started
	}
	return d.newest
}

// head is what tells what a value is.
type head struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Items      json.RawMessage `json:"items"`
}

// maxNesting bounds lists of lists.
const maxNesting = 3

// document takes an object, or the items of a list or an array (jq .items).
func (d *Dump) document(file string, text json.RawMessage, namespace string, depth int) error {
	var h head
	if text = bytes.TrimSpace(text); len(text) > 0 && text[0] == '[' {
		h = head{Kind: "List", Items: text}
	} else if json.Unmarshal(text, &h) != nil {
		return nil // no object at all: a text, a number
	}
	if !strings.HasSuffix(h.Kind, "List") {
		o, resource, err := d.object(text, h)
		if o == nil || err != nil {
			return err
		}
		if namespace == "" || o.namespace != namespace {
			d.covers(resource, false, o.namespace)
		}
		return nil
	}
	if depth == maxNesting {
		return fmt.Errorf("lists nested more than %d deep", maxNesting)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(h.Items, &items); err != nil && len(h.Items) > 0 {
		return fmt.Errorf("a %s: %w", h.Kind, err)
	}
	ofKind := head{APIVersion: h.APIVersion, Kind: strings.TrimSuffix(h.Kind, "List")} // "" for kubectl's
	in, resources := map[string]bool{}, map[schema.GroupResource]bool{}
	if resource, ok := resourceOf(ofKind); ok {
		resources[resource] = true
	}
	for i, item := range items {
		h := ofKind
		if json.Unmarshal(item, &h) != nil {
			continue
		}
		var o *object
		var resource schema.GroupResource
		var err error
		if strings.HasSuffix(h.Kind, "List") {
			err = d.document(file, item, namespace, depth+1)
		} else {
			o, resource, err = d.object(item, h)
		}
		if err != nil {
			d.unread = append(d.unread, fmt.Sprintf("%s: item %d: %v", file, i, err))
		}
		if o != nil {
			resources[resource] = true
			if o.namespace != "" {
				in[o.namespace] = true
			}
		}
	}
	// kubectl lists one namespace or all of them, and does not note which.
	all := namespace == "" && len(in) > 1
	if namespace != "" {
		in[namespace] = true
	}
	for resource := range resources {
		d.covers(resource, all, "")
		for name := range in {
			d.covers(resource, all, name)
		}
	}
	return nil
}

func (d *Dump) covers(resource schema.GroupResource, all bool, namespace string) {
	c := d.coverage[resource]
	if c == nil {
		c = &coverage{namespaces: map[string]bool{}}
		d.coverage[resource] = c
	}
	c.all = c.all || all
	if namespace != "" {
		c.namespaces[namespace] = true
	}
}

// resourceOf is what a kind is called in requests.
func resourceOf(h head) (schema.GroupResource, bool) {
	if !slices.Contains(kinds, h.Kind) {
		return schema.GroupResource{}, false
	}
	gv, err := schema.ParseGroupVersion(h.APIVersion)
	if err != nil {
		return schema.GroupResource{}, false
	}
	plural, _ := meta.UnsafeGuessKindToResource(gv.WithKind(h.Kind))
	return plural.GroupResource(), true
}

// object takes one object; nil if nobody asks for its kind.
func (d *Dump) object(text json.RawMessage, h head) (*object, schema.GroupResource, error) {
	resource, ok := resourceOf(h)
	if !ok {
		return nil, resource, nil
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, resource, err
	}
	whole["apiVersion"], whole["kind"] = h.APIVersion, h.Kind
	metadata, _ := whole["metadata"].(map[string]any)
	o := &object{version: h.APIVersion}
	o.namespace, _ = metadata["namespace"].(string)
	if o.name, _ = metadata["name"].(string); o.name == "" {
		return nil, resource, fmt.Errorf("a %s has no name", h.Kind)
	}
	revision, _ := metadata["resourceVersion"].(string)
	o.revision, _ = strconv.ParseUint(revision, 10, 64)
	d.seeTimes(metadata, whole)
	delete(metadata, "managedFields") // a third of a pod, and nobody asks for it
	var err error
	if o.json, err = json.Marshal(whole); err != nil {
		return nil, resource, err
	}
	if d.objects[resource] == nil {
		d.objects[resource] = map[string]*object{}
	}
	key := o.namespace + "/" + o.name
	if old := d.objects[resource][key]; old == nil || old.revision <= o.revision {
		d.objects[resource][key] = o
	}
	return o, resource, nil
}

// seeTimes keeps the newest time at which somebody wrote the object.
func (d *Dump) seeTimes(metadata, whole map[string]any) {
	see := func(value any) {
		text, _ := value.(string)
		if at, err := time.Parse(time.RFC3339, text); err == nil && at.After(d.newest) {
			d.newest = at
		}
	}
	see(metadata["creationTimestamp"])
	fields, _ := metadata["managedFields"].([]any)
	for _, f := range fields {
		if f, ok := f.(map[string]any); ok {
			see(f["time"])
		}
	}
	status, _ := whole["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok {
			see(c["lastHeartbeatTime"])
			see(c["lastTransitionTime"])
		}
	}
}
