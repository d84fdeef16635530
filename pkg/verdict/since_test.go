package verdict_test

import (
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// TestRequestedSince: what was enabled after the boot did not fail in it, however old
// its file is.
func TestRequestedSince(t *testing.T) {
	const wants, load = "etc/systemd/system/multi-user.target.wants/load-sctp.service", "etc/modules-load.d/sctp.conf"
	for name, x := range map[string]struct {
		c     *hostcase.Case
		newer []string
		want  verdict.Reason
	}{
		"a file":                       {whole(requested), nil, verdict.ReasonModuleLoadFailed},
		"a new file":                   {whole(requested), []string{load}, verdict.ReasonModuleNotLoaded},
		"a link":                       {whole(file("opt/sctp.conf", "sctp\n"), link(load, "/opt/sctp.conf")), nil, verdict.ReasonModuleLoadFailed},
		"a new link to an old file":    {whole(file("opt/sctp.conf", "sctp\n"), link(load, "/opt/sctp.conf")), []string{load}, verdict.ReasonModuleNotLoaded},
		"an old link to a new file":    {whole(file("opt/sctp.conf", "sctp\n"), link(load, "/opt/sctp.conf")), []string{"opt/sctp.conf"}, verdict.ReasonModuleNotLoaded},
		"a unit":                       {oneshot("ExecStart=/sbin/modprobe sctp"), nil, verdict.ReasonModuleLoadFailed},
		"an old unit, enabled now":     {oneshot("ExecStart=/sbin/modprobe sctp"), []string{wants}, verdict.ReasonModuleNotLoaded},
		"a unit, enabled once more":    {oneshot("ExecStart=/sbin/modprobe sctp", link("etc/systemd/system/graphical.target.wants/load-sctp.service", "../load-sctp.service")), []string{wants}, verdict.ReasonModuleLoadFailed},
		"a new unit below an old link": {oneshot("ExecStart=/sbin/modprobe sctp"), []string{"etc/systemd/system/load-sctp.service"}, verdict.ReasonModuleNotLoaded},
	} {
		t.Run(name, func(t *testing.T) {
			tree := x.c.FS()
			for _, name := range x.newer {
				tree[name].ModTime = time.Now()
			}
			i, err := kmod.Inspect(t.Context(), kmod.Options{FS: tree, KmodVersion: 30, SystemdVersion: 252}, kmod.SCTP())
			if err != nil {
				t.Fatal(err)
			}
			if r := verdict.Judge(verdict.Facts{Inspection: i}); r.Reason != x.want || r.OnBoot != verdict.OnBootLoaded {
				t.Errorf("%s, on boot %s; want %s", r.Reason, r.OnBoot, x.want)
			}
		})
	}
}
