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
	} {
		if got := noModuleToken(line); got != want {
			t.Errorf("%q: token %q, want %q", line, got, want)
		}
	}
}
