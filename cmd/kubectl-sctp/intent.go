package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/sctp-agent/sctp-agent/internal/audit"
)

// intentFlags are what the fleet is meant to be, and what is known of it.
type intentFlags struct {
	require, accept []string
	file, baseline  string
	intent          audit.Intent
	old             audit.Result
}

func (f *intentFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.require, "require", nil, "label selector of nodes that must have SCTP; repeatable")
	flags.StringArrayVar(&f.accept, "accept", nil, "accept findings: kind=K,pool=P,object=NS/NAME, any of them; repeatable")
	flags.StringVar(&f.file, "intent", "", "YAML file of what to require and accept")
	flags.StringVar(&f.baseline, "baseline", "", "show what is new since this result (-o json)")
}

// load reads the files, once.
func (f *intentFlags) load(ctx context.Context) (err error) {
	if f.file != "" {
		if f.intent, err = readFile(ctx, f.file, audit.ReadIntent); err != nil {
			return fmt.Errorf("--intent: %w", err)
		}
	}
	f.intent.Require = append(f.intent.Require, f.require...)
	for _, text := range f.accept {
		e, err := audit.ParseException(text)
		if err != nil {
			return fmt.Errorf("--accept: %w", err)
		}
		f.intent.Accept = append(f.intent.Accept, e)
	}
	if err := f.intent.Check(); err != nil {
		return err
	}
	if f.baseline != "" {
		if f.old, err = readFile(ctx, f.baseline, audit.ReadBaseline); err != nil {
			return fmt.Errorf("--baseline: %w", err)
		}
	}
	return nil
}

func readFile[T any](ctx context.Context, name string, read func(io.Reader) (T, error)) (T, error) {
	return until(ctx, name, func() (none T, err error) {
		file, err := os.Open(name)
		if err != nil {
			return none, err
		}
		defer file.Close()
		value, err := read(file)
		if err != nil {
			return none, fmt.Errorf("%s: %w", name, err)
		}
		return value, nil
	})
}

// examine judges a snapshot by the intent, and against the baseline.
func (f *intentFlags) examine(s *audit.Snapshot) audit.Result {
	s.Require = f.intent.Require
	r := audit.Examine(s)
	r.Accept(f.intent.Accept)
	r.Since(f.old)
	return r
}
