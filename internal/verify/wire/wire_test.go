package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// A termination message holds 4096 bytes (kubelet,
// MaxContainerTerminationMessageLength): the results of the largest job must
// fit, and come back as they were.
func TestSayFitsATerminationMessage(t *testing.T) {
	var say Say
	for i := range MaxTargets {
		say.Results = append(say.Results, Result{
			ID: 100_000 + i, Outcome: NetworkDown, Handshake: 5 * time.Second, RTT: 5 * time.Second, Size: MaxMessage, Errno: "EPROTONOSUPPORT", Peer: 10_000 + i,
		})
	}
	say.Results[0].States = map[string]string{"10.0.0.1": "active", "192.168.7.1": "unconfirmed"}
	text, err := Encode("v0.10.0-rc.10-12345-g0123456789ab", say)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 4096 {
		t.Errorf("%d bytes", len(text))
	}
	var got Say
	if err := Decode(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, say) {
		t.Errorf("got %+v\nwant %+v", got, say)
	}
}

func TestResultRefusesOtherShapes(t *testing.T) {
	for _, text := range []string{`[]`, `[1,"ok"]`, `[1,"ok",1,1,1,"",1,1]`, `{}`, `["x","ok",1,1,0,"",1]`} {
		var r Result
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%s is read as %+v", text, r)
		}
	}
}

// A message of another protocol's program is distinguished from what is not a
// message, whatever form its content has.
func TestDecodeOtherProtocols(t *testing.T) {
	for text, want := range map[string]*MismatchError{
		`{"protocol":9,"version":"v9.0.0","content":["new"]}`:    {9, "v9.0.0"},
		`{"protocol":9,"version":"v9.0.0"}`:                      {9, "v9.0.0"},
		`{"results":[[0,"ok",1,1,0,"",1]]}`:                      {0, ""},
		`exec: "/usr/bin/sctp-agent": no such file or directory`: nil,
		``: nil,
		fmt.Sprintf(`{"protocol":%d,"version":"v0.2.0","content":["old"]}`, Protocol): nil,
		fmt.Sprintf(`{"protocol":%d,"version":"v0.2.0"}`, Protocol):                   nil,
	} {
		var say Say
		err := Decode(text, &say)
		var mismatch *MismatchError
		if err == nil || errors.As(err, &mismatch) != (want != nil) || want != nil && *mismatch != *want {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}
