package probe_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// BenchmarkCore compares the core of the quick suite with the least C program
// that does the same (testdata/minimal.c), in turns in one guest, and fails
// where it takes more than twice as long. What a process costs to start, in a
// network namespace of its own, comes apart. The guest is emulated, and its
// clock counts instructions, two nanoseconds for each, so that what else runs
// on this machine does not show: the ratio says something, the times only to
// another such guest.
func BenchmarkCore(b *testing.B) {
	dir := b.TempDir()
	minimal, tests := filepath.Join(dir, "minimal"), filepath.Join(dir, "probe.test")
	build := func(name string, args ...string) {
		cmd := exec.CommandContext(b.Context(), name, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	build("gcc", "-O2", "-static", "-o", minimal, "testdata/minimal.c")
	build("go", "test", "-c", "-o", tests, "github.com/sctp-agent/sctp-agent/pkg/probe")
	var files []guest.File
	for to, from := range map[string]string{"/usr/bin/minimal": minimal, "/usr/bin/probe.test": tests} {
		f, err := guest.Program(to, from)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, f)
	}
	g, err := guest.Boot(b.Context(), guest.Config{Name: hostname, Files: files, QEMU: []string{"-icount", "shift=1,sleep=off"}})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	sh := func(script string) string {
		res, err := g.Run(b.Context(), guest.Shell(script))
		if err != nil || res.ExitCode != 0 {
			b.Fatalf("%s: %v, exit code %d\n%s%s", script, err, res.ExitCode, res.Stdout, res.Stderr)
		}
		return string(res.Stdout)
	}
	const rounds, each = 3, 200
	sh("modprobe sctp; minimal 50")
	best := func(a, b float64) float64 {
		if a == 0 || b < a {
			return b
		}
		return a
	}
	var c, core, start float64
	for range rounds {
		ns, err := strconv.ParseFloat(strings.TrimSpace(sh(fmt.Sprintf("minimal %d", each))), 64)
		if err != nil {
			b.Fatal(err)
		}
		c = best(c, ns)
		out := sh(fmt.Sprintf("probe.test -test.run='^$' -test.bench=. -test.benchtime=%dx", each))
		core = best(core, nanoseconds(b, out, "BenchmarkCore"))
		start = best(start, nanoseconds(b, out, "BenchmarkChild"))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(c/1000, "C-µs/probe")
	b.ReportMetric(core/1000, "core-µs/probe")
	b.ReportMetric(core/c, "core/C")
	b.ReportMetric(start/1000, "start-µs/process")
	if core > 2*c {
		b.Errorf("the core takes %.1f times as long as the C program", core/c)
	}
}

// nanoseconds is the mean that a benchmark printed.
func nanoseconds(b *testing.B, out, name string) float64 {
	b.Helper()
	m := regexp.MustCompile(name + `\S*\s+\d+\s+([0-9.]+) ns/op`).FindStringSubmatch(out)
	if m == nil {
		b.Fatalf("no %s in:\n%s", name, out)
	}
	ns, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}
