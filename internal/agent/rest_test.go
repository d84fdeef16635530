package agent

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadOnlyPart(t *testing.T) {
	const program = "/usr/bin/sctp agent"
	for line, want := range map[string]uintptr{
		"00400000-00a2f000 r-xp 00000000 fe:00 1835 /usr/bin/sctp agent\n":      0x62f000,
		"00a2f000-010f1000 r--p 0062f000 fe:00 1835      /usr/bin/sctp agent\n": 0x6c2000,
		"010f1000-01160000 rw-p 00cf1000 fe:00 1835 /usr/bin/sctp agent\n":      0, // written to
		"7f00e0000000-7f00e0021000 r--p 00000000 fe:00 77 /usr/lib/agent\n":     0,
		"c000000000-c000400000 rw-p 00000000 00:00 0 \n":                        0,
		"7ffc1000-7ffc3000 r-xp 00000000 00:00 0                  [vdso]\n":     0,
		"nonsense r--p 0 0 0 /usr/bin/sctp agent\n":                             0,
		"a2f000-400000 r--p 00000000 fe:00 1835 /usr/bin/sctp agent\n":          0,
		"": 0,
	} {
		if _, size, ok := readOnlyPart(line, program); size != want || ok != (want > 0) {
			t.Errorf("%q: %#x, %v; want %#x", line, size, ok, want)
		}
	}
}

// The kernel says that pages of the program are gone, and they come back.
func TestGiveBack(t *testing.T) {
	before := residentFile(t)
	GiveBack()
	after := residentFile(t)
	t.Logf("resident of files: %d KiB before, %d after", before, after)
	if after > before*3/4 {
		t.Errorf("%d KiB of files were resident, and %d KiB are still", before, after)
	}
}

// A part of the program that was written to and made read-only then, as ld.so(8)
// does with what it relocates in a position-independent program, is not in the
// file, and stays.
func TestGiveBackKeepsRelocations(t *testing.T) {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	part, err := unix.Mmap(int(program.Fd()), 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(part)
	const relocated = "relocated"
	copy(part[os.Getpagesize():], relocated)
	if err := unix.Mprotect(part, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	GiveBack()
	if got := string(part[os.Getpagesize():][:len(relocated)]); got != relocated {
		t.Errorf("what was written is gone: %q", got)
	}
}

// residentFile is RssFile of proc_pid_status(5), in KiB.
func residentFile(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nRssFile:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
