package conclusion

import (
	"fmt"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// seen is what a node has seen of one peer.
type seen struct {
	tries           int // that failed
	cause           string
	asked, alsoFail int
	tcp             picture.State
	tcpCause        string
	notReady        bool
}

func silent(asked, alsoFail int) seen {
	return seen{tries: Tries, cause: CauseSilence, asked: asked, alsoFail: alsoFail, tcp: picture.StateOK}
}

// tableOf is ten peers of which the first were seen so, and the others work.
func tableOf(ring int, failing ...seen) *Table {
	t := new(Table)
	var members []Member
	for i := range ring {
		members = append(members, Member{Node: fmt.Sprint(i), Address: "192.0.2.1", Role: picture.RoleRing, Ready: i >= len(failing) || !failing[i].notReady})
	}
	t.Members(members)
	for i := range ring {
		node := fmt.Sprint(i)
		if i >= len(failing) || failing[i].tries == 0 {
			t.Try(node, New, Outcome{State: picture.StateOK, Began: at(2), Ended: at(2)})
			continue
		}
		f := failing[i]
		for try := range f.tries {
			t.Try(node, New, Outcome{State: picture.StateFailed, Cause: f.cause, Began: at(float64(try)), Ended: at(float64(try + 1))})
		}
		t.TCP(node, Outcome{State: f.tcp, Cause: f.tcpCause, Ended: at(2)})
		t.Answers(node, f.asked, f.alsoFail, at(3))
	}
	t.Listed(at(3))
	return t
}

func TestJudge(t *testing.T) {
	many := func(n int, s seen) (list []seen) {
		for range n {
			list = append(list, s)
		}
		return list
	}
	for _, c := range []struct {
		name string
		ring int
		seen []seen
		want map[string]string
		self picture.State
	}{
		{"nothing", 10, nil, nil, picture.StateOK},
		{"two tries", 10, []seen{{tries: 2, cause: CauseSilence, tcp: picture.StateOK}}, nil, picture.StateOK},
		{"others reach it", 10, []seen{silent(3, 0)}, map[string]string{"0": "path sctp"}, picture.StateOK},
		{"one of three does not", 10, []seen{silent(3, 1)}, map[string]string{"0": "path sctp"}, picture.StateOK},
		{"two of three do not", 10, []seen{silent(3, 2)}, map[string]string{"0": "node sctp"}, picture.StateOK},
		{"one of two does not", 10, []seen{silent(2, 1)}, map[string]string{"0": "path sctp"}, picture.StateOK},
		{"the only one does not", 10, []seen{silent(1, 1)}, map[string]string{"0": "node sctp"}, picture.StateOK},
		{"nobody answers", 10, []seen{silent(0, 0)}, map[string]string{"0": "path sctp"}, picture.StateOK},
		{"TCP fails, too", 10, []seen{{tries: 3, cause: CauseSilence, asked: 3, tcp: picture.StateFailed, tcpCause: CauseSilence}}, map[string]string{"0": "path everything"}, picture.StateOK},
		{"no agent there", 10, []seen{{tries: 3, cause: CauseRefused, asked: 3, alsoFail: 3, tcp: picture.StateFailed, tcpCause: CauseRefused}}, nil, picture.StateOK},
		{"SCTP is rejected", 10, []seen{{tries: 3, cause: CauseRefused, asked: 3, tcp: picture.StateOK}}, map[string]string{"0": "path sctp"}, picture.StateOK},
		{"no agent there, and SCTP is dropped", 10, []seen{{tries: 3, cause: CauseSilence, asked: 3, tcp: picture.StateFailed, tcpCause: CauseRefused}}, map[string]string{"0": "path sctp"}, picture.StateOK},
		{"it has not started yet", 10, []seen{{tries: 9, cause: CauseSilence, asked: 3, alsoFail: 3, tcp: picture.StateFailed, notReady: true}}, nil, picture.StateOK},
		{"six paths", 10, many(6, silent(3, 0)), map[string]string{"0": "path sctp", "1": "path sctp", "2": "path sctp", "3": "path sctp", "4": "path sctp", "5": "path sctp"}, picture.StateOK},
		{"seven", 10, many(7, silent(3, 0)), map[string]string{"0": "self sctp", "1": "self sctp", "2": "self sctp", "3": "self sctp", "4": "self sctp", "5": "self sctp", "6": "self sctp"}, picture.StateFailed},
		{"seven nodes, as others confirm", 10, many(7, silent(3, 3)), map[string]string{"0": "node sctp", "1": "node sctp", "2": "node sctp", "3": "node sctp", "4": "node sctp", "5": "node sctp", "6": "node sctp"}, picture.StateOK},
		{"five nodes and three paths", 10, append(many(5, silent(3, 3)), many(3, silent(3, 0))...), map[string]string{"0": "node sctp", "1": "node sctp", "2": "node sctp", "3": "node sctp", "4": "node sctp", "5": "path sctp", "6": "path sctp", "7": "path sctp"}, picture.StateOK},
		{"itself, and a node", 10, append(many(7, silent(3, 0)), silent(3, 3)), map[string]string{"0": "self sctp", "1": "self sctp", "2": "self sctp", "3": "self sctp", "4": "self sctp", "5": "self sctp", "6": "self sctp", "7": "node sctp"}, picture.StateFailed},
		{"one of one", 1, []seen{silent(0, 0)}, map[string]string{"0": "path sctp"}, picture.StateUnknown},
		{"two of two", 2, many(2, silent(1, 0)), map[string]string{"0": "self sctp", "1": "self sctp"}, picture.StateFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := tableOf(c.ring, c.seen...)
			table.Judge(at(3))
			got := map[string]string{}
			for _, p := range table.Picture() {
				if p.Conclusion != picture.ConclusionNone {
					got[p.Node] = fmt.Sprint(p.Conclusion, " ", p.Scope)
					if p.Since != start {
						t.Errorf("%s since %v", p.Node, p.Since)
					}
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) || table.Self().State != c.self {
				t.Errorf("got %v, %s; want %v, %s", got, table.Self().State, c.want, c.self)
			}
		})
	}
}

// An agent that starts again answers to TCP first. Only where SCTP is refused
// after that, it is SCTP that fails.
func TestAgentStarts(t *testing.T) {
	for state, want := range map[picture.State]int{picture.StateOK: 0, picture.StateFailed: 1} {
		table := tableOf(10, seen{tries: 3, cause: CauseRefused, asked: 3, alsoFail: 3, tcp: picture.StateFailed, tcpCause: CauseRefused})
		table.Judge(at(10)) // this node is fine
		table.Try("0", New, Outcome{State: picture.StateFailed, Cause: CauseRefused, Began: at(20), Ended: at(20)})
		table.TCP("0", Outcome{State: picture.StateOK, Ended: at(20.1)})
		if changes := table.Judge(at(20.1)); len(changes) > 0 {
			t.Errorf("while it starts: %+v", changes)
		}
		table.Try("0", New, Outcome{State: state, Cause: CauseRefused, Began: at(25), Ended: at(25)})
		if changes := table.Judge(at(25)); len(changes) != want {
			t.Errorf("then %s: %+v", state, changes)
		}
	}
}

// A conclusion waits for the answers, for TCP, for the list and for the other
// peers, but not for ever.
func TestSettling(t *testing.T) {
	for name, missing := range map[string]func(*Table){
		"answers":        func(t *Table) { t.find("0").answered = time.Time{} },
		"TCP":            func(t *Table) { t.find("0").tcp.At = time.Time{} },
		"the list":       func(t *Table) { t.listed = time.Time{} },
		"another's peer": func(t *Table) { t.find("9").lines[New].works = at(-1) },
	} {
		table := tableOf(10, silent(3, 0))
		missing(table)
		for _, step := range []struct {
			at   float64
			want int
		}{{3, 0}, {6.9, 0}, {7, 1}} {
			if got := len(table.Judge(at(step.at))); got != step.want {
				t.Errorf("without %s, after %v s: %d changes", name, step.at, got)
			}
		}
	}
}

// That nobody answers, as while the API server is away, overturns nothing.
func TestNobodyAnswers(t *testing.T) {
	table := tableOf(10, silent(3, 3))
	table.Judge(at(3))
	table.Answers("0", 0, 0, at(30))
	if changes := table.Judge(at(30)); len(changes) > 0 || table.Picture()[0].AlsoFail != 3 {
		t.Errorf("%+v, %+v", changes, table.Picture()[0])
	}
}

// Paths that fail one after the other turn out to be this node's own failure.
func TestPathsBecomeSelf(t *testing.T) {
	table := tableOf(10, silent(3, 0), silent(3, 0), silent(3, 0))
	for _, c := range table.Judge(at(3)) {
		if c.To != picture.ConclusionPath {
			t.Errorf("%+v", c)
		}
	}
	for i := 3; i < 7; i++ {
		for try := range Tries {
			table.Try(fmt.Sprint(i), New, Outcome{State: picture.StateFailed, Cause: CauseSilence, Began: at(float64(5 + try)), Ended: at(float64(6 + try))})
		}
	}
	// That is one change, and of this node.
	if changes := table.Judge(at(20)); len(changes) != 1 || changes[0].Peer.Node != "" || changes[0].Self.Since != start {
		t.Errorf("%+v", changes)
	}
	for _, p := range table.Picture()[:7] {
		if p.Conclusion != picture.ConclusionSelf {
			t.Errorf("%s: %s", p.Node, p.Conclusion)
		}
	}
}

// An error of this process's own is no evidence, and is shown.
func TestUnknownOutcome(t *testing.T) {
	table := tableOf(10)
	for range 10 {
		table.Try("0", New, Outcome{State: picture.StateUnknown, Cause: "too many open files", Ended: at(3)})
	}
	if changes := table.Judge(at(20)); len(changes) > 1 {
		t.Errorf("%+v", changes)
	}
	if p := table.Picture()[0]; p.Conclusion != picture.ConclusionNone || p.New.State != picture.StateUnknown || p.New.Cause != "too many open files" {
		t.Errorf("%+v", p)
	}
}
