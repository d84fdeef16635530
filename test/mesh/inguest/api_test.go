package inguest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pod of the mesh, as its EndpointSlice has it.
type pod struct {
	node, zone, address, name string
	serving, terminating      bool
}

func (p pod) uid() string { return "uid-of-" + p.name }

// api stands in for the API server: what the agents ask of it, and no more. The
// real one has its own tests with the mesh (test/manifests); in this guest,
// whose clock counts instructions, everything has to be inside.
type api struct {
	mu sync.Mutex
	// slices of ten pods each, and how often each was changed.
	slices  [][]pod
	version []int
	tokens  map[string]holder
	events  []string
	// asked counts requests by what they were.
	asked map[string]int
}

type holder struct{ pod, uid, audience string }

type object = map[string]any

const (
	slicesPath = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices/"
	tokenPath  = "/api/v1/namespaces/ns/serviceaccounts/sctp-mesh/token"
	reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"
	eventsPath = "/api/v1/namespaces/ns/events"
	own        = "own-token"
	kubeconfig = "/run/kubeconfig"
)

func startAPI(t *testing.T) *api {
	t.Helper()
	a := &api{tokens: map[string]holder{}, asked: map[string]int{}}
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", gateway, apiPort))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if err := a.serve(w, r); err != nil && r.Context().Err() == nil { // an agent may have given up, or ended
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	s.Listener.Close()
	s.Listener, s.EnableHTTP2 = l, true
	s.StartTLS()
	t.Cleanup(s.Close)
	text, err := json.Marshal(object{
		"current-context": "x",
		"contexts":        []object{{"name": "x", "context": object{"cluster": "x", "user": "x"}}},
		"clusters": []object{{"name": "x", "cluster": object{
			"server": s.URL, "tls-server-name": "example.com", // httptest's certificate
			"certificate-authority-data": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		}}},
		"users": []object{{"name": "x", "user": object{"token": own}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubeconfig, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return a
}

// put has a pod in the list, in place of an earlier one of that name.
func (a *api) put(p pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.slices {
		if at := slices.IndexFunc(a.slices[s], func(q pod) bool { return q.name == p.name }); at >= 0 {
			a.slices[s][at] = p
			a.version[s]++
			return
		}
	}
	s := slices.IndexFunc(a.slices, func(s []pod) bool { return len(s) < 10 })
	if s < 0 {
		s = len(a.slices)
		a.slices, a.version = append(a.slices, nil), append(a.version, 0)
	}
	a.slices[s] = append(a.slices[s], p)
	a.version[s]++
}

func (a *api) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.slices {
		if n := len(a.slices[s]); len(slices.DeleteFunc(a.slices[s], func(p pod) bool { return p.name == name })) < n {
			a.slices[s] = a.slices[s][:n-1]
			a.version[s]++
		}
	}
}

// counted returns how often was asked since the last time, and for what.
func (a *api) counted() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = map[string]int{}
	return asked
}

// serve one request. a.mu is held.
func (a *api) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Authorization") != "Bearer "+own {
		return fmt.Errorf("authorization %q", r.Header.Get("Authorization"))
	}
	var in struct {
		Spec struct {
			Audiences      []string
			Token          string
			BoundObjectRef struct{ Name, UID string }
		}
		Message string
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return err
		}
	}
	var out object
	switch path := strings.TrimSuffix(r.URL.Path, "/") + "/"; {
	case path == slicesPath && r.Method == http.MethodGet:
		whole := !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList")
		a.asked[fmt.Sprintf("list whole=%v", whole)]++
		items := []object{}
		for s := range a.slices {
			items = append(items, a.slice(s, whole))
		}
		out = object{"metadata": object{}, "items": items}
	case strings.HasPrefix(path, slicesPath) && r.Method == http.MethodGet:
		a.asked["get"]++
		var s int
		if _, err := fmt.Sscanf(strings.TrimPrefix(path, slicesPath), "slice-%d/", &s); err != nil || s >= len(a.slices) {
			return fmt.Errorf("no such slice: %v", err)
		}
		out = a.slice(s, true)
	case path == tokenPath+"/":
		a.asked["token"]++
		end := time.Now().Add(10 * time.Minute)
		claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, end.Unix()))
		token := fmt.Sprintf("token-%d.%s.%s", len(a.tokens), claims, strings.Repeat("x", 1400)) // a real one's size
		a.tokens[token] = holder{in.Spec.BoundObjectRef.Name, in.Spec.BoundObjectRef.UID, in.Spec.Audiences[0]}
		out = object{"status": object{"token": token, "expirationTimestamp": end}}
	case path == reviewPath+"/":
		a.asked["review"]++
		h, found := a.tokens[in.Spec.Token]
		if !found || h.audience != in.Spec.Audiences[0] {
			out = object{"status": object{"authenticated": false}}
			break
		}
		out = object{"status": object{"authenticated": true, "audiences": in.Spec.Audiences, "user": object{
			"username": "system:serviceaccount:ns:sctp-mesh",
			"extra": object{
				"authentication.kubernetes.io/pod-name": []string{h.pod},
				"authentication.kubernetes.io/pod-uid":  []string{h.uid},
			},
		}}}
	case path == eventsPath+"/":
		a.asked["event"]++
		a.events = append(a.events, in.Message)
		w.WriteHeader(http.StatusCreated)
		out = object{}
	default:
		return fmt.Errorf("nothing is there")
	}
	return json.NewEncoder(w).Encode(out)
}

func (a *api) slice(s int, whole bool) object {
	o := object{"metadata": object{"name": fmt.Sprintf("slice-%d", s), "resourceVersion": fmt.Sprint(a.version[s])}}
	if !whole {
		return o
	}
	endpoints := []object{}
	for _, p := range a.slices[s] {
		endpoints = append(endpoints, object{
			"addresses": []string{p.address}, "nodeName": p.node, "zone": p.zone,
			"conditions": object{"ready": true, "serving": p.serving, "terminating": p.terminating},
			"targetRef":  object{"name": p.name, "uid": p.uid()},
		})
	}
	o["addressType"], o["endpoints"] = "IPv4", endpoints
	return o
}
