package kmod_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestEveryBlockerIsNamed: the evidence has all lines that stop the module, also
// those that an earlier one keeps from having an effect: they are removed in one
// round. The first of two install lines is in force.
func TestEveryBlockerIsNamed(t *testing.T) {
	for name, text := range map[string]string{
		"two install lines":                        "blacklist sctp\ninstall sctp /bin/true\ninstall sctp /bin/false\n",
		"a pattern before":                         "blacklist sctp\ninstall sct* /bin/true\ninstall sctp /bin/false\n",
		"a command whose effect is unknown before": "blacklist sctp\ninstall sctp ${UNKNOWN}\ninstall sctp /bin/false\n",
		"and between":                              "blacklist sctp\ninstall sctp /bin/true\ninstall sctp ${UNKNOWN}\ninstall sct? /bin/false\n",
		"nothing after one that loads it":          "blacklist sctp\ninstall sctp /bin/true\n#\n#\ninstall sctp modprobe -i sctp\ninstall sctp /bin/false\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, opts := host(t, file("etc/modprobe.d/x.conf", text))
			ins, err := kmod.Inspect(t.Context(), opts, kmod.SCTP())
			if err != nil {
				t.Fatal(err)
			}
			var want, got []int
			for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
				if line == "#" {
					break
				}
				want = append(want, n+1)
			}
			for _, e := range ins.Autoload.Evidence {
				got = append(got, e.Line)
			}
			if slices.Sort(got); ins.Autoload.Allowed != kmod.AnswerFalse || !slices.Equal(got, want) {
				t.Errorf("%s, lines %v, want false and %v", ins.Autoload.Allowed, got, want)
			}
		})
	}
}
