package oracle

import (
	"slices"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/internal/hostcase/sosreport"
	"github.com/sctp-agent/sctp-agent/internal/hostdump"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// TestSosreports: what a sosreport of a generated root says is what the root itself
// says, or is unknown, with the missing file named.
func TestSosreports(t *testing.T) {
	const roots = 1000
	known, unknown, failed := 0, 0, 0
	for _, v := range Versions {
		for n := range roots / len(Versions) {
			c := Generate(v, 15, n)
			if c.Split && v.Kmod >= 32 {
				continue // reads /usr/lib/modprobe.d too, which sos does not copy; no host is like that
			}
			// depmod always writes what the modules themselves have.
			for _, name := range []string{"net_pf_2_proto_132", "net_pf_10_proto_132"} {
				if own := (hostcase.Alias{Pattern: name, Name: "sctp"}); !slices.Contains(c.Aliases, own) {
					c.Aliases = append(c.Aliases, own)
				}
			}
			c.Without = slices.DeleteFunc(c.Without, func(index string) bool { return index == "modules.alias.bin" })
			if n%2 == 1 && len(c.Builtin) == 0 {
				// Of what is loaded sos shows that its file is there.
				c.Live = nil
				for _, m := range c.Modules {
					c.Live = append(c.Live, m.Name)
				}
			}
			ins, err := kmod.Inspect(t.Context(), kmod.Options{FS: c.FS(), KernelRelease: hostcase.Release, KmodVersion: c.Kmod, SystemdVersion: c.Systemd}, kmod.SCTP())
			if err != nil {
				t.Fatal(err)
			}
			host := verdict.Judge(verdict.Facts{Inspection: ins})
			d, err := hostdump.New(sosreport.Of(c, ins.State))
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Assess(t.Context(), hostdump.Options{})
			if err != nil {
				t.Fatal(err)
			}
			k, u, wrong := sosreport.Compare(host, r)
			known, unknown = known+k, unknown+u
			if len(wrong) == 0 {
				continue
			}
			if failed++; failed <= 5 {
				t.Errorf("%q\n%s", wrong, c.Format())
			}
		}
	}
	t.Logf("%d roots: %d answers as on the host, %d unknown, %d roots contradicted", roots, known, unknown, failed)
	if known == 0 || unknown == 0 {
		t.Error("one kind of answer never occurs")
	}
}
