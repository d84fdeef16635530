// Command workload is the application of the tests: a program that needs SCTP
// and ends when it cannot have it.
//
//	workload serve PORT           echo messages, to one peer after another
//	workload dial ADDRESS PORT    send a nonce, and wait for its echo
//	workload open                 open a socket, keep it, and report that
package main

import (
	"crypto/rand"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1:]); err != nil {
		// The reason, for whoever reads the pod's status.
		_ = os.WriteFile("/dev/termination-log", []byte(err.Error()), 0o644)
		log.Fatal(err)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 3 && args[0] == "dial":
		return dial(args[1], args[2])
	case len(args) == 1 && args[0] == "open":
		return open()
	}
	return fmt.Errorf("usage: workload serve PORT | dial ADDRESS PORT | open")
}

func open() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return fmt.Errorf("opening an SCTP socket: %w", err)
	}
	defer unix.Close(fd)
	log.Print("SCTP socket open")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	return nil
}

func serve(port string) error {
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return fmt.Errorf("opening an SCTP socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: int(p)}); err != nil {
		return fmt.Errorf("binding to port %d: %w", p, err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		return fmt.Errorf("listening on port %d: %w", p, err)
	}
	log.Printf("listening on %d", p)
	for {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			if err == unix.EINTR {
				continue
			}
			return fmt.Errorf("accepting: %w", err)
		}
		go echo(c)
	}
}

func echo(fd int) {
	defer unix.Close(fd)
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if _, err := unix.Write(fd, buf[:n]); err != nil {
			return
		}
	}
}

// timeout of each step of a dial.
const timeout = 5 * time.Second

func dial(address, port string) error {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(p), Addr: ip.As16()})
	if ip.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(p), Addr: ip.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return fmt.Errorf("opening an SCTP socket: %w", err)
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(timeout.Nanoseconds())
	for _, opt := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv); err != nil {
			return fmt.Errorf("setting a timeout: %w", err)
		}
	}
	if err := unix.Connect(fd, to); err != nil {
		return fmt.Errorf("connecting to %s port %d: %w", ip, p, err)
	}
	nonce := rand.Text()
	if _, err := unix.Write(fd, []byte(nonce)); err != nil {
		return fmt.Errorf("sending to %s port %d: %w", ip, p, err)
	}
	buf := make([]byte, 1<<16)
	n, err := unix.Read(fd, buf)
	for err == unix.EINTR {
		n, err = unix.Read(fd, buf)
	}
	if err != nil {
		return fmt.Errorf("receiving from %s port %d: %w", ip, p, err)
	}
	if string(buf[:n]) != nonce {
		return fmt.Errorf("sent %q to %s port %d, received %q", nonce, ip, p, buf[:n])
	}
	log.Printf("nonce echoed by %s port %d", ip, p)
	return nil
}
