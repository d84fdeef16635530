package peer

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

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
		if (err == nil) != want || want && c.In != 71 {
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
	patient, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if c, err := counters(patient, address, turnPath); err != nil || c.In != 3 {
		t.Errorf("after the first has gone: %+v, %v", c, err)
	}
}

// This kernel may have no SCTP: then nothing may be opened, and the result is that
// of a missing module.
func TestWithoutSCTP(t *testing.T) {
	if protocols, err := os.ReadFile("/proc/net/protocols"); err != nil {
		t.Fatal(err)
	} else if bytes.Contains(protocols, []byte("\nSCTP ")) {
		t.Skip("this kernel has SCTP")
	}
	if say, ok := registered(); ok || say.Fault != wire.ModuleMissing {
		t.Errorf("registered: %+v, %v", say, ok)
	}
	if say := Dial(t.Context(), wire.Job{Targets: []wire.Target{{Address: "127.0.0.1:1"}}}); say.Fault != wire.ModuleMissing || say.Results != nil {
		t.Errorf("dial: %+v", say)
	}
	if say := Listen(t.Context(), wire.Listener{Ports: []int{1}, Control: "127.0.0.1:0"}); say.Fault != wire.ModuleMissing {
		t.Errorf("listen: %+v", say)
	}
	if _, err := os.Stat("/sys/module/sctp"); err == nil {
		t.Error("the module was loaded")
	}
}
