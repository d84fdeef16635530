// Command kmod-oracle compares pkg/kmod with the real programs, and prints how often
// they agree: for each caller with modprobe, kmod's and BusyBox's, and with
// systemd-modules-load on many generated host roots, and with systemd on generated
// trees of units. It exits with 1 if they ever differ.
//
// It must run as root: the programs run in a chroot.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/sctp-agent/sctp-agent/test/oracle"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	same, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kmod-oracle:", err)
		os.Exit(2)
	}
	if !same {
		os.Exit(1)
	}
}

func run(ctx context.Context) (same bool, err error) {
	roots := flag.Int("roots", 10000, "host roots per version")
	first := flag.Int("first", 0, "number of the first root")
	seed := flag.Uint64("seed", 1, "seed of the generator")
	units := flag.Int("units", 1000, "trees of systemd units per version")
	kmod := flag.Int("kmod", 0, "only this version of kmod (28, 30 or 34)")
	workers := flag.Int("workers", runtime.NumCPU(), "roots at a time")
	show := flag.Int("show", 10, "disagreements to print")
	dir := flag.String("dir", "", "where to build the roots (default: memory, if there is any)")
	flag.Parse()

	if *dir == "" {
		for _, d := range []string{"/dev/shm", os.TempDir()} {
			if tmp, err := os.MkdirTemp(d, "kmod-oracle"); err == nil {
				defer os.RemoveAll(tmp)
				*dir = tmp
				break
			}
		}
	}
	same = true
	for _, v := range slices.Concat(oracle.Versions, oracle.BusyBoxes) {
		if *kmod != 0 && v.Kmod != *kmod {
			continue
		}
		start := time.Now()
		place, err := os.MkdirTemp(*dir, string(v.Suite))
		if err != nil {
			return false, err
		}
		report, err := oracle.Compare(ctx, v, *seed, *first, *roots, *workers, place)
		if report != nil {
			fmt.Print(report)
			fmt.Printf("seed %d, roots %d to %d, %s\n\n", *seed, *first, *first+*roots-1, time.Since(start).Round(time.Second))
			for i, d := range report.Disagreements {
				same = false
				if i < *show {
					fmt.Printf("--- disagreement %d of %d\n%s\n", i+1, len(report.Disagreements), d)
				}
			}
		}
		if err != nil {
			return false, err
		}
		os.RemoveAll(place)
		if v.BusyBox || *units == 0 {
			continue
		}
		unitReport, err := oracle.CompareUnits(ctx, v, *seed, *first, *units, place)
		if err != nil {
			return false, err
		}
		fmt.Println(unitReport)
		for i, w := range unitReport.Wrong {
			same = false
			if i < *show {
				fmt.Printf("--- tree %d of %d\n%s\n", i+1, len(unitReport.Wrong), w)
			}
		}
		os.RemoveAll(place)
	}
	return same, nil
}
