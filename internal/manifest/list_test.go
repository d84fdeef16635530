package manifest

import (
	"encoding/json"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// FuzzList: the items of a list that are decoded one by one are those of the whole
// document.
func FuzzList(f *testing.F) {
	for _, text := range []string{
		"apiVersion: v1\nitems:\n- a: 1\n  b: |\n    - x\n\n    y\n# c\n- a: [1,\n   2]\n-\n  c: 3\nkind: List\nmetadata:\n  resourceVersion: \"\"\n",
		"items: # all\n\n  # first\n  - a\n  - - b\n    - c\n  -\nkind: List\n", "items:\n- &x {a: 1}\n- *x\n", "items:\n- a\nitems:\n- b\n", "items:\n  - a\n- b\n",
		"items:\n- a\nb: {\n", "items:\n- {a\n", "kind: List\nitems:\n-a\n", "x:\n  items:\n  - a\n", "items:\r\n- a: 1\r\n- b: 2\r\n", "items:\n- a: \"x\n\n  - y\"\n- |2\n   z\n", "- items:\n  - a\n", "items:\n- a # b\n # c\n- ? b\n  : c\n",
		"0: 0\nitems:\n- a\n\"0\": 8\n", "items:\n - \r00", "items:\n- a\u2028- b\n",
		"items:\n- 1\n- 1.50\n- 0x10\n- 2001-01-01\n- null\n- ~\n- 'x'\n- <<: {a: b}\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, wantErr := yaml.YAMLToJSON([]byte(text))
		got, err := toJSON([]byte(text))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, and decoded whole: %v", text, err, wantErr)
		}
		// Of keys that are one in JSON, as 0 and "0", either may be left.
		for try := 0; err == nil; try++ {
			var a, b any
			if json.Unmarshal(got, &a) == nil && json.Unmarshal(want, &b) == nil && reflect.DeepEqual(a, b) {
				break
			}
			if try == 50 {
				t.Fatalf("%q: %s, and decoded whole: %s", text, got, want)
			}
			want, _ = yaml.YAMLToJSON([]byte(text))
		}
	})
}

// TestListMemory: a list takes memory for its text, and not for a tree of all its items.
func TestListMemory(t *testing.T) {
	list := []byte("apiVersion: v1\nitems:\n" + strings.Repeat("- apiVersion: v1\n  kind: ConfigMap\n  data:\n    a: b\n    c: [1, 2, 3]\n", 5000) + "kind: List\n")
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	most := func(decode func([]byte) (json.RawMessage, error)) (peak uint64) {
		runtime.GC()
		metrics.Read(heap)
		before := heap[0].Value.Uint64()
		peak = before
		done := make(chan error)
		go func() {
			_, err := decode(list)
			done <- err
		}()
		for {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				return peak - before
			case <-time.After(time.Millisecond):
				metrics.Read(heap)
				peak = max(peak, heap[0].Value.Uint64())
			}
		}
	}
	one := most(toJSON)
	var all uint64
	for range 10 { // while this machine stands still, nothing is seen
		all = max(all, most(func(text []byte) (json.RawMessage, error) { return yaml.YAMLToJSON(text) }))
		if one <= all/2 {
			break
		}
	}
	if one > all/2 {
		t.Errorf("%d kB, and decoded whole %d", one>>10, all>>10)
	}
}
