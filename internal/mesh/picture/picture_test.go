package picture

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// The names are what programs read.
func TestJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text, err := json.Marshal(Picture{
		APIVersion: APIVersion, Kind: Kind, Node: "a", Zone: "z1", Version: "v0.2.0", Time: at, Nodes: 40,
		Self: Self{State: StateOK}, PeersFrom: at,
		Peers: []Peer{{
			Node: "b", Address: "192.0.2.1", Role: RoleRing,
			New: Probe{State: StateFailed, Cause: "no answer", At: at}, Kept: Probe{State: StateOK, RTT: 0.002, At: at}, TCP: Probe{State: StateUnknown},
			Conclusion: ConclusionPath, Scope: ScopeSCTP, Since: at, Asked: 3,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"sctp-agent/v1","kind":"Mesh","node":"a","zone":"z1","version":"v0.2.0","time":"2026-01-02T03:04:05Z",` +
		`"self":{"state":"ok"},"nodes":40,"peersFrom":"2026-01-02T03:04:05Z","peers":[{"node":"b","address":"192.0.2.1","role":"ring",` +
		`"new":{"state":"failed","cause":"no answer","at":"2026-01-02T03:04:05Z"},"kept":{"state":"ok","rtt":0.002,"at":"2026-01-02T03:04:05Z"},"tcp":{"state":"unknown"},` +
		`"conclusion":"path","scope":"sctp","since":"2026-01-02T03:04:05Z","asked":3}]}`
	if got := string(text); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var p Picture
	if err := json.NewDecoder(strings.NewReader(want)).Decode(&p); err != nil || len(p.Failing()) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}
