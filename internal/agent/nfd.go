package agent

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// FeatureFile writes the verdict for node-feature-discovery, in a file of its local
// source (features.d): one "name=value" per line, which NFD turns into labels with
// its own prefix.
//
// The file of an agent that has gone must not stay forever: it has an expiry time,
// which NFD (0.14 and later; before, it is a comment) checks each time it reads the
// file, and which a running agent renews.
type FeatureFile struct {
	// Dir is NFD's directory, on a node /etc/kubernetes/node-feature-discovery/features.d.
	Dir string
	// Lifetime of the file's content; the file is written again with the first
	// report after a third of it has passed. 0 means three times [DefaultResync].
	Lifetime time.Duration
}

// expiryDirective of a feature file (NFD's customization guide, "Input format").
const expiryDirective = "# +expiry-time="

// FeatureFileName is the file's name in NFD's directory.
const FeatureFileName = "sctp-agent"

// Write replaces the file if its content differs. An unknown verdict leaves the
// content, unless that was written in another boot.
func (f FeatureFile) Write(r verdict.Report) error {
	path := filepath.Join(f.Dir, FeatureFileName)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing the feature file: %w", err)
	}
	expires, before := cutExpiry(before)
	boot := []byte("# boot " + r.Kernel.BootID + "\n")
	var want bytes.Buffer
	want.Write(boot)
	switch r.Ready {
	case kmod.AnswerTrue, kmod.AnswerFalse:
		fmt.Fprintf(&want, "sctp.ready=%s\nsctp.reason=%s\n", r.Ready, r.Reason)
		if r.OnBoot != verdict.OnBootUnknown {
			fmt.Fprintf(&want, "sctp.on-boot=%s\n", r.OnBoot)
		}
	default:
		if r.Kernel.BootID != "" && bytes.HasPrefix(before, boot) {
			// It is still the best result available.
			want.Reset()
			want.Write(before)
		} else if r.OnBoot != verdict.OnBootUnknown {
			fmt.Fprintf(&want, "sctp.on-boot=%s\n", r.OnBoot)
		}
	}
	lifetime := cmp.Or(f.Lifetime, 3*DefaultResync)
	now := time.Now()
	// A clock that was set back must not make it live longer.
	if left := expires.Sub(now); bytes.Equal(before, want.Bytes()) && left > lifetime*2/3 && left <= lifetime {
		return nil
	}
	head := expiryDirective + now.Add(lifetime).UTC().Format(time.RFC3339) + "\n"
	return f.replace(append([]byte(head), want.Bytes()...))
}

// cutExpiry takes the expiry time off the head of a feature file; zero when it
// has none.
func cutExpiry(file []byte) (time.Time, []byte) {
	line, rest, _ := bytes.Cut(file, []byte("\n"))
	value, ok := bytes.CutPrefix(line, []byte(expiryDirective))
	if !ok {
		return time.Time{}, file
	}
	t, err := time.Parse(time.RFC3339, string(value))
	if err != nil {
		return time.Time{}, file
	}
	return t, rest
}

// replace puts the file there in one step: NFD reads whenever it likes, and
// skips names that begin with a dot.
func (f FeatureFile) replace(content []byte) error {
	failed := func(err error) error {
		// Without the temporary file's name, which is another one each time.
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			err = errno
		}
		return fmt.Errorf("writing the feature file in %s: %w", f.Dir, err)
	}
	tmp, err := os.CreateTemp(f.Dir, "."+FeatureFileName+"-*")
	if err != nil {
		return failed(err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(f.Dir, FeatureFileName))
	}
	if err != nil {
		return failed(err)
	}
	return nil
}
