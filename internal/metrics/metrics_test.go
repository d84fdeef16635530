package metrics

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestText(t *testing.T) {
	var r Registry
	r.NewVec(Gauge, "none", "Has no series.", "a")
	v := r.NewVec(Gauge, "ready", "The verdict,\nin \\ words.", "ready", "why")
	v.Set(1, "true", `a "quoted" back\slash`)
	v.Set(0.5, "false", "two\nlines")
	v.Set(0.25, "false", "two\nlines")
	c := r.NewVec(Counter, "writes_total", "Writes.")
	c.Add(0)
	c.Add(2)
	c.Add(1e9)
	h := r.NewHistogram("seconds", "Time.", 0.1, 1)
	for _, x := range []float64{0.05, 0.1, 0.2, 7} {
		h.Observe(x)
	}
	x := 3.0
	r.NewFunc(func(out func(Kind, string, string, float64)) {
		out(Gauge, "now", "Looked up.", x)
		out(Counter, "kernel_total", "The kernel's.", 1.5)
	})
	x = 4
	want := `# HELP ready The verdict,\nin \\ words.
# TYPE ready gauge
ready{ready="true",why="a \"quoted\" back\\slash"} 1
ready{ready="false",why="two\nlines"} 0.25
# HELP writes_total Writes.
# TYPE writes_total counter
writes_total 1.000000002e+09
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le="0.1"} 2
seconds_bucket{le="1"} 3
seconds_bucket{le="+Inf"} 4
seconds_sum 7.35
seconds_count 4
# HELP now Looked up.
# TYPE now gauge
now 4
# HELP kernel_total The kernel's.
# TYPE kernel_total counter
kernel_total 1.5
`
	got := r.Text()
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Prometheus's own reader finds the same in it.
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 5 || families["ready"].GetHelp() != "The verdict,\nin \\ words." {
		t.Errorf("%d families; help %q", len(families), families["ready"].GetHelp())
	}
	if l := families["ready"].Metric[0].Label[1]; l.GetValue() != `a "quoted" back\slash` {
		t.Errorf("label value %q", l.GetValue())
	}
	if m := families["seconds"].Metric[0].Histogram; m.GetSampleCount() != 4 || m.GetSampleSum() != 7.35 || m.Bucket[1].GetCumulativeCount() != 3 {
		t.Errorf("histogram %v", m)
	}

	v.Clear()
	if got := string(r.Text()); strings.Contains(got, "ready") || v.Get("true", "x") != 0 || c.Get() != 1e9+2 {
		t.Errorf("cleared, and there is still\n%s", got)
	}
}

// Whoever counts does not meet a scrape half way.
func TestAtOnce(t *testing.T) {
	var r Registry
	c := r.NewVec(Counter, "c_total", "C.", "who")
	h := r.NewHistogram("h", "H.", 1)
	var wg sync.WaitGroup
	for _, who := range []string{"a", "b"} {
		wg.Go(func() {
			for range 100 {
				c.Add(1, who)
				h.Observe(1)
				r.Text()
			}
		})
	}
	wg.Wait()
	if got := string(r.Text()); !strings.Contains(got, `c_total{who="a"} 100`) || !strings.Contains(got, "h_count 200") {
		t.Error(got)
	}
}
