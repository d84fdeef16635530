package kmod

import "testing"

func TestNoModuleToken(t *testing.T) {
	for line, want := range map[string]string{
		"quiet nomodule":               "nomodule",
		"nomodule=1 quiet":             "nomodule=1",
		"nomodule=on":                  "nomodule=on",
		"nomodule=0":                   "",
		"nomodule=off":                 "",
		"nomodule nomodule=n":          "",
		"quiet -- nomodule":            "",
		"nomodules xnomodule":          "",
		`foo="a nomodule b" bar`:       "",
		"module_blacklist=nomodule":    "",
		"rd.nomodule kernel.nomodule=": "",

		"sysctl.kernel.modules_disabled=1 quiet":            "sysctl.kernel.modules_disabled=1",
		"sysctl/kernel/modules_disabled=1":                  "sysctl/kernel/modules_disabled=1",
		"sysctl.kernel.modules_disabled=1 nomodule=0":       "sysctl.kernel.modules_disabled=1",
		"sysctl.kernel.modules_disabled=0":                  "",
		"sysctl.kernel.modules_disabled":                    "",
		"kernel.modules_disabled=1":                         "",
		"quiet -- sysctl.kernel.modules_disabled=1":         "",
		"sysctl.kernel.modules_disabled=1 sysctl.x.y=0 a=b": "sysctl.kernel.modules_disabled=1",
	} {
		if got := noModuleToken(line); got != want {
			t.Errorf("%q: token %q, want %q", line, got, want)
		}
	}
}
