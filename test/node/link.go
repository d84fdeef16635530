package node

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Link is a shared layer-2 network between nodes: a hub in this process, which
// QEMU's stream network backend connects to. Whatever crosses it can be
// dropped ([Link.Filter]), as a switch or a firewall between hosts would.
type Link struct {
	path string
	l    net.Listener

	mu     sync.Mutex
	next   int
	ports  map[net.Conn]chan []byte
	filter func(Frame) bool
}

// Frame is an Ethernet frame on a link.
type Frame struct {
	// From is the number of the sending node: 0 for the first that was booted
	// with the link.
	From int
	// Bytes of the frame, from the destination address on. Not to be kept.
	Bytes []byte
}

// ethernet and IP: the fields that tests filter by.
const (
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	protocolSCTP  = 132
)

// SCTP says whether the frame carries an SCTP packet (IPv4, or IPv6 without
// extension headers), or the first fragment of one.
func (f Frame) SCTP() bool {
	b := f.Bytes
	if len(b) < 14+20 {
		return false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case etherTypeIPv4:
		return b[14+9] == protocolSCTP
	case etherTypeIPv6:
		return b[14+6] == protocolSCTP
	}
	return false
}

// NewLink makes a link without nodes.
func NewLink() (*Link, error) {
	dir, err := os.MkdirTemp("", "link-")
	if err != nil {
		return nil, fmt.Errorf("making a link: %w", err)
	}
	link := &Link{path: filepath.Join(dir, "hub"), ports: map[net.Conn]chan []byte{}}
	if link.l, err = net.Listen("unix", link.path); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("making a link: %w", err)
	}
	go link.serve()
	return link, nil
}

// join gives a node its number. A nil link has the one node 0.
func (link *Link) join() (addresses, error) {
	if link == nil {
		return addresses{}, nil
	}
	link.mu.Lock()
	defer link.mu.Unlock()
	if link.next == maxNodes {
		return addresses{}, fmt.Errorf("a link has room for %d nodes", maxNodes)
	}
	a := addresses{index: link.next, linked: true}
	link.next++
	return a, nil
}

// Filter lets through only the frames for which pass returns true; nil lets
// through all. It is called from several goroutines.
func (link *Link) Filter(pass func(Frame) bool) {
	link.mu.Lock()
	defer link.mu.Unlock()
	link.filter = pass
}

// Close ends the link, and with it the network cards of nodes that still run.
func (link *Link) Close() {
	link.l.Close()
	link.mu.Lock()
	defer link.mu.Unlock()
	for c := range link.ports {
		c.Close()
	}
	os.RemoveAll(filepath.Dir(link.path))
}

func (link *Link) serve() {
	for {
		c, err := link.l.Accept()
		if err != nil {
			return
		}
		// A port that is too slow loses frames, like that of a switch.
		out := make(chan []byte, 512)
		link.mu.Lock()
		link.ports[c] = out
		link.mu.Unlock()
		go send(c, out)
		go func() {
			if err := link.receive(c); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				fmt.Fprintln(os.Stderr, "link:", err)
			}
			link.mu.Lock()
			delete(link.ports, c)
			link.mu.Unlock()
			close(out)
			c.Close()
		}()
	}
}

// QEMU's stream backend puts before each frame its length, four bytes in
// network order (net/stream.c).

func send(c net.Conn, frames <-chan []byte) {
	for f := range frames {
		if _, err := c.Write(f); err != nil {
			c.Close() // ends receive, which closes frames
		}
	}
}

func (link *Link) receive(c net.Conn) error {
	const maxFrame = 1 << 17
	r := bufio.NewReader(c)
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(head[:])
		if size < 14 || size > maxFrame {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		buf := append(head[:], make([]byte, size)...)
		if _, err := io.ReadFull(r, buf[4:]); err != nil {
			return err
		}
		link.forward(c, buf)
	}
}

func (link *Link) forward(from net.Conn, buf []byte) {
	frame := buf[4:]
	link.mu.Lock()
	defer link.mu.Unlock()
	// The last byte of the sender's address is its number, from 1 (macSuffix).
	if link.filter != nil && !link.filter(Frame{From: int(frame[11]) - 1, Bytes: frame}) {
		return
	}
	for c, out := range link.ports {
		if c == from {
			continue
		}
		select {
		case out <- buf:
		default:
		}
	}
}
