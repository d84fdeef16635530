package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// Paths of the control server, besides [wire.ReadyPath].
const (
	countersPath = "/counters"
	// turnPath answers like countersPath, to one client at a time: the next
	// has its turn when the one before has closed its connection.
	turnPath = "/turn"
)

// Counters of a network namespace's SCTP (/proc/net/sctp/snmp).
type Counters struct {
	// In counts the packets received, whatever their kind.
	In int64 `json:"in"`
}

// idle bounds how long an association may be silent.
const idle = time.Minute

// Listen echoes until the context ends. Like [Dial] it causes no module load.
func Listen(ctx context.Context, cfg wire.Listener) wire.Say {
	if say, ok := registered(); !ok {
		return say
	}
	fault := func(err error) wire.Say {
		outcome, _ := classify(err)
		if outcome != wire.ModuleMissing && outcome != wire.Denied {
			outcome = wire.Unknown
		}
		return wire.Say{Fault: outcome, Detail: err.Error()}
	}
	control, err := net.Listen("tcp", cfg.Control)
	if err != nil {
		return fault(err)
	}
	var sockets []*sctp.Socket
	defer func() {
		for _, s := range sockets {
			s.Close()
		}
	}()
	for _, port := range cfg.Ports {
		s, err := listen(netip.IPv4Unspecified(), port)
		if err != nil {
			return fault(fmt.Errorf("listen on SCTP port %d: %w", port, err))
		}
		sockets = append(sockets, s)
		s, err = listen(netip.IPv6Unspecified(), port)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			continue // no IPv6 in this kernel or namespace
		}
		if err != nil {
			return fault(fmt.Errorf("listen on SCTP port %d, IPv6: %w", port, err))
		}
		sockets = append(sockets, s)
	}

	server := &http.Server{Handler: newControlServer("/proc/net/sctp/snmp"), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, len(sockets)+1)
	go func() { failed <- server.Serve(control) }()
	defer server.Close()
	for _, s := range sockets {
		go func() {
			failed <- s.Serve(ctx, func(conn *sctp.Socket, _ netip.AddrPort) { go echoAll(ctx, conn, cfg.Index) })
		}()
	}
	select {
	case <-ctx.Done():
		return wire.Say{}
	case err := <-failed:
		return fault(err)
	}
}

// newControlServer answers on the control address, from the counters in a file.
func newControlServer(snmp string) http.Handler {
	tell := func(w http.ResponseWriter) bool {
		c, err := readCounters(snmp)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return false
		}
		return json.NewEncoder(w).Encode(c) == nil // else the client went away
	}
	mux := http.NewServeMux()
	mux.HandleFunc(wire.ReadyPath, func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc(countersPath, func(w http.ResponseWriter, _ *http.Request) { tell(w) })
	turn := make(chan struct{}, 1)
	mux.HandleFunc(turnPath, func(w http.ResponseWriter, r *http.Request) {
		select {
		case turn <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		defer func() { <-turn }()
		if tell(w) && http.NewResponseController(w).Flush() == nil {
			<-r.Context().Done()
		}
	})
	return mux
}

// listen opens a listening socket on a port of all addresses of a family.
func listen(all netip.Addr, port int) (*sctp.Socket, error) {
	return sctp.Listen(netip.AddrPortFrom(all, uint16(port)), 128, sctp.Options{RTO: impatient()})
}

// echoAll sends back what comes until the peer ends.
func echoAll(ctx context.Context, s *sctp.Socket, index int) {
	defer s.Close()
	s.Patience = idle
	buf := make([]byte, wire.MaxMessage+64)
	for {
		received, err := s.ReceiveMessage(ctx, buf, len(buf))
		if err != nil {
			return
		}
		message := received.Data
		if strings.HasPrefix(string(message[:min(len(who), len(message))]), who) {
			message = append(message, " "+strconv.Itoa(index)...)
		}
		if s.Send(ctx, message, sctp.SendInfo{}, netip.AddrPort{}) != nil {
			return
		}
	}
}

func readCounters(path string) (Counters, error) {
	list, err := sctp.Counters(path)
	if err != nil {
		return Counters{}, err
	}
	for _, c := range list {
		if c.Name == "SctpInSCTPPacks" {
			return Counters{In: c.Value}, nil
		}
	}
	return Counters{}, fmt.Errorf("%s has no count of packets", path)
}
