// Package cache keeps what the tests download or build between runs: outside
// the source tree, made once, shared by tests that run at the same time.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Dir is the root of the cache: $SCTP_AGENT_CACHE, else the user's cache
// directory. Removing it is always safe.
func Dir() (string, error) {
	if dir := os.Getenv("SCTP_AGENT_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory (set SCTP_AGENT_CACHE or HOME): %w", err)
	}
	return filepath.Join(dir, "sctp-agent"), nil
}

// Lock takes the lock called name, which is exclusive between processes too,
// and returns what gives it back.
func Lock(ctx context.Context, name string) (unlock func(), err error) {
	root, err := Dir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(root, name+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock := flock.New(path)
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("waiting for the lock %s: %w", path, err)
	}
	return func() { _ = lock.Close() }, nil
}

// Once returns the directory called name below the cache. When it is not
// there, fill makes its content in an empty directory, which then gets the
// name in one step: a directory that exists is complete. Whoever uses it must
// not change it.
func Once(ctx context.Context, name string, fill func(ctx context.Context, dir string) error) (string, error) {
	root, err := Dir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, name)
	if there, err := exists(dir); there || err != nil {
		return dir, err
	}
	unlock, err := Lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if there, err := exists(dir); there || err != nil {
		return dir, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := fill(ctx, tmp); err != nil {
		return "", fmt.Errorf("filling the cache with %s: %w", name, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", err
	}
	return dir, nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
