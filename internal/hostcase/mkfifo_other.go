//go:build !unix

package hostcase

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
