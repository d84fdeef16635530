// Package dump answers the requests of a Kubernetes client from files: a
// must-gather, the output of "oc adm inspect" or of "kubectl get -o yaml|json".
// A request for what the files do not contain fails like one without the right.
package dump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/manifest"
	"github.com/sctp-agent/sctp-agent/internal/tarball"
)

// Limits on what is kept of the files.
const (
	maxDocuments = 4 << 30 // bytes of all files
	maxFile      = 1 << 30
	maxArchives  = 3 // in each other
)

// kinds are the kinds that are read; a dump has many others, which are not needed.
var kinds = []string{
	"Node", "Namespace", "Pod", "Service", "EndpointSlice", "NetworkPolicy", "MachineConfig", "MachineConfigPool",
	"ConfigMap", "DaemonSet", "Deployment", "StatefulSet",
}

// Dump is the objects of some files.
type Dump struct {
	objects map[schema.GroupResource]map[string]*object // by namespace/name
	sorted  map[schema.GroupResource][]*object
	shelves map[schema.GroupResource]*shelf
	// openShift: the cluster has a machine-config-operator, which marks the Nodes.
	openShift bool
	// inspected: the files are where "oc adm inspect" writes them.
	inspected bool
	// coverage is the kinds of which the files have all objects.
	coverage map[schema.GroupResource]*coverage
	// alone: a file is read that was named by itself.
	alone bool
	// reading is the file that is read; ids are the UIDs of namespaces that no cluster
	// loses, with the file that has it; clusters is why the files are not of one.
	reading  string
	ids      map[string][2]string
	clusters error
	read     int64
	started  time.Time // by the must-gather's own file
	newest   time.Time // by the objects
	unread   []string
	broken   map[string][]string
}

// coverage is where the files have all objects of one kind; some is where they have
// some. Objects without a namespace are in "".
type coverage struct {
	all              bool
	namespaces, some map[string]bool
	// revisions are those at which an API server listed all objects of a namespace,
	// or everywhere.
	everywhere uint64
	revisions  map[string]uint64
}

func (c *coverage) covers(namespace string) bool { return c.all || c.namespaces[namespace] }

type object struct {
	namespace, name string
	revision        uint64
	listed          uint64 // the last revision of a list that has it
	packed          []byte
}

// Open reads directories, archives and files; "-" is this reader.
func Open(ctx context.Context, stdin io.Reader, names []string) (*Dump, error) {
	d := &Dump{
		objects: map[schema.GroupResource]map[string]*object{}, coverage: map[schema.GroupResource]*coverage{}, sorted: map[schema.GroupResource][]*object{},
		shelves: map[schema.GroupResource]*shelf{}, broken: map[string][]string{}, ids: map[string][2]string{},
	}
	for _, name := range names {
		if err := d.open(ctx, stdin, name); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	if d.clusters != nil {
		return nil, fmt.Errorf("read %s: %w", strings.Join(names, ", "), d.clusters)
	}
	if len(d.objects) == 0 {
		err := fmt.Errorf("read %s: no Kubernetes objects of the kinds %s (of a sosreport: kubectl sctp host)", strings.Join(names, ", "), strings.Join(kinds[:8], ", "))
		for _, broken := range d.broken {
			return nil, fmt.Errorf("%w: %s", err, broken[0])
		}
		return nil, err
	}
	for resource, byName := range d.objects {
		list := make([]*object, 0, len(byName))
		for key, o := range byName {
			if last := max(d.coverage[resource].everywhere, d.coverage[resource].revisions[o.namespace]); max(o.revision, o.listed) < last {
				delete(byName, key) // a later list does not have it any more
				continue
			}
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
	d.alone = true
	if name == "-" {
		return d.file(ctx, "-", "", stdin, 0)
	}
	info, err := os.Stat(name)
	if err != nil {
		return hostroot.Bare(err)
	}
	if !info.IsDir() {
		f, err := os.Open(name)
		if err != nil {
			return hostroot.Bare(err)
		}
		defer f.Close()
		return d.file(ctx, filepath.Base(name), "", f, 0)
	}
	d.alone = false
	root, err := os.OpenRoot(name)
	if err != nil {
		return hostroot.Bare(err)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(at string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var f *os.File
		if err == nil {
			if !e.Type().IsRegular() || !named(at) && !packed(at) {
				return nil
			}
			f, err = root.Open(at)
		}
		if err != nil {
			d.unread = append(d.unread, fmt.Sprintf("%s: %v", at, hostroot.Bare(err)))
			return nil // of a directory, WalkDir leaves the rest out
		}
		defer f.Close()
		return d.oneOfMany(ctx, at, f, 0)
	})
}

// oneOfMany reads one of a dump's many files, of which some may be broken. depth is
// the number of archives that it is nested in.
func (d *Dump) oneOfMany(ctx context.Context, name string, r io.Reader, depth int) (err error) {
	switch {
	case !packed(name):
		err = d.documentsOf(name, r)
	case depth == maxArchives:
		err = fmt.Errorf("archives in archives more than %d deep", maxArchives)
	default:
		err = d.file(ctx, name, name+"/", r, depth)
	}
	if errors.Is(err, errObjects) || err != nil && packed(name) && ctx.Err() == nil && !errors.Is(err, tarball.ErrTooMuch) {
		d.unread = append(d.unread, name+": "+strings.TrimPrefix(err.Error(), name+": "))
		return nil
	}
	return err
}

// errObjects: a file's text is not objects, or not to its end.
var errObjects = errors.New("not whole Kubernetes objects")

// Unread are the files of a dump that could not be read, each with why.
func (d *Dump) Unread() []string { return d.unread }

// Broken are the objects that could not be decoded, each with its file and why, by
// their resource ("nodes"); "" where that is not known.
func (d *Dump) Broken() map[string][]string { return d.broken }

func (d *Dump) isBroken(resource schema.GroupResource, where string, err error) {
	d.broken[resource.Resource] = append(d.broken[resource.Resource], where+": "+manifest.InWords(err).Error())
}

// named reports whether a file of a dump has objects, by its name.
func named(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return path.Base(name) == "timestamp"
}

// packed reports whether a file of a dump is compressed, or an archive, that may
// have objects, by its name.
func packed(name string) bool {
	rest := strings.TrimSuffix(name, path.Ext(name))
	switch path.Ext(name) {
	case ".tar", ".tgz", ".txz", ".tbz", ".tbz2":
		return true
	case ".gz", ".xz", ".bz2", ".zst":
		return path.Ext(rest) == ".tar" || named(rest)
	}
	return false
}

// file reads an archive, or one file of objects, compressed or not; within is the
// prefix of its files' names. depth is the number of archives that it is nested in.
func (d *Dump) file(ctx context.Context, name, within string, r io.Reader, depth int) error {
	in, err := tarball.Unpack(ctx, r)
	if err != nil {
		return hostroot.Bare(err)
	}
	if !tarball.Is(in) {
		return d.documentsOf(name, in)
	}
	d.alone = false
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
		case !head.FileInfo().Mode().IsRegular() || !named(name) && !packed(name):
			continue
		}
		if err := d.oneOfMany(ctx, within+name, archive, depth+1); err != nil {
			return err
		}
	}
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

func (d *Dump) coverageOf(resource schema.GroupResource) *coverage {
	c := d.coverage[resource]
	if c == nil {
		c = &coverage{namespaces: map[string]bool{}, some: map[string]bool{}, revisions: map[string]uint64{}}
		d.coverage[resource] = c
	}
	return c
}

// resourceOf is the name of a kind in requests.
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

// seeCluster notes which cluster an object is of. Nobody can delete these two namespaces
// (kube-apiserver's admission plugin NamespaceLifecycle).
func (d *Dump) seeCluster(o *object, metadata map[string]any) {
	uid, _ := metadata["uid"].(string)
	if uid == "" || o.name != metav1.NamespaceSystem && o.name != metav1.NamespaceDefault {
		return
	}
	if old, found := d.ids[o.name]; !found {
		d.ids[o.name] = [2]string{uid, d.reading}
	} else if old[0] != uid && d.clusters == nil {
		d.clusters = fmt.Errorf("the files are of several clusters, name those of one: %s and %s have namespace %s with different UIDs", old[1], d.reading, o.name)
	}
}

// seeTimes keeps the newest time at which the object was written.
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
