package systemdunit

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// FuzzUnit: any bytes end, in settings of lines that the file has, and bring no
// more units than there are bounds for.
func FuzzUnit(f *testing.F) {
	f.Add([]byte("[Unit]\nWants=a@b.service\nConditionPathExists=|!/etc/x\n[Service]\nExecStart=-/bin/sh -c \"modprobe sctp\" ; /bin/x %i\n"))
	f.Add([]byte("[Service]\nExecStart=\\\n# comment\n  /sbin/modprobe \\\n sctp\\"))
	f.Add([]byte("[Service\nExecStart=@:+!! %\n=\n["))
	f.Add([]byte(".include x\n.include a@b.service\n[Unit]\n# \\\nx"))
	f.Add([]byte("[Service]\x00\x87\rExecStart=\\\r\n/bin/x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := hostroot.FromFS(fstest.MapFS{
			"etc/systemd/system/a@.service":            {Data: data},
			"etc/systemd/system/default.target":        {Data: data},
			"etc/systemd/system/a@.service.d/x.conf":   {Data: data},
			"usr/lib/systemd/system/multi-user.target": {Data: data},
		})
		if err != nil {
			t.Fatal(err)
		}
		lines := 1 + bytes.Count(data, []byte("\n"))
		set := Read(tree, 239+13*(len(data)%2)) // RHEL 8's, or Debian 12's
		units := append(set.Started(""), set.Load("a@b.service"))
		if len(units) > maxUnits+1 {
			t.Fatalf("%d units", len(units))
		}
		for _, u := range units {
			for _, s := range u.Settings {
				if s.Line < 1 || s.Line > lines {
					t.Fatalf("line %d of %d", s.Line, lines)
				}
			}
			for _, v := range u.Values("Service", "ExecStart") {
				commands, _ := u.Commands(v.Value)
				for _, args := range commands {
					if len(args) == 0 {
						t.Fatal("a command of no words")
					}
				}
			}
			set.Conditions(u, strings.Fields(string(data)))
		}
	})
}

// TestIncludes: a unit file that includes itself ends, and takes no more memory than a
// few files.
func TestIncludes(t *testing.T) {
	const file = "/etc/systemd/system/default.target"
	text := ".include " + file + "\n.include " + file + "\n[Unit]\n" + strings.Repeat("Wants=\n", 1000) + "Wants=a.service\n"
	tree, err := hostroot.FromFS(fstest.MapFS{
		strings.TrimPrefix(file, "/"): {Data: []byte(text)},
	})
	if err != nil {
		t.Fatal(err)
	}
	set := Read(tree, 239)
	u := set.Load("default.target")
	if _, broken := u.Broken(); len(u.Settings) > 20_000 || !broken || set.Err != nil {
		t.Errorf("%d settings, in doubt: %v: %v", len(u.Settings), broken, set.Err)
	}
}

// TestCommands: command lines as units have them (systemd.service(5)).
func TestCommands(t *testing.T) {
	u := &Unit{Name: "modprobe@sctp.service"}
	for value, want := range map[string]string{
		"-/sbin/modprobe -abq %I":                     "/sbin/modprobe|-abq|sctp",
		"+/bin/sh -c 'modprobe sctp || true'":         "/bin/sh|-c|modprobe sctp || true",
		"!!/bin/true ; @/sbin/modprobe modprobe sctp": "/bin/true||/sbin/modprobe|sctp",
		"/bin/echo 100%%":                             "/bin/echo|100%",
		"/bin/echo ${X}":                              "unsure",
		"/bin/echo %n":                                "unsure",
		`/bin/echo a\x20b '\u00e9\'\t"' \303\251`:     "/bin/echo|a b|\u00e9'\t\"|\u00e9",
		`/bin/find . -exec x {} \; ; /bin/true`:       "/bin/find|.|-exec|x|{}|;||/bin/true",
		`/bin/echo a\d`:                               "unsure",
		`/bin/echo a\`:                                "unsure",
		`|/bin/echo a`:                                "unsure",
		"/bin/echo \"not closed":                      "unsure",
	} {
		commands, ok := u.Commands(value)
		got := "unsure"
		if ok {
			var all []string
			for _, args := range commands {
				all = append(all, strings.Join(args, "|"))
			}
			got = strings.Join(all, "||")
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}
