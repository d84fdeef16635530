package machineconfig

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// documented is the MachineConfig of OpenShift's documentation ("Using Stream
// Control Transmission Protocol"), as data.
const documented = `{"apiVersion":"machineconfiguration.openshift.io/v1","kind":"MachineConfig",
"metadata":{"name":"load-sctp-module","labels":{"machineconfiguration.openshift.io/role":"worker"}},
"spec":{"config":{"ignition":{"version":"3.2.0"},"storage":{"files":[
{"path":"/etc/modprobe.d/sctp-blacklist.conf","mode":420,"overwrite":true,"contents":{"source":"data:,"}},
{"path":"/etc/modules-load.d/sctp-load.conf","mode":420,"overwrite":true,"contents":{"source":"data:,sctp"}}]}}}}`

func printed(t *testing.T, roles []string, diag bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, roles, Files(diag)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The printed MachineConfig is the documented one, but for its name.
func TestWriteIsTheDocumentedMachineConfig(t *testing.T) {
	var got, want map[string]any
	if err := yaml.UnmarshalStrict([]byte(printed(t, []string{"worker"}, false)), &got); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(documented), &want); err != nil {
		t.Fatal(err)
	}
	want["metadata"].(map[string]any)["name"] = "99-worker-load-sctp"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// A role is a label's value, which must stay a string whatever YAML makes of
// its spelling, and a part of the object's name.
func TestWriteRoles(t *testing.T) {
	for _, role := range []string{"worker", "infra-2", "7", "1e3", "0o17", "no", "true", "null"} {
		configs, err := Decode(strings.NewReader(printed(t, []string{role, "master"}, false)), "printed")
		if err != nil {
			t.Errorf("role %q: %v", role, err)
			continue
		}
		if len(configs) != 2 || configs[0].Role != role || configs[1].Role != "master" || configs[0].Name == configs[1].Name {
			t.Errorf("role %q: got %+v", role, configs)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"Worker"}, {"a b"}, {"x\ny: z"}, {"-x"}, {strings.Repeat("x", 60)}, {"worker", "worker"}} {
		var b bytes.Buffer
		if err := Write(&b, bad, Files(false)); err == nil {
			t.Errorf("roles %q are printed:\n%s", bad, b.String())
		}
	}
}

// The other formats write the same files.
func TestOtherFormats(t *testing.T) {
	for _, diag := range []bool{false, true} {
		var b bytes.Buffer
		if err := WriteButane(&b, Files(diag)); err != nil {
			t.Fatal(err)
		}
		var butane struct {
			Variant, Version string
			Storage          struct {
				Files []struct {
					Path      string
					Mode      uint32
					Overwrite bool
					Contents  struct{ Inline string }
				}
			}
		}
		if err := yaml.UnmarshalStrict(b.Bytes(), &butane); err != nil {
			t.Fatal(err)
		}
		var got []File
		for _, f := range butane.Storage.Files {
			if !f.Overwrite {
				t.Errorf("%s is not overwritten", f.Path)
			}
			got = append(got, File{Path: f.Path, Mode: f.Mode, Contents: f.Contents.Inline})
		}
		sameFiles(t, "butane", got, Files(diag))

		// The script runs over a root that has the vendor's files.
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "etc/modprobe.d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, verdict.VendorBlacklist), []byte("blacklist sctp\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if err := WriteScript(&b, Files(diag)); err != nil {
			t.Fatal(err)
		}
		sh := exec.Command("/bin/sh", "-eu")
		sh.Stdin = &b
		sh.Env = append(os.Environ(), "ROOT="+root)
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("the script fails: %v\n%s", err, out)
		}
		got = nil
		for _, f := range Files(diag) {
			text, err := os.ReadFile(filepath.Join(root, f.Path))
			if err != nil {
				t.Error(err)
				continue
			}
			info, err := os.Stat(filepath.Join(root, f.Path))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, File{Path: f.Path, Mode: uint32(info.Mode().Perm()), Contents: strings.TrimSuffix(string(text), "\n")})
		}
		sameFiles(t, "script", got, Files(diag))
	}
}

func sameFiles(t *testing.T, what string, got, want []File) {
	t.Helper()
	for i := range want {
		want[i].Why = ""
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s writes %+v, want %+v", what, got, want)
	}
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// object makes a MachineConfig for the worker pool out of storage.files.
func object(name string, files ...string) string {
	return machineConfig(name, "worker", `"storage":{"files":[`+strings.Join(files, ",")+`]}`, "")
}

func machineConfig(name, role, config, spec string) string {
	if config != "" {
		config = "," + config
	}
	return fmt.Sprintf(`{"kind":"MachineConfig","metadata":{"name":%q,"labels":{%q:%q}},"spec":{"config":{"ignition":{"version":"3.2.0"}%s}%s}}`,
		name, RoleLabel, role, config, spec)
}

// unit makes a MachineConfig for the worker pool of one unit.
func unit(name, fields string) string {
	return machineConfig(name, "worker", `"systemd":{"units":[{`+fields+`}]}`, "")
}

func file(path, source string) string {
	return fmt.Sprintf(`{"path":%q,"contents":{"source":%q}}`, path, source)
}

// ofVersion2 makes a MachineConfig one of specification 2.
func ofVersion2(object string) string {
	return strings.NewReplacer("3.2.0", "2.2.0", `{"path"`, `{"filesystem":"root","path"`).Replace(object)
}

func TestJudge(t *testing.T) {
	const (
		empty = verdict.VendorBlacklist
		load  = verdict.LoadRequest
		// 90 characters of comment, then the name: as a tool would write it.
		long = "# enables the stream control transmission protocol for the network functions of this pool\nsctp\n"
	)
	enabling := object("load-sctp-module", file(empty, "data:,"), file(load, "data:,sctp"))
	for _, c := range []struct {
		name    string
		objects []string
		enabled kmod.Answer
		onBoot  verdict.OnBoot
		// message is a part of the message or of the notes.
		message string
	}{
		{"documented", []string{documented}, kmod.AnswerTrue, verdict.OnBootLoaded, "MachineConfig load-sctp-module"},
		{"own", []string{printedOnce()}, kmod.AnswerTrue, verdict.OnBootLoaded, "99-worker-load-sctp"},
		{"the request alone does not undo the vendor's blacklist", []string{object("a", file(load, "data:,sctp"))},
			kmod.AnswerFalse, verdict.OnBootBlocked, "part of the operating system"},
		{"an emptied blacklist alone loads nothing at boot", []string{object("a", file(empty, "data:,"))},
			kmod.AnswerFalse, verdict.OnBootOnDemand, "first SCTP socket"},
		{"nothing to do with sctp", []string{object("a", file("/etc/motd", "data:,sctp"))},
			kmod.AnswerFalse, verdict.OnBootBlocked, "sctp-blacklist.conf"},
		{"other names, same effect: the vendor's file linked to /dev/null", []string{machineConfig("a", "worker",
			`"storage":{"files":[`+file("/etc/modules-load.d/telco.conf", "data:,sctp%0A")+`],"links":[{"path":"/etc/modprobe.d/sctp-blacklist.conf","target":"/dev/null","overwrite":true}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "new nodes and nodes that exist differ: MachineConfig a: only a node's first boot applies storage.links"},
		{"the same, rendered: nodes have it", []string{rendered("rendered-worker-1", "worker", file(load, "data:,sctp")+`],"links":[{"path":"/etc/modprobe.d/sctp-blacklist.conf","target":"/dev/null","overwrite":true}`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "refuses the whole MachineConfig"},
		{"a link in place of what a new node has", []string{rendered("rendered-worker-1", "worker", file(load, "data:,sctp")+`],"links":[{"path":"/etc/modprobe.d/sctp-blacklist.conf","target":"/dev/null"}`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "overwrite is not true: Ignition fails"},
		{"a link of modules-load.d", []string{machineConfig("a", "worker", `"storage":{"files":[`+file(empty, "data:,")+`,`+file("/etc/x", "data:,sctp")+`],"links":[{"path":"/etc/modules-load.d/x.conf","target":"/etc/x"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig a: only a node's first boot"},
		{"a link beside the files, of no concern", []string{machineConfig("a", "worker", `"storage":{"files":[`+file(empty, "data:,")+`,`+file(load, "data:,sctp")+`],"links":[{"path":"/etc/localtime","target":"../usr/share/zoneinfo/UTC"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "storage.links"},
		{"the same in a MachineConfig of its own", []string{enabling, machineConfig("a", "worker", `"storage":{"links":[{"path":"/etc/localtime","target":"../usr/share/zoneinfo/UTC"}]}`, "")},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a directory beside the files", []string{machineConfig("a", "worker", `"storage":{"files":[`+file(empty, "data:,")+`,`+file(load, "data:,sctp")+`],"directories":[{"path":"/opt/x"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "storage.directories"},
		{"a directory that takes all files away", []string{enabling, machineConfig("a", "worker", `"storage":{"directories":[{"path":"/etc/modprobe.d","overwrite":true}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "a directory in place of"},
		{"a disk beside the files", []string{machineConfig("a", "worker", `"storage":{"files":[`+file(empty, "data:,")+`,`+file(load, "data:,sctp")+`],"disks":[{"device":"/dev/sdb"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "storage.disks"},
		{"disks and users of others", []string{enabling, machineConfig("a", "worker", `"storage":{"disks":[{"device":"/dev/sdb"}],"filesystems":[{"device":"/dev/sdb1"}]},"passwd":{"users":[{"name":"x"}]}`, `,"fips":true`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a user beside the files", []string{machineConfig("a", "worker", `"storage":{"files":[`+file(empty, "data:,")+`,`+file(load, "data:,sctp")+`]},"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["x"]},{"name":"telco"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "a user that is not core"},
		{"the user core beside the files", []string{machineConfig("a", "worker", `"storage":{"files":[`+file(empty, "data:,")+`,`+file(load, "data:,sctp")+`]},"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["x"]}]}`, "")},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"FIPS beside the files", []string{machineConfig("a", "worker", `"storage":{"files":[`+file(empty, "data:,")+`,`+file(load, "data:,sctp")+`]}`, `,"fips":true`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "spec.fips"},
		{"a hard link, to whatever the host has there", []string{enabling, machineConfig("a", "worker",
			`"storage":{"links":[{"path":"/etc/modprobe.d/x.conf","target":"/etc/x.conf","hard":true}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "hard link to /etc/x.conf"},
		{"right name, wrong contents", []string{object("a", file(empty, "data:,"), file(load, "data:,stcp"))},
			kmod.AnswerFalse, verdict.OnBootOnDemand, ""},
		{"options behind the name make it another name", []string{object("a", file(empty, "data:,"), file(load, "data:,sctp%20%23%20load%20it"))},
			kmod.AnswerFalse, verdict.OnBootOnDemand, ""},
		{"a comment in place of an empty file", []string{object("a", file(empty, "data:,%23%20blacklist%20sctp%0A"), file(load, "data:,sctp"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"the blacklist left in, URL-encoded", []string{object("a", file(empty, "data:,blacklist%20sctp"), file(load, "data:,sctp"))},
			kmod.AnswerFalse, verdict.OnBootBlocked, "blacklist sctp"},
		{"base64", []string{object("a", file(empty, "data:;base64,"), file(load, "data:text/plain;charset=utf-8;base64,"+base64.StdEncoding.EncodeToString([]byte(long))))},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp-load.conf:2"},
		{"base64 without its padding", []string{object("a", file(empty, "data:,"), file(load, "data:;base64,c2N0cA"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition"},
		{"base64, folded", []string{object("a", file(empty, "data:,"), file(load, "data:;base64,c2N0 cA=="))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition"},
		{"base64, escaped", []string{object("a", file(empty, "data:,"), file(load, "data:;base64,c2N0cA%3D%3D"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition"},
		{"a blank in a source, of no concern", []string{enabling, object("b", file("/etc/motd", "data:,hello world"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "what must be escaped, or is no media type: data:,hello world, of /etc/motd"},
		{"a comment in a source", []string{object("a", file(empty, "data:,#"), file(load, "data:,sctp"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition"},
		{"a blank before a parameter", []string{object("a", file(empty, "data:text/plain; charset=utf-8,"), file(load, "data:,sctp"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition"},
		{"DATA in capitals", []string{object("a", file(empty, "DATA:,"), file(load, "data:,sctp"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition"},
		{"media types", []string{object("a", file(empty, "data:text/plain;charset=utf-8;x=y,"), file(load, "data:;charset=US-ASCII;base64,c2N0cA=="))}, kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"an append section, and contents in another configuration", []string{object("a", `{"path":"`+load+`","append":[{"source":"data:,sctp"}]}`), object("b", file(empty, "data:,"), file(load, "data:,sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "the machine-config-operator refuses it: " + load + " has an append section"},
		{"overwrite without a source, which another configuration has", []string{enabling, object("b", `{"path":"`+load+`","mode":420,"overwrite":true}`)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "there is no source, of " + load},
		{"gzip", []string{object("a", file(empty, "data:,"), `{"path":"`+load+`","contents":{"compression":"gzip","source":"data:;base64,`+zipped(long)+`"}}`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"gzip that hides a denial", []string{enabling, object("b", `{"path":"/etc/modprobe.d/z.conf","contents":{"compression":"gzip","source":"data:;base64,`+zipped("install sctp /bin/false\n")+`"}}`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "MachineConfig b"},
		{"hardening under another name", []string{enabling, object("75-stig", file("/etc/modprobe.d/sctp.conf", "data:,install%20sctp%20%2Fbin%2Ffalse%0Ablacklist%20sctp%0A"))},
			kmod.AnswerFalse, verdict.OnBootBlocked, "MachineConfig 75-stig"},
		{"a soft dependency of another module", []string{object("b", file("/etc/modprobe.d/b.conf", "data:,softdep%20br_netfilter%20post:%20sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "softdep br_netfilter post: sctp"},
		{"a command of another module", []string{object("b", file("/etc/modprobe.d/b.conf", "data:,install%20br_netfilter%20/sbin/modprobe%20-i%20br_netfilter%3B%20/sbin/modprobe%20sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "br_netfilter"},
		{"a unit that loads another module first", []string{unit("b", `"name":"l.service","enabled":true,"contents":"[Service]\nType=oneshot\nExecStart=/bin/sh -c 'modprobe -v br_netfilter && modprobe sctp'\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "br_netfilter"},
		{"a soft dependency of another module, beside a request", []string{enabling, object("b", file("/etc/modprobe.d/b.conf", "data:,softdep%20br_netfilter%20post:%20sctp"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a command that loads it after all", []string{enabling, object("b", file("/etc/modprobe.d/b.conf", "data:,install%20sctp%20/sbin/modprobe%20-i%20sctp%20%26%26%20/usr/bin/logger%20sctp"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, "install sctp /sbin/modprobe"},
		{"a command whose program every node has", []string{enabling, object("b", file("/etc/modprobe.d/b.conf", "data:,install%20sctp%20/usr/bin/touch%20/run/x%20%26%26%20/sbin/modprobe%20-i%20sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig b"},
		{"a command around modprobe", []string{enabling, object("b", file("/etc/modprobe.d/b.conf", "data:,install%20sctp%20flock%20/run/x%20/sbin/modprobe%20-i%20sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig b"},
		{"a command that loads it whatever the one before does", []string{enabling, object("b", file("/etc/modprobe.d/b.conf", "data:,install%20sctp%20/bin/touch%20/run/x%3B%20/sbin/modprobe%20-i%20sctp"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a program that no node has", []string{enabling, object("b", file("/etc/modprobe.d/b.conf", "data:,install%20sctp%20/usr/bin/never%20%26%26%20/sbin/modprobe%20-i%20sctp"))},
			kmod.AnswerFalse, verdict.OnBootBlocked, "MachineConfig b"},
		{"a command that is not there", []string{enabling, object("b", file("/etc/modprobe.d/b.conf", "data:,install%20sctp%20/usr/bin/modprobe%20-i%20sctp"))},
			kmod.AnswerFalse, verdict.OnBootBlocked, "MachineConfig b"},
		{"of two with the same file, the later name wins", []string{object("99-z", file(load, "data:,")), object("00-a", file(empty, "data:,"), file(load, "data:,sctp"))},
			kmod.AnswerFalse, verdict.OnBootOnDemand, ""},
		{"and the other way round", []string{object("00-z", file(load, "data:,")), object("99-a", file(empty, "data:,"), file(load, "data:,sctp"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"module_blacklist= as a kernel argument", []string{enabling, machineConfig("args", "worker", "", `,"kernelArguments":["quiet","module_blacklist=sctp"]`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "module_blacklist=sctp"},
		{"modprobe.blacklist= as a kernel argument", []string{enabling, machineConfig("args", "worker", "", `,"kernelArguments":["modprobe.blacklist=dccp,sctp"]`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "modprobe.blacklist="},
		{"modules_load= as a kernel argument", []string{object("a", file(empty, "data:,")), machineConfig("args", "worker", "", `,"kernelArguments":["modules_load=sctp"]`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "modules_load=sctp"},
		{"no spec.config at all", []string{enabling, `{"kind":"MachineConfig","metadata":{"name":"b","labels":{"` + RoleLabel + `":"worker"}},"spec":{"kernelArguments":["quiet"]}}`},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"contents elsewhere", []string{enabling, object("b", file("/etc/modprobe.d/x.conf", "https://example.com/x.conf"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig b: /etc/modprobe.d/x.conf"},
		{"contents elsewhere, of another file", []string{enabling, object("b", file("/etc/x.conf", "https://example.com/x.conf"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "the machine-config-operator cannot write it: its contents are elsewhere"},
		{"contents elsewhere, of another file that a later one replaces", []string{enabling, object("b", file("/etc/x.conf", "https://example.com/x.conf")), object("c", file("/etc/x.conf", "data:,"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"contents elsewhere, replaced by a later one", []string{object("b", file(load, "https://example.com/x.conf")), enabling},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"another configuration merged in", []string{enabling, `{"kind":"MachineConfig","metadata":{"name":"b","labels":{"` + RoleLabel + `":"worker"}},"spec":{"config":{"ignition":{"version":"3.2.0","config":{"merge":[{"source":"https://example.com/w.ign"}]}}}}}`},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "refers to another configuration"},
		{"broken base64", []string{object("b", file(load, "data:;base64,!!"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "base64"},
		{"broken gzip", []string{object("b", `{"path":"`+load+`","contents":{"compression":"gzip","source":"data:,sctp"}}`)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "gzip"},
		{"a compression nobody knows", []string{object("b", `{"path":"`+load+`","contents":{"compression":"zip","source":"data:,sctp"}}`)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "zip"},
		{"appended to what the host has", []string{object("b", `{"path":"`+load+`","append":[{"source":"data:,sctp"}]}`)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "appends"},
		{"a path that leads out of the root", []string{enabling, object("b", file("/../../../../../modprobe.d/x.conf", "data:,blacklist%20sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "is not the plain path of a file"},
		{"an argument of which dracut may make a blacklist", []string{enabling, machineConfig("args", "worker", "", `,"kernelArguments":["quiet rd.driver.blacklist=dccp,sctp"]`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "newer versions of dracut make a blacklist of it"},
		{"the same, and a unit that ignores blacklists", []string{unit("u", `"name":"s.service","enabled":true,"contents":"[Service]\nType=oneshot\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`),
			machineConfig("args", "worker", "", `,"kernelArguments":["rdblacklist=sctp"]`)}, kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"the same, of another module", []string{enabling, machineConfig("args", "worker", "", `,"kernelArguments":["rd.driver.blacklist=dccp"]`)}, kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a unit that is masked and enabled", []string{enabling, unit("u", `"name":"s.service","enabled":true,"mask":true,"contents":"[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "unit s.service is masked, and to be enabled"},
		{"a path that is not clean", []string{object("a", file(empty, "data:,"), file("/etc/modules-load.d//sctp.conf", "data:,sctp"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "/etc/modules-load.d//sctp.conf is not the plain path of a file"},
		{"no path, where the input was cut short", []string{enabling, object("b", `{"mode":420,"contents":{"source":"data:,"}}`)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "a file or link without a path"},
		{"the same, of specification 2", []string{enabling, strings.Replace(object("b", `{"mode":420,"contents":{"source":"data:,"}}`), "3.2.0", "2.2.0", 1)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "a file or link without a path"},
		{"a relative path", []string{enabling, object("b", file("etc/motd", "data:,"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "etc/motd is not the plain path"},
		{"a version that is none", []string{strings.Replace(enabling, "3.2.0", "3.2", 1)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "ignition.version 3.2"},
		{"a unit without a name", []string{enabling, unit("u", `"contents":"[Service]\nType=oneshot\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition and the machine-config-operator: a unit without a name"},
		{"a unit without a suffix", []string{enabling, unit("u", `"name":"load-sctp","enabled":true,"contents":"[Service]\nType=oneshot\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "load-sctp is not the name of a unit"},
		{"a unit with a line that is no assignment", []string{enabling, unit("u", `"name":"x.service","contents":"[Unit]\n# a comment that goes on \\\nhere\nDescription=x \\\n  y\n[Service]\nfor this host\nExecStart=/bin/true\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition and the machine-config-operator: line for this host of unit x.service"},
		{"a drop-in with a word after its header", []string{enabling, unit("u", `"name":"x.service","dropins":[{"name":"a.conf","contents":"[Unit] # ours\nDescription=x\n"}]`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "of unit x.service.d/a.conf"},
		{"a unit as Ignition reads it", []string{enabling, unit("u", `"name":"x.service","contents":"text before it\n\n[Unit]\r\n; a \\\nb\nDescription=x \\\n  no assignment\n\n[Service]\nExecStart=/bin/true\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a file and a unit of one path", []string{enabling, machineConfig("a", "worker", `"storage":{"files":[`+file("/etc/systemd/system/x.service", "data:,")+`]},"systemd":{"units":[{"name":"x.service","contents":"[Service]\nExecStart=/bin/true\n"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "a file has the path of unit x.service"},
		{"specification 2.2", []string{`{"kind":"MachineConfig","metadata":{"name":"old","labels":{"` + RoleLabel + `":"worker"}},"spec":{"config":{"ignition":{"version":"2.2.0"},"storage":{"files":[
			{"filesystem":"root","path":"` + empty + `","mode":420,"contents":{"source":"data:,"}},
			{"filesystem":"root","path":"` + load + `","mode":420,"append":false,"contents":{"source":"data:,sctp","verification":{}}}]}}}}`},
			kmod.AnswerTrue, verdict.OnBootLoaded, "MachineConfig old"},
		{"a unit that is not enabled", []string{unit("a", `"name":"sctp.service","contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "unit sctp.service of MachineConfig a has a command that the boot does not run"},
		{"an enabled unit that nothing wants", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "the boot does not run"},
		{"an enabled unit, and the vendor's blacklist", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nType=oneshot\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:3: ExecStart=/usr/sbin/modprobe sctp (MachineConfig a)"},
		{"specification 2.x says enable", []string{unit("a", `"name":"sctp.service","enable":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nRequiredBy=kubelet.service\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"an enabled unit that honours the blacklist", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe -b sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "blacklist sctp"},
		{"an enabled unit of another user", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nUser=core\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "User=core"},
		{"a script of the same configuration", []string{machineConfig("a", "worker", `"storage":{"files":[`+file("/usr/local/bin/load-sctp.sh", "data:,%23!/bin/bash%0Amodprobe%20sctp%0A")+`]},
			"systemd":{"units":[{"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/local/bin/load-sctp.sh\n[Install]\nWantedBy=multi-user.target\n"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "load-sctp.sh"},
		{"a script from elsewhere", []string{enabling, machineConfig("a", "worker", `"storage":{"files":[`+file("/usr/local/bin/x.sh", "https://example.com/x.sh")+`]},
			"systemd":{"units":[{"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/usr/local/bin/x.sh\n[Install]\nWantedBy=multi-user.target\n"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/usr/local/bin/x.sh"},
		{"a drop-in of kubelet's unit", []string{unit("a", `"name":"kubelet.service","dropins":[{"name":"10-sctp.conf","contents":"[Service]\nExecStartPre=/usr/sbin/modprobe sctp\n"}]`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "kubelet.service.d/10-sctp.conf:2"},
		{"a drop-in of a unit that only the host has", []string{unit("a", `"name":"openvswitch.service","dropins":[{"name":"10-sctp.conf","contents":"[Service]\nExecStartPre=/usr/sbin/modprobe sctp\n"}]`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "openvswitch.service is the host's own"},
		{"a timer", []string{machineConfig("a", "worker", `"systemd":{"units":[{"name":"sctp.service","contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n"},
			{"name":"sctp.timer","enabled":true,"contents":"[Timer]\nOnBootSec=1min\n[Install]\nWantedBy=timers.target\n"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "sctp.service:2"},
		{"the unit that reads modules-load.d masked", []string{enabling, unit("m", `"name":"systemd-modules-load.service","mask":true`)},
			kmod.AnswerFalse, verdict.OnBootOnDemand, "(MachineConfig m)"},
		{"masked, and not any more", []string{enabling, unit("m", `"name":"systemd-modules-load.service","mask":true`), unit("n", `"name":"systemd-modules-load.service","mask":false`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"masked by a link", []string{enabling, machineConfig("m", "worker", `"storage":{"links":[{"path":"/etc/systemd/system/systemd-modules-load.service","target":"/dev/null"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig m: only a node's first boot applies storage.links"},
		{"masked by a kernel argument", []string{enabling, machineConfig("m", "worker", "", `,"kernelArguments":["systemd.mask=systemd-modules-load.service"]`)},
			kmod.AnswerFalse, verdict.OnBootOnDemand, "(MachineConfig m)"},
		{"a drop-in whose condition fails", []string{enabling, unit("m", `"name":"systemd-modules-load.service","dropins":[{"name":"x.conf","contents":"[Unit]\nConditionPathExists=/etc/never\n"}]`)},
			kmod.AnswerFalse, verdict.OnBootOnDemand, "ConditionPathExists=/etc/never (MachineConfig m)"},
		{"enabled by a drop-in's [Install]", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n","dropins":[{"name":"i.conf","contents":"[Install]\nWantedBy=multi-user.target\n"}]`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"enabled with another (Also=)", []string{machineConfig("a", "worker", `"systemd":{"units":[{"name":"a.service","enabled":true,"contents":"[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlso=sctp.service\n"},
			{"name":"sctp.service","contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"}]}`, "")},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"a template's default instance", []string{unit("a", `"name":"load@.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe %i\n[Install]\nWantedBy=multi-user.target\nDefaultInstance=sctp\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "load@.service:2"},
		{"an instance of the host's template, which honours blacklists", []string{object("b", file(empty, "data:,")),
			unit("a", `"name":"modprobe@sctp.service","enabled":true,"dropins":[{"name":"i.conf","contents":"[Install]\nWantedBy=multi-user.target\n"}]`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "modprobe@.service"},
		{"a template without an instance", []string{unit("a", `"name":"load@.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"wanted by the default target", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=default.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"wanted before kubelet", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nRequiredBy=kubelet-dependencies.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"wanted with the network", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=network-online.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"wanted by what no boot starts", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=graphical.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"wanted by a unit that only the host has", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=NetworkManager.service\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "unit sctp.service is wanted by NetworkManager.service"},
		{"wanted by that and another", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=NetworkManager.service multi-user.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"another's service, wanted by a unit that only the host has", []string{enabling, unit("a", `"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/usr/bin/x\n[Install]\nWantedBy=NetworkManager.service\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a unit behind a program that every node has", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nType=oneshot\nExecStart=/bin/sh -c 'podman ps && modprobe sctp'\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "sctp.service:3"},
		{"another default target", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`),
			machineConfig("l", "worker", `"storage":{"links":[{"path":"/etc/systemd/system/default.target","target":"/usr/lib/systemd/system/graphical.target","overwrite":true}]}`, "")},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"two of one name", []string{object("a", file(empty, "data:,")), object("a", file(load, "data:,sctp"))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig a: two that differ have this name"},
		{"one twice", []string{enabling, enabling, machineConfig("b", "worker", "", ""), machineConfig("b", "worker", "", "")}, kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a preset of a unit among the files", []string{object("a", file(empty, "data:,"), file("/etc/systemd/system/load-sctp.service", "data:,"+url.PathEscape("[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n")),
			file("/etc/systemd/system-preset/10-sctp.preset", "data:,"+url.PathEscape("# ours\nenable load-*.service\n")))}, kmod.AnswerUnknown, verdict.OnBootUnknown, "10-sctp.preset of MachineConfig a: enable load-*.service, and only a node's first boot applies presets"},
		{"presets of others", []string{object("a", file(empty, "data:,"), file("/etc/systemd/system-preset/10-x.preset", "data:,"+url.PathEscape("enable x.service\ndisable *\n")))}, kmod.AnswerFalse, verdict.OnBootOnDemand, ""},
		{"specification 2 without filesystems", []string{strings.Replace(enabling, "3.2.0", "2.2.0", 1)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "no filesystem (root), of " + empty},
		{"a hash that is none", []string{object("a", file(empty, "data:,"), `{"path":"`+load+`","contents":{"source":"data:,sctp","verification":{"hash":"md5-c4ca4238a0b923820dcc509a6f75849b"}}}`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "verification.hash md5-c4ca4238a0b923820dcc509a6f75849b"},
		{"the hash of other contents", []string{object("a", file(empty, "data:,"), `{"path":"`+load+`","contents":{"source":"data:,sctp","verification":{"hash":"sha256-`+strings.Repeat("0", 64)+`"}}}`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "verification.hash is not that of the contents: Ignition fails on a new node: " + load},
		{"an owner by number and name", []string{enabling, object("a", `{"path":"/etc/x","user":{"id":0,"name":"root"},"contents":{"source":"data:,"}}`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "both id and name of the owner of /etc/x"},
		{"a key twice", []string{enabling, machineConfig("99-ssh", "worker", `"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["ssh-rsa A","ssh-rsa A"]}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "two entries of sshAuthorizedKeys of core ssh-rsa A"},
		{"a file below a link", []string{enabling, machineConfig("l", "worker", `"storage":{"files":[`+file("/etc/x/y", "data:,")+`],"links":[{"path":"/etc/x","target":"/var/x"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/etc/x/y is below the link /etc/x"},
		{"a link without a target", []string{enabling, machineConfig("l", "worker", `"storage":{"links":[{"path":"/etc/x"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "a link without a target: /etc/x"},
		{"a link in place of a directory", []string{object("a", file(empty, "data:,"), file("/etc/x/sctp.conf", "data:,sctp")),
			machineConfig("l", "worker", `"storage":{"links":[{"path":"/etc/modules-load.d","target":"/etc/x"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/etc/modules-load.d: a directory is there"},
		{"a unit that ends the loading of modules", []string{object("a", file(empty, "data:,")), unit("u", `"name":"lock.service","enabled":true,"contents":"[Service]\nType=oneshot\nExecStart=/usr/sbin/sysctl -w kernel.modules_disabled=1\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "lock.service:3"},
		{"rc.local", []string{object("a", file("/etc/rc.d/rc.local", "data:,%23!/bin/sh%0Amodprobe%20sctp%0A"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "rc.local"},
		{"an alias that nothing starts", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nAlias=load.service\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"an alias that the boot starts", []string{unit("k", `"name":"kubelet.service","dropins":[{"name":"w.conf","contents":"[Unit]\nWants=load.service\n"}]`),
			unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nAlias=load.service\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "sctp.service:2"},
		{"the host's own unit, disabled", []string{unit("a", `"name":"kubelet.service","enabled":false,"contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "the boot does not run"},
		{"nomodule as a kernel argument", []string{enabling, machineConfig("args", "worker", "", `,"kernelArguments":["nomodule"]`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "nomodule (MachineConfig args)"},
		{"a request where nothing can be written", []string{object("a", file(empty, "data:,"), file("/usr/lib/modules-load.d/sctp.conf", "data:,sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig a: /usr/lib/modules-load.d/sctp.conf: /usr is read-only"},
		{"the same through a link", []string{enabling, object("b", file("/lib/modprobe.d/x.conf", "data:,install%20sctp%20/bin/false"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/usr is read-only"},
		{"a program where nothing can be written", []string{enabling, object("b", file("/usr/bin/x", "data:,"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/usr is read-only"},
		{"below /usr/local, which is writable", []string{object("a", file(empty, "data:,"), file("/usr/local/lib/modules-load.d/sctp.conf", "data:,sctp"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, "/usr/local/lib/modules-load.d/sctp.conf:1"},
		{"a sysctl as a kernel argument", []string{enabling, machineConfig("args", "worker", "", `,"kernelArguments":["sysctl.kernel.modules_disabled=1"]`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, "modules_disabled=1 (MachineConfig args)"},
		{"a link to contents elsewhere", []string{enabling, machineConfig("a", "worker", `"storage":{"files":[`+file("/opt/x.conf", "https://example.com/x.conf")+`],
			"links":[{"path":"/etc/modprobe.d/x.conf","target":"/opt/x.conf"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "its contents are elsewhere"},
		{"a file without contents", []string{object("a", `{"path":"`+empty+`","mode":420}`, file(load, "data:,sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "has no contents"},
		{"contents as Butane has them", []string{object("a", `{"path":"`+empty+`","contents":{"inline":""}}`, file(load, "data:,sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig a: contents.inline and contents.local are Butane's"},
		{"a file without contents, of no concern", []string{enabling, object("a", `{"path":"/etc/x","mode":420}`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a file without contents, of specification 2", []string{`{"kind":"MachineConfig","metadata":{"name":"old","labels":{"` + RoleLabel + `":"worker"}},"spec":{"config":{"ignition":{"version":"2.2.0"},
			"storage":{"files":[{"filesystem":"root","path":"` + empty + `"},{"filesystem":"root",` + file(load, "data:,sctp")[1:] + `]}}}}`},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"overwrite: false", []string{object("a", `{"path":"`+empty+`","overwrite":false,"contents":{"source":"data:,"}}`, file(load, "data:,sctp"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, "MachineConfig a: overwrite is false"},
		{"an image of one's own", []string{enabling, machineConfig("layered", "worker", "", `,"osImageURL":"quay.io/telco/rhcos@sha256:00"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, "MachineConfig layered: it sets osImageURL"},
		{"no version", []string{enabling, `{"kind":"MachineConfig","metadata":{"name":"a","labels":{"` + RoleLabel + `":"worker"}},"spec":{"config":{"storage":{"files":[` + file("/etc/x", "data:,") + `]}}}}`},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig a: refused by Ignition and the machine-config-operator: it has no ignition.version"},
		{"a version that nobody knows", []string{enabling, strings.Replace(object("a"), "3.2.0", "4.0.0", 1)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "ignition.version 4.0.0"},
		{"a version that there is not yet", []string{enabling, strings.Replace(object("a"), "3.2.0", "3.9.0", 1)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "refused by Ignition and the machine-config-operator: ignition.version 3.9.0"},
		{"a version that the operator does not take", []string{enabling, strings.Replace(object("a"), "3.2.0", "3.6.0", 1)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "the machine-config-operator refuses it: ignition.version 3.6.0"},
		{"the newest that it takes", []string{strings.Replace(enabling, "3.2.0", "3.5.0", 1)}, kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"Ignition 2.3", []string{enabling, strings.Replace(object("a"), "3.2.0", "2.3.0", 1)}, kmod.AnswerUnknown, verdict.OnBootUnknown, "ignition.version 2.3.0"},
		{"a mode that is no number", []string{enabling + object("a", `{"path":"/etc/x","mode":"0644"}`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "mode"},
		{"a mode in decimal", []string{object("a", `{"path":"`+empty+`","mode":644,"contents":{"source":"data:,"}}`, file(load, "data:,sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "refuses it: mode 01204 of " + empty},
		{"an empty source", []string{object("a", file(empty, ""), file(load, "data:,sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "cannot decode an empty source"},
		{"an empty source, of specification 2", []string{ofVersion2(object("a", file(empty, ""), file(load, "data:,sctp")))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"redacted contents of a file that decides", []string{enabling, object("z", `{"path":"`+load+`","contents":{"_REDACTED":"This field has been redacted","length":4}}`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, load + ": its contents were redacted (mco-sanitize)"},
		{"of one that does not", []string{enabling, object("z", `{"path":"/etc/chrony.conf","contents":{"_REDACTED":"This field has been redacted","length":4}}`)}, kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a kernel for real time", []string{enabling, machineConfig("rt", "worker", "", `,"kernelType":"realtime"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a kernel that nobody knows", []string{enabling, machineConfig("rt", "worker", "", `,"kernelType":"rt"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig rt: the machine-config-operator refuses it: kernelType rt"},
		{"a package as an extension", []string{enabling, machineConfig("x", "worker", "", `,"extensions":["kernel-modules-extra"]`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig x: the machine-config-operator refuses it: extension kernel-modules-extra"},
		{"a script behind a link of the operating system", []string{machineConfig("a", "worker", `"storage":{"files":[`+file("/var/usrlocal/bin/x", "data:,%23!%2Fbin%2Fsh%0Amodprobe%20sctp")+`]},
			"systemd":{"units":[{"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/usr/local/bin/x\n[Install]\nWantedBy=multi-user.target\n"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "may load sctp at boot"},
		{"a script that another MachineConfig has", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/local/bin/load.sh\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "unit sctp.service of MachineConfig a runs what none of these MachineConfigs has: /usr/local/bin/load.sh"},
		{"one that a shell reads, in a unit that a timer starts", []string{unit("a", `"name":"x.timer","enabled":true,"contents":"[Install]\nWantedBy=timers.target\n"},
			{"name":"x.service","contents":"[Service]\nExecStart=/bin/bash -c '/opt/modules/load.sh'\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "has: /opt/modules/load.sh"},
		{"one of a unit that nothing starts", []string{unit("a", `"name":"sctp.service","contents":"[Service]\nExecStart=/usr/local/bin/load.sh\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"one beside another module's command", []string{unit("a", `"name":"kubelet.service","enabled":true,"contents":"[Service]\nExecStartPre=/usr/sbin/modprobe br_netfilter\nExecStart=/usr/local/bin/kubenswrapper\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"one of another concern", []string{unit("a", `"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/usr/local/bin/ntp.sh /var/lib/x\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"one where the kernel refuses", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/local/bin/load.sh\n[Install]\nWantedBy=multi-user.target\n"`),
			machineConfig("args", "worker", "", `,"kernelArguments":["module_blacklist=sctp"]`)}, kmod.AnswerFalse, verdict.OnBootBlocked, "module_blacklist=sctp"},
		{"one that it does not need", []string{enabling, unit("a", `"name":"sctp.service","enabled":true,"contents":"[Service]\nExecStart=/usr/local/bin/load.sh\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a unit that removes the blacklist", []string{object("m", file(load, "data:,sctp")), unit("a", `"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/usr/bin/rm -f `+empty+`\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "may change files about modules, which counts from the boot after that on: /usr/bin/rm -f " + empty},
		{"a script that does", []string{machineConfig("a", "worker", `"storage":{"files":[`+file("/opt/x.sh", "data:,F=/etc/modprobe.d/sctp-blacklist.conf%0Arm%20$F")+`]},
			"systemd":{"units":[{"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/bin/bash /opt/x.sh\n[Install]\nWantedBy=multi-user.target\n"}]}`, "")},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "from the boot after that on: /bin/bash /opt/x.sh"},
		{"a link that systemd-tmpfiles makes", []string{object("a", file(load, "data:,sctp"), file("/etc/tmpfiles.d/x.conf", "data:,L%2b%20/etc/modprobe.d/sctp-blacklist.conf%20-%20-%20-%20-%20/dev/null"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/etc/tmpfiles.d/x.conf of MachineConfig a may change files about modules"},
		{"what it does where it need not", []string{enabling, object("a", file("/etc/tmpfiles.d/x.conf", "data:,r%20/etc/modprobe.d/sctp_diag-blacklist.conf"))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a static pod", []string{object("a", file("/etc/kubernetes/manifests/x.yaml", "data:,kind:%20Pod%0Acommand:%20%22modprobe%20sctp%22"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/etc/kubernetes/manifests/x.yaml:2"},
		{"one with a comment about it", []string{machineConfig("a", "worker", `"storage":{"files":[`+file("/opt/x.sh", "data:,%23%20rm%20/etc/modprobe.d/sctp-blacklist.conf%0Atrue")+`]},
			"systemd":{"units":[{"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/bin/bash /opt/x.sh\n[Install]\nWantedBy=multi-user.target\n"}]}`, "")},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"a unit that hardens", []string{enabling, unit("a", `"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/bin/sh -c 'echo install sctp /bin/false > /etc/modprobe.d/x.conf'\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "may change files about modules"},
		{"a unit that does what the files do", []string{enabling, unit("a", `"name":"x.service","enabled":true,"contents":"[Service]\nExecStart=/bin/sh -c 'echo sctp > /etc/modules-load.d/x.conf'\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"contents that are no URL", []string{object("a", file(empty, "data:,"), file(load, "sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, `contents begin with "data:,"`},
		{"fields in the wrong place", []string{`{"kind":"MachineConfig","metadata":{"name":"a","labels":{"` + RoleLabel + `":"worker"}},"spec":{"config":{"ignition":{"version":"3.2.0"}},"storage":{}}}`},
			kmod.AnswerFalse, verdict.OnBootBlocked, "MachineConfig a: spec.storage has no effect"},
		{"an extension", []string{enabling, machineConfig("x", "worker", "", `,"extensions":["usbguard","kernel-devel"]`)}, kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"an empty configuration", []string{enabling, `{"kind":"MachineConfig","metadata":{"name":"b","labels":{"` + RoleLabel + `":"worker"}},"spec":{"config":{},"kernelArguments":["quiet"]}}`},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a file in place of a directory", []string{enabling, object("a", file("/etc/modprobe.d", "data:,"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/etc/modprobe.d: a directory is there"},
		{"a condition about what a host has", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Unit]\nConditionPathExists=/etc/os-release\n[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "only the host may have: /etc/os-release"},
		{"a condition about what no host has", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Unit]\nConditionPathExists=/etc/never\n[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"a condition about what is delivered", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Unit]\nConditionFileIsExecutable=/usr/sbin/modprobe\n[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a condition about an argument that a host has", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Unit]\nConditionKernelCommandLine=ignition.platform.id=metal\n[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "only the host may have: ignition.platform.id=metal"},
		{"a condition about an argument that no host has", []string{unit("a", `"name":"sctp.service","enabled":true,"contents":"[Unit]\nConditionKernelCommandLine=never\n[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerFalse, verdict.OnBootBlocked, ""},
		{"a condition that changes nothing", []string{enabling, unit("a", `"name":"x.service","enabled":true,"contents":"[Unit]\nConditionPathIsDirectory=/usr/lib/x\n[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n"`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a condition of the unit that reads modules-load.d", []string{enabling, unit("m", `"name":"systemd-modules-load.service","dropins":[{"name":"x.conf","contents":"[Unit]\nConditionPathIsDirectory=!/usr/lib/x\n"}]`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "/usr/lib/x"},
		{"a path twice", []string{object("a", file(empty, "data:,"), file(load, "data:,"), file(load, "data:,sctp"))},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "two entries of path " + load},
		{"a path twice, of specification 2", []string{ofVersion2(object("a", file(empty, "data:,"), file(load, "data:,"), file(load, "data:,sctp")))},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
		{"a unit twice", []string{enabling, unit("a", `"name":"x.service","enabled":true},{"name":"x.service","enabled":false`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "two entries of unit x.service"},
		{"a drop-in that systemd does not read", []string{enabling, unit("a", `"name":"x.service","dropins":[{"name":"10-x","contents":"[Service]\nUser=x\n"}]`)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "drop-in 10-x of unit x.service"},
		{"Ignition's kernel arguments, before it has them", []string{object("a", file(empty, "data:,")), machineConfig("args", "worker", `"kernelArguments":{"shouldExist":["modules_load=sctp"]}`, "")},
			kmod.AnswerFalse, verdict.OnBootOnDemand, "MachineConfig args: Ignition's kernelArguments have no effect before version 3.3.0"},
		{"Ignition's kernel arguments", []string{object("a", file(empty, "data:,")), strings.Replace(machineConfig("args", "worker", `"kernelArguments":{"shouldExist":["modules_load=sctp"]}`, ""), "3.2.0", "3.3.0", 1)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "MachineConfig args: only a node's first boot applies Ignition's kernelArguments"},
		{"Ignition's kernel arguments that are taken away, beside the files", []string{strings.Replace(machineConfig("a", "worker", `"kernelArguments":{"shouldNotExist":["quiet"]},"storage":{"files":[`+file(empty, "data:,")+`,`+file(load, "data:,sctp")+`]}`, ""), "3.2.0", "3.3.0", 1)},
			kmod.AnswerUnknown, verdict.OnBootUnknown, "use spec.kernelArguments"},
		{"base64 that nothing names", []string{object("a", file(empty, "data:,")+","+file(load, "data:,c2N0cA=="))},
			kmod.AnswerFalse, verdict.OnBootOnDemand, `the node gets /etc/modules-load.d/sctp-load.conf as the base64 text of "sctp"`},
		{"base64 of base64", []string{object("a", file(empty, "data:,")+","+file(load, "data:;base64,YzJOMGNBPT0="))},
			kmod.AnswerFalse, verdict.OnBootOnDemand, "or it was encoded twice"},
		{"gzip that nothing names", []string{object("a", file(empty, "data:,")+","+file(load, "data:;base64,H4sIAAAAAAAAAytOLikAAKhrRWAEAAAA"))},
			kmod.AnswerFalse, verdict.OnBootOnDemand, `as compressed data: "compression": "gzip" is missing`},
		{"disabled, which does nothing to a unit without [Install]", []string{enabling, unit("m", `"name":"systemd-modules-load.service","enabled":false`)},
			kmod.AnswerTrue, verdict.OnBootLoaded, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Of its own: other processes judge at the same time.
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			var configs []Config
			for _, text := range c.objects {
				more, err := Decode(strings.NewReader(text), "input")
				if err != nil {
					t.Fatal(err)
				}
				configs = append(configs, more...)
			}
			pools := Pools(configs)
			if len(pools) != 1 || pools[0].Role != "worker" {
				t.Fatalf("pools %+v", pools)
			}
			e, err := Judge(context.Background(), pools[0], Host{})
			if err != nil {
				t.Fatal(err)
			}
			if e.Enabled != c.enabled || e.OnBoot != c.onBoot {
				t.Errorf("enabled %s, on boot %s; want %s, %s (%s)", e.Enabled, e.OnBoot, c.enabled, c.onBoot, e.Why())
			}
			said := e.Why() + "\n" + strings.Join(e.Notes, "\n")
			for _, line := range e.Evidence {
				said += "\n" + line.String()
			}
			if !strings.Contains(said, c.message) {
				t.Errorf("it does not say %q, but: %s", c.message, said)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestIgnitionAlone: all of a plain Ignition configuration is for a node's first boot.
func TestIgnitionAlone(t *testing.T) {
	configs, err := Decode(strings.NewReader(`{"ignition":{"version":"3.4.0"},"kernelArguments":{"shouldExist":["modules_load=sctp"]},
		"storage":{"links":[{"path":"`+verdict.VendorBlacklist+`","target":"/dev/null","overwrite":true}]}}`), "input")
	if err != nil {
		t.Fatal(err)
	}
	if got := enabledBy(t, configs); got != " true" {
		t.Errorf("got %s", got)
	}
}

// TestOneMachineConfigDoesAllSteps: on nodes where two hardening files and the
// vendor's stop sctp, the one MachineConfig made of the remedies enables it.
func TestOneMachineConfigDoesAllSteps(t *testing.T) {
	lines := []kmod.Evidence{
		{File: verdict.VendorBlacklist, Line: 6, Text: "blacklist sctp", Cause: kmod.CauseBlacklist},
		{File: "/etc/modprobe.d/sctp.conf", Line: 1, Text: "install sctp /bin/false", Cause: kmod.CauseInstall},
		{File: "/etc/modprobe.d/sctp.conf", Line: 2, Text: "blacklist sctp", Cause: kmod.CauseBlacklist},
		{File: "/usr/lib/modprobe.d/CIS.conf", Line: 1, Text: "install sctp /bin/true", Cause: kmod.CauseInstall},
	}
	stopped := kmod.Decision{Allowed: kmod.AnswerFalse, Cause: kmod.CauseInstall, Evidence: lines}
	report := verdict.Judge(verdict.Facts{Inspection: &kmod.Inspection{
		Module: "sctp", State: kmod.StateLoadable, Userland: kmod.Userland{ID: "rhcos"},
		ByName: stopped, Autoload: stopped, AutoloadIPv6: stopped, BootLoad: kmod.BootLoad{Requested: kmod.AnswerFalse, Decision: stopped},
	}})
	hardening := object("75-hardening", file("/etc/modprobe.d/sctp.conf", "data:,"+url.PathEscape("install sctp /bin/false\nblacklist sctp\n")),
		file("/etc/modprobe.d/CIS.conf", "data:,"+url.PathEscape("install sctp /bin/true\n")))
	for name, c := range map[string]struct {
		files []File
		want  kmod.Answer
	}{
		"the documented files alone": {Files(false), kmod.AnswerFalse},
		"made of the remedies":       {FilesOf(report), kmod.AnswerTrue},
	} {
		var b bytes.Buffer
		if err := Write(&b, []string{"worker"}, c.files); err != nil {
			t.Fatal(err)
		}
		var configs []Config
		for _, text := range []string{hardening, b.String()} {
			more, err := Decode(strings.NewReader(text), name)
			if err != nil {
				t.Fatal(err)
			}
			configs = append(configs, more...)
		}
		e, err := Judge(context.Background(), Pools(configs)[0], Host{})
		if err != nil {
			t.Fatal(err)
		}
		if e.Enabled != c.want {
			t.Errorf("%s: enabled %s, want %s (%s)\n%s", name, e.Enabled, c.want, e.Why(), b.String())
		}
	}
	last := report.Remedies[len(report.Remedies)-1]
	if want := "kubectl sctp machineconfig --role worker --empty /etc/modprobe.d/sctp.conf --empty /etc/modprobe.d/CIS.conf | oc apply -f -"; last.Command != want {
		t.Errorf("the command is %s, want %s", last.Command, want)
	}
	report.Remedies = report.Remedies[:len(report.Remedies)-1]
	if files := FilesOf(report); files != nil {
		t.Errorf("no MachineConfig was asked for, and there is %v", files)
	}
}

// TestEmpty: only names that need no quotes, of files that modprobe reads.
func TestEmpty(t *testing.T) {
	if f, err := Empty("/etc/modprobe.d/75-CIS_sctp@x+y.conf"); err != nil || f.Path != "/etc/modprobe.d/75-CIS_sctp@x+y.conf" || f.Contents != "" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, bad := range []string{"", "sctp.conf", "/etc/shadow", "/etc/modprobe.d/", "/etc/modprobe.d/..", "/etc/modprobe.d/../shadow", "/etc/modprobe.d/a/b.conf",
		"/etc/modprobe.d/a b.conf", "/etc/modprobe.d/a\nmode: 7.conf", "/etc/modprobe.d/$(x).conf", "/etc/modprobe.d/é.conf"} {
		if f, err := Empty(bad); err == nil {
			t.Errorf("%q is accepted: %+v", bad, f)
		}
	}
}

func printedOnce() string {
	var b bytes.Buffer
	if err := Write(&b, []string{"worker"}, Files(true)); err != nil {
		panic(err)
	}
	return b.String()
}

// The master pool gets nothing of the workers'; a custom pool gets all of it.
func TestPools(t *testing.T) {
	stream := documented + "\n" + machineConfig("infra-stig", "infra",
		`"storage":{"files":[`+file("/etc/modprobe.d/zz.conf", "data:,"+url.PathEscape("install sctp /bin/false"))+`]}`, "") +
		"\n" + machineConfig("master-motd", "master", "", "")
	configs, err := Decode(strings.NewReader(stream), "stream")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]kmod.Answer{}
	for _, p := range Pools(configs, "edge", "worker") {
		e, err := Judge(context.Background(), p, Host{})
		if err != nil {
			t.Fatal(err)
		}
		got[p.Role] = e.Enabled
	}
	want := map[string]kmod.Answer{"worker": kmod.AnswerTrue, "infra": kmod.AnswerFalse, "master": kmod.AnswerFalse, "edge": kmod.AnswerTrue}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestMerge: configurations are merged as the machine-config-operator does: the
// workers' before a custom pool's own, each by name, and what one does not set
// stays as an earlier one has it.
func TestMerge(t *testing.T) {
	const load = verdict.LoadRequest
	enabling := []string{file(verdict.VendorBlacklist, "data:,"), file(load, "data:,sctp")}
	files := func(name, role string, files ...string) string {
		return machineConfig(name, role, `"storage":{"files":[`+strings.Join(files, ",")+`]}`, "")
	}
	const service = `"name":"sctp.service","contents":"[Service]\nExecStart=/usr/sbin/modprobe sctp\n[Install]\nWantedBy=multi-user.target\n","enabled":true`
	dropIn := func(contents string) string {
		return `"name":"kubelet.service","dropins":[{"name":"a.conf"` + contents + `}]`
	}
	modprobe := dropIn(`,"contents":"[Service]\nExecStartPre=/usr/sbin/modprobe sctp\n"`)
	for _, tc := range []struct {
		name    string
		objects []string
		want    string
	}{
		{"a custom pool's own file", []string{files("99-w", "worker", file(verdict.VendorBlacklist, "data:,"), file(load, "data:,")), files("50-i", "infra", file(load, "data:,sctp"))}, "infra true, worker false"},
		{"a custom pool's own file that asks for nothing", []string{files("99-w", "worker", enabling...), files("50-i", "infra", file(load, "data:,"))}, "infra false, worker true"},
		{"a custom pool's own kernel argument", []string{files("99-w", "worker", enabling...), machineConfig("99-x", "worker", "", `,"kernelArguments":["module_blacklist=sctp"]`),
			machineConfig("50-i", "infra", "", `,"kernelArguments":["module_blacklist=dccp"]`)}, "infra true, worker false"},
		{"pools that are not custom", []string{files("99-w", "worker", enabling...), files("00-a", "arbiter"), files("00-m", "master")}, "arbiter false, master false, worker true"},
		{"a later file without contents", []string{files("a", "worker", enabling...), files("b", "worker", `{"path":"`+load+`","mode":384,"contents":{}}`)}, "worker true"},
		{"a later file without contents, of what was not read", []string{files("a", "worker", enabling[0], file(load, "https://example.com")), files("b", "worker", `{"path":"`+load+`"}`)}, "worker unknown"},
		{"a later file with none", []string{files("a", "worker", enabling...), files("b", "worker", file(load, ""))}, "worker unknown"},
		{"a later file that is empty", []string{files("a", "worker", enabling...), files("b", "worker", file(load, "data:,"))}, "worker false"},
		{"an empty source that is replaced", []string{files("a", "worker", file(load, "")), files("b", "worker", enabling...)}, "worker true"},
		{"a unit that is emptied", []string{unit("a", service), unit("b", `"name":"sctp.service","contents":""`)}, "worker false"},
		{"a unit that is only named again", []string{unit("a", service), unit("b", `"name":"sctp.service"`)}, "worker true"},
		{"a unit that is disabled", []string{unit("a", service), unit("b", `"name":"sctp.service","enabled":false`)}, "worker false"},
		{"a drop-in that is emptied", []string{unit("a", modprobe), unit("b", dropIn(`,"contents":""`))}, "worker false"},
		{"a drop-in that is only named again", []string{unit("a", modprobe), unit("b", dropIn(""))}, "worker true"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			configs, err := Decode(strings.NewReader(strings.Join(tc.objects, "\n")), "input")
			if err != nil {
				t.Fatal(err)
			}
			if got := enabledBy(t, configs); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// enabledBy is the answer for each pool, as text.
func enabledBy(t *testing.T, configs []Config) string {
	t.Helper()
	var got []string
	for _, p := range Pools(configs) {
		e, err := Judge(t.Context(), p, Host{})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Role+" "+string(e.Enabled))
	}
	return strings.Join(got, ", ")
}

// TestBrokenConfig: a MachineConfig that cannot be decoded makes its own pool
// unknown, and says which one it is; the others are judged.
func TestBrokenConfig(t *testing.T) {
	for _, broken := range []string{
		machineConfig("broken", "master", `"storage":{"files":[{"path":7}]}`, ""),
		machineConfig("broken", "master", `"systemd":{"units":[{"name":"a","enabled":"yes"}]}`, ""),
		machineConfig("broken", "master", "", `,"kernelArguments":"quiet"`),
		`{"kind":"MachineConfig","metadata":{"name":"broken","labels":{"` + RoleLabel + `":"master"}},"spec":{"config":"text"}}`,
		`{"kind":"MachineConfig","metadata":{"name":"broken","labels":{"` + RoleLabel + `":"master"}},"spec":[]}`,
		strings.Replace(rendered("broken", "master"), `"files":[]`, `"files":[{"path":7}]`, 1),
	} {
		configs, err := Decode(strings.NewReader(`{"kind":"List","items":[`+broken+","+documented+`]}`), "input")
		if err != nil {
			t.Errorf("%s: %v", broken, err)
			continue
		}
		if got := enabledBy(t, configs); got != "master unknown, worker true" {
			t.Errorf("%s: got %s", broken, got)
		}
		for _, p := range Pools(configs) {
			if e, err := Judge(t.Context(), p, Host{}); err != nil || p.Role == "master" && !strings.Contains(e.Why(), "MachineConfig broken") {
				t.Errorf("%s: the configuration is not named: %s, %v", broken, e.Why(), err)
			}
		}
		if _, err := Decode(strings.NewReader(broken), "input"); err == nil || !strings.Contains(err.Error(), "MachineConfig broken") {
			t.Errorf("%s: alone it is no error that names it, but %v", broken, err)
		}
	}
}

func TestDecode(t *testing.T) {
	list := `{"kind":"List","items":[` + documented + `,{"kind":"ConfigMap","metadata":{"name":"x"}}]}`
	plain := `{"ignition":{"version":"3.2.0"},"storage":{"files":[]}}`
	for name, c := range map[string]struct {
		text  string
		names []string
		err   string
	}{
		"json":               {documented, []string{"load-sctp-module"}, ""},
		"yaml, two":          {"---\n" + printedOnce() + "---\n\n---\n" + printedOnce(), []string{"99-worker-load-sctp", "99-worker-load-sctp"}, ""},
		"a list":             {list, []string{"load-sctp-module"}, ""},
		"a list of its kind": {`{"kind":"MachineConfigList","items":[` + strings.Replace(documented, `"kind":"MachineConfig",`, "", 1) + `]}`, []string{"load-sctp-module"}, ""},
		"an array":           {"[" + documented + "]", []string{"load-sctp-module"}, ""},
		"other shapes": {`{"kind":"List","items":[{"kind":"A","spec":"text","items":{}},{"kind":"B","spec":{"kernelArguments":"x","config":7}},{"metadata":{"labels":[]}},` + documented + `]}`,
			[]string{"load-sctp-module"}, ""},
		"other documents":      {"just text\n---\n7\n---\n" + documented, []string{"load-sctp-module"}, ""},
		"an ignition file":     {plain, []string{"input"}, ""},
		"nothing":              {"", nil, "input: no MachineConfig and no Ignition configuration in it: it has no objects"},
		"a list cut short":     {documented + "\n---\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: MachineConfig\n  metadata:\n    name: a\n", nil, "input: document 2: a list without its kind: the input may be cut short"},
		"a kustomization":      {"resources:\n- mc.yaml\n", nil, "input: " + ErrNoConfig.Error()},
		"cut before its kind":  {"apiVersion: machineconfiguration.openshift.io/v1\n", nil, "it has no objects"},
		"an empty list":        {"kind: List\nitems: []\n", nil, "it has no objects"},
		"another kind":         {"kind: Pod\n", nil, ErrNoConfig.Error()},
		"not yaml":             {"\t: {{{", nil, "document 1"},
		"in a ConfigMap":       {"kind: ConfigMap\ndata:\n  config: |\n    kind: MachineConfig\n    metadata:\n", nil, "ConfigMap: a MachineConfig in it is not looked into"},
		"JSON in one":          {`{"kind":"ConfigMap","data":{"config":"{\"kind\": \"MachineConfig\"}"}}`, nil, "not looked into"},
		"in a policy":          {`{"kind":"Policy","spec":{"x":[{"objectDefinition":{"kind":"MachineConfig"}}]}}`, nil, "Policy: a MachineConfig in it"},
		"in a template":        {`{"kind":"Template","metadata":{"name":"a"},"objects":[{"kind":"MachineConfig"}]}`, nil, `Template a: a MachineConfig in it is not looked into: give what "oc process" makes`},
		"in a patch":           {"kind: Kustomization\npatches:\n- target:\n    kind: MachineConfig\n", nil, `give what "oc kustomize" makes of it`},
		"its definition":       {`{"kind":"CustomResourceDefinition","spec":{"names":{"kind":"MachineConfig"}}}`, nil, "input: " + ErrNoConfig.Error()},
		"a chart's file":       {"{{- if .Values.sctp }}\nkind: MachineConfig\n{{- end }}\n", nil, "it is a template"},
		"what describe prints": {"Name: a\nLabels: machineconfiguration.openshift.io/role=worker\nKind: MachineConfig\nSpec:\n  Config:\n", nil, "input: " + ErrNoConfig.Error()},
		"its pool":             {`{"kind":"MachineConfigPool","status":{"configuration":{"source":[{"kind":"MachineConfig"}]}}}`, nil, "no MachineConfig"},
		"a pool that selects":  {"kind: MachineConfigPool\nmetadata: {name: a}\nspec: {machineConfigSelector: {matchLabels: {a: b}}}\n", []string{"a"}, ""},
		"another's name":       {"kind: ConfigMap\ndata:\n  config: |\n    kind: MachineConfigPool\n", nil, "no MachineConfig"},
		"of another API":       {"apiVersion: mco.in-cloud.io/v1alpha1\nkind: MachineConfig\nmetadata: {name: a}\n", nil, "input: MachineConfig of mco.in-cloud.io/v1alpha1 is not looked into: it is not of machineconfiguration.openshift.io"},
		"a pool of another":    {"apiVersion: mco.in-cloud.io/v1alpha1\nkind: MachineConfigPool\nmetadata: {name: a}\nspec: {machineConfigSelector: {matchLabels: {a: b}}}\n", nil, "MachineConfigPool of mco.in-cloud.io/v1alpha1"},
		"butane":               {"variant: openshift\nversion: 4.14.0\n", nil, "what butane makes of it"},
		"a scalar":             {"sctp", nil, "not a manifest"},
		"a number as a path":   {`{"kind":"MachineConfig","metadata":{"name":"n"},"spec":{"config":{"storage":{"files":[{"path":7}]}}}}`, nil, "MachineConfig n"},
		"a mode in quotes":     {`{"kind":"MachineConfig","metadata":{"name":"n"},"spec":{"config":{"storage":{"files":[{"mode":"0644"}]}}}}`, nil, "input: MachineConfig n: spec.config: storage.files.mode is of the type string, want number"},
		"a pool's selector":    {`{"kind":"MachineConfigPool","metadata":{"name":"n"},"spec":{"machineConfigSelector":{"matchLabels":["a"]}}}`, nil, "MachineConfigPool n: spec: machineConfigSelector.matchLabels is of the type array, want object"},
		"arguments in a row":   {`{"kind":"MachineConfig","metadata":{"name":"n"},"spec":{"kernelArguments":"quiet"}}`, nil, "spec: kernelArguments: it is of the type string, want array"},
		"a kind in a row":      {"kind: [MachineConfig]\n", nil, "not a manifest: kind: it is of the type array, want string"},
		"lists in lists":       {strings.Repeat(`{"kind":"List","items":[`, 9) + documented + strings.Repeat("]}", 9), nil, "nested"},
	} {
		t.Run(name, func(t *testing.T) {
			configs, err := Decode(strings.NewReader(c.text), "input")
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, config := range configs {
				names = append(names, config.Name)
			}
			if !reflect.DeepEqual(names, c.names) {
				t.Errorf("got %v, want %v", names, c.names)
			}
		})
	}
}

// A MachineConfig of which another program writes the metadata, such as a remediation of
// ComplianceAsCode (shared/templates/kernel_module_disabled), has the name of its source;
// its lines are not the operating system's.
func TestWithoutName(t *testing.T) {
	configs, err := Decode(strings.NewReader(`{"kind":"MachineConfig","spec":{"config":{"ignition":{"version":"3.1.0"},"storage":{"files":[`+
		file("/etc/modprobe.d/sctp.conf", "data:,install%20sctp%20/bin/false%0Ablacklist%20sctp%0A")+`]}}}}`), "remediation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Judge(t.Context(), Pools(configs)[0], Host{})
	if want := "/etc/modprobe.d/sctp.conf:1: install sctp /bin/false (MachineConfig remediation.yaml)"; err != nil || e.Evidence[0].String() != want {
		t.Errorf("%v, %v, want %s", e.Evidence, err, want)
	}
}

// What is passed over beside MachineConfigs is noted, if it has one in it.
func TestDecodeBeside(t *testing.T) {
	configs, err := Decode(strings.NewReader("kind: Tuned\nmetadata: {name: t}\nspec: {profile: [{data: \"[modules]\\nsctp=+r\"}]}\n---\nkind: Tuned\n---\nkind: Policy\nmetadata: {name: sctp, namespace: core}\nspec:\n  policy-templates: [{objectDefinition: {kind: MachineConfig}}]\n---\nkind: Pod\n---\n"+documented), "input")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Judge(t.Context(), Pools(configs)[0], Host{})
	if err != nil || e.Enabled != kmod.AnswerTrue || !slices.Equal(e.Notes, []string{"Tuned t mentions sctp, and is not judged", "Policy core/sctp: a MachineConfig in it is not looked into: give that alone"}) {
		t.Errorf("%s, %q, %v", e.Enabled, e.Notes, err)
	}
}

// A small object must not unfold into a large file.
func TestDecodeBoundsContents(t *testing.T) {
	bomb := `{"path":"` + verdict.LoadRequest + `","contents":{"compression":"gzip","source":"data:;base64,` + zipped(strings.Repeat("#\n", 4<<20)) + `"}}`
	configs, err := Decode(strings.NewReader(object("bomb", bomb)), "input")
	if err != nil {
		t.Fatal(err)
	}
	if len(configs[0].Files) != 0 || len(configs[0].Unread) != 1 || !strings.Contains(configs[0].Unread[0].Err.Error(), "more than") {
		t.Errorf("got %+v", configs[0].Unread)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(printedOnce()))
	f.Add([]byte(`{"kind":"List","items":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		configs, err := Decode(bytes.NewReader(text), "input")
		if err == nil && len(configs) == 0 {
			t.Error("neither a configuration nor an error")
		}
	})
}

// rendered is a MachineConfig as the operator renders it for a pool.
func rendered(name, pool string, files ...string) string {
	return fmt.Sprintf(`{"kind":"MachineConfig","metadata":{"name":%q,"annotations":{"machineconfiguration.openshift.io/generated-by-controller-version":"v4.16"},
"ownerReferences":[{"apiVersion":%q,"kind":"MachineConfigPool","name":%q,"controller":true,"blockOwnerDeletion":true}]},
"spec":{"osImageURL":"quay.io/openshift-release-dev/x@sha256:00","config":{"ignition":{"version":"3.4.0"},"storage":{"files":[%s]}}}}`, name, APIVersion, pool, strings.Join(files, ","))
}

// TestRendered: "oc get machineconfig -o yaml" prints what the operator has
// rendered beside its sources, for every pool and every change there was.
// A MachineConfigPool takes what it selects (label selectors of the API, and
// getMachineConfigsForPool of the machine-config-operator), whatever the names say.
func TestSelectors(t *testing.T) {
	labelled := func(labels string) string {
		return strings.Replace(documented, `"`+RoleLabel+`":"worker"`, labels, 1)
	}
	role := func(name string) string { return labelled(`"` + RoleLabel + `":"` + name + `"`) }
	pool := func(name, selector string) string {
		return `{"kind":"MachineConfigPool","metadata":{"name":"` + name + `"},"spec":{"machineConfigSelector":{` + selector + `}}}`
	}
	roles := func(operator, values string) string {
		return `"matchExpressions":[{"key":"` + RoleLabel + `","operator":"` + operator + `","values":[` + values + `]}]`
	}
	worker, motd := pool("worker", `"matchLabels":{"`+RoleLabel+`":"worker"}`), machineConfig("00-worker", "worker", "", "")
	for name, c := range map[string]struct {
		objects []string
		want    string
	}{
		"no pool":                              {[]string{role("rt"), motd}, "rt true, worker false"},
		"as documented":                        {[]string{pool("rt", roles("In", `"worker","rt"`)), role("rt"), motd}, "rt true, worker false"},
		"a custom pool inherits":               {[]string{pool("rt", roles("In", `"worker","rt"`)), role("worker"), worker}, "rt true, worker true"},
		"one that does not":                    {[]string{pool("rt", `"matchLabels":{"`+RoleLabel+`":"rt"}`), role("worker"), machineConfig("motd", "rt", "", "")}, "rt false, worker true"},
		"by a role of another name":            {[]string{pool("rt", roles("In", `"worker","rt","telco"`)), role("telco"), motd}, "rt true, worker false"},
		"that is a pool, too":                  {[]string{pool("rt", roles("In", `"worker","rt","telco"`)), pool("telco", roles("In", `"telco"`)), role("telco"), motd}, "rt true, telco true, worker false"},
		"the masters' too":                     {[]string{pool("rt", roles("In", `"master","worker","rt"`)), role("master"), motd}, "master true, rt true, worker false"},
		"by another label":                     {[]string{pool("rt", `"matchLabels":{"sctp":"yes"}`), labelled(`"sctp":"yes"`), motd}, "rt true, worker false"},
		"by another value":                     {[]string{pool("rt", `"matchLabels":{"sctp":"no"}`), labelled(`"sctp":"yes"`), motd}, " unknown, worker false"},
		"all but the masters'":                 {[]string{pool("rt", roles("NotIn", `"master"`)), role("worker")}, "rt true, worker true"},
		"all but the workers'":                 {[]string{pool("rt", roles("NotIn", `"worker"`)), role("worker"), machineConfig("a", "rt", "", "")}, "rt false, worker true"},
		"those that have a label":              {[]string{pool("rt", roles("Exists", "")), role("worker")}, "rt true, worker true"},
		"those that have not":                  {[]string{pool("rt", roles("DoesNotExist", "")), labelled(`"sctp":"yes"`)}, "rt true"},
		"a pool that is patched":               {[]string{`{"kind":"MachineConfigPool","metadata":{"name":"worker"},"spec":{"paused":true}}`, role("worker")}, "worker true"},
		"a list of pools":                      {[]string{`{"kind":"MachineConfigPoolList","items":[` + strings.Replace(pool("rt", roles("In", `"worker","telco"`)), `"kind":"MachineConfigPool",`, "", 1) + `]}`, role("telco")}, "rt true"},
		"pools alone":                          {[]string{worker}, ""},
		"a MachineConfig that no pool takes":   {[]string{labelled(`"sctp":"yes"`)}, " unknown"},
		"one that has no labels, and does not": {[]string{`{"kind":"MachineConfig","metadata":{"name":"a"},"spec":{"kernelArguments":["quiet"]}}`}, " false"},
		"what a rendered one is made from":     {[]string{pool("rt", roles("In", `"worker","telco"`)), role("telco"), rendered("rendered-rt-1", "rt", file(verdict.VendorBlacklist, "data:,"), file(verdict.LoadRequest, "data:,sctp"))}, "rt true"},
	} {
		t.Run(name, func(t *testing.T) {
			configs, err := Decode(strings.NewReader(strings.Join(c.objects, "\n")), "stream")
			if err != nil {
				t.Fatal(err)
			}
			if got := enabledBy(t, configs); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRendered(t *testing.T) {
	enabling := []string{file(verdict.VendorBlacklist, "data:,"), file(verdict.LoadRequest, "data:,sctp")}
	old, now := rendered("rendered-worker-1", "worker"), rendered("rendered-worker-2", "worker", enabling...)
	masters, infra := rendered("rendered-master-1", "master"), rendered("rendered-infra-1", "infra", enabling...)
	sources := []string{documented, machineConfig("00-master", "master", "", "")}
	hash := strings.Repeat("0a", 16)
	unowned := func(object string) string {
		return strings.NewReplacer("ownerReferences", "other", "-1", "-"+hash).Replace(object)
	}
	for _, tc := range []struct {
		name    string
		objects []string
		want    []string
	}{
		{"beside their sources", append(sources, old, now, masters), []string{"master: 00-master false", "worker: load-sctp-module true"}},
		{"of a custom pool that has the workers' only", append(sources, now, infra), []string{"infra: load-sctp-module true", "master: 00-master false", "worker: load-sctp-module true"}},
		{"alone, each by itself", []string{old, now, masters}, []string{"master: rendered-master-1 false", "worker: rendered-worker-1 false", "worker: rendered-worker-2 true"}},
		{"copied without their owner, alone", []string{unowned(old), unowned(masters)}, []string{"master: rendered-master-" + hash + " false", "worker: rendered-worker-" + hash + " false"}},
		{"copied without their owner, beside their sources", append(sources, unowned(old), unowned(masters)), []string{"master: 00-master false", "worker: load-sctp-module true"}},
		{"of one pool alone, beside another's sources", []string{machineConfig("00-master", "master", "", ""), now}, []string{"master: 00-master false", "worker: rendered-worker-2 true"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list := `{"apiVersion":"v1","kind":"List","items":[` + strings.Join(tc.objects, ",") + `]}`
			configs, err := Decode(strings.NewReader(list), "oc get machineconfig")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range Pools(configs) {
				e, err := Judge(t.Context(), p, Host{})
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%s: %s %s", e.Role, strings.Join(e.Configs, " "), e.Enabled))
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestInstalledWith: what all rendered configurations of a pool have, its nodes were
// installed with; the operator does not take it later.
func TestInstalledWith(t *testing.T) {
	linked := machineConfig("a", "worker", `"storage":{"files":[`+file(verdict.VendorBlacklist, "data:,")+`,`+file(verdict.LoadRequest, "data:,sctp")+`],"links":[{"path":"/etc/localtime","target":"x"}]}`, "")
	with := func(name string) string {
		return rendered(name, "worker", file(verdict.VendorBlacklist, "data:,"), file(verdict.LoadRequest, "data:,sctp")+`],"links":[{"path":"/etc/localtime","target":"x"}`)
	}
	without := rendered("rendered-worker-0", "worker")
	for name, c := range map[string]struct {
		objects []string
		want    string
	}{
		"alone":                     {[]string{linked}, "worker unknown"},
		"all rendered have it":      {[]string{linked, with("rendered-worker-1"), with("rendered-worker-2")}, "worker true"},
		"one does not have it":      {[]string{linked, with("rendered-worker-1"), without}, "worker unknown"},
		"another pool's has it":     {[]string{linked, strings.ReplaceAll(with("rendered-worker-1"), "worker", "infra")}, "infra true, worker unknown"},
		"a rendered one of its own": {[]string{with("rendered-worker-1")}, "worker true"},
	} {
		configs, err := Decode(strings.NewReader(strings.Join(c.objects, "\n")), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := enabledBy(t, configs); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestLeftOut: a rendered configuration that other MachineConfigs of its pool keep
// from being judged is named, if it has more than they have: what the pool has is
// not known then.
func TestLeftOut(t *testing.T) {
	hardened := rendered("rendered-worker-1", "worker", file("/etc/modprobe.d/stig.conf", "data:,install%20sctp%20/bin/false"))
	covered := rendered("rendered-worker-2", "worker", file(verdict.LoadRequest, "data:,sctp"), file("/etc/motd", "data:,"))
	more := func() string { return rendered("rendered-worker-1", "worker") }
	for name, c := range map[string]struct {
		objects []string
		want    bool
	}{
		"more than the others": {[]string{hardened, documented}, true},
		"what the others have": {[]string{covered, documented}, false},
		"an argument more":     {[]string{strings.Replace(more(), `"config":`, `"kernelArguments":["module_blacklist=sctp"],"config":`, 1), documented}, true},
		"a unit more":          {[]string{strings.Replace(more(), `"storage":`, `"systemd":{"units":[{"name":"systemd-modules-load.service","mask":true}]},"storage":`, 1), documented}, true},
		"a link more":          {[]string{strings.Replace(more(), `"storage":{`, `"storage":{"links":[{"path":"/etc/modprobe.d/x.conf","target":"/opt/x"}],`, 1), documented}, true},
		"an old one has more":  {[]string{hardened, covered, documented}, false},
		"alone":                {[]string{hardened}, false},
	} {
		configs, err := Decode(strings.NewReader(strings.Join(c.objects, "\n")), name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Judge(t.Context(), Pools(configs)[0], Host{})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(e.Notes, func(note string) bool { return strings.Contains(note, "osImageURL") }) {
			t.Errorf("%s: the release's image is noted: %q", name, e.Notes)
		}
		if got := strings.Contains(strings.Join(e.Notes, "\n"), "rendered-worker-1 was left out"); got != c.want {
			t.Errorf("%s: noted %t, want %t: %q", name, got, c.want, e.Notes)
		}
		if (e.Enabled == kmod.AnswerUnknown) != c.want {
			t.Errorf("%s: %s", name, e.Enabled)
		}
	}
}

// TestEveryConfigIsNamed: of several MachineConfigs that stop the load each is
// named with its line or argument.
func TestEveryConfigIsNamed(t *testing.T) {
	configs, err := Decode(strings.NewReader(documented+
		object("50-cis", file("/etc/modprobe.d/cis.conf", "data:,install%20sctp%20/bin/true%0A"))+
		object("75-stig", file("/etc/modprobe.d/stig.conf", "data:,install%20sctp%20/bin/false%0Ablacklist%20sctp%0A"))+
		machineConfig("80-args", "worker", "", `,"kernelArguments":["quiet","module_blacklist=dccp,sctp"]`)), "input")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Judge(t.Context(), Pools(configs)[0], Host{})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(e.Evidence)
	for _, want := range []string{
		"/etc/modprobe.d/cis.conf:1: install sctp /bin/true (MachineConfig 50-cis)",
		"/etc/modprobe.d/stig.conf:1: install sctp /bin/false (MachineConfig 75-stig)",
		"/etc/modprobe.d/stig.conf:2: blacklist sctp (MachineConfig 75-stig)",
		"/proc/cmdline:1: module_blacklist=dccp,sctp (MachineConfig 80-args)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not named: %s\n%s", want, got)
		}
	}
}

// TestSystemdOfKmod: a pool of RHEL 8 is judged by that release's systemd, which
// ends the command line at a newline; later ones do not.
func TestSystemdOfKmod(t *testing.T) {
	args := machineConfig("args", "worker", "", `,"kernelArguments":["quiet\nmodules_load=sctp"]`)
	configs, err := Decode(strings.NewReader(object("a", file(verdict.VendorBlacklist, "data:,"))+args), "input")
	if err != nil {
		t.Fatal(err)
	}
	for kmodVersion, want := range map[int]kmod.Answer{25: kmod.AnswerFalse, 28: kmod.AnswerTrue, 31: kmod.AnswerTrue} {
		e, err := Judge(t.Context(), Pools(configs)[0], Host{KmodVersion: kmodVersion})
		if err != nil {
			t.Fatal(err)
		}
		if e.Enabled != want {
			t.Errorf("kmod %d: %s, want %s: %s", kmodVersion, e.Enabled, want, e.Why())
		}
	}
}
