package kmod_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"testing/fstest"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// What stops SCTP on this host when a program asks for it?
func ExampleInspect() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ins, err := kmod.Inspect(ctx, kmod.Options{}, kmod.SCTP())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("module:", ins.State)
	fmt.Println("a program's socket call would load it:", ins.Autoload.Allowed)
	for _, e := range ins.Autoload.Evidence {
		fmt.Printf("%s:%d: %s (%s)\n", e.File, e.Line, e.Text, e.Effect)
	}
}

// A tree in memory, as of an image or an archive: nothing of the machine on which
// this runs takes part. The kernel's view is in the tree, too.
func ExampleInspect_fileSystem() {
	host := fstest.MapFS{
		"proc/cmdline":                      {Data: []byte("quiet\n")},
		"lib":                               {Data: []byte("usr/lib"), Mode: fs.ModeSymlink},
		"usr/lib/modules/6.1.0/modules.dep": {},
		"etc/modprobe.d/hardening.conf":     {Data: []byte("# CIS 3.2.4\ninstall sctp /bin/false\nblacklist sctp\n")},
		"bin/false":                         {Mode: 0o755},
	}
	ins, err := kmod.Inspect(context.Background(), kmod.Options{FS: host, KernelRelease: "6.1.0", KmodVersion: 30, SystemdVersion: 252}, kmod.SCTP())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("modprobe sctp:", ins.ByName.Allowed)
	for _, e := range ins.ByName.Evidence {
		fmt.Printf("%s (%s)\n", e, e.Cause)
	}
	// Output:
	// modprobe sctp: false
	// /lib/modules/6.1.0/modules.dep.bin: is not there: this kernel has no index of modules (depmod), or no modules (missing)
	// /etc/modprobe.d/hardening.conf:2: install sctp /bin/false (install)
}

// Another module, on a host whose root is mounted at /host: the module behind
// DCCP sockets, which asks for "net-pf-2-proto-33".
func ExampleInspect_anotherModule() {
	dccp := kmod.Module{
		Name:         "dccp_ipv4",
		Autoload:     []string{"net-pf-2-proto-33-type-6", "net-pf-2-proto-33"},
		AutoloadIPv6: []string{"net-pf-10-proto-33-type-6", "net-pf-10-proto-33"},
	}
	ins, err := kmod.Inspect(context.Background(), kmod.Options{Root: "/host"}, dccp)
	if err != nil {
		log.Fatal(err)
	}
	if ins.BootLoad.Requested == kmod.AnswerTrue && ins.BootLoad.Allowed == kmod.AnswerFalse {
		stop, ask := ins.BootLoad.Evidence[0], ins.BootLoad.RequestedBy[0]
		fmt.Printf("%s:%d asks for it at boot, %s:%d stops it\n", ask.File, ask.Line, stop.File, stop.Line)
	}
}

// The same host under the rules of another version of kmod, say before an
// upgrade.
func ExampleOptions_kmodVersion() {
	for _, version := range []int{28, 31} {
		ins, err := kmod.Inspect(context.Background(), kmod.Options{Root: "/host", KmodVersion: version}, kmod.SCTP())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("kmod", version, "autoload", ins.Autoload.Allowed)
	}
}

// What to watch to know when the answers may have changed.
func ExampleOptions_looked() {
	_, err := kmod.Inspect(context.Background(), kmod.Options{Root: "/host", Looked: func(at kmod.Looked) {
		for _, dir := range at.Lists {
			fmt.Println(dir)
		}
	}}, kmod.SCTP())
	if err != nil {
		log.Fatal(err)
	}
}
