package kube

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/internal/mesh"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

type object = map[string]any

func client(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	conn, err := kubeconn.Connect(kubeconn.Config{Server: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return &Client{conn, Identity{Node: "a", Namespace: "ns", Account: "sctp-mesh", Pod: "pod-a", UID: "uid-a"}}
}

func write(t *testing.T, w http.ResponseWriter, o any) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(o); err != nil {
		t.Error(err)
	}
}

func endpoint(node, address string, conditions object) object {
	return object{
		"addresses": []string{address}, "nodeName": node, "zone": "z", "conditions": conditions,
		"targetRef": object{"name": "pod-" + node, "uid": "uid-" + node},
	}
}

// All pages the first time, then what has changed and nothing else.
func TestPeers(t *testing.T) {
	const base = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"
	up := object{"ready": true, "serving": true, "terminating": false}
	cluster := map[string]object{}
	set := func(name, version, family string, endpoints ...object) {
		cluster[name] = object{"metadata": object{"name": name, "resourceVersion": version}, "addressType": family, "endpoints": endpoints}
	}
	set("s0", "1", "IPv4", endpoint("a", "192.0.2.1", up), endpoint("b", "192.0.2.2", object{"ready": true, "serving": false, "terminating": false}))
	set("s1", "1", "IPv4", endpoint("c", "192.0.2.3", object{"ready": false, "serving": true, "terminating": true}), object{"addresses": []string{"192.0.2.9"}})
	set("s2", "1", "IPv6", endpoint("a", "2001:db8::1", up))
	set("s3", "1", "IPv4", endpoint("d", "192.0.2.4", nil))
	var requests []string
	fail := false
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, strings.TrimPrefix(r.URL.Path, base))
		if fail {
			http.Error(w, `{"kind": "Status", "message": "try later"}`, http.StatusServiceUnavailable)
			return
		}
		if name := strings.Trim(strings.TrimPrefix(r.URL.Path, base), "/"); name != "" {
			write(t, w, cluster[name])
			return
		}
		if got := r.URL.Query().Get("labelSelector"); got != "kubernetes.io/service-name=sctp-mesh" {
			t.Errorf("selector %q", got)
		}
		names := []string{}
		for name := range cluster {
			names = append(names, name)
		}
		slices.Sort(names)
		half, next := names[:2], "more"
		if r.URL.Query().Get("continue") == "more" {
			half, next = names[2:], ""
		}
		items := []object{}
		for _, name := range half {
			item := cluster[name]
			if strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList") {
				item = object{"metadata": item["metadata"]}
			}
			items = append(items, item)
		}
		write(t, w, object{"metadata": object{"continue": next}, "items": items})
	})
	p := &Peers{Client: c, Service: "sctp-mesh", Family: netip.MustParseAddr("192.0.2.1")}
	list := func() string {
		t.Helper()
		requests = nil
		peers, err := p.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(peers, func(a, b mesh.Peer) int { return strings.Compare(a.Node, b.Node) })
		var text []string
		for _, p := range peers {
			text = append(text, fmt.Sprintf("%s %s %s %s ready=%v leaving=%v", p.Node, p.Address, p.Pod, p.UID, p.Ready, p.Leaving))
		}
		return strings.Join(text, "\n")
	}
	want := `a 192.0.2.1 pod-a uid-a ready=true leaving=false
b 192.0.2.2 pod-b uid-b ready=false leaving=false
c 192.0.2.3 pod-c uid-c ready=true leaving=true
d 192.0.2.4 pod-d uid-d ready=true leaving=false`
	if got := list(); got != want || len(requests) != 2 {
		t.Errorf("got\n%s\nwant\n%s\n%q", got, want, requests)
	}
	if got := list(); got != want || len(requests) != 2 {
		t.Errorf("nothing has changed, and\n%s\n%q", got, requests)
	}
	// The pod of c is replaced, in another slice; d has gone.
	set("s3", "2", "IPv4", endpoint("c", "192.0.2.5", up))
	want = strings.Replace(want, "c 192.0.2.3 pod-c uid-c ready=true leaving=true\nd 192.0.2.4 pod-d uid-d ready=true leaving=false", "c 192.0.2.5 pod-c uid-c ready=true leaving=false", 1)
	if got := list(); got != want || !slices.Equal(requests, []string{"/", "/", "/s3"}) && !slices.Equal(requests, []string{"", "", "/s3"}) {
		t.Errorf("got\n%s\nwant\n%s\n%q", got, want, requests)
	}
	delete(cluster, "s0")
	if got := list(); strings.Contains(got, "192.0.2.1") {
		t.Errorf("a slice has gone, and\n%s", got)
	}
	fail = true
	if _, err := p.List(t.Context()); err == nil || !strings.Contains(err.Error(), "try later") {
		t.Errorf("got %v", err)
	}
	fail = false
	if got := list(); !strings.Contains(got, "c 192.0.2.5") || len(requests) != 2 {
		t.Errorf("after a failure\n%s\n%q", got, requests)
	}
}

// Of many slices that have changed, pages are read; of few, each, and none again
// that was read before an error.
func TestManyChanged(t *testing.T) {
	const all = 12
	version, failing := map[string]int{}, ""
	for i := range all {
		version[fmt.Sprintf("s%02d", i)] = 1
	}
	item := func(name string) object {
		address := fmt.Sprintf("192.0.2.%d", version[name])
		return object{"metadata": object{"name": name, "resourceVersion": fmt.Sprint(version[name])}, "addressType": "IPv4", "endpoints": []object{endpoint(name, address, nil)}}
	}
	var requests []string
	p := &Peers{Service: "sctp-mesh", Family: netip.MustParseAddr("192.0.2.1"), Client: client(t, func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		switch {
		case name == failing:
			http.Error(w, "try later", http.StatusServiceUnavailable)
			return
		case name != "endpointslices":
			requests = append(requests, name)
			write(t, w, item(name))
			return
		case strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList"):
			requests = append(requests, "metadata")
		default:
			requests = append(requests, "page")
		}
		items := []object{}
		for i := range all {
			items = append(items, item(fmt.Sprintf("s%02d", i)))
		}
		write(t, w, object{"items": items})
	})}
	for _, c := range []struct {
		change  int
		failing string
		want    []string
	}{
		{0, "", []string{"page"}},
		{all, "", []string{"metadata", "page"}},
		{3, "s02", []string{"metadata", "s00", "s01"}},
		{0, "", []string{"metadata", "s02"}},
		{0, "", []string{"metadata"}},
	} {
		for i := range c.change {
			version[fmt.Sprintf("s%02d", i)]++
		}
		requests, failing = nil, c.failing
		list, err := p.List(t.Context())
		if (err != nil) != (c.failing != "") || fmt.Sprint(requests) != fmt.Sprint(c.want) {
			t.Errorf("%+v: %v, %q", c, err, requests)
		}
		if err != nil {
			continue
		}
		for _, peer := range list {
			if want := fmt.Sprintf("192.0.2.%d", version[peer.Node]); peer.Address.String() != want {
				t.Errorf("%+v: %s has %s, want %s", c, peer.Node, peer.Address, want)
			}
		}
		if len(list) != all {
			t.Errorf("%+v: %d peers", c, len(list))
		}
	}
}

// A token is bound to the pod, and asked for once in its time.
func TestTokens(t *testing.T) {
	requests, away := 0, false
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		requests++ // of one at a time
		if away {
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		var got struct {
			Spec struct {
				Audiences         []string
				ExpirationSeconds int
				BoundObjectRef    struct{ Kind, APIVersion, Name, UID string }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		bound := got.Spec.BoundObjectRef
		if r.URL.Path != "/api/v1/namespaces/ns/serviceaccounts/sctp-mesh/token" || bound.Kind != "Pod" || bound.Name != "pod-a" || bound.UID != "uid-a" || got.Spec.ExpirationSeconds != 600 {
			t.Errorf("%s %+v", r.URL.Path, got)
		}
		end := time.Now().Add(10 * time.Minute)
		switch got.Spec.Audiences[0] {
		case "short":
			end = time.Now().Add(30 * time.Second)
		case "slow": // this node's clock is an hour slow
			end = end.Add(time.Hour)
		}
		write(t, w, object{"status": object{"token": "for " + got.Spec.Audiences[0], "expirationTimestamp": end}})
	})
	tokens := &Tokens{Client: c}
	for _, step := range []struct {
		audience string
		requests int
	}{{"x", 1}, {"x", 1}, {"y", 2}, {"x", 2}, {"short", 6}, {"short", 10}} {
		var others sync.WaitGroup
		for range 3 {
			others.Go(func() { _, _ = tokens.Token(t.Context(), step.audience) })
		}
		token, err := tokens.Token(t.Context(), step.audience)
		others.Wait()
		if err != nil || token != "for "+step.audience || requests != step.requests {
			t.Errorf("%s: %q, %v, %d requests", step.audience, token, err, requests)
		}
	}
	if _, err := tokens.Token(t.Context(), "slow"); err != nil || time.Until(tokens.kept["slow"].until) > 9*time.Minute {
		t.Errorf("by a slow clock a token is used until %v: %v", tokens.kept["slow"].until, err)
	}
	away, requests = true, 0
	for i := range 10 {
		if _, err := tokens.Token(t.Context(), fmt.Sprint(i)); err == nil || !strings.Contains(err.Error(), "too many requests") {
			t.Error(err)
		}
	}
	if requests != 1 {
		t.Errorf("%d requests after one has failed", requests)
	}
	away, tokens.failed = false, time.Now().Add(-patience)
	if _, err := tokens.Token(t.Context(), "z"); err != nil {
		t.Error(err)
	}
}

func TestReview(t *testing.T) {
	status := func(change func(status, user object)) object {
		user := object{"username": "system:serviceaccount:ns:sctp-mesh", "extra": object{
			"authentication.kubernetes.io/pod-name":  []string{"pod-b"},
			"authentication.kubernetes.io/pod-uid":   []string{"uid-b"},
			"authentication.kubernetes.io/node-name": []string{"b"},
		}}
		s := object{"authenticated": true, "audiences": []string{"aud"}, "user": user}
		change(s, user)
		return s
	}
	for name, c := range map[string]struct {
		change func(status, user object)
		err    string
	}{
		"a peer":                       {func(_, _ object) {}, ""},
		"nobody":                       {func(s, _ object) { s["authenticated"] = false }, "not authenticated"},
		"another audience":             {func(s, _ object) { s["audiences"] = []string{"https://kubernetes"} }, "another audience"},
		"another account":              {func(_, u object) { u["username"] = "system:serviceaccount:ns:default" }, "another account"},
		"that account, elsewhere":      {func(_, u object) { u["username"] = "system:serviceaccount:other:sctp-mesh" }, "another account"},
		"a server that ignores them":   {func(s, _ object) { delete(s, "audiences") }, "another audience"},
		"a token that is not a pod's":  {func(_, u object) { delete(u, "extra") }, ""},
		"a user who is called like it": {func(_, u object) { u["username"] = "sctp-mesh" }, "another account"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Reviewer{client(t, func(w http.ResponseWriter, r *http.Request) {
				write(t, w, object{"status": status(c.change)})
			})}
			end := time.Now().Add(5 * time.Minute).Unix()
			token := "x." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, end)) + ".x"
			h, err := r.Review(t.Context(), token, "aud")
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("got %v, want %q", err, c.err)
			case c.err == "" && err != nil:
				t.Error(err)
			case name == "a peer" && (h.Pod != "pod-b" || h.UID != "uid-b" || h.Node != "b" || h.Until.Unix() != end):
				t.Errorf("%+v", h)
			case name == "a token that is not a pod's" && h.Pod != "":
				t.Errorf("%+v", h)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	for claims, want := range map[string]time.Duration{
		"{}": 0, "x": 0, `{"exp":"x"}`: 0, `{"exp":99999999999}`: lifetime * time.Second,
	} {
		got := time.Until(expiry("x." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"))
		if want == 0 && got > 0 || want > 0 && (got > want || got < want-time.Minute) {
			t.Errorf("%s: expires in %v, want %v", claims, got, want)
		}
	}
	if time.Until(expiry("x")) > 0 {
		t.Error("what is no JWT does not expire")
	}
}

func TestEvents(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	peer := picture.Peer{Node: "b", Zone: "z2", Scope: picture.ScopeSCTP, Since: since}
	asked := peer
	asked.Asked, asked.AlsoFail = 3, 1
	for _, c := range []struct {
		change               conclusion.Change
		kind, reason, prefix string
	}{
		{conclusion.Change{Peer: peer, To: picture.ConclusionPath}, "Warning", "PathBroken", "the path from node a to node b in zone z2 fails (SCTP; TCP works), since 2026-01-02T03:04:05Z"},
		{conclusion.Change{Peer: asked, To: picture.ConclusionPath}, "Warning", "PathBroken", "the path from node a to node b in zone z2 fails; others reach that node (SCTP; TCP works), since 2026-01-02T03:04:05Z"},
		{conclusion.Change{Peer: peer, From: picture.ConclusionPath, To: picture.ConclusionNode}, "Warning", "NodeUnreachableBySCTP", "node b in zone z2 fails, as seen from a and from others (SCTP; TCP works), since"},
		{conclusion.Change{Peer: peer, From: picture.ConclusionNode}, "Normal", "SCTPRecovered", "it works again: node b in zone z2 fails"},
		{conclusion.Change{Self: picture.Self{Scope: picture.ScopeEverything, Since: since}, To: picture.ConclusionSelf}, "Warning", "NodeFails", "node a fails towards most of its peers (SCTP, and TCP too), since 2026-01-02"},
		{conclusion.Change{Self: picture.Self{Scope: picture.ScopeEverything, Since: since}, From: picture.ConclusionSelf}, "Normal", "SCTPRecovered", "it works again: node a fails"},
	} {
		created := make(chan object, 1)
		api := client(t, func(_ http.ResponseWriter, r *http.Request) {
			var got object
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.URL.Path != "/api/v1/namespaces/ns/events" {
				t.Errorf("%s: %v", r.URL.Path, err)
			}
			created <- got
		})
		if err := NewEvents(api, slog.New(slog.DiscardHandler)).create(t.Context(), c.change); err != nil {
			t.Fatal(err)
		}
		got := <-created
		about := got["involvedObject"].(object)
		if got["type"] != c.kind || got["reason"] != c.reason || !strings.HasPrefix(got["message"].(string), c.prefix) || about["name"] != "pod-a" || about["uid"] != "uid-a" {
			t.Errorf("got %v", got)
		}
	}
}
