package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// bytesOf is a structure of uapi_linux.go as the kernel has it: they have no
// padding that the kernel's do not have, and no pointers.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// raw is a copy of one.
func raw[T any](v T) []byte { return slices.Clone(bytesOf(&v)) }

// unsupported turns the refusal of an option that the kernel does not know,
// or was built without, into a skip.
func unsupported(err error, feature string) error {
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) {
		return skip("this kernel does not know %s: %v", feature, err)
	}
	return &stop{stage: result.StageSocket, err: err, detail: "turn on " + feature}
}

// enable turns on an extension for a socket's later associations.
func (s *socket) enable(opt int, value uint32, feature string) error {
	if err := s.set(opt, raw(assocValue{Value: value})); err != nil {
		return unsupported(err, feature)
	}
	return nil
}

// enabled says whether an association has an extension.
func (s *socket) enabled(opt int) (bool, error) {
	var v assocValue
	if err := s.get(opt, bytesOf(&v)); err != nil {
		return false, &stop{stage: result.StageConnect, err: err, detail: fmt.Sprintf("ask for SCTP option %d", opt)}
	}
	return v.Value != 0, nil
}

// sysctl sets a kernel parameter of the probe's own network namespace; the
// check must be private.
func (e *env) sysctl(name, value string) error {
	err := os.WriteFile(filepath.Join(e.proc, "sys", name), []byte(value), 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return skip("this kernel has no %s", filepath.ToSlash(name))
	case errors.Is(err, unix.EROFS), errors.Is(err, os.ErrPermission):
		return skip("%s cannot be set here: %v", name, err)
	case err != nil:
		return undecided("", err, "set %s", name)
	}
	return nil
}

// waitUntil asks again and again, for what no event tells of. A millisecond
// between is nothing to loopback.
func (s *socket) waitUntil(ctx context.Context, stage result.Stage, what string, done func() (bool, error)) error {
	since := time.Now()
	step, cancel := context.WithTimeout(ctx, s.env.step)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		over := step.Err() // looked at before the last question, not after it
		if ok, err := done(); ok || err != nil {
			return err
		}
		if over != nil {
			if errors.Is(over, context.DeadlineExceeded) {
				over = os.ErrDeadlineExceeded
			}
			return &stop{stage: stage, err: over, cut: ctx.Err() != nil, since: since, detail: "wait for " + what}
		}
		select {
		case <-step.Done():
		case <-tick.C:
		}
	}
}
