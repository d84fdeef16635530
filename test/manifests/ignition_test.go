package manifests_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	ignition "github.com/coreos/ignition/v2/config/v3_5"

	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
)

// What Ignition refuses, the machine-config-operator refuses, too: nothing certain is
// said of it. What Ignition takes is read.
func TestIgnitionsOwnJudgement(t *testing.T) {
	file := func(more string) string {
		return `"storage":{"files":[{"path":"/etc/modules-load.d/a.conf"` + more + `}]}`
	}
	resource := func(more string) string { return file(`,"contents":{` + more + `}`) }
	hash := func(kind string, size int) string {
		return resource(`"source":"data:,sctp","verification":{"hash":"` + kind + strings.Repeat("0", size) + `"}`)
	}
	unit := func(more string) string { return `"systemd":{"units":[{"name":"a.service"` + more + `}]}` }
	refused := 0
	for _, config := range []string{
		file(``), file(`,"contents":null`), file(`,"overwrite":true`), file(`,"overwrite":false`), file(`,"filesystem":"root"`),
		resource(``), resource(`"source":null`), resource(`"source":""`), resource(`"source":"data:,sctp%0A"`), resource(`"source":"data:,a b"`),
		resource(`"source":"data:;charset=utf-8;base64,c2N0cA=="`), resource(`"source":"data:;base64,c2N0cA"`), resource(`"source":"data:text/plain; charset=utf-8,sctp"`),
		resource(`"source":"data:text/plain,%zz"`), resource(`"source":"data:sctp"`), resource(`"source":"sctp"`), resource(`"source":"ftp://a/b"`), resource(`"source":"http://a b/"`),
		resource(`"source":"data:,","compression":""`), resource(`"source":"data:,","compression":"xz"`), resource(`"source":"data:,","httpHeaders":[{"name":"a","value":"b"}]`),
		resource(`"source":"data:,","verification":{}`), resource(`"verification":{"hash":"sha512-0"}`),
		hash("", 0), hash("sha512-", 3), hash("sha512-", 128), hash("sha256-", 64), hash("sha256-", 128), hash("md5-", 32), hash("sha1-", 40),
		file(`,"mode":null`), file(`,"mode":420`), file(`,"mode":-1`), file(`,"mode":4096`), file(`,"mode":"0644"`), file(`,"mode":420.5`),
		file(`,"user":{"name":"root"},"group":{"id":0}`), file(`,"user":{"id":0,"name":"root"}`), file(`,"group":{"id":0,"name":"root"}`), file(`,"user":{"id":0,"name":""}`),
		`"storage":{"files":[{"path":"/etc/a"},{"path":"/etc/a"}]}`, `"storage":{"files":[{"path":"etc/a"}]}`, `"storage":{"files":[{"path":"/etc/../a"}]}`, `"storage":{"files":[{}]}`,
		`"storage":{"files":[{"path":"/a"}],"directories":[{"path":"/a"}]}`, `"storage":{"directories":[{"path":"a"}]}`, `"storage":{"directories":[{"path":"/a","mode":99999}]}`,
		`"storage":{"directories":[{"path":"/a"},{"path":"/a"}]}`, `"storage":{"directories":[{"path":"/a","user":{"id":1,"name":"x"}}]}`,
		`"storage":{"links":[{"path":"/a"}]}`, `"storage":{"links":[{"path":"/a","target":""}]}`, `"storage":{"links":[{"path":"/a","target":"../b"}]}`,
		`"storage":{"links":[{"path":"/a","target":"/b"}],"files":[{"path":"/a/c"}]}`, `"storage":{"links":[{"path":"/a","target":"/b"}],"files":[{"path":"/ab"}]}`,
		`"storage":{"links":[{"path":"/a","target":"/b"},{"path":"/a/c","target":"/d"}]}`, `"storage":{"links":[{"path":"/a","target":"/b"}],"directories":[{"path":"/a/c"}]}`,
		unit(``), unit(`,"enabled":true`), unit(`,"contents":""`), unit(`,"contents":"[Unit"`), unit(`,"contents":"[Unit]\nx"`), unit(`,"mask":null,"enabled":null,"contents":null`),
		unit(`,"dropins":[{"name":"a.conf"},{"name":"a.conf"}]`), unit(`,"dropins":[{"contents":"[Unit]\n"}]`), unit(`,"dropins":[{"name":"a","contents":"[Unit]\n"}]`),
		unit(`},{"name":"a.service"`), `"systemd":{"units":[{"name":"a.nspawn"}]}`, `"systemd":{"units":[{"name":"a"}]}`, `"systemd":{"units":[{"name":"a b\\x2dc@d.mount"}]}`,
		`"passwd":{"users":[{"name":"core"},{"name":"core"}]}`, `"passwd":{"groups":[{"name":"a"},{"name":"a"}]}`, `"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["a","a"]}]}`,
		`"kernelArguments":{"shouldExist":["a","a"]}`, `"kernelArguments":{"shouldExist":["a"],"shouldNotExist":["a"]}`, `"kernelArguments":["a"]`,
		`"storage":null,"systemd":null,"passwd":null`, `"storage":[]`, `"networkd":{}`, `"config":{}`,
	} {
		for _, version := range []string{"3.3.0", "3.5.0"} {
			raw := fmt.Sprintf(`{"ignition":{"version":%q},%s}`, version, config)
			_, report, err := ignition.ParseCompatibleVersion([]byte(raw))
			takes := err == nil && !report.IsFatal()
			c, err := machineconfig.DecodeConfig(json.RawMessage(raw))
			if reads := err == nil && len(c.Unread) == 0; takes != reads {
				t.Errorf("%s\nIgnition takes it: %t (%s)\nread: %t, %v %v", raw, takes, report.String(), reads, err, c.Unread)
			}
			if !takes {
				refused++
			}
		}
	}
	if refused < 80 {
		t.Errorf("Ignition refuses %d", refused)
	}
}
