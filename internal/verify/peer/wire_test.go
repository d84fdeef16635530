package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A termination message holds 4096 bytes (kubelet,
// MaxContainerTerminationMessageLength): the results of the largest job must
// fit, and come back as they were.
func TestSayFitsATerminationMessage(t *testing.T) {
	var say Say
	for i := range MaxTargets {
		say.Results = append(say.Results, Result{
			ID: 1000 + i, Outcome: NetworkDown, Handshake: 5 * time.Second, RTT: 5 * time.Second, Size: MaxMessage, Errno: "EPROTONOSUPPORT", Peer: 100 + i,
		})
	}
	text, err := json.Marshal(say)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 4096 {
		t.Errorf("%d bytes", len(text))
	}
	var got Say
	if err := json.Unmarshal(text, &got); err != nil {
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

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Outcome
	}{
		{os.ErrDeadlineExceeded, Dropped},
		{os.NewSyscallError("connect", unix.ETIMEDOUT), Dropped},
		{os.NewSyscallError("connect", unix.ECONNREFUSED), Refused},
		{os.NewSyscallError("receive", unix.ECONNRESET), Refused},
		{os.NewSyscallError("connect", unix.EHOSTUNREACH), NoRoute},
		{os.NewSyscallError("connect", unix.ENETUNREACH), NoRoute},
		// An ICMP answer and a local refusal have the same number.
		{os.NewSyscallError("connect", unix.EACCES), NoRoute},
		{os.NewSyscallError("socket", unix.EACCES), Denied},
		{os.NewSyscallError("socket", unix.EPERM), Denied},
		{os.NewSyscallError("socket", unix.EPROTONOSUPPORT), ModuleMissing},
		{os.NewSyscallError("socket", unix.ESOCKTNOSUPPORT), ModuleMissing},
		{os.NewSyscallError("socket", unix.EMFILE), Unknown},
		{io.EOF, Lost},
		{errors.New("something else altogether, told in many words"), Unknown},
		{fmt.Errorf("wrapped: %w", os.NewSyscallError("connect", unix.ECONNREFUSED)), Refused},
	} {
		if got, name := classify(c.err); got != c.want || name == "" || len(name) > 40 {
			t.Errorf("%v: %s (%q), want %s", c.err, got, name, c.want)
		}
	}
}

func TestReadCounters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snmp")
	for text, want := range map[string]bool{
		"SctpCurrEstab                   \t0\nSctpOutSCTPPacks                \t70\nSctpInSCTPPacks                 \t71\n": true,
		"SctpOutSCTPPacks 1\n": false, "": false, "SctpInSCTPPacks x\nSctpOutSCTPPacks 1\n": false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readCounters(path)
		if (err == nil) != want || want && (c.In != 71 || c.Out != 70) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

// One client has its turn, and the next one when that has gone.
func TestTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snmp")
	write := func(in int) {
		text := fmt.Sprintf("SctpOutSCTPPacks 70\nSctpInSCTPPacks %d\n", in)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	server := httptest.NewServer(newControlServer(path))
	defer server.Close()
	address := server.Listener.Addr().String()

	first, leave := context.WithCancel(t.Context())
	defer leave()
	if c, err := counters(first, address, turnPath); err != nil || c.In != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if c, err := counters(impatient, address, turnPath); err == nil {
		t.Errorf("a second one had its turn meanwhile: %+v", c)
	}
	write(2)
	// Asking without a turn is always possible.
	if c, err := counters(t.Context(), address, countersPath); err != nil || c.In != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	write(3)
	leave()
	patient, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if c, err := counters(patient, address, turnPath); err != nil || c.In != 3 {
		t.Errorf("after the first has gone: %+v, %v", c, err)
	}
}

// This kernel may have no SCTP: then nothing may be opened, and the word is
// that of a missing module.
func TestWithoutSCTP(t *testing.T) {
	if say, ok := registered(); ok || say.Fault != ModuleMissing {
		t.Skipf("this kernel has SCTP, or does not tell: %+v", say)
	}
	if say := Dial(t.Context(), Job{Targets: []Target{{Address: "127.0.0.1:1"}}}); say.Fault != ModuleMissing || say.Results != nil {
		t.Errorf("dial: %+v", say)
	}
	if say := Listen(t.Context(), ListenConfig{Ports: []int{1}, Control: "127.0.0.1:0"}); say.Fault != ModuleMissing {
		t.Errorf("listen: %+v", say)
	}
	if _, err := os.Stat("/sys/module/sctp"); err == nil {
		t.Error("the module was loaded")
	}
}
