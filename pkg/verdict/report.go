// Package verdict turns facts into a verdict: whether SCTP is ready on a node,
// why, and what to do. It is pure: it reads no file, opens no socket and does not
// use Kubernetes.
//
// The [Report] is the public form of what was found, sctp-agent/v1.
package verdict

import (
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// The report's type, as its JSON names it.
const (
	APIVersion = "sctp-agent/v1"
	Kind       = "Report"
)

// OnBoot is what the next boot will bring with today's files.
type OnBoot string

const (
	// OnBootLoaded: built in, or requested and not stopped.
	OnBootLoaded OnBoot = "loaded"
	// OnBootOnDemand: not requested; the first socket would load it.
	OnBootOnDemand OnBoot = "on-demand"
	// OnBootBlocked: neither boot nor a socket would load it.
	OnBootBlocked OnBoot = "blocked"
	OnBootUnknown OnBoot = "unknown"
)

// Report is everything that an assessment found on one node.
type Report struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Node       string      `json:"node"`
	Ready      kmod.Answer `json:"ready"`
	Reason     Reason      `json:"reason"`
	Message    string      `json:"message"`
	Remedy     string      `json:"remedy"`
	OnBoot     OnBoot      `json:"onBoot"`
	Kernel     Kernel      `json:"kernel"`
	Host       Host        `json:"host"`
	Module     Module      `json:"module"`
	Policy     Policy      `json:"policy"`
	Probe      Probe       `json:"probe"`
	Warnings   []Warning   `json:"warnings"`
	// Remedies are the steps that Remedy is the sentence of.
	Remedies []Remedy `json:"remedies"`
	// Truncated: to keep the report within a size, something was left out.
	Truncated bool `json:"truncated,omitempty"`
}

// Kernel identifies the running kernel, and the boot that the report is about.
type Kernel struct {
	Release string `json:"release"`
	BootID  string `json:"bootID"`
	Machine string `json:"machine"`
}

// Host identifies the inspected host's userland. Kmod is the major version whose
// rules were applied, "" if it is not known.
type Host struct {
	OS   string `json:"os"`
	Kmod string `json:"kmod"`
	// Platform is the name of a row of [Platforms], or where the last one
	// applies, the os-release ID.
	Platform string `json:"platform"`
	// Traits are true besides the platform: [TraitOSTree], [TraitContainer].
	Traits []string `json:"traits"`
}

// Module is the module's state in the running kernel and its file on disk.
type Module struct {
	State kmod.State `json:"state"`
	Path  string     `json:"path"`
}

// Policy answers, per caller, whether the module would be loaded if it were
// not in the kernel yet.
type Policy struct {
	Autoload     Decision     `json:"autoload"`
	AutoloadIPv6 Decision     `json:"autoloadIPv6"`
	ModulesLoad  BootDecision `json:"modulesLoad"`
	Modprobe     Decision     `json:"modprobe"`
}

// Decision is one caller's answer with the lines that decide it.
type Decision struct {
	Allowed  kmod.Answer     `json:"allowed"`
	Evidence []kmod.Evidence `json:"evidence"`
}

// BootDecision adds whether anything asks for the module at boot.
type BootDecision struct {
	Requested kmod.Answer `json:"requested"`
	// Unit is the state of systemd-modules-load.service.
	Unit     kmod.UnitState  `json:"unit"`
	Allowed  kmod.Answer     `json:"allowed"`
	Evidence []kmod.Evidence `json:"evidence"`
}

// Probe is the result of the probe.
type Probe struct {
	Attempted      bool    `json:"attempted"`
	CausedLoad     bool    `json:"causedLoad"`
	Suite          string  `json:"suite"`
	DurationMicros int64   `json:"durationMicros"`
	Checks         []Check `json:"checks"`
	// Folded counts the passed checks left out of Checks to keep a report
	// within its size limit; absent in a complete report.
	Folded int `json:"folded,omitempty"`
}

// Check is the result of one check of the probe.
type Check struct {
	Name           string `json:"name"`
	Result         string `json:"result"`
	Stage          string `json:"stage"`
	Errno          string `json:"errno"`
	DurationMicros int64  `json:"durationMicros"`
	Detail         string `json:"detail"`
}

// Warning is something besides the verdict that is worth acting on.
type Warning struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
}

// MaxAnnotation is the most that the report annotation may hold, in bytes: the
// report of every node travels with every Node object that anybody watches.
const MaxAnnotation = 4096

// Compact is the report as JSON without white space, in at most limit bytes.
// What explains the verdict least goes first; docs/contract.md has the order.
// The verdict, its reason and the boot it speaks of always stay. A limit below
// what these need (about 1 KiB) yields the smallest form there is.
func (r Report) Compact(limit int) []byte {
	var out []byte
	for n, shrink := range []func(*Report){
		func(*Report) {},
		func(r *Report) { r.foldChecks("pass") },
		func(r *Report) { r.foldChecks("skip") },
		func(r *Report) { r.foldEvidence() },
		func(r *Report) { r.clip(bounds{text: 400, evidence: 4, remedies: 8}) },
		func(r *Report) { r.clip(bounds{text: 160, evidence: 1, remedies: 4}) },
		func(r *Report) { r.clip(bounds{text: 80}); r.foldChecks("fail"); r.foldChecks("unknown") },
		func(r *Report) { r.clip(bounds{text: 40}); r.Warnings = []Warning{} },
	} {
		r = r.clone()
		shrink(&r)
		r.Truncated = n > 0
		out = r.marshal()
		if len(out) <= limit {
			return out
		}
	}
	return out
}

// marshal cannot fail: every field is a string, a number or a slice of these.
func (r Report) marshal() []byte {
	out, err := json.Marshal(r)
	if err != nil {
		panic("verdict: a report is not JSON: " + err.Error())
	}
	return out
}

func (r Report) clone() Report {
	r.Warnings = append([]Warning{}, r.Warnings...)
	r.Remedies = append([]Remedy{}, r.Remedies...)
	r.Probe.Checks = append([]Check{}, r.Probe.Checks...)
	for _, e := range r.evidence() {
		*e = append([]kmod.Evidence{}, *e...)
	}
	return r
}

// foldChecks leaves out the checks with this result. Passed ones are counted.
func (r *Report) foldChecks(result string) {
	kept := r.Probe.Checks[:0]
	for _, c := range r.Probe.Checks {
		switch {
		case c.Result != result:
			kept = append(kept, c)
		case result == "pass":
			r.Probe.Folded++
		}
	}
	r.Probe.Checks = kept
}

// foldEvidence leaves out evidence that is there a second time: IPv6 is mostly
// stopped by what stops IPv4.
func (r *Report) foldEvidence() {
	if slices.Equal(r.Policy.AutoloadIPv6.Evidence, r.Policy.Autoload.Evidence) {
		r.Policy.AutoloadIPv6.Evidence = []kmod.Evidence{}
	}
}

// bounds are the most that a report keeps: bytes of a text, entries of a list of
// evidence, steps of the remedies.
type bounds struct{ text, evidence, remedies int }

// clip bounds every text and list. Twelve warnings are more than anybody reads
// in an annotation. A command that is too long is left out: half of one may do
// something else.
func (r *Report) clip(most bounds) {
	for _, list := range r.evidence() {
		if len(*list) > most.evidence {
			*list = (*list)[:most.evidence]
		}
	}
	if len(r.Warnings) > 12 {
		r.Warnings = r.Warnings[:12]
	}
	if len(r.Remedies) > most.remedies {
		r.Remedies = r.Remedies[:most.remedies]
	}
	for _, s := range r.texts() {
		*s = clipText(*s, most.text)
	}
	for _, s := range r.commands() {
		if len(*s) > most.text {
			*s = ""
		}
	}
}

// evidence is every list of it.
func (r *Report) evidence() []*[]kmod.Evidence {
	return []*[]kmod.Evidence{
		&r.Policy.Autoload.Evidence, &r.Policy.AutoloadIPv6.Evidence,
		&r.Policy.ModulesLoad.Evidence, &r.Policy.Modprobe.Evidence,
	}
}

// texts is everything in a report that may hold what the host named or wrote.
func (r *Report) texts() []*string {
	list := []*string{
		&r.Node, &r.Message, &r.Remedy, &r.Kernel.Release, &r.Kernel.BootID, &r.Kernel.Machine,
		&r.Host.OS, &r.Host.Platform, &r.Module.Path,
	}
	for _, evidence := range r.evidence() {
		for i := range *evidence {
			e := &(*evidence)[i]
			list = append(list, &e.File, &e.Text, &e.Effect, &e.Notice)
		}
	}
	for i := range r.Probe.Checks {
		list = append(list, &r.Probe.Checks[i].Detail)
	}
	for i := range r.Warnings {
		list = append(list, &r.Warnings[i].Message)
	}
	for i := range r.Remedies {
		list = append(list, &r.Remedies[i].File, &r.Remedies[i].Text)
	}
	return list
}

// commands is every command in a report.
func (r *Report) commands() []*string {
	var list []*string
	for i := range r.Remedies {
		list = append(list, &r.Remedies[i].Command)
	}
	return list
}

// clipText cuts s to at most n bytes, never inside a character.
func clipText(s string, n int) string {
	const mark = "…"
	if len(s) <= n {
		return s
	}
	cut := n - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}
