package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

// What others wrote reaches programs whole, and no terminal acts on it: JSON and
// YAML escape it, stderr shows its number.
func FuzzForeignOutput(f *testing.F) {
	for _, s := range []string{"plain", "\u009b2J", "\x7f", "\u202e", "\x1b[1m", "\U000E0001", "a: [b", "\u2028", "\uFFFE"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "")
		value := map[string]any{"key": s, "list": []string{s}}
		for _, form := range []Output{"json", "yaml"} {
			var b strings.Builder
			if err := form.Print(&b, value, nil); err != nil {
				t.Fatalf("%s of %q: %v", form, s, err)
			}
			var got struct {
				Key  string
				List []string
			}
			decode := json.Unmarshal
			if form == "yaml" {
				decode = func(text []byte, into any) error { return yaml.Unmarshal(text, into) }
			}
			if err := decode([]byte(b.String()), &got); err != nil || got.Key != s || len(got.List) != 1 || got.List[0] != s {
				t.Errorf("%s of %q: %+v, %v\n%s", form, s, got, err, b.String())
			}
			for _, r := range b.String() {
				if form == "json" && r != '\n' && terminal.Acts(r) {
					t.Errorf("%q reaches the terminal:\n%q", r, b.String())
				}
			}
		}
		var stderr strings.Builder
		cmd := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return fmt.Errorf("the server says: %s", s) }}
		if status := Main(cmd, []string{}, io.Discard, &stderr); status != ExitUnknown {
			t.Errorf("exit status %d", status)
		}
		if strings.ContainsFunc(stderr.String(), func(r rune) bool { return r != '\n' && terminal.Acts(r) }) {
			t.Errorf("stderr: %q", stderr.String())
		}
	})
}
