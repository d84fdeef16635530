package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

func TestFeatureFile(t *testing.T) {
	dir := t.TempDir()
	f := FeatureFile{Dir: dir, Lifetime: time.Hour}
	path := filepath.Join(dir, FeatureFileName)
	read := func() (expires time.Time, content string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%v, %v: want one file", entries, err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		line, rest, _ := strings.Cut(string(b), "\n")
		expires, err = time.Parse(time.RFC3339, strings.TrimPrefix(line, "# +expiry-time="))
		if err != nil {
			t.Fatalf("the first line %q: %v", line, err)
		}
		return expires, rest
	}
	r := reportOf(verdict.ReasonProbePassed)
	r.Kernel.BootID, r.OnBoot = "one", verdict.OnBootLoaded
	write := func() {
		t.Helper()
		if err := f.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		boot   string
		reason verdict.Reason
		want   string
	}{
		{"proved", "one", verdict.ReasonProbePassed, "# boot one\nsctp.ready=true\nsctp.reason=ProbePassed\nsctp.on-boot=loaded\n"},
		{"unknown in the same boot", "one", verdict.ReasonPermissionDenied, "# boot one\nsctp.ready=true\nsctp.reason=ProbePassed\nsctp.on-boot=loaded\n"},
		{"unknown in the next boot", "two", verdict.ReasonPermissionDenied, "# boot two\nsctp.on-boot=loaded\n"},
		{"no", "two", verdict.ReasonModuleMissing, "# boot two\nsctp.ready=false\nsctp.reason=ModuleMissing\nsctp.on-boot=loaded\n"},
	} {
		r.Kernel.BootID, r.Reason, r.Ready = tt.boot, tt.reason, tt.reason.Ready()
		write()
		expires, got := read()
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if left := time.Until(expires); left < 59*time.Minute || left > time.Hour {
			t.Errorf("%s: expires in %s", tt.name, left)
		}
	}

	// The file's content, when it expires, and whether it is written again.
	_, content := read()
	for _, tt := range []struct {
		name   string
		reason verdict.Reason
		left   time.Duration
		again  bool
	}{
		{"fresh", verdict.ReasonModuleMissing, 50 * time.Minute, false},
		{"a third has passed", verdict.ReasonModuleMissing, 39 * time.Minute, true},
		{"unknown, and a third has passed", verdict.ReasonPermissionDenied, 39 * time.Minute, true},
		{"expired", verdict.ReasonModuleMissing, -time.Hour, true},
		{"the clock was set back", verdict.ReasonModuleMissing, 48 * time.Hour, true},
	} {
		head := "# +expiry-time=" + time.Now().Add(tt.left).UTC().Format(time.RFC3339) + "\n"
		if err := os.WriteFile(path, []byte(head+content), 0o644); err != nil {
			t.Fatal(err)
		}
		r.Reason, r.Ready = tt.reason, tt.reason.Ready()
		write()
		expires, got := read()
		if got != content {
			t.Errorf("%s: %q, want %q", tt.name, got, content)
		}
		left := time.Until(expires)
		if again := left > 59*time.Minute && left <= time.Hour; again != tt.again {
			t.Errorf("%s: expires in %s", tt.name, left)
		}
	}
	// Without an expiry time: another program's, or an older version's.
	if err := os.WriteFile(path, []byte("sctp.ready=true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Reason, r.Ready = verdict.ReasonModuleMissing, kmod.AnswerFalse
	write()
	if _, got := read(); got != content {
		t.Errorf("over a foreign file: %q, want %q", got, content)
	}

	// The same trouble has the same words, or it would be logged each time.
	missing := FeatureFile{Dir: filepath.Join(dir, "missing")}
	first, again := missing.Write(r), missing.Write(r)
	if first == nil || again == nil || first.Error() != again.Error() || !strings.Contains(first.Error(), missing.Dir) {
		t.Errorf("a directory that is missing: %v, then %v", first, again)
	}
}
