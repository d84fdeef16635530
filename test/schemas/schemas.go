// Package schemas makes JSON Schemas (docs/schemas) of the types whose JSON is
// public API, and checks outputs against them.
package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cleanup"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Types has a value of each type that a command prints with -o json, by its kind.
func Types() map[string]any {
	return map[string]any{
		verdict.Kind:              verdict.Report{},
		audit.ResultKind:          audit.Result{},
		verify.ResultKind:         verify.Result{},
		meshview.ResultKind:       meshview.Result{},
		cleanup.Kind:              cleanup.List{},
		machineconfig.EffectsKind: machineconfig.Effects{},
		command.VersionKind:       command.Version{},
	}
}

// Dir is where the schemas are, below the repository's root.
const Dir = "docs/schemas"

const module = "github.com/sctp-agent/sctp-agent"

// Generate makes the schema of a kind. The comments of the types in the
// repository, which is the working directory, become descriptions.
func Generate(kind string, value any) ([]byte, error) {
	r := &jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true,
		AllowAdditionalProperties: true, // fields are added within a version
		Namer: func(t reflect.Type) string {
			if t.Name() == "" {
				return ""
			}
			return path.Base(t.PkgPath()) + "." + t.Name()
		},
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t != reflect.TypeFor[kmod.Answer]() {
				return nil
			}
			return &jsonschema.Schema{Type: "string", Enum: []any{kmod.AnswerTrue, kmod.AnswerFalse, kmod.AnswerUnknown}}
		},
	}
	for _, dir := range packages(reflect.TypeOf(value), map[reflect.Type]bool{}) {
		if err := r.AddGoComments(module, dir); err != nil {
			return nil, err
		}
	}
	schema := r.Reflect(value)
	schema.Title = kind
	for name, want := range map[string]string{"apiVersion": verdict.APIVersion, "kind": kind} {
		property, ok := schema.Properties.Get(name)
		if !ok {
			return nil, fmt.Errorf("%s has no %s", kind, name)
		}
		property.Const = want
	}
	nullable(reflect.TypeOf(value), schema, schema.Definitions, r.Namer, map[reflect.Type]bool{})
	out, err := json.MarshalIndent(schema, "", "  ")
	return append(out, '\n'), err
}

// packages are the directories of this repository that have the types of the
// fields.
func packages(t reflect.Type, seen map[reflect.Type]bool) (dirs []string) {
	found := map[string]bool{}
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		if seen[t] {
			return
		}
		seen[t] = true
		if rest, ok := strings.CutPrefix(t.PkgPath(), module+"/"); ok {
			found["./"+rest] = true
		}
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				if strings.HasPrefix(t.PkgPath(), module) {
					visit(t.Field(i).Type)
				}
			}
		}
	}
	visit(t)
	return slices.Sorted(maps.Keys(found))
}

// nullable lets fields be null that are pointers and always printed.
func nullable(t reflect.Type, schema *jsonschema.Schema, definitions jsonschema.Definitions, name func(reflect.Type) string, seen map[reflect.Type]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if seen[t] || t.Kind() != reflect.Struct || !strings.HasPrefix(t.PkgPath(), module) {
		return
	}
	seen[t] = true
	if schema == nil {
		if schema = definitions[name(t)]; schema == nil {
			return // it has its own form
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			nullable(f.Type, schema, definitions, name, seen)
			continue
		}
		field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if field == "-" {
			continue
		}
		if property, ok := schema.Properties.Get(field); ok && f.Type.Kind() == reflect.Pointer && !strings.Contains(options, "omitempty") {
			schema.Properties.Set(field, &jsonschema.Schema{OneOf: []*jsonschema.Schema{property, {Type: "null"}}})
		}
		nullable(f.Type, nil, definitions, name, seen)
	}
}

// Removed lists what outputs of the old schema have and those of the new one need
// not have: fields that are gone or of another type, and fields that have become
// optional.
func Removed(old, new []byte) ([]string, error) {
	var before, after map[string]any
	if err := json.Unmarshal(old, &before); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(new, &after); err != nil {
		return nil, err
	}
	had, has := map[string]string{}, map[string]string{}
	fields(before, before, "", had, 0)
	fields(after, after, "", has, 0)
	var out []string
	for _, at := range slices.Sorted(maps.Keys(had)) {
		if has[at] != had[at] {
			out = append(out, fmt.Sprintf("%s: %s, now %q", at, had[at], has[at]))
		}
	}
	return out, nil
}

// fields writes the types of all fields of a schema to out, by their path.
func fields(root, schema map[string]any, at string, out map[string]string, depth int) {
	const maxDepth = 12 // types that contain themselves
	if depth > maxDepth {
		return
	}
	if ref, ok := schema["$ref"].(string); ok {
		definitions, _ := root["$defs"].(map[string]any)
		target, _ := definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		fields(root, target, at, out, depth+1)
		return
	}
	if list, ok := schema["oneOf"].([]any); ok {
		for _, one := range list {
			fields(root, one.(map[string]any), at, out, depth+1)
		}
		return
	}
	kind, _ := schema["type"].(string)
	if kind == "null" {
		return
	}
	out[at] = strings.TrimSpace(kind + out[at])
	if items, ok := schema["items"].(map[string]any); ok {
		fields(root, items, at+"[]", out, depth+1)
	}
	if values, ok := schema["additionalProperties"].(map[string]any); ok {
		fields(root, values, at+".*", out, depth+1)
	}
	required, _ := schema["required"].([]any)
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		key := at + "." + name
		if slices.Contains(required, any(name)) {
			out[key] = ", always"
		}
		fields(root, property.(map[string]any), key, out, depth+1)
	}
}

// Validate holds the output of a command, of -o json, against the schema of its
// kind. root is the repository's.
func Validate(root string, output []byte) error {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(output, &head); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, Dir, head.Kind+".json"))
	if err != nil {
		return fmt.Errorf("the schema of kind %q: %w", head.Kind, err)
	}
	schema, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	value, err := validator.UnmarshalJSON(bytes.NewReader(output))
	if err != nil {
		return err
	}
	compiler := validator.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("schema.json", schema); err != nil {
		return err
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}
