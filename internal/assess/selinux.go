package assess

import (
	"os"
	"regexp"
)

// selinuxContext is "user:role:type", and a level where the policy has levels
// (kernel, security/selinux/ss/services.c, context_struct_to_string). AppArmor
// answers in the same file with the name of a profile and its mode.
var selinuxContext = regexp.MustCompile(`^\w+:\w+:([\w.]+)(:|\x00|$)`)

// selinuxType is the type of the SELinux domain of this process, "" if it has
// none.
func selinuxType() string {
	context, err := os.ReadFile("/proc/self/attr/current")
	if err != nil {
		return "" // no security module, or another system than Linux
	}
	return typeOf(string(context))
}

func typeOf(context string) string {
	m := selinuxContext.FindStringSubmatch(context)
	if m == nil {
		return ""
	}
	return m[1]
}
