package kmodindex

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// countingReader counts what is read of a file.
type countingReader struct {
	*bytes.Reader
	read int
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.Reader.ReadAt(p, off)
	r.read += n
	return n, err
}

// TestIndexLookup finds every key of a large index, though nodes and strings
// run over the ends of blocks, and reads little of the file for one key.
func TestIndexLookup(t *testing.T) {
	var x Builder
	want := map[string]string{}
	for i := range 3000 {
		key := fmt.Sprintf("mod%d_%d", i*7919%1000, i)
		want[key] = strings.Repeat("kernel/some/where/", i%13) + key
		if i == 1500 {
			want[key] = strings.Repeat("long ", 3*blockSize/5) // longer than a block
		}
		x.Add(key, want[key], uint32(i))
		x.Add("pattern_"+key+"*", key, uint32(i))
	}
	data := x.Bytes()
	all, err := New(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	all.budget = 1 << 30
	for key, value := range want {
		if got, found, err := all.Search(key); got != value || !found || err != nil {
			t.Fatalf("%s: %q, %v, %v", key, got, found, err)
		}
		if got, err := all.SearchWild("pattern_" + key + "x"); !slices.Contains(got, key) || err != nil {
			t.Fatalf("%s as a pattern: %q, %v", key, got, err)
		}
		if got, found, err := all.Search(key + "x"); found || err != nil {
			t.Fatalf("%sx: %q, %v", key, got, err)
		}
	}
	file := &countingReader{Reader: bytes.NewReader(data)}
	one, err := New(file, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if _, found, err := one.Search("mod919_1"); !found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if file.read > len(data)/10 {
		t.Errorf("one lookup read %d bytes of %d", file.read, len(data))
	}
	// The root comes last: without it nothing is found, and that is an error.
	for _, size := range []int64{0, 11, 12, int64(len(data)) / 2, int64(len(data)) - 20} {
		cut, err := New(bytes.NewReader(data[:size]), size)
		if err != nil {
			continue
		}
		if value, found, err := cut.Search("mod919_1"); err == nil {
			t.Errorf("cut at %d: %q, %v", size, value, found)
		}
	}
}

func FuzzIndex(f *testing.F) {
	var x Builder
	x.Add("net_pf_2_proto_132", "sctp", 0)
	x.Add("net_pf_*_proto_13[1-3]", "other", 1)
	x.Add("sctp", "kernel/net/sctp/sctp.ko.xz: kernel/lib/libcrc32c.ko.xz", 0)
	x.Add("sctp_diag", "kernel/net/sctp/sctp_diag.ko.xz:", 0)
	f.Add(x.Bytes(), "net_pf_2_proto_132")
	f.Add(x.Bytes()[:40], "sctp")
	f.Add([]byte("\xb0\x07\xf4\x57\x00\x02\x00\x01\x20\x00\x00\x0c\x00\xff\x20\x00\x00\x0c"), "loop")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		x, err := New(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		x.budget = 20000
		value, found, err := x.Search(key)
		if found && (err != nil || len(value) > maxIndexString+blockSize) {
			t.Fatalf("found %q with error %v", value, err)
		}
		x.SearchWild(key)
	})
}
