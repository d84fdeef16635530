package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What a child does, the parent answers: it does not wait for a child that is
// late, which stays for a minute, keeps what was said before, and leaves no
// process, goroutine or descriptor. A child that is to be late has its deadline
// when it has got as far as said (it is started when the machine comes to it);
// for the others it is far away, and they are not waited for until then. To the
// millisecond, TestAnswerAtTheDeadline.
func TestChildThatMisbehaves(t *testing.T) {
	const said, after, farAway = `: >$0.said; `, 800 * time.Millisecond, 30 * time.Second
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
			fds, goroutines := descriptors(t), runtime.NumGoroutine()
			end := time.Now().Add(farAway)
			ctx, cancel := context.WithDeadline(context.Background(), end)
			defer cancel()
			c, err := startChild(ctx, program, task{})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(tc.script, said) {
				for ctx.Err() == nil {
					if _, err := os.Stat(program + ".said"); err == nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
				time.Sleep(after)
				cancel()
				end = time.Now().Add(farAway)
			}
			a := <-c
			if time.Now().After(end) {
				t.Error("the answer came when the child was waited for")
			}
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
		})
	}
}

// The answer is there at the deadline, or 45 ms later if the child that was
// killed does not end: one that a hanging kernel does not let die is left. Here
// time is virtual.
func TestAnswerAtTheDeadline(t *testing.T) {
	const timeout, never = 8 * time.Second, -1
	for name, tc := range map[string]struct {
		says  string        // at once
		dies  time.Duration // after the first SIGKILL
		kills []time.Duration
		want  time.Duration
	}{
		"silent":                    {"", 0, []time.Duration{timeout}, timeout},
		"dies a little later":       {"", 10 * time.Millisecond, []time.Duration{timeout}, timeout + 10*time.Millisecond},
		"dies later":                {"", 30 * time.Millisecond, []time.Duration{timeout, timeout + endGrace}, timeout + 30*time.Millisecond},
		"never dies":                {"", never, []time.Duration{timeout, timeout + endGrace}, timeout + 45*time.Millisecond},
		"talks nonsense, dies late": {"hello\n", 3 * time.Second, []time.Duration{0, endGrace}, 3 * time.Second},
		"is done, and stays":        {`{"Done":true}`, 0, []time.Duration{endGrace}, endGrace},
		"is done, and never dies":   {`{"Done":true}`, never, []time.Duration{endGrace}, 45 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out, stdout := net.Pipe()
				words, stderr := net.Pipe()
				defer func() { out.Close(); words.Close() }()
				exited := make(chan error, 1)
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				began := time.Now()
				var kills []time.Duration
				kill := func() {
					kills = append(kills, time.Since(began))
					if len(kills) == 1 && tc.dies != never {
						time.AfterFunc(tc.dies, func() {
							stdout.Close()
							stderr.Close()
							exited <- errors.New("signal: killed")
						})
					}
				}
				if tc.says != "" {
					go stdout.Write([]byte(tc.says))
				}
				a := listen(ctx, kill, out, words, exited)
				if took := time.Since(began); took != tc.want {
					t.Errorf("took %v, want %v", took, tc.want)
				}
				if !slices.Equal(kills, tc.kills) {
					t.Errorf("killed after %v, want %v", kills, tc.kills)
				}
				if done := strings.Contains(tc.says, "Done"); done != (a.err == nil) {
					t.Errorf("error %v", a.err)
				}
			})
		})
	}
}

// How a child ended is reported even if this process learns it late, as on a busy
// machine, while there is time.
func TestChildWhoseEndIsHeardOfLate(t *testing.T) {
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w.Close() // it writes nothing any more
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
	kill := func() { unix.Kill(-sleeping.Process.Pid, unix.SIGKILL) }
	if a := listen(ctx, kill, out, out, exited); a.err == nil || !strings.Contains(a.err.Error(), "signal: killed") {
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
	for deadline := time.Now().Add(time.Minute); pid == 0 || state() != "S"; time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(program + ".pid"); err == nil {
			fmt.Sscan(string(text), &pid)
		}
		if time.Now().After(deadline) {
			t.Fatalf("child %d does not sleep", pid)
		}
	}
	parent.Process.Kill()
	// Who inherits it may not have waited for it yet.
	for deadline := time.Now().Add(time.Minute); state() != "" && state() != "Z"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("the child is left, in state %s", state())
		}
	}
}

// A child that there is no time for is not started, and one whose start takes
// longer than there is time is not waited for; nor does either remain.
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
	for deadline := time.Now().Add(time.Minute); count() > want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%s: %d at first, %d left", what, want, count())
			return
		}
	}
}
