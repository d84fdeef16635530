package command

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"
)

// writeYAML writes what yaml.Marshal would, one item of a list after the other: the
// conversion of JSON to YAML takes many times the memory of its text.
func writeYAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	// It is read again as YAML, which takes no control characters as they are,
	// and no surrogates for the characters above.
	const basic = 0xFFFF
	text = escapeJSON(text, basic)
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || len(fields) == 0 {
		return writeItems(w, text)
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) { // as yaml.Marshal orders them
		field := fields[key]
		if field[0] == '[' && len(field) > len("[]") {
			if _, err := fmt.Fprintf(w, "%s:\n", key); err != nil {
				return err
			}
			if err := writeItems(w, field); err != nil {
				return err
			}
			continue
		}
		if err := writeJSON(w, fmt.Appendf(nil, "{%q:%s}", key, field)); err != nil {
			return err
		}
	}
	return nil
}

// writeItems writes the items of a JSON array as those of a YAML list, and any
// other value unchanged.
func writeItems(w io.Writer, text json.RawMessage) error {
	var items []json.RawMessage
	if json.Unmarshal(text, &items) != nil || len(items) == 0 {
		return writeJSON(w, text)
	}
	for _, item := range items {
		if err := writeJSON(w, fmt.Appendf(nil, "[%s]", item)); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(w io.Writer, text []byte) error {
	out, err := yaml.JSONToYAML(text)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}
