// Package peer is the program that verify runs in pods: a listener that echoes, and
// a client that tries paths to listeners. It does not use the API server.
package peer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
)

// who asks a listener for its index: the answer is the question, followed by the
// index. Everything else is echoed.
const who = "WHO "

// Dial does a job. It opens no SCTP socket where the protocol is not in the
// kernel, and so causes no module load.
func Dial(ctx context.Context, job wire.Job) wire.Say {
	if say, ok := registered(); !ok {
		return say
	}
	start := time.Now()
	results := make([]wire.Result, len(job.Targets))
	done := make([]chan struct{}, len(job.Targets))
	byID := map[int]int{}
	parallel := make(chan struct{}, max(1, job.Parallel))
	var wg sync.WaitGroup
	for i, target := range job.Targets {
		done[i] = make(chan struct{})
		var needs []int
		for _, id := range target.Needs {
			// Earlier ones only: none waits for itself.
			if at, found := byID[id]; found {
				needs = append(needs, at)
			}
		}
		byID[target.ID] = i
		wg.Go(func() {
			defer close(done[i])
			for _, at := range needs {
				<-done[at]
				if results[at].Outcome != wire.OK {
					results[i] = wire.Result{ID: target.ID, Outcome: wire.NotTried, Peer: -1}
					return
				}
			}
			parallel <- struct{}{}
			defer func() { <-parallel }()
			try := func(address string) wire.Result { return attempt(ctx, job, target, address) }
			patience := start.Add(target.Patience.Duration())
			switch {
			case job.Diagnose && target.Control != "":
				results[i] = diagnose(ctx, job, target, try)
			case target.Beside != "":
				results[i] = blocked(ctx, target, patience, try)
			default:
				results[i] = reach(ctx, target, patience, try)
			}
		})
	}
	wg.Wait()
	return wire.Say{Results: results}
}

// registered reports whether the protocol is in the kernel.
func registered() (wire.Say, bool) {
	found, err := probe.Registered("")
	switch {
	case err != nil:
		return wire.Say{Fault: wire.Unknown, Detail: err.Error()}, false
	case !found:
		return wire.Say{Fault: wire.ModuleMissing, Detail: "the kernel has no SCTP (/proc/net/protocols)"}, false
	}
	return wire.Say{}, true
}

// pause between two tries of a target.
const pause = 500 * time.Millisecond

// reach tries a target, again and again within its patience.
func reach(ctx context.Context, t wire.Target, patience time.Time, try func(address string) wire.Result) wire.Result {
	for {
		r := try(t.Address)
		if r.Outcome == wire.OK || time.Now().After(patience) {
			return r
		}
		if backoff.Sleep(ctx, pause); ctx.Err() != nil {
			return r
		}
	}
}

// denials is how often in a row a path must fail to count as blocked.
const denials = 3

// blocked finds out whether a target is blocked. A failure alone proves nothing: a
// network, or an overloaded machine, has those too. So the target must fail several
// times in a row, and after each failure the path beside it must work. OK means
// that it was reached until the patience ended, Unknown that it fails, and the path
// beside it too.
func blocked(ctx context.Context, t wire.Target, patience time.Time, try func(address string) wire.Result) wire.Result {
	failed := 0
	for {
		r := try(t.Address)
		late := time.Now().After(patience)
		switch {
		case r.Outcome == wire.OK && late:
			return r
		case r.Outcome == wire.OK:
			failed = 0
		case try(t.Beside).Outcome == wire.OK:
			failed++
			if failed == denials {
				r.Outcome = wire.Blocked
				return r
			}
		case late:
			r.Outcome = wire.Unknown
			return r
		default:
			failed = 0
		}
		if backoff.Sleep(ctx, pause); ctx.Err() != nil {
			r.Outcome = wire.Unknown
			return r
		}
	}
}

// pings is how many round trips the median is taken of.
const pings = 5

// impatient makes the kernel send lost packets again after half a second, not after
// three, six and twelve: a deadline of seconds has to distinguish lost packets from
// a path that passes none. Both ends need it, as both send.
func impatient() sctp.RTOInfo { return sctp.RTOInfo{Initial: 500, Max: 2000, Min: 300} }

// conversation is an association with a listener.
type conversation struct {
	*sctp.Socket
	buf []byte
}

// dial sets one up; from is the zero value unless the port matters.
func dial(ctx context.Context, to, from netip.AddrPort) (*conversation, error) {
	s, err := sctp.Dial(ctx, to, sctp.Options{
		Local: from, RTO: impatient(),
		// A lost INIT is sent again as often as the deadline allows.
		Init: sctp.InitMsg{OutStreams: 2, MaxInStreams: 2, MaxAttempts: 100, MaxInitTimeo: 2000},
	})
	if err != nil {
		return nil, err
	}
	return &conversation{s, make([]byte, wire.MaxMessage+64)}, nil
}

// echo sends a message and returns what comes back.
func (c *conversation) echo(ctx context.Context, message []byte) ([]byte, error) {
	if err := c.Send(ctx, message, sctp.SendInfo{}, netip.AddrPort{}); err != nil {
		return nil, err
	}
	answer, err := c.ReceiveMessage(ctx, c.buf, len(c.buf))
	return answer.Data, err
}

// errCorrupt: what came back is not what was sent.
var errCorrupt = errors.New("corrupt answer")

// ask returns the index of the listener that answers a question, -1 with an error.
func (c *conversation) ask(ctx context.Context, question string) (int, error) {
	answer, err := c.echo(ctx, []byte(question))
	if err != nil {
		return -1, err
	}
	text, found := strings.CutPrefix(string(answer), question+" ")
	index, err := strconv.Atoi(text)
	if !found || err != nil {
		return -1, errCorrupt
	}
	return index, nil
}

// attempt proves one path: handshake, a nonce that comes back with the
// listener's index, messages of all sizes, round-trip times.
func attempt(ctx context.Context, job wire.Job, target wire.Target, address string) (r wire.Result) {
	r = wire.Result{ID: target.ID, Peer: -1}
	fail := func(err error) wire.Result {
		r.Outcome, r.Errno = classify(err)
		return r
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail(err)
	}
	step := job.Timeout.Duration()
	start := time.Now()
	handshake, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	talk, err := dial(handshake, to, netip.AddrPort{})
	if err != nil {
		return fail(err)
	}
	defer talk.Close()
	talk.Patience = step
	r.Handshake = time.Since(start)

	// Whatever goes wrong from here on, the handshake had succeeded.
	lost := func(size int, err error) wire.Result {
		r.Outcome, r.Size = wire.Lost, size
		_, r.Errno = classify(err)
		return r
	}
	corrupt := func(size int) wire.Result {
		r.Outcome, r.Size = wire.Corrupt, size
		return r
	}

	question := who + rand.Text()
	r.Peer, err = talk.ask(ctx, question)
	if err == errCorrupt {
		return corrupt(len(question))
	}
	if err != nil {
		return lost(len(question), err)
	}
	for _, size := range job.Sizes {
		message := make([]byte, size)
		rand.Read(message) // never fails (crypto/rand)
		message[0] = 0     // no question
		answer, err := talk.echo(ctx, message)
		if err != nil {
			return lost(size, err)
		}
		if !bytes.Equal(answer, message) {
			return corrupt(size)
		}
	}
	var trips []time.Duration
	for range pings {
		start := time.Now()
		if _, err := talk.echo(ctx, []byte("ping")); err != nil {
			return lost(len("ping"), err)
		}
		trips = append(trips, time.Since(start))
	}
	slices.Sort(trips)
	r.RTT = trips[len(trips)/2]
	r.Outcome = wire.OK
	if len(target.Also) > 0 {
		paths, cancel := context.WithTimeout(ctx, step)
		defer cancel()
		talk.confirm(paths, to, target.Also, &r)
	}
	return r
}

// classify names what an error of the handshake means.
func classify(err error) (wire.Outcome, string) {
	errno, failed := errors.AsType[unix.Errno](err)
	answer, answered := errors.AsType[sctp.Answered](err)
	switch {
	case answered: // whether or not there was silence after it
		errno = answer.Errno
	case errors.Is(err, os.ErrDeadlineExceeded):
		return wire.Dropped, "ETIMEDOUT"
	case errors.Is(err, io.EOF):
		return wire.Lost, "EOF"
	case !failed:
		return wire.Unknown, err.Error()[:min(40, len(err.Error()))]
	}
	name := unix.ErrnoName(errno)
	switch errno {
	case unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT:
		return wire.ModuleMissing, name
	case unix.ECONNREFUSED, unix.ENOPROTOOPT, unix.ECONNRESET, unix.ECONNABORTED:
		return wire.Refused, name
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN, unix.EADDRNOTAVAIL:
		return wire.NoRoute, name
	case unix.ETIMEDOUT:
		return wire.Dropped, name
	case unix.EACCES, unix.EPERM:
		if answered {
			// An ICMP "administratively prohibited", as a firewall's reject.
			return wire.NoRoute, name
		}
		return wire.Denied, name
	default:
		return wire.Unknown, name
	}
}

// turn bounds how long a client waits until a listener is its alone.
const turn = time.Minute

// diagnose tries a target once, and finds out where packets to a listener that does
// not answer are lost: it asks it over TCP how many SCTP packets it has received,
// sends some, and asks again. Meanwhile no other client that diagnoses sends any.
func diagnose(ctx context.Context, job wire.Job, t wire.Target, try func(address string) wire.Result) wire.Result {
	step := job.Timeout.Duration()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the connections, and so ends our turn
	ask := func(path string, timeout time.Duration) (Counters, error) {
		timer := time.AfterFunc(timeout, cancel)
		defer timer.Stop()
		return counters(ctx, t.Control, path)
	}
	silent := func(r wire.Result, o wire.Outcome) wire.Result {
		if r.Outcome == wire.Dropped {
			r.Outcome = o
		}
		return r
	}
	if _, err := ask(countersPath, step); err != nil {
		// An SCTP socket with no route to its peer is silent, one of TCP is
		// not.
		if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
			return silent(try(t.Address), wire.NoRoute)
		}
		return silent(try(t.Address), wire.NetworkDown)
	}
	before, err := ask(turnPath, turn)
	r := try(t.Address)
	if err != nil || r.Outcome != wire.Dropped {
		return r
	}
	after, err := ask(countersPath, step)
	switch {
	case err != nil:
		return silent(r, wire.NetworkDown)
	case after.In > before.In:
		return silent(r, wire.OneWay)
	default:
		return r
	}
}

// counters asks a listener. Its connection is closed when the context ends.
func counters(ctx context.Context, address, path string) (c Counters, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return c, err
	}
	// A pod's environment may name a proxy; this is between two pods.
	client := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return c, err
	}
	if response.StatusCode != http.StatusOK {
		return c, fmt.Errorf("%s: %s", address, response.Status)
	}
	return c, json.NewDecoder(response.Body).Decode(&c)
}
