package command

import (
	"fmt"
	"io"
	"log/slog"
)

// Logger of a program that keeps running, in the format of its --log-format.
func Logger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf(`--log-format %q: want "text" or "json"`, format)
}
