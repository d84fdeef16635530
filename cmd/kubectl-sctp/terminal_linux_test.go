package main

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/sctp-agent/sctp-agent/internal/command"
)

// onTerminal is what a terminal receives of what is printed on it.
func onTerminal(t *testing.T, print func(*os.File) error) string {
	t.Helper()
	// pts(4): each open of ptmx makes a pair.
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	number := -1
	control, err := master.SyscallConn()
	if err == nil {
		err = control.Control(func(fd uintptr) {
			if err := unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
				return
			}
			number, _ = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		})
	}
	if err != nil || number < 0 {
		t.Fatalf("no terminal: %v", err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil { // no \r before \n
		t.Fatal(err)
	}
	received := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // it ends with EIO, when the other end is closed
		received <- string(text)
	}()
	err = print(slave)
	slave.Close()
	text := <-received
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What a template prints is unchanged for programs, and made visible for people.
func TestTemplateOnTerminal(t *testing.T) {
	var o outputFlags
	cmd := &cobra.Command{}
	o.register(cmd)
	if err := cmd.ParseFlags([]string{"-o", `jsonpath={.kind}{"\t"}{.text}{"\n"}`}); err != nil {
		t.Fatal(err)
	}
	if err := o.parse(t.Context()); err != nil {
		t.Fatal(err)
	}
	value := map[string]string{"kind": "K", "text": "a\x1b[2J"}
	if got := onTerminal(t, func(w *os.File) error { return o.Print(w, value, nil) }); got != "K\ta\\u001b[2J\n" {
		t.Errorf("a terminal gets %q", got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Print(w, value, map[command.Output]form{}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "K\ta\x1b[2J\n" {
		t.Errorf("a pipe gets %q, %v", got, err)
	}
}
