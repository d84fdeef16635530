package probe

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// What is there when a deadline has passed counts, whichever of the two the
// process is told of first.
func TestAnswerThatWasThereInTime(t *testing.T) {
	for name, tc := range map[string]struct {
		there bool
		want  error
	}{
		"there":     {true, nil},
		"not there": {false, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fds[1])
			e := &env{step: 20 * time.Millisecond}
			defer e.close()
			s, err := e.adopt(fds[0], result.StageReceive)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = s.wait(context.Background(), result.StageReceive, "wait", s.raw.Read, func(fd int) error {
				if tc.there && time.Since(began) > e.step {
					return nil
				}
				return unix.EAGAIN
			})
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if since, silent := silence(err); silent == tc.there || silent && since.Before(began) {
				t.Errorf("silent %v since %v, and the wait began %v", silent, since, began)
			}
		})
	}
}
