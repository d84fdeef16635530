package agent

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// GiveBack gives the kernel back what a process does not need while nothing
// happens, for [Config.AtRest]:
//
//   - garbage, and memory that held some. By itself the heap would grow from
//     assessment to assessment until the collector finds it worth its while, to
//     twice its size at rest.
//   - the pages of its own program, of which the kernel maps sixteen around each
//     that is touched (mm/memory.c, do_fault_around). They stay in the page
//     cache, and come back from there, as they are touched again: at rest, few.
func GiveBack() {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var start, size uintptr
	clean := false
	for line := range strings.Lines(string(maps)) {
		// proc_pid_smaps(5): a line as in proc_pid_maps(5), then "NAME: VALUE"
		// for each of its properties, VmFlags last.
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "Anonymous", "Swap":
			// Pages that were written to are not the file's any more, and
			// would be lost: ld.so(8) relocates a position-independent program
			// so, and makes it read-only afterwards.
			clean = clean && strings.TrimSpace(value) == "0 kB"
		case "VmFlags":
			if clean {
				// What is dropped of a mapping of a file is read again
				// (madvise(2), MADV_DONTNEED).
				_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, size, unix.MADV_DONTNEED)
			}
			clean = false
		default:
			if from, length, ok := readOnlyPart(line, program); ok {
				start, size, clean = from, length, true
			}
		}
	}
}

// readOnlyPart reads a line of proc_pid_maps(5), "FROM-TO PERMISSIONS OFFSET
// DEVICE INODE PATH", and is ok if it is a part of that file that cannot be
// written to.
func readOnlyPart(line, file string) (start, size uintptr, ok bool) {
	// Blanks before the path are padding, and it may have some itself.
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+file) || strings.Contains(fields[1], "w") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	a, err := strconv.ParseUint(from, 16, strconv.IntSize)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(to, 16, strconv.IntSize)
	if err != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b - a), true
}
