package verdict

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestDocumentedReasons: the troubleshooting page and the code name the same
// reasons, with the same verdicts, and the same warnings.
func TestDocumentedReasons(t *testing.T) {
	const file = "../../docs/troubleshooting.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	documented := map[Reason]kmod.Answer{}
	for _, m := range regexp.MustCompile("(?m)^\\| (true|false|unknown) \\| `([A-Za-z0-9]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented[Reason(m[2])] = kmod.Answer(m[1])
	}
	for _, r := range Reasons() {
		if documented[r] != r.Ready() {
			t.Errorf("%s: %s is documented as %q, the code has %q", file, r, documented[r], r.Ready())
		}
		delete(documented, r)
	}
	for r := range documented {
		t.Errorf("%s has %s, the code does not", file, r)
	}
	_, section, _ := strings.Cut(string(text), "\n### Warnings\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var warnings []Reason
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z0-9]+)` \\|").FindAllStringSubmatch(section, -1) {
		warnings = append(warnings, Reason(m[1]))
	}
	want := slices.Sorted(slices.Values(Warnings()))
	slices.Sort(warnings)
	if !slices.Equal(warnings, want) {
		t.Errorf("%s has the warnings %v, the code %v", file, warnings, want)
	}
}
