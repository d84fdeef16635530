package systemdunit

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// TestCircles: whether a unit is started that is to be started before and after
// another one is not known: systemd gives one of them up (src/core/transaction.c,
// transaction_verify_order_one). No other unit is doubted. Each case is of files "NAME: SETTINGS", with
// "; " between the lines; a link "NAME -> TARGET"; and what is in doubt.
func TestCircles(t *testing.T) {
	const load = "systemd-modules-load.service"
	for name, c := range map[string]struct {
		tree  []string
		doubt string
	}{
		"none":                                   {[]string{"a.service: After=b.service; [Service]; ExecStart=/bin/x", "b.service: [Service]; ExecStart=/bin/x"}, ""},
		"a socket's service, by another name":    {[]string{"a.service -> " + load, "w.socket: [Socket]; ListenStream=/x; Service=a.service"}, load + " w.socket"},
		"a socket's own service":                 {[]string{"w.service -> " + load, "w.socket: [Socket]; ListenStream=/x"}, load + " w.socket"},
		"a timer's unit":                         {[]string{"w.timer: [Timer]; OnBootSec=1; Unit=" + load}, load + " w.timer"},
		"an early socket's service":              {[]string{"w.socket: DefaultDependencies=no; [Socket]; ListenStream=/x; Service=" + load}, ""},
		"an early socket, values that are none":  {[]string{"w.socket: DefaultDependencies=no; DefaultDependencies=maybe; DefaultDependencies=; [Socket]; ListenStream=/x; Service=" + load}, ""},
		"the sockets of a drop-in":               {[]string{load + ".d/x.conf: [Service]; Sockets=w.socket", "w.socket: [Socket]; ListenStream=/x; Service=" + load}, load + " w.socket"},
		"over a third unit":                      {[]string{"a.service: Before=b.service; [Service]; ExecStart=/bin/x", "b.service: DefaultDependencies=no; Before=" + load + "; [Service]; ExecStart=/bin/x"}, load + " a.service b.service"},
		"two services":                           {[]string{"a.service: After=b.service; [Service]; ExecStart=/bin/x", "b.service: After=a.service; [Service]; ExecStart=/bin/x"}, "a.service b.service"},
		"three services":                         {[]string{"a.service: After=b.service; [Service]; ExecStart=/bin/x", "b.service: After=w.service; [Service]; ExecStart=/bin/x", "w.service: After=a.service; [Service]; ExecStart=/bin/x"}, "a.service b.service w.service"},
		"a target and what it wants":             {[]string{"more.target: Wants=a.service", "a.service: After=b.service; [Service]; ExecStart=/bin/x", "b.service: After=more.target; [Service]; ExecStart=/bin/x"}, "a.service b.service more.target"},
		"a target and what comes after it":       {[]string{"more.target: Wants=a.service", "a.service: After=more.target; [Service]; ExecStart=/bin/x"}, ""},
		"with a unit that nothing starts":        {[]string{"a.service: After=c.service; [Service]; ExecStart=/bin/x", "c.service: After=a.service; [Service]; ExecStart=/bin/x"}, ""},
		"a timer's unit, not there":              {[]string{"b.service: After=w.service; [Service]; ExecStart=/bin/x", "w.timer: After=b.service; [Timer]; OnBootSec=1"}, ""},
		"with a unit that is only triggered":     {[]string{"w.timer: [Timer]; OnBootSec=1; Unit=c.service", "b.service: After=c.service; [Service]; ExecStart=/bin/x", "c.service: After=b.service; [Service]; ExecStart=/bin/x"}, ""},
		"with a unit that is masked":             {[]string{"a.service: After=b.service; [Service]; ExecStart=/bin/x", "b.service -> /dev/null"}, ""},
		"after multi-user.target, and wanted by": {[]string{"a.service: After=multi-user.target; [Service]; ExecStart=/bin/x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			const shipped, own = "usr/lib/systemd/system/", "etc/systemd/system/"
			tree := fstest.MapFS{
				shipped + "sysinit.target":    {Data: []byte("[Unit]\n")},
				shipped + "basic.target":      {Data: []byte("[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n")},
				shipped + "multi-user.target": {Data: []byte("[Unit]\nRequires=basic.target\nAfter=basic.target\n")},
				shipped + load:                {Data: []byte("[Unit]\nDefaultDependencies=no\nBefore=sysinit.target shutdown.target\n[Service]\nType=oneshot\nExecStart=/usr/lib/systemd/systemd-modules-load\n")},
			}
			link := func(name, target string) {
				tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			}
			link(shipped+"sysinit.target.wants/"+load, "../"+load)
			names := []string{load}
			for _, text := range c.tree {
				if name, target, ok := strings.Cut(text, " -> "); ok {
					link(own+name, target)
					continue
				}
				name, settings, _ := strings.Cut(text, ": ")
				tree[own+name] = &fstest.MapFile{Data: []byte("[Unit]\n" + strings.ReplaceAll(settings, "; ", "\n") + "\n")}
				if !strings.Contains(name, "/") {
					names = append(names, name)
				}
				if name != "c.service" && !strings.Contains(name, "/") {
					link(own+"multi-user.target.wants/"+name, "../"+name)
				}
			}
			root, err := hostroot.FromFS(tree)
			if err != nil {
				t.Fatal(err)
			}
			set := Read(root, 247)
			set.Started("")
			var doubted []string
			for _, name := range names {
				if set.doubt(set.Load(name)) != nil {
					doubted = append(doubted, name)
				}
			}
			want := strings.Fields(c.doubt)
			slices.Sort(want)
			slices.Sort(doubted)
			if !slices.Equal(doubted, want) {
				t.Errorf("in doubt are %v, want %v", doubted, want)
			}
		})
	}
}

// What else a unit brings along is in doubt, if what it requires cannot be read: here
// because it is a directory.
func TestUnreadableRequirement(t *testing.T) {
	root, err := hostroot.FromFS(fstest.MapFS{
		"usr/lib/systemd/system/multi-user.target": {Data: []byte("[Unit]\nWants=a.service\n")},
		"etc/systemd/system/a.service":             {Data: []byte("[Unit]\nBindsTo=w.path b.service\n[Service]\nExecStart=/bin/x\n")},
		"etc/systemd/system/b.service":             {Data: []byte("[Service]\nExecStart=/bin/x\n")},
		"run/systemd/system/w.path":                {Mode: fs.ModeDir | 0o755},
	})
	if err != nil {
		t.Fatal(err)
	}
	services := Read(root, 247).Started("multi-user.target")
	if at := slices.IndexFunc(services, func(u *Unit) bool { return u.Name == "b.service" }); at < 0 || services[at].Perhaps == "" {
		t.Error("b.service is not started, or surely")
	}
}
