package command

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestWriteYAML: what is written item by item is what the library writes at once.
func TestWriteYAML(t *testing.T) {
	type inner struct {
		Name string   `json:"name"`
		Text string   `json:"text"`
		List []string `json:"list"`
	}
	for _, value := range []any{
		nil, "text", 7, []int{}, []string{"a", "- b: c"}, map[string]any{},
		[]inner{{"a", "two\nlines", nil}, {"true", "null", []string{"x", "y"}}},
		struct {
			Zeta  []inner  `json:"zeta"`
			Alpha string   `json:"alpha"`
			Empty []string `json:"empty"`
			None  []string `json:"none"`
			Deep  struct {
				Nested []inner `json:"nested"`
			} `json:"deep"`
			Matrix [][]int `json:"matrix"`
		}{Zeta: []inner{{Name: "n", List: []string{"1", "# no comment"}}, {}}, Alpha: "é: <&>", Empty: []string{}, Matrix: [][]int{{1, 2}, {}, {3}}},
	} {
		want, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if err := writeYAML(&got, value); err != nil || got.String() != string(want) {
			t.Errorf("%+v: %v\n%s\nwant\n%s", value, err, got.String(), want)
		}
	}
}
