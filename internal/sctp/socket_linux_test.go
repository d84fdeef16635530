package sctp

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a Socket on a descriptor that is not SCTP's, which most kernels that
// run this test lack, and the descriptor at the other end.
func pair(t *testing.T) (s *Socket, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	s, err = adopt(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, fds[1]
}

// A wait ends with the socket's patience or with its context, whichever is
// first, and its error has the cause and the beginning.
func TestWaitEnds(t *testing.T) {
	const soon, never = 20 * time.Millisecond, time.Hour
	background := func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
	within := func(d time.Duration) func() (context.Context, context.CancelFunc) {
		return func() (context.Context, context.CancelFunc) { return context.WithTimeout(context.Background(), d) }
	}
	for name, tc := range map[string]struct {
		patience time.Duration
		context  func() (context.Context, context.CancelFunc)
		want     error
		cut      bool
		waited   bool
	}{
		"patience":                 {soon, background, os.ErrDeadlineExceeded, false, true},
		"patience before context":  {soon, within(never), os.ErrDeadlineExceeded, false, true},
		"context before patience":  {never, within(soon), os.ErrDeadlineExceeded, true, true},
		"context without patience": {0, within(soon), os.ErrDeadlineExceeded, true, true},
		"context that had ended":   {never, within(-soon), os.ErrDeadlineExceeded, true, false},
		"context that is cancelled": {never, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(soon, cancel)
			return ctx, cancel
		}, context.Canceled, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, peer := pair(t)
			s.Patience = tc.patience
			ctx, cancel := tc.context()
			defer cancel()
			began := time.Now()
			_, err := s.Receive(ctx, make([]byte, 1))
			var w *WaitError
			if !errors.Is(err, tc.want) || !errors.As(err, &w) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if w.Cut != tc.cut || w.Since.IsZero() == tc.waited || tc.waited && w.Since.Before(began) {
				t.Errorf("got %+v, want cut %v, waited %v", w, tc.cut, tc.waited)
			}
			// What ended it does not end the next one.
			sent := time.AfterFunc(soon, func() { unix.Write(peer, []byte("x")) })
			defer sent.Stop()
			s.Patience = 0
			if m, err := s.Receive(context.Background(), make([]byte, 1)); err != nil || string(m.Data) != "x" {
				t.Errorf("next: %q, %v", m.Data, err)
			}
		})
	}
}

// A context that ends just as the wait does, for another reason, does not
// interrupt the next wait.
func TestContextEndsTooLate(t *testing.T) {
	s, peer := pair(t)
	buf := make([]byte, 1)
	for range 5000 {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			unix.Write(peer, []byte("x"))
			cancel()
			unix.Write(peer, []byte("y"))
		}()
		m, err := s.Receive(ctx, buf)
		if err == nil && string(m.Data) == "x" {
			m, err = s.Receive(context.Background(), buf)
		} else if errors.Is(err, context.Canceled) {
			if m, err = s.Receive(context.Background(), buf); err == nil && string(m.Data) == "x" {
				m, err = s.Receive(context.Background(), buf)
			}
		}
		if err != nil || string(m.Data) != "y" {
			t.Fatalf("got %q, %v", m.Data, err)
		}
	}
}

// Data that is there when a deadline has passed counts, whichever of the two the
// process learns first.
func TestAnswerThatWasThereInTime(t *testing.T) {
	s, _ := pair(t)
	s.Patience = 20 * time.Millisecond
	began := time.Now()
	if err := s.read(context.Background(), func(fd int) error {
		if time.Since(began) > s.Patience {
			return nil
		}
		return unix.EAGAIN
	}); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsWait(t *testing.T) {
	s, _ := pair(t)
	time.AfterFunc(20*time.Millisecond, func() { s.Close() })
	if _, err := s.Receive(context.Background(), make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestEndOfPeer(t *testing.T) {
	s, peer := pair(t)
	if err := unix.Shutdown(peer, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReceiveMessage(context.Background(), nil, 10); err != io.EOF {
		t.Errorf("got %v", err)
	}
}
