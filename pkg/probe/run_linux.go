package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a suite and reports what it found. It never takes longer than the
// options' deadlines by more than a few milliseconds, whatever the kernel
// does, and it leaves nothing behind.
//
// Unless [Options.AllowLoad] is set, no SCTP socket is opened while the
// protocol is not registered, or its module not live: then the result has no
// checks and Attempted is false.
func Run(ctx context.Context, opts Options) Result {
	began := time.Now()
	r := run{opts: opts.withDefaults()}
	r.result.Suite = r.opts.Suite
	r.run(ctx)
	r.result.Duration = time.Since(began)
	return r.result
}

func (o Options) withDefaults() Options {
	if o.Suite == "" {
		o.Suite = Quick
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
		if o.Suite == Full {
			o.Timeout = DefaultFullTimeout
		}
	}
	if o.LoadTimeout <= 0 {
		o.LoadTimeout = DefaultLoadTimeout
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.Sys == "" {
		o.Sys = "/sys"
	}
	return o
}

// run is one run under way.
type run struct {
	opts   Options
	result Result
}

func (r *run) run(ctx context.Context) {
	if err := readyPoller(); err != nil {
		r.conclude(CheckIPv4Stream, err)
		return
	}
	if err := r.gate(ctx); err != nil {
		r.conclude(CheckIPv4Stream, err)
		return
	}
	if !r.result.Attempted {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	run, skipped := selected(r.opts.Suite, false)
	step := r.opts.Timeout / 4
	runChecks(ctx, run, r.opts.Proc, step, func(c Check) { r.result.Checks = append(r.result.Checks, c) })
	for _, c := range skipped {
		r.result.Checks = append(r.result.Checks, c.conclude(skip("needs a network namespace of its own, which the probe may not make here"), 0))
	}
	sortChecks(r.result.Checks)
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
		if ok {
			r.result.Attempted = true
			return nil
		}
		if time.Now().After(deadline) {
			r.result.Notes = append(r.result.Notes, fmt.Sprintf("not probed: the module is %q, neither loaded nor absent", state))
			return nil
		}
		select {
		case <-ctx.Done():
			return undecided("", ctx.Err(), "wait for the module to settle")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// load opens one SCTP socket so that the kernel loads the module. The call
// waits for modprobe and no deadline reaches it, so it is left behind in its
// thread if it takes too long.
func (r *run) load(ctx context.Context) error {
	r.result.Attempted = true
	ctx, cancel := context.WithTimeout(ctx, r.opts.LoadTimeout)
	defer cancel()
	opened := make(chan error, 1)
	go func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err == nil {
			err = unix.Close(fd)
		}
		opened <- err
	}()
	var err error
	select {
	case err = <-opened:
	case <-ctx.Done():
		return undecided(StageSocket, ctx.Err(), "open an SCTP socket, for which the kernel runs modprobe")
	}
	registered, regErr := Registered(r.opts.Proc)
	r.result.CausedLoad = regErr == nil && registered
	if err != nil {
		return &stop{stage: StageSocket, err: err, detail: "open an SCTP socket, for which the kernel runs modprobe"}
	}
	return nil
}

// conclude reports one check as stopped by err before it could begin.
func (r *run) conclude(name string, err error) {
	for _, c := range checks() {
		if c.name == name {
			r.result.Checks = append(r.result.Checks, c.conclude(err, 0))
		}
	}
}

// sortChecks puts results into the order of the suite.
func sortChecks(results []Check) {
	order := map[string]int{}
	for i, c := range checks() {
		order[c.name] = i
	}
	slices.SortStableFunc(results, func(a, b Check) int { return order[a.Name] - order[b.Name] })
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
			return undecided(StageSocket, err, "find descriptors for the runtime's poller")
		}
		spare = append(spare, p...)
	}
	for _, fd := range spare[1:] {
		unix.Close(fd)
	}
	f := os.NewFile(uintptr(spare[0]), "pipe")
	spare = nil
	if err := f.SetDeadline(time.Time{}); err != nil {
		return errors.Join(undecided(StageSocket, err, "start the runtime's poller"), f.Close())
	}
	return f.Close()
}
