package verdict

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestDocumentedReasons: the table of the contract, that of the troubleshooting page, and the code
// name the same reasons with the same verdicts.
func TestDocumentedReasons(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| (true|false|unknown) \\| `([A-Za-z0-9]+)` \\|")
	for _, file := range []string{"../../docs/contract.md", "../../docs/troubleshooting.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documented := map[Reason]kmod.Answer{}
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			documented[Reason(m[2])] = kmod.Answer(m[1])
		}
		for _, r := range Reasons() {
			if documented[r] != r.Ready() {
				t.Errorf("%s: %s is documented as %q, the code says %q", file, r, documented[r], r.Ready())
			}
			delete(documented, r)
		}
		for r := range documented {
			t.Errorf("%s names %s, the code does not", file, r)
		}
		for _, w := range Warnings() {
			if !strings.Contains(string(text), "`"+string(w)+"`") {
				t.Errorf("%s does not name the warning %s", file, w)
			}
		}
	}
}
