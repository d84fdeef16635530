package verdict

import (
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// hardeningRule is a rule of a hardening profile that asks for a line which stops
// sctp. Who removes the line has to cite the rule.
type hardeningRule struct {
	// ids are the distributions, by os-release ID, of this major version; "" means
	// all versions.
	ids   []string
	major string
	names []string
}

// hardeningRules: the STIGs' numbers are those of DISA's documents, the CCE
// numbers those of ComplianceAsCode (kernel_module_sctp_disabled/rule.yml), CIS
// names its rule alike in the benchmarks of all distributions.
var hardeningRules = []hardeningRule{
	{enterpriseLinux, "8", []string{"STIG RHEL 8 V-230496", "CCE-80834-5"}},
	{enterpriseLinux, "9", []string{"STIG RHEL 9 V-257807", "CCE-84139-5"}},
	{[]string{"sles"}, "15", []string{"CCE-91242-8"}},
}

var enterpriseLinux = []string{"rhel", "centos", "rocky", "almalinux", "ol"}

const (
	cisRule = `CIS "Ensure sctp kernel module is not available"`
	// openShiftRule is that of the profiles for RHCOS, which no CIS benchmark
	// covers.
	openShiftRule = "CCE-82516-6"
)

// hardeningFiles are those that the profiles and their tools write. The last one
// is that of the Compliance Operator.
var hardeningFiles = []string{"sctp.conf", "blacklist.conf", "CIS.conf", "stig-blacklist.conf", "75-kernel_module_sctp_disabled.conf"}

// hardening names the rules that ask for a line, nil if none is known to.
func hardening(u kmod.Userland, platform string, e kmod.Evidence) []string {
	if path.Dir(e.File) != modprobeDir || !slices.Contains(hardeningFiles, path.Base(e.File)) {
		return nil
	}
	switch strings.Join(strings.Fields(e.Text), " ") {
	case "blacklist sctp",
		"install sctp /bin/false", "install sctp /bin/true", "install sctp /usr/bin/false", "install sctp /usr/bin/true":
	default:
		return nil
	}
	if platform == "openshift" {
		return []string{openShiftRule}
	}
	var names []string
	major, _, _ := strings.Cut(u.VersionID, ".")
	for _, rule := range hardeningRules {
		if slices.Contains(rule.ids, u.ID) && rule.major == major {
			names = append(names, rule.names...)
		}
	}
	return append(names, cisRule)
}
