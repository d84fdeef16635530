package agent

import "testing"

// Messages as the kernel sends them (lib/kobject_uevent.c), and others on the
// same socket.
func TestParseModuleEvent(t *testing.T) {
	for _, tt := range []struct {
		msg, action, module string
		ok                  bool
	}{
		{"add@/module/sctp\x00ACTION=add\x00DEVPATH=/module/sctp\x00SUBSYSTEM=module\x00SEQNUM=1\x00", "add", "sctp", true},
		{"remove@/module/sctp_diag\x00ACTION=remove\x00", "remove", "sctp_diag", true},
		{"add@/module/sctp/drivers\x00", "", "", false},
		{"add@/module/\x00", "", "", false},
		{"add@/devices/virtual/net/veth0\x00ACTION=add\x00X=add@/module/sctp\x00", "", "", false},
		{"libudev\x00\xfe\xed\xca\xfe", "", "", false},
		{"", "", "", false},
	} {
		action, module, ok := parseModuleEvent([]byte(tt.msg))
		if action != tt.action || module != tt.module || ok != tt.ok {
			t.Errorf("%q: %q %q %v", tt.msg, action, module, ok)
		}
	}
}

// The filter is accepted by the kernel, and the socket hears nothing but
// modules. (That it does hear modules is proved in a guest: this kernel may
// have none.)
func TestModuleFilterLoads(t *testing.T) {
	ctx := t.Context()
	fired := make(chan string, 1)
	done := make(chan error, 1)
	go func() { done <- ModuleEvents{Modules: []string{"sctp"}}.Run(ctx, func(why string) { fired <- why }) }()
	select {
	case <-fired:
	case err := <-done:
		t.Fatal(err)
	}
}
