package nodelabel

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Metadata is a set of labels and annotations.
type Metadata struct {
	Labels, Annotations map[string]string
}

// Desired is what the Node should have, given the report and what the agent itself
// wrote before.
//
// said holds the keys that the agent wrote and that nobody has changed since.
// bootID is the running boot as far as the caller knows it: a report whose
// inspection failed may lack it. With no boot ID at all, what was written before is
// not trusted.
//
// The rules are those of the contract, section 4:
//
//   - a conclusive report decides every label;
//   - "unknown" keeps the labels of this boot and moves only annotations;
//   - labels of an earlier boot are never kept;
//   - since moves when ready or reason does;
//   - how long the probe took is not news: as long as nothing else in the report
//     changes, the annotation stays as it is.
func (k Keys) Desired(r verdict.Report, said Metadata, bootID string, now time.Time) Metadata {
	if r.Kernel.BootID != "" {
		bootID = r.Kernel.BootID
	}
	// The report has the boot that the labels are of, also for its next reader.
	r.Kernel.BootID = bootID
	before, parsed := ParseReport(said.Annotations[k.Report()])
	sameBoot := parsed && bootID != "" && before.Kernel.BootID == bootID

	// Once per boot the probe may have caused the load; the next assessment
	// finds the module loaded and would forget.
	if sameBoot && before.Probe.CausedLoad {
		r.Probe.CausedLoad = true
	}

	out := Metadata{Labels: map[string]string{}, Annotations: map[string]string{
		k.Reason():  string(r.Reason),
		k.Message(): r.Message,
		k.Since():   k.since(r, before, said, now),
		k.Report():  reportText(r, said.Annotations[k.Report()]),
	}}
	set := func(key, value string) {
		if value != "" {
			out.Labels[key] = value
		}
	}
	keep := func(key string) {
		if sameBoot {
			set(key, said.Labels[key])
		}
	}

	if r.Ready != kmod.AnswerTrue && r.Ready != kmod.AnswerFalse {
		if sameBoot {
			for _, key := range k.Labels() {
				keep(key)
			}
		} else if r.OnBoot != verdict.OnBootUnknown {
			// The files alone decide it; the verdict is what is missing.
			set(k.OnBoot(), string(r.OnBoot))
		}
		return out
	}

	set(k.Ready(), string(r.Ready))
	if r.OnBoot == verdict.OnBootUnknown {
		keep(k.OnBoot())
	} else {
		set(k.OnBoot(), string(r.OnBoot))
	}
	for key, checks := range map[string]string{k.IPv6(): result.PrefixIPv6, k.Multihoming(): result.CheckMultihoming} {
		switch worst(r, checks) {
		case "pass":
			// Workloads may select by this label alone: it promises no more
			// than ready does.
			if r.Ready == kmod.AnswerTrue {
				set(key, "true")
			}
		case "fail":
			set(key, "false")
		case "unknown":
			if r.Ready == kmod.AnswerTrue {
				keep(key)
			}
		}
	}
	return out
}

// worst is the worst result of the checks whose names begin so; "" when none was
// made.
func worst(r verdict.Report, names string) string {
	at := -1
	from := []string{"pass", "skip", "unknown", "fail"}
	for _, c := range r.Probe.Checks {
		if strings.HasPrefix(c.Name, names) {
			at = max(at, slices.Index(from, c.Result))
		}
	}
	if at < 0 {
		return ""
	}
	return from[at]
}

// since is the time written before, unless ready or reason changed, or that is not
// a time or is in the future.
func (k Keys) since(r, before verdict.Report, said Metadata, now time.Time) string {
	text := said.Annotations[k.Since()]
	at, err := time.Parse(time.RFC3339, text)
	if err == nil && !at.After(now.Add(time.Minute)) && before.Ready == r.Ready && said.Annotations[k.Reason()] == string(r.Reason) {
		return text
	}
	return now.UTC().Format(time.RFC3339)
}

// ParseReport decodes a report annotation; false if it is missing, is not a report,
// or is of another version.
func ParseReport(text string) (verdict.Report, bool) {
	var r verdict.Report
	if text == "" || json.Unmarshal([]byte(text), &r) != nil || r.APIVersion != verdict.APIVersion {
		return verdict.Report{}, false
	}
	return r, true
}

// reportText is the report annotation: before, as long as only durations
// differ.
//
// What is left out to fit the limit is decided without the durations, which are
// filled in afterwards: else a report close to the limit would be cut here
// today, there tomorrow.
func reportText(r verdict.Report, before string) string {
	const digits = 10 // of a duration, beyond the 0 that replaces it
	limit := verdict.MaxAnnotation - digits*(len(r.Probe.Checks)+1)
	timeless := withoutDurations(r).Compact(limit)
	if old, ok := ParseReport(before); ok {
		if text, err := json.Marshal(withoutDurations(old)); err == nil && string(text) == string(timeless) {
			return before
		}
	}
	var full verdict.Report
	if json.Unmarshal(timeless, &full) != nil {
		return string(timeless)
	}
	full.Probe.DurationMicros = r.Probe.DurationMicros
	for i := range full.Probe.Checks {
		for _, c := range r.Probe.Checks {
			if c.Name == full.Probe.Checks[i].Name {
				full.Probe.Checks[i].DurationMicros = c.DurationMicros
			}
		}
	}
	text, err := json.Marshal(full)
	if err != nil || len(text) > verdict.MaxAnnotation {
		return string(timeless)
	}
	return string(text)
}

func withoutDurations(r verdict.Report) verdict.Report {
	r.Probe.DurationMicros = 0
	r.Probe.Checks = append([]verdict.Check{}, r.Probe.Checks...) // not null
	for i := range r.Probe.Checks {
		r.Probe.Checks[i].DurationMicros = 0
	}
	return r
}
