package assess

import "testing"

func TestTypeOf(t *testing.T) {
	for context, want := range map[string]string{
		"system_u:system_r:container_t:s0:c12,c345\x00":             "container_t",
		"system_u:system_r:agent.process:s0:c1,c2\x00":              "agent.process", // of udica
		"system_u:system_r:spc_t:s0\x00":                            "spc_t",
		"unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\x00": "unconfined_t",
		"user_u:user_r:user_t\x00":                                  "user_t", // a policy without levels
		"cri-containerd.apparmor.d (enforce)\n":                     "",
		":lxd_guest://cri-containerd.apparmor.d (enforce)\n":        "",
		"unconfined\n": "",
		"":             "",
	} {
		if got := typeOf(context); got != want {
			t.Errorf("%q: type %q, want %q", context, got, want)
		}
	}
}
