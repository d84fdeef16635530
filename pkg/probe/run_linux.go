package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// Run runs a suite and reports what it found. It returns at the options' deadlines,
// whatever the kernel does: it then waits at most 45 ms more for the child's end,
// plus the time that the machine needs to run this process and to kill the child.
// Nothing is left over.
//
// Unless [Options.AllowLoad] is set, no SCTP socket is opened while the
// protocol is not registered, or its module not live: then the result has no
// checks and Attempted is false.
func Run(ctx context.Context, opts Options) result.Result {
	began := time.Now()
	r := run{opts: opts.withDefaults()}
	r.result.Suite = r.opts.Suite
	r.run(ctx)
	r.result.Duration = time.Since(began)
	return r.result
}

func (o Options) withDefaults() Options {
	o.Suite = cmp.Or(o.Suite, result.SuiteQuick)
	o.Proc, o.Sys = cmp.Or(o.Proc, "/proc"), cmp.Or(o.Sys, "/sys")
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
		if o.Suite == result.SuiteFull {
			o.Timeout = DefaultFullTimeout
		}
	}
	if o.LoadTimeout <= 0 {
		o.LoadTimeout = DefaultLoadTimeout
	}
	return o
}

// run is one run under way.
type run struct {
	opts   Options
	result result.Result
}

func (r *run) run(ctx context.Context) {
	if err := readyPoller(); err != nil {
		r.report(first().conclude(err, 0))
		return
	}
	if err := r.gate(ctx); err != nil {
		r.report(first().conclude(err, 0))
		return
	}
	if !r.result.Attempted {
		return
	}
	if end, ok := ctx.Deadline(); ok {
		// Steps have their part of the time that there is.
		r.opts.Timeout = min(r.opts.Timeout, time.Until(end))
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if r.opts.Child == "" {
		r.inProcess(ctx)
	} else {
		r.inChildren(ctx)
	}
	r.compare()
}

func (r *run) report(c result.Check) { r.result.Checks = append(r.result.Checks, c) }

// task is what a child has to do, with a little less time than there is, so that it
// ends by itself and reports what it saw rather than being killed.
func (r *run) task() task {
	margin := min(r.opts.Timeout/10, 100*time.Millisecond)
	return task{
		Suite:   r.opts.Suite,
		Timeout: r.opts.Timeout - margin,
		// Long enough for a packet to be sent three times (retransmit), and
		// short enough that a check which gets no answer to its first packet
		// reports it before the end, however slow the steps before were.
		Step: r.opts.Timeout / 2,
		Proc: "/proc",
	}
}

func (r *run) inProcess(ctx context.Context) {
	t := r.task()
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	run, skipped := selected(t.Suite, false)
	runChecks(ctx, run, t.Proc, t.Step, false, r.report)
	r.skip(skipped)
}

// inChildren runs the suite in a child with its own network namespace, and
// beside it the smaller pass in the current one; or where no namespace can be
// made, or not be used, the suite in the current one.
func (r *run) inChildren(ctx context.Context) {
	err := r.isolated(ctx)
	if err == nil {
		return
	}
	var own <-chan answer
	if ctx.Err() != nil {
		// What was refused has another way; without time there is none.
		err = ctx.Err()
	} else {
		// EPERM without CAP_SYS_ADMIN, for the loopback without CAP_NET_ADMIN, or
		// under seccomp, ENOSPC where user.max_net_namespaces is reached, EINVAL in
		// a kernel without them: in all cases the current namespace remains.
		r.note("the probe has no network namespace of its own: %v", err)
		own, err = startChild(ctx, r.opts.Child, r.task())
	}
	if err != nil {
		r.report(first().conclude(undecided("", err, "start the probe process"), 0))
		return
	}
	run, skipped := selected(r.opts.Suite, false)
	r.result.Checks = r.take(<-own, run)
	r.skip(skipped)
}

// isolated runs the suite in a network namespace of its own, or returns why that is
// not possible.
func (r *run) isolated(ctx context.Context) error {
	t := r.task()
	t.Isolated = true
	own, err := startChild(ctx, r.opts.Child, t)
	if err != nil {
		return err
	}
	t = r.task()
	t.Current = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	current, currentErr := startChild(ctx, r.opts.Child, t)
	a := <-own
	if a.unusable != "" {
		if currentErr == nil {
			cancel()
			<-current
		}
		return errors.New(a.unusable)
	}
	r.result.Isolated = true
	run, _ := selected(t.Suite, true)
	r.result.Checks = r.take(a, run)
	if currentErr != nil {
		r.note("SCTP was not tried in the current network namespace: start the probe process: %v", currentErr)
		return nil
	}
	r.result.Current = r.take(<-current, forCurrent())
	return nil
}

// take is what a child answered, with the checks that it owes.
func (r *run) take(a answer, asked []check) []result.Check {
	results := a.checks
	for _, c := range asked {
		if a.err != nil && !slices.ContainsFunc(results, func(have result.Check) bool { return have.Name == c.name }) {
			results = append(results, c.conclude(undecided("", a.err, ""), 0))
		}
	}
	sortChecks(results)
	return results
}

func (r *run) note(format string, args ...any) {
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}

func (r *run) skip(checks []check) {
	for _, c := range checks {
		r.report(c.conclude(skip("needs a network namespace of the probe's own"), 0))
	}
	sortChecks(r.result.Checks)
}

// compare finds the checks that passed on the kernel and fail in the current
// namespace: loopback is filtered there.
func (r *run) compare() {
	for _, here := range r.result.Current {
		for _, proved := range r.result.Checks {
			if here.Name != proved.Name || proved.Result != result.OutcomePass {
				continue
			}
			switch here.Result {
			case result.OutcomeFail:
				if r.result.LoopbackFiltered != "" {
					r.result.LoopbackFiltered += "; "
				}
				r.result.LoopbackFiltered += here.Name + ": " + here.Detail
			case result.OutcomeUnknown, result.OutcomeSkip:
				r.note("in the current network namespace, %s: %s", here.Name, here.Detail)
			}
		}
	}
}

// gate decides whether an SCTP socket may be opened, and sets Attempted if so.
func (r *run) gate(ctx context.Context) error {
	registered, err := Registered(r.opts.Proc)
	if err != nil {
		return undecided("", err, "")
	}
	if !registered {
		if !r.opts.AllowLoad {
			return nil
		}
		return r.load(ctx)
	}
	// A load takes milliseconds from here; more than this is a hang.
	for deadline := time.Now().Add(r.opts.Timeout / 4); ; {
		state, ok := settled(r.opts.Sys)
		if ok && !r.opts.AllowLoad {
			// The files of another kernel, such as a copy of a host's, are not
			// about this one, in which the sockets are opened.
			if here, err := Registered(""); !here {
				return undecided("", err, "the module is not in the running kernel, but %s lists SCTP", r.opts.Proc)
			}
		}
		if ok {
			r.result.Attempted = true
			return nil
		}
		if time.Now().After(deadline) {
			r.note("not probed: the module is %q, neither loaded nor absent", state)
			return nil
		}
		select {
		case <-ctx.Done():
			return undecided("", ctx.Err(), "wait for the module to settle")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// settled reports whether the module, if SCTP is one, has finished loading. The
// protocol is registered before the initialisation that its sockets rely on
// (net/sctp/protocol.c, sctp_init), so a socket opened meanwhile may fail for no
// lasting reason. A built-in protocol has no initstate.
func settled(sys string) (state string, ok bool) {
	b, err := os.ReadFile(filepath.Join(sys, "module/sctp/initstate"))
	if err != nil {
		return "", true
	}
	state = strings.TrimSpace(string(b))
	return state, state == "live"
}

// load opens one SCTP socket so that the kernel loads the module. The call waits
// for modprobe and cannot be given a deadline; it is in a child that can be killed,
// or stays in its thread.
func (r *run) load(ctx context.Context) error {
	r.result.Attempted = true
	ctx, cancel := context.WithTimeout(ctx, r.opts.LoadTimeout)
	defer cancel()
	var err error
	if r.opts.Child == "" {
		opened := make(chan error, 1)
		go func() { opened <- openOne() }()
		select {
		case err = <-opened:
		case <-ctx.Done():
			err = undecided(result.StageSocket, ctx.Err(), "wait for the kernel to load the module")
		}
	} else {
		err = r.loadInChild(ctx)
	}
	registered, regErr := Registered(r.opts.Proc)
	r.result.CausedLoad = regErr == nil && registered
	return err
}

func (r *run) loadInChild(ctx context.Context) error {
	t := r.task()
	t.Load = true
	loader, err := startChild(ctx, r.opts.Child, t)
	if err != nil {
		return undecided("", err, "start the probe process")
	}
	a := <-loader
	if a.err != nil {
		return undecided(result.StageSocket, a.err, "wait for the kernel to load the module")
	}
	for _, c := range a.checks {
		if c.Result != result.OutcomePass {
			return concluded(c)
		}
	}
	return nil
}

// openOne opens an SCTP socket, for which the kernel may run modprobe.
func openOne() error {
	s, err := sctp.Open(unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		return stopped(result.StageSocket, err, "open an SCTP socket")
	}
	return s.Close()
}

// first is the check that is reported when none could begin.
func first() check { return checks()[0] }

// sortChecks puts results into the order of the suite.
func sortChecks(results []result.Check) {
	order := map[string]int{}
	for i, c := range checks() {
		order[c.name] = i
	}
	slices.SortStableFunc(results, func(a, b result.Check) int { return order[a.Name] - order[b.Name] })
}

// readyPoller starts the runtime's network poller, if it has not been started
// yet, only where descriptors for it are left: the runtime dies when they are
// not (netpollinit throws). Even os.Open starts it.
func readyPoller() error {
	p := make([]int, 2)
	var spare []int
	defer func() {
		for _, fd := range spare {
			unix.Close(fd)
		}
	}()
	for range 2 {
		if err := unix.Pipe2(p, unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			return undecided(result.StageSocket, err, "find descriptors for the runtime's poller")
		}
		spare = append(spare, p...)
	}
	for _, fd := range spare[1:] {
		unix.Close(fd)
	}
	f := os.NewFile(uintptr(spare[0]), "pipe")
	spare = nil
	if err := f.SetDeadline(time.Time{}); err != nil {
		return errors.Join(undecided(result.StageSocket, err, "start the runtime's poller"), f.Close())
	}
	return f.Close()
}
