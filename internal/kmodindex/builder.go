package kmodindex

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
)

// Builder builds a binary module index as depmod(8) writes it
// (libkmod-index.h has the format).
type Builder struct {
	values map[string][]indexValue
}

// Add enters one value; several may have the same key.
func (x *Builder) Add(key, value string, priority uint32) {
	if x.values == nil {
		x.values = map[string][]indexValue{}
	}
	x.values[key] = append(x.values[key], indexValue{priority, value})
}

// Bytes is the file's content.
func (x *Builder) Bytes() []byte {
	var out bytes.Buffer
	out.Write(make([]byte, 12))
	root := x.write(&out, slices.Sorted(maps.Keys(x.values)), 0)
	b := out.Bytes()
	binary.BigEndian.PutUint32(b[0:], indexMagic)
	binary.BigEndian.PutUint32(b[4:], indexMajor<<16|1)
	binary.BigEndian.PutUint32(b[8:], root)
	return b
}

// write writes the node for these keys, which share their first depth bytes,
// after its children, and returns its offset with the flags.
func (x *Builder) write(out *bytes.Buffer, keys []string, depth int) uint32 {
	prefix := ""
	if len(keys) > 0 {
		prefix = keys[0][depth:]
		for _, k := range keys[1:] {
			for !strings.HasPrefix(k[depth:], prefix) {
				prefix = prefix[:len(prefix)-1]
			}
		}
	}
	end := depth + len(prefix)
	groups := map[byte][]string{}
	var values []indexValue
	for _, k := range keys {
		if len(k) == end {
			values = x.values[k]
			continue
		}
		groups[k[end]] = append(groups[k[end]], k)
	}
	var children []uint32
	var first, last byte
	if len(groups) > 0 {
		bytes := slices.Sorted(maps.Keys(groups))
		first, last = bytes[0], bytes[len(bytes)-1]
		children = make([]uint32, int(last)-int(first)+1)
		for _, c := range bytes {
			children[c-first] = x.write(out, groups[c], end+1)
		}
	}
	offset := uint32(out.Len())
	if prefix != "" {
		offset |= indexNodePrefix
		out.WriteString(prefix + "\x00")
	}
	if children != nil {
		offset |= indexNodeChildren
		out.Write([]byte{first, last})
		binary.Write(out, binary.BigEndian, children)
	}
	if len(values) > 0 {
		offset |= indexNodeValues
		binary.Write(out, binary.BigEndian, uint32(len(values)))
		for _, v := range values {
			binary.Write(out, binary.BigEndian, v.priority)
			out.WriteString(v.value + "\x00")
		}
	}
	if offset&^indexNodeMask == 0 {
		// An empty index still has a root node.
		offset |= indexNodePrefix
		out.WriteByte(0)
	}
	return offset
}
