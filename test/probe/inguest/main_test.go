package inguest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// hostname of the guests that these tests are for.
const hostname = "probe-guest"

// TestMain makes the test program what the product is: its own child. It is
// also a program that does something to itself and then runs the probe.
func TestMain(m *testing.M) {
	if probe.ChildMain(os.Args) {
		return
	}
	if len(os.Args) > 1 && os.Args[1] == crippledArg {
		crippledMain()
		return
	}
	if name, err := os.Hostname(); err != nil || name != hostname {
		fmt.Printf("not in a guest of test/probe: on %s nothing is run\n", name)
		return
	}
	// The last network namespace that was taken down is kept (namespaces).
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		fmt.Printf("make a network namespace: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const crippledArg = "crippled"

// crippled is a probe run by a process that something was done to.
type crippled struct {
	Options probe.Options
	// Files is the limit of descriptors, 0 leaves it.
	Files uint64
	// Refuse is the error number with which a seccomp filter answers
	// socket(…, IPPROTO_SCTP), 0 has no filter.
	Refuse syscall.Errno
	// User runs it without any privilege.
	User bool
	// NoNetAdmin takes CAP_NET_ADMIN from its children.
	NoNetAdmin bool
}

// run runs the probe in such a process, and fails unless it keeps to its
// deadline and leaves nothing.
func (c crippled) run(t *testing.T) result.Result {
	t.Helper()
	return inTime(t, func() (result.Result, error) { return c.begin(t)() })
}

// begin starts it and returns the function that waits for its result, which
// says whether that was late, and fails if anything is left.
func (c crippled) begin(t *testing.T) func() (r result.Result, late error) {
	t.Helper()
	before := leftovers(t)
	lag := watchLag()
	wait := c.start(t)
	return func() (result.Result, error) {
		t.Helper()
		var a crippledAnswer
		if err := json.Unmarshal(wait(), &a); err != nil {
			t.Error(err)
		}
		late := overdue(c.Options, a.Result.Duration, lag())
		if a.DescriptorsAfter > a.DescriptorsBefore || a.GoroutinesAfter > a.GoroutinesBefore {
			t.Errorf("left behind in the process: %+v", a)
		}
		before.mustBeBack(t)
		return a.Result, late
	}
}

// crippledAnswer is what such a process says.
type crippledAnswer struct {
	Result                              result.Result
	DescriptorsBefore, DescriptorsAfter int
	GoroutinesBefore, GoroutinesAfter   int
}

// start starts it and returns the function that waits for its output.
func (c crippled) start(t *testing.T) func() []byte {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), c.Options.Timeout+2*time.Minute)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", crippledArg)
	cmd.Stdin = strings.NewReader(string(text))
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if c.User {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	return func() []byte {
		defer cancel()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process that runs the probe: %v\n%s", err, stderr.String())
		}
		return []byte(out.String())
	}
}

func crippledMain() {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var c crippled
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		fail(err)
	}
	if c.Refuse != 0 {
		if err := refuseSCTP(c.Refuse); err != nil {
			fail(fmt.Errorf("install the filter: %w", err))
		}
	}
	if c.NoNetAdmin {
		if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0); errno != 0 {
			fail(fmt.Errorf("drop CAP_NET_ADMIN: %w", errno))
		}
	}
	if c.Files != 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: c.Files, Max: c.Files}); err != nil {
			fail(fmt.Errorf("limit descriptors: %w", err))
		}
	}
	var a crippledAnswer
	a.DescriptorsBefore, a.GoroutinesBefore = openDescriptors(), runtime.NumGoroutine()
	a.Result = probe.Run(context.Background(), c.Options)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		a.DescriptorsAfter, a.GoroutinesAfter = openDescriptors(), runtime.NumGoroutine()
		if a.DescriptorsAfter <= a.DescriptorsBefore && a.GoroutinesAfter <= a.GoroutinesBefore {
			break
		}
	}
	text, err := json.Marshal(a)
	if err != nil {
		fail(err)
	}
	os.Stdout.Write(text)
}

// openDescriptors counts this process's descriptors without opening one, and without
// those of the runtime's poller, which come with its first use and stay.
func openDescriptors() (n int) {
	for fd := range 1024 {
		switch name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); {
		case err != nil, name == "anon_inode:[eventpoll]", name == "anon_inode:[eventfd]":
		default:
			n++
		}
	}
	return n
}

// refuseSCTP has every thread of this process, and its children, told errno
// where they ask for an SCTP socket, as a container's seccomp profile does.
func refuseSCTP(errno syscall.Errno) error {
	arch := map[string]uint32{
		"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "s390x": unix.AUDIT_ARCH_S390X,
	}[runtime.GOARCH]
	// Offsets in struct seccomp_data: nr 0, arch 4, args 16, 8 bytes each.
	call, argument, value := uint32(unix.SYS_SOCKET), uint32(16+2*8), uint32(unix.IPPROTO_SCTP)
	if runtime.GOARCH == "s390x" {
		// There Go goes through socketcall(2), whose arguments a filter cannot
		// look at: every socket is refused (call 1 of <linux/net.h>). The low
		// half of an argument comes second.
		const socketcall = 102
		call, argument, value = socketcall, 16+4, 1
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arch, Jf: 5},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: argument},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return seccomp(filter)
}

// run runs the program's own probe, in this process or its children, and
// fails unless it keeps to its deadline and leaves nothing.
func run(t *testing.T, opts probe.Options) result.Result {
	t.Helper()
	return inTime(t, func() (result.Result, error) {
		before := leftovers(t)
		lag := watchLag()
		began := time.Now()
		r := probe.Run(t.Context(), opts)
		late := overdue(opts, time.Since(began), lag())
		before.mustBeBack(t)
		return r, late
	})
}

// inTime runs a probe and fails if it is late three times in a row: a machine
// that stood still for a moment is not seen by everybody who waits on it, but a
// deadline that is not kept is not kept again.
func inTime(t *testing.T, try func() (r result.Result, late error)) result.Result {
	t.Helper()
	for attempt := 1; ; attempt++ {
		r, late := try()
		if late == nil {
			return r
		}
		if attempt == 3 {
			t.Error(late)
			return r
		}
		t.Logf("again: %v", late)
	}
}

// overdue is an error unless the answer came at the deadline. Afterwards the
// probe waits for 45 ms at most: the tests of pkg/probe prove that where time is
// virtual. The rest is the machine's: some ten times it wakes somebody, kills a
// child or reports an end, and none of that takes longer than the worst that was
// measured of it here and now (lag while the probe ran, killing after it).
func overdue(opts probe.Options, took, lag time.Duration) error {
	timeout := opts.Timeout
	if timeout == 0 {
		timeout = probe.DefaultTimeout
		if opts.Suite == result.SuiteFull {
			timeout = probe.DefaultFullTimeout
		}
	}
	if opts.AllowLoad {
		timeout += opts.LoadTimeout
	}
	over := took - timeout - 45*time.Millisecond
	if over <= 10*lag {
		return nil
	}
	step, err := killing()
	if err != nil {
		return err
	}
	if over > 10*max(lag, step) {
		return fmt.Errorf("took %v, with a deadline of %v, on a machine that wakes a process %v late, and takes %v to kill a child and report its end", took, timeout, lag, step)
	}
	return nil
}

// killing is how long this machine takes, at this moment, to kill a stopped
// child, a process of this program as the probe's is, to close its end of a pipe
// and to report its end: the longest of five times.
func killing() (longest time.Duration, err error) {
	for range 5 {
		cmd := exec.Command(probe.Self, crippledArg)
		if _, err := cmd.StdinPipe(); err != nil { // where it waits for its task
			return 0, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 0, err
		}
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		if err := unix.Kill(cmd.Process.Pid, unix.SIGSTOP); err != nil {
			return 0, err
		}
		awaitStopped(cmd.Process.Pid)
		began := time.Now()
		if err := cmd.Process.Kill(); err != nil {
			return 0, err
		}
		out.Read(make([]byte, 1))
		cmd.Wait() // an error: it was killed
		longest = max(longest, time.Since(began))
	}
	return longest, nil
}

// find returns the check of a name, which must be there.
func find(t *testing.T, checks []result.Check, name string) result.Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s among %d", name, len(checks))
	return result.Check{}
}

// leftover is what a probe could leave behind.
type leftover struct {
	descriptors, goroutines, threads, processes int
	endpoints, associations, namespaces         int
}

func leftovers(t *testing.T) leftover {
	t.Helper()
	// The runtime's poller has descriptors of its own, for good.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	return leftover{
		descriptors:  entries(t, "/proc/self/fd"),
		goroutines:   runtime.NumGoroutine(),
		threads:      entries(t, "/proc/self/task"),
		processes:    len(childrenOf(t, os.Getpid())),
		endpoints:    lines(t, "/proc/net/sctp/eps"),
		associations: lines(t, "/proc/net/sctp/assocs"),
		namespaces:   namespaces(t),
	}
}

// mustBeBack fails unless there is soon no more than there was. Threads are
// the runtime's to keep; a few come and stay for good. Namespaces are the
// kernel's to take down, one after the other in the background.
func (l leftover) mustBeBack(t *testing.T) {
	t.Helper()
	var now leftover
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		now = leftovers(t)
		if now.descriptors <= l.descriptors && now.goroutines <= l.goroutines && now.threads <= l.threads+20 &&
			now.processes <= l.processes && now.endpoints <= l.endpoints && now.associations <= l.associations &&
			now.namespaces <= l.namespaces {
			return
		}
	}
	t.Errorf("left behind: %+v before, %+v after", l, now)
}

// namespaces counts the kernel's network namespaces, whoever holds them. What
// it took down last it keeps until it takes down another one, all that were
// taken down together (net/core/net_namespace.c, net_complete_free, since
// 6.13 and in the stable kernels of these guests); so one is made, if there is
// more than that one, which is there from the beginning (TestMain), and if one
// may be made (TestNoNamespaceLeft): otherwise what is left is counted.
func namespaces(t *testing.T) int {
	t.Helper()
	n := namespaceObjects(t)
	if n > 1 {
		exec.Command("unshare", "-n", "true").Run()
		// It is taken down after the command has ended.
		for deadline := time.Now().Add(time.Second); n > 1 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			n = namespaceObjects(t)
		}
	}
	return n
}

func namespaceObjects(t *testing.T) int {
	t.Helper()
	// Gives back the objects that are free and kept for the next user, which
	// slabinfo(5) counts as used.
	if err := os.WriteFile("/sys/kernel/slab/net_namespace/shrink", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var name string
		var active int
		if _, err := fmt.Sscan(line, &name, &active); err == nil && name == "net_namespace" {
			return active
		}
	}
	t.Fatal("slabinfo has no net_namespace")
	return 0
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// lines counts the entries of a table of /proc/net/sctp.
func lines(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return 0 // the module is not loaded
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n") - 1 // its heading
}

// childrenOf are the processes of a parent, dead ones that nobody has waited
// for too.
func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	list, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		if _, ppid := stateOf("/proc/" + e.Name() + "/stat"); ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stateOf is what a process or a thread does, and its parent, by its file stat
// (proc_pid_stat(5)); "" when it is gone.
func stateOf(stat string) (state string, ppid int) {
	text, err := os.ReadFile(stat)
	if err != nil {
		return "", 0
	}
	// pid (name) state ppid …; a name may hold anything.
	rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
	if _, err := fmt.Sscan(rest, &state, &ppid); err != nil {
		return "", 0
	}
	return state, ppid
}

// watchLag measures how late this machine wakes those who sleep; the function
// returned gives the worst since.
func watchLag() func() time.Duration {
	stop, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			began := time.Now()
			select {
			case <-stop:
				// It may have stood still just now, and both are ready.
				worst <- max(most, time.Since(began)-time.Millisecond)
				return
			case <-time.After(time.Millisecond):
				most = max(most, time.Since(began)-time.Millisecond)
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-worst
	}
}

// shell changes the guest; undo runs when the test ends.
func shell(t *testing.T, script string, undo ...string) {
	t.Helper()
	do := func(script string) {
		t.Helper()
		if out, err := exec.Command("/bin/sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	for _, u := range undo {
		t.Cleanup(func() { do(u) })
	}
	do(script)
}
