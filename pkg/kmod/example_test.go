package kmod_test

import (
	"context"
	"fmt"
	"log"
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

func ExampleOptions_ConfigDirs() {
	for _, dir := range (kmod.Options{}).ConfigDirs() {
		fmt.Println(dir)
	}
	// Output:
	// /etc/modprobe.d
	// /run/modprobe.d
	// /usr/local/lib/modprobe.d
	// /usr/lib/modprobe.d
	// /lib/modprobe.d
	// /etc/modules-load.d
	// /run/modules-load.d
	// /usr/local/lib/modules-load.d
	// /usr/lib/modules-load.d
	// /lib/modules-load.d
}
