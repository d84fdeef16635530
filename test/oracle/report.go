package oracle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// Count is how one caller's answers compare over many roots.
type Count struct {
	// Compared is how many times both sides said true or false; Agreed, how
	// many times they said the same.
	Compared, Agreed int
	// Unknown is how often the library declined to answer, because an install
	// command is not known without running it.
	Unknown int
	// Loaded is how often the real programs ended with the module inserted
	// (or asked for it): a comparison where all answers are alike shows little.
	Loaded int
}

// Disagreement is a root on which the two sides differ.
type Disagreement struct {
	Case       *hostcase.Case
	Real, Ours Outcome
	Log        string
}

// Report is the outcome of many roots of one version.
type Report struct {
	Version
	Roots   int
	Callers map[string]*Count
	// Rare counts the roots with each rare construct.
	Rare          map[string]int
	Disagreements []Disagreement
}

// Compare runs n generated roots of one version on several workers. dir is
// where it builds them; a memory file system is fastest.
func Compare(ctx context.Context, v Version, seed uint64, first, n, workers int, dir string) (*Report, error) {
	toolsDir := filepath.Join(dir, "programs")
	tools, err := Prepare(ctx, v, toolsDir)
	if err != nil {
		return nil, err
	}
	report := &Report{Version: v, Callers: map[string]*Count{}, Rare: map[string]int{}}
	for _, caller := range Callers {
		report.Callers[caller] = &Count{}
	}
	numbers := make(chan int)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var errs error
	var wg sync.WaitGroup
	for w := range workers {
		place := filepath.Join(dir, fmt.Sprintf("root%d", w))
		if err := os.MkdirAll(place, 0o755); err != nil {
			return nil, err
		}
		root, err := tools.NewRoot(place)
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			for i := range numbers {
				c, rare := generate(v, seed, i)
				real, ours, err := root.Compare(ctx, c)
				mu.Lock()
				if err != nil {
					errs = errors.Join(errs, fmt.Errorf("root %d of seed %d: %w", i, seed, err))
					cancel()
				} else {
					report.add(c, real, ours, root.Log.String())
					for construct := range rare {
						report.Rare[construct]++
					}
				}
				mu.Unlock()
			}
		})
	}
feed:
	for i := range n {
		select {
		case numbers <- first + i:
		case <-ctx.Done():
			break feed
		}
	}
	close(numbers)
	wg.Wait()
	if errs == nil && ctx.Err() != nil {
		errs = context.Cause(ctx)
	}
	return report, errs
}

func (r *Report) add(c *hostcase.Case, real, ours Outcome, log string) {
	r.Roots++
	differ := false
	for _, caller := range Callers {
		count := r.Callers[caller]
		want, got := real[caller], ours[caller]
		if want == "" {
			continue
		}
		if want == "true" {
			count.Loaded++
		}
		if got == "unknown" {
			count.Unknown++
			continue
		}
		count.Compared++
		if want == got {
			count.Agreed++
		} else {
			differ = true
		}
	}
	if differ {
		r.Disagreements = append(r.Disagreements, Disagreement{c, real, ours, log})
	}
}

// String is a table of the counts.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d roots\n", r.Version, r.Roots)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "caller\tcompared\tagreed\t\tloaded\tdeclined\t")
	for _, caller := range Callers {
		c := r.Callers[caller]
		percent := 100.0
		if c.Compared > 0 {
			percent = 100 * float64(c.Agreed) / float64(c.Compared)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f %%\t%d\t%d\t\n", caller, c.Compared, c.Agreed, percent, c.Loaded, c.Unknown)
	}
	w.Flush()
	for _, construct := range slices.Sorted(maps.Keys(r.Rare)) {
		fmt.Fprintf(&b, "%6d roots: %s\n", r.Rare[construct], construct)
	}
	return b.String()
}

// String tells everything needed to repeat a disagreement.
func (d Disagreement) String() string {
	var b strings.Builder
	for _, caller := range Callers {
		mark := ""
		if d.Real[caller] != "" && d.Ours[caller] != "unknown" && d.Real[caller] != d.Ours[caller] {
			mark = "   <-- differs"
		}
		fmt.Fprintf(&b, "%-13s real %-7s ours %s%s\n", caller, d.Real[caller], d.Ours[caller], mark)
	}
	b.WriteString(d.Case.Format())
	b.WriteString(d.Log)
	return b.String()
}
