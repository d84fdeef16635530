package wire_test

import (
	"bytes"
	"encoding/gob"
	"os"
	"reflect"
	"testing"

	"github.com/sctp-agent/sctp-agent/test/guest/internal/wire"
)

// A request has the same one field set when it arrives, also an empty one: gob
// leaves out zero values.
func TestRequestsSurvive(t *testing.T) {
	for name, req := range map[string]wire.Request{
		"hello": {Hello: &wire.Hello{}},
		"exec":  {Exec: &wire.Exec{Path: "/bin/true"}},
		"put":   {Put: &wire.File{Path: "/a", Mode: os.ModeNamedPipe | 0o600}},
		"get":   {Get: "/a"},
		"save":  {Save: []string{"/etc"}},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			if err := gob.NewEncoder(&buf).Encode(req); err != nil {
				t.Fatal(err)
			}
			var got wire.Request
			if err := gob.NewDecoder(&buf).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, req) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestOnlyInAGuest(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if name != "gotest" {
		t.Skipf("on %s, not in the guest of test/guest's TestRunGoTest", name)
	}
	if os.Geteuid() != 0 {
		t.Error("not root")
	}
}
