package kmod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

const asUserEnv = "KMOD_TEST_INSPECT_AS_USER"

// TestMain lets the test program be its own child under another user: an
// inspection with the options in the environment, printed as JSON.
func TestMain(m *testing.M) {
	text, child := os.LookupEnv(asUserEnv)
	if !child {
		os.Exit(m.Run())
	}
	var opts kmod.Options
	if err := json.Unmarshal([]byte(text), &opts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ins, err := kmod.Inspect(context.Background(), opts, kmod.SCTP())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(ins); err != nil {
		os.Exit(1)
	}
}

// inspectAs runs an inspection as another user.
func inspectAs(t *testing.T, uid uint32, opts kmod.Options) (*kmod.Inspection, error) {
	t.Helper()
	text, err := json.Marshal(opts)
	if err != nil {
		return nil, err
	}
	// The test program itself may lie where that user cannot go.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), asUserEnv+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("inspect as user %d: %w", uid, err)
	}
	var ins kmod.Inspection
	return &ins, json.Unmarshal(out, &ins)
}
