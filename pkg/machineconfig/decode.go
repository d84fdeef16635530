package machineconfig

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Limits on input: a MachineConfig lives in an etcd object of at most 1.5 MiB,
// a file of modprobe.d or modules-load.d is a few lines.
const (
	maxInput    = 64 << 20
	maxContents = 1 << 20
)

// Config is what one MachineConfig (or plain Ignition configuration) does to a
// host, as far as it bears on a module.
type Config struct {
	// Name of the MachineConfig; for a plain Ignition configuration the name
	// of its source.
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
	// Unread says what could not be decoded, and why.
	Unread []Unread
}

// HostFile is a decoded file.
type HostFile struct {
	Path     string
	Contents []byte
}

// Unit is what is said of a systemd unit.
type Unit struct {
	Name string
	// Contents is the unit's own file, "" where it is not written.
	Contents string
	// DropIns by their names.
	DropIns map[string]string
	// Enabled and Masked are nil where nothing is said of them.
	Enabled, Masked *bool
}

// Link is a symbolic link.
type Link struct{ Path, Target string }

// Unread is something that stayed unknown.
type Unread struct {
	// Path of the file on the host; "" for the whole configuration.
	Path string
	Err  error
}

// manifest is the shape of a MachineConfig, of a List of them, and of a plain
// Ignition configuration: whichever fields are there tell which it is.
type manifest struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
		Owners []struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
	Spec  struct {
		Config          json.RawMessage `json:"config"`
		KernelArguments []string        `json:"kernelArguments"`
	} `json:"spec"`
	Ignition json.RawMessage `json:"ignition"`
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
		ShouldExist []string `json:"shouldExist"`
	} `json:"kernelArguments"`
	Storage struct {
		Files []struct {
			Path     string          `json:"path"`
			Contents resource        `json:"contents"`
			Append   json.RawMessage `json:"append"` // a list in 3.x, a boolean in 2.x
		} `json:"files"`
		Links []struct {
			Path   string `json:"path"`
			Target string `json:"target"`
			Hard   bool   `json:"hard"`
		} `json:"links"`
	} `json:"storage"`
	Systemd struct {
		Units []struct {
			Name     string   `json:"name"`
			Contents string   `json:"contents"`
			Enable   bool     `json:"enable"` // 2.x
			Enabled  *bool    `json:"enabled"`
			Mask     *bool    `json:"mask"`
			DropIns  []dropIn `json:"dropins"`
		} `json:"units"`
	} `json:"systemd"`
}

type dropIn struct {
	Name     string `json:"name"`
	Contents string `json:"contents"`
}

type resource struct {
	Source      string `json:"source"`
	Compression string `json:"compression"`
}

// Decode reads MachineConfigs, Lists of them and plain Ignition configurations
// from a stream of YAML documents or JSON values. Other objects in the stream
// are passed over; a stream that holds none of these is an error. source names
// the stream in errors.
func Decode(r io.Reader, source string) ([]Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if len(text) > maxInput {
		return nil, fmt.Errorf("%s: more than %d MiB", source, maxInput>>20)
	}
	var out []Config
	n := 0
	for document := range documents(text) {
		values, err := toJSON(document)
		for _, raw := range values {
			n++
			configs, err := decodeManifest(raw, source, 0)
			if err != nil {
				return nil, fmt.Errorf("%s: document %d: %w", source, n, err)
			}
			out = append(out, configs...)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", source, n+1, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no MachineConfig and no Ignition configuration in it", source)
	}
	return out, nil
}

// documents splits a YAML stream at its "---" lines (YAML 1.2, 9.2). What comes
// after the dashes belongs to the document; directives before them do not matter
// here.
func documents(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var document []byte
		for line := range bytes.Lines(text) {
			rest, marker := bytes.CutPrefix(line, []byte("---"))
			switch {
			case marker && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0):
				if !yield(document) {
					return
				}
				document = append([]byte(nil), rest...)
			case len(line) > 0 && line[0] == '%' && len(bytes.TrimSpace(document)) == 0:
			default:
				document = append(document, line...)
			}
		}
		yield(document)
	}
}

// toJSON reads a document: JSON values in a row, or YAML.
func toJSON(document []byte) (values []json.RawMessage, err error) {
	if document = bytes.TrimSpace(document); len(document) == 0 {
		return nil, nil
	}
	if document[0] == '{' {
		decoder := json.NewDecoder(bytes.NewReader(document))
		for {
			var raw json.RawMessage
			if err = decoder.Decode(&raw); err != nil {
				break
			}
			values = append(values, raw)
		}
		switch {
		case errors.Is(err, io.EOF):
			return values, nil
		case len(values) > 0:
			return values, err
		}
		// A mapping of YAML may begin like that, too.
	}
	raw, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, err
	}
	return []json.RawMessage{raw}, nil
}

// maxNesting bounds Lists of Lists.
const maxNesting = 3

func decodeManifest(raw json.RawMessage, source string, depth int) ([]Config, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("not a manifest: %w", err)
	}
	switch {
	case m.Kind == Kind:
		c, err := DecodeConfig(m.Spec.Config)
		if err != nil {
			return nil, fmt.Errorf("MachineConfig %s: spec.config: %w", m.Metadata.Name, err)
		}
		c.Name, c.Role = m.Metadata.Name, m.Metadata.Labels[RoleLabel]
		for _, owner := range m.Metadata.Owners {
			if owner.Kind == Kind+"Pool" && c.Role == "" {
				c.RenderedFor = owner.Name
			}
		}
		c.KernelArguments = append(c.KernelArguments, m.Spec.KernelArguments...)
		return []Config{c}, nil
	case m.Kind == "List" || m.Kind == Kind+"List":
		if depth == maxNesting {
			return nil, fmt.Errorf("lists nested more than %d deep", maxNesting)
		}
		var out []Config
		for i, item := range m.Items {
			configs, err := decodeManifest(item, source, depth+1)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i, err)
			}
			out = append(out, configs...)
		}
		return out, nil
	case m.Kind == "" && len(m.Ignition) > 0:
		c, err := DecodeConfig(raw)
		if err != nil {
			return nil, err
		}
		c.Name = source
		return []Config{c}, nil
	default:
		return nil, nil
	}
}

// DecodeConfig reads an Ignition configuration, as in a MachineConfig's
// spec.config (which may be absent: one with kernel arguments only). What
// cannot be read of it is listed in Unread.
func DecodeConfig(raw json.RawMessage) (Config, error) {
	var c Config
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return c, nil
	}
	var ign ignition
	if err := json.Unmarshal(raw, &ign); err != nil {
		return c, err
	}
	remote := append(append([]resource{ign.Ignition.Config.Replace}, ign.Ignition.Config.Merge...), ign.Ignition.Config.Append...)
	for _, r := range remote {
		if r.Source != "" {
			c.Unread = append(c.Unread, Unread{Err: fmt.Errorf("it refers to another configuration, which was not read: %s", clip(r.Source))})
		}
	}
	for _, f := range ign.Storage.Files {
		contents, err := f.Contents.decode()
		if err == nil && appends(f.Append) {
			err = errors.New("it appends to whatever the host has")
		}
		switch {
		case err == nil:
		case relevant(f.Path), ign.runs(f.Path):
			c.Unread = append(c.Unread, Unread{Path: f.Path, Err: err})
			continue
		default:
			continue // a file that decides nothing here
		}
		c.Files = append(c.Files, HostFile{Path: f.Path, Contents: contents})
	}
	for _, l := range ign.Storage.Links {
		switch {
		case l.Hard && !relevant(l.Path):
		case l.Hard:
			c.Unread = append(c.Unread, Unread{Path: l.Path, Err: fmt.Errorf("a hard link to %s, whose contents are the host's", l.Target)})
		default:
			c.Links = append(c.Links, Link{l.Path, l.Target})
		}
	}
	c.KernelArguments = ign.KernelArguments.ShouldExist
	for _, u := range ign.Systemd.Units {
		unit := Unit{Name: u.Name, Contents: u.Contents, Enabled: u.Enabled, Masked: u.Mask, DropIns: map[string]string{}}
		if u.Enable {
			unit.Enabled = &u.Enable
		}
		for _, d := range u.DropIns {
			unit.DropIns[d.Name] = d.Contents
		}
		c.Units = append(c.Units, unit)
	}
	return c, nil
}

// runs says whether a unit of the configuration names a file.
func (ign ignition) runs(file string) bool {
	for _, u := range ign.Systemd.Units {
		if strings.Contains(u.Contents, file) || slices.ContainsFunc(u.DropIns, func(d dropIn) bool { return strings.Contains(d.Contents, file) }) {
			return true
		}
	}
	return false
}

// relevant says whether a path lies where libkmod and systemd look for
// configuration that bears on modules (modprobe.d(5), modules-load.d(5),
// sysctl.d(5), systemd.unit(5)).
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

// decode reads a resource that carries its own contents. None means an empty
// file, as the machine-config-daemon writes it.
func (r resource) decode() ([]byte, error) {
	if r.Source == "" {
		return nil, nil
	}
	data, err := decodeDataURL(r.Source)
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

// decodeDataURL reads a URL of RFC 2397: data:[<mediatype>][;base64],<data>.
func decodeDataURL(source string) ([]byte, error) {
	scheme, rest, found := strings.Cut(source, ":")
	if !found || !strings.EqualFold(scheme, "data") {
		return nil, fmt.Errorf("its contents are elsewhere: %s", clip(source))
	}
	mediaType, encoded, found := strings.Cut(rest, ",")
	if !found {
		return nil, fmt.Errorf("not a data URL (no comma): %s", clip(source))
	}
	data, err := url.PathUnescape(encoded)
	if err != nil {
		return nil, fmt.Errorf("data URL: %w", err)
	}
	if !strings.HasSuffix(strings.ToLower(mediaType), ";base64") {
		return []byte(data), nil
	}
	// White space comes in with YAML's folded strings; padding is often left
	// out.
	data = strings.TrimRight(strings.Join(strings.Fields(data), ""), "=")
	out, err := base64.RawStdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("data URL: %w", err)
	}
	return out, nil
}

// clip bounds foreign text in messages, and makes it printable.
func clip(s string) string {
	const limit = 80
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}
