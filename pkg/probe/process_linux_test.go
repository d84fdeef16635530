package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever the child does, the parent has an answer within 50 ms of the
// deadline, keeps what was said before, and leaves no process, goroutine or
// descriptor. A child that is to be late is given its deadline when it has got
// as far as said (it is started when the machine comes to it); for the others
// it is far away, and they are not waited for until then.
func TestChildThatMisbehaves(t *testing.T) {
	const said, after, farAway = `: >$0.said; `, 800 * time.Millisecond, 20 * time.Second
	for name, tc := range map[string]struct {
		script string
		checks int
		says   string // "" means a whole answer
	}{
		"answers":             {`cat >/dev/null; echo '{"Check":{"Name":"x"}}'; echo '{"Done":true}'`, 1, ""},
		"answers, then stays": {`echo '{"Check":{"Name":"x"}}'; echo '{"Done":true}'; exec sleep 60`, 1, ""},
		"sleeps":              {said + `exec sleep 60`, 0, "did not finish"},
		"says half":           {`echo '{"Check":{"Name":"x"}}'; ` + said + `exec sleep 60`, 1, "did not finish"},
		"stops itself":        {`echo '{"Check":{"Name":"x"}}'; ` + said + `kill -STOP $$`, 1, "did not finish"},
		"is killed":           {`echo '{"Check":{"Name":"x"}}'; kill -KILL $$`, 1, "signal: killed"},
		"fails":               {`echo 'fatal error: out of memory' >&2; exit 2`, 0, "fatal error: out of memory"},
		"crashes at length":   {`echo 'fatal error: out of memory' >&2; head -c 200000 /dev/zero >&2; exit 2`, 0, "fatal error: out of memory"},
		"ends early":          {`exit 0`, 0, "ended half-way"},
		"talks nonsense":      {`echo 'hello'; exec sleep 60`, 0, "half-way"},
		"talks without end":   {said + `while :; do echo '{"Unusable":""}'; done`, 0, "did not finish"},
		"leaves a grandchild": {`sleep 60 & echo '{"Done":true}'`, 0, ""},
		"ignores signals":     {`trap '' TERM INT HUP; ` + said + `sleep 60; sleep 60`, 0, "did not finish"},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "child")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+tc.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			late := strings.Contains(tc.script, said)
			try := func() (over time.Duration) {
				fds, goroutines := descriptors(t), runtime.NumGoroutine()
				deadline := time.Now().Add(farAway)
				ctx, cancel := context.WithDeadline(context.Background(), deadline)
				defer cancel()
				c, err := startChild(ctx, program, task{})
				if err != nil {
					t.Fatal(err)
				}
				if late {
					defer os.Remove(program + ".said")
					for ctx.Err() == nil {
						if _, err := os.Stat(program + ".said"); err == nil {
							break
						}
						time.Sleep(time.Millisecond)
					}
					time.Sleep(after)
					deadline = time.Now()
					cancel()
				}
				a := <-c.answer
				over = time.Since(deadline)
				if len(a.checks) != tc.checks {
					t.Errorf("checks: %+v", a.checks)
				}
				if (a.err == nil) != (tc.says == "") || a.err != nil && !strings.Contains(a.err.Error(), tc.says) {
					t.Errorf("error %v, want %q", a.err, tc.says)
				}
				settle(t, "descriptors", fds, func() int { return descriptors(t) })
				settle(t, "goroutines", goroutines, runtime.NumGoroutine)
				// Every child of ours has been waited for.
				if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
					t.Errorf("a child process is left: %d, %v", pid, err)
				}
				return over
			}
			if !late {
				if over := try(); over > 0 {
					t.Errorf("it was waited for until the deadline")
				}
				return
			}
			inTime(t, try)
		})
	}
}

// inTime fails unless one of many tries is over within the grace: a machine
// that is busy, or stands still, makes some of them late.
func inTime(t *testing.T, try func() (over time.Duration)) {
	t.Helper()
	least := time.Duration(math.MaxInt64)
	for range 20 {
		if least = min(least, try()); least <= grace {
			return
		}
	}
	t.Errorf("took %v longer than it had, at best", least)
}

// A child that a hanging kernel does not let die is left, in time.
func TestChildThatCannotBeKilled(t *testing.T) {
	inTime(t, func() time.Duration {
		const timeout = 100 * time.Millisecond
		out, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll(out, w)
		sleeping := exec.Command("sleep", "60")
		sleeping.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := sleeping.Start(); err != nil {
			t.Fatal(err)
		}
		defer sleeping.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		began := time.Now()
		a := listen(ctx, sleeping.Process.Pid, out, out, make(chan error)) // nobody says that it has ended
		over := time.Since(began) - timeout
		if a.err == nil {
			t.Error("no error")
		}
		return over
	})
}

// How a child has ended is said even if this process hears of it late, as on a
// busy machine, while there is time.
func TestChildWhoseEndIsHeardOfLate(t *testing.T) {
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w.Close() // it says nothing any more
	sleeping := exec.Command("sleep", "60")
	sleeping.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := sleeping.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() {
		err := sleeping.Wait()
		time.Sleep(200 * time.Millisecond)
		exited <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if a := listen(ctx, sleeping.Process.Pid, out, out, exited); a.err == nil || !strings.Contains(a.err.Error(), "signal: killed") {
		t.Errorf("got %v", a.err)
	}
}

// A child dies with a parent that is killed.
func TestChildOfParentThatIsKilled(t *testing.T) {
	const variable = "PROGRAM_OF_CHILD"
	if program := os.Getenv(variable); program != "" { // this is the parent
		if _, err := startChild(context.Background(), program, task{}); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	program := filepath.Join(t.TempDir(), "child")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho $$ >$0.pid\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), variable+"="+program)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait()
	defer parent.Process.Kill()
	var pid int
	state := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return "" // it is gone
		}
		return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0]
	}
	for deadline := time.Now().Add(10 * time.Second); pid == 0 || state() != "S"; time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(program + ".pid"); err == nil {
			fmt.Sscan(string(text), &pid)
		}
		if time.Now().After(deadline) {
			t.Fatalf("child %d does not sleep", pid)
		}
	}
	parent.Process.Kill()
	// Who inherits it may not have waited for it yet.
	for deadline := time.Now().Add(10 * time.Second); state() != "" && state() != "Z"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("the child is left, in state %s", state())
		}
	}
}

// A child that there is no time for is not started, and one whose start takes
// longer than there is time is not waited for; nor is either left behind.
func TestChildThatIsLate(t *testing.T) {
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	program := filepath.Join(t.TempDir(), "child")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := startChild(over, program, task{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	soon, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	syscall.ForkLock.Lock() // as another start does
	_, err := startChild(soon, program, task{})
	syscall.ForkLock.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	settle(t, "descriptors", fds, func() int { return descriptors(t) })
	settle(t, "goroutines", goroutines, runtime.NumGoroutine)
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a child process is left: %d, %v", pid, err)
	}
}

func TestChildMainLeavesOtherCommandsAlone(t *testing.T) {
	for _, args := range [][]string{nil, {"sctp-agent"}, {"sctp-agent", "check"}, {"sctp-agent", "check", childArg}} {
		if ChildMain(args) {
			t.Errorf("ChildMain(%q) took over", args)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// settle fails unless the count comes back to what it was. The limit is for
// what never does.
func settle(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what was left open
	for deadline := time.Now().Add(10 * time.Second); count() > want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%s: %d at first, %d left", what, want, count())
			return
		}
	}
}
