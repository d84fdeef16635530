package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// FeatureFile says the verdict to node-feature-discovery, in a file of its local
// source (features.d): one "name=value" per line, which NFD turns into labels
// with its own prefix.
type FeatureFile struct {
	// Dir is NFD's directory, on a node /etc/kubernetes/node-feature-discovery/features.d.
	Dir string
}

// FeatureFileName is the file's name in NFD's directory.
const FeatureFileName = "sctp-agent"

// Write replaces the file if it does not say the same already. An unknown
// verdict leaves it as it is, unless it was written in another boot.
func (f FeatureFile) Write(r verdict.Report) error {
	path := filepath.Join(f.Dir, FeatureFileName)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing the feature file: %w", err)
	}
	boot := []byte("# boot " + r.Kernel.BootID + "\n")
	var want bytes.Buffer
	want.Write(boot)
	switch r.Ready {
	case verdict.Yes, verdict.No:
		fmt.Fprintf(&want, "sctp.ready=%s\nsctp.reason=%s\n", r.Ready, r.Reason)
	default:
		if r.Kernel.BootID != "" && bytes.HasPrefix(before, boot) {
			return nil
		}
	}
	if r.OnBoot != verdict.BootUnknown {
		fmt.Fprintf(&want, "sctp.on-boot=%s\n", r.OnBoot)
	}
	if bytes.Equal(before, want.Bytes()) {
		return nil
	}
	// NFD reads whenever it likes, and skips names that begin with a dot: the
	// file is replaced whole.
	tmp, err := os.CreateTemp(f.Dir, "."+FeatureFileName+"-*")
	if err != nil {
		return fmt.Errorf("writing the feature file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(want.Bytes())
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the feature file %s: %w", path, err)
	}
	return nil
}
