// Package kmodindex reads the binary indexes of depmod(8), modules.*.bin, as
// libkmod does (libkmod/libkmod-index.c).
package kmodindex

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/fnmatch"
)

// The binary indexes of depmod(8), modules.*.bin, are tries on disk: all
// integers big-endian, a header of magic, version and root offset, then nodes.
// The top bits of a node's offset say which fields it has, in this order:
// a prefix (NUL-terminated), children (first and last byte, one offset each),
// values (a count, each with a priority and a NUL-terminated string).
// (libkmod/libkmod-index.c; the format is described in libkmod-index.h.)
const (
	indexMagic        = 0xB007F457
	indexMajor        = 2
	indexNodePrefix   = 0x80000000
	indexNodeValues   = 0x40000000
	indexNodeChildren = 0x20000000
	indexNodeMask     = 0x0FFFFFFF
)

// Limits on one lookup, far above what depmod writes: the longest key is a
// module alias (some hundred bytes), the largest fan-out 256.
const (
	maxIndexString = 64 << 10
	maxIndexValues = 64 << 10
	maxIndexWork   = 8 << 20
	maxIndexDepth  = 4096
)

var (
	// errFormat: the file is not an index, or a broken one.
	errFormat = errors.New("not a module index that depmod wrote")
	errNoEnd  = fmt.Errorf("%w: a lookup in it never ends", errFormat)
)

// Index reads an open index by position: a lookup touches the nodes on its way
// and nothing else, and of a node only what it needs.
type Index struct {
	r    io.ReaderAt
	size int64
	root uint32
	// blocks are those of the file that were read: the nodes that a few lookups touch
	// share most of them.
	blocks map[int64][]byte
	reads  int // of blocks, so far
	// budget bounds what one index may make us read, copy and compare, in
	// bytes or so: offsets can form a loop.
	budget int
	// err ends the lookup that is under way. What is read after it is empty.
	err error
}

func (x *Index) fail(err error) {
	if x.err == nil {
		x.err = err
	}
}

// spend takes n from the budget. Once it returns false, the lookup has failed.
func (x *Index) spend(n int) bool {
	if x.err == nil {
		if x.budget -= n; x.budget < 0 {
			x.err = errNoEnd
		}
	}
	return x.err == nil
}

// New takes a file of a known size for an index. errFormat, where it is none.
func New(r io.ReaderAt, size int64) (*Index, error) {
	x := &Index{r: r, size: size, budget: maxIndexWork}
	head := x.bytes(0, 12)
	if x.err != nil {
		return nil, x.err
	}
	if binary.BigEndian.Uint32(head[0:]) != indexMagic || binary.BigEndian.Uint32(head[4:])>>16 != indexMajor {
		return nil, errFormat
	}
	x.root = binary.BigEndian.Uint32(head[8:])
	return x, nil
}

// The file is read in blocks, of which so many are kept. A hostile index only makes it
// slower.
const (
	blockSize = 2048
	maxBlocks = 256
	maxReads  = 100_000
)

// from returns the bytes from a position to the end of its block, none after an error.
// They are not to be written to.
func (x *Index) from(off int64) []byte {
	if off >= x.size {
		x.fail(fmt.Errorf("%w: it ends inside a node", errFormat))
	}
	if x.err != nil {
		return nil
	}
	start := off &^ (blockSize - 1)
	block, ok := x.blocks[start]
	if !ok {
		if x.reads++; x.reads > maxReads {
			x.fail(errNoEnd)
			return nil
		}
		block = make([]byte, min(blockSize, x.size-start))
		if n, err := x.r.ReadAt(block, start); n < len(block) {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: it became shorter meanwhile", errFormat)
			}
			x.fail(err)
			return nil
		}
		if x.blocks == nil || len(x.blocks) >= maxBlocks {
			x.blocks = map[int64][]byte{}
		}
		x.blocks[start] = block
	}
	return block[off-start:]
}

// bytes returns count bytes, zeros after an error.
func (x *Index) bytes(off int64, count int) []byte {
	have := x.from(off)
	if len(have) >= count {
		return have[:count]
	}
	joined := bytes.Clone(have)
	for len(joined) < count && x.err == nil {
		joined = append(joined, x.from(off+int64(len(joined)))...)
	}
	if x.err != nil {
		return make([]byte, count)
	}
	return joined[:count]
}

// cstring returns the bytes up to a NUL.
func (x *Index) cstring(off int64) []byte {
	have := x.from(off)
	if end := bytes.IndexByte(have, 0); end >= 0 {
		return have[:end]
	}
	joined := bytes.Clone(have)
	for len(joined) <= maxIndexString && x.err == nil {
		more := x.from(off + int64(len(joined)))
		if end := bytes.IndexByte(more, 0); end >= 0 {
			return append(joined, more[:end]...)
		}
		joined = append(joined, more...)
	}
	x.fail(fmt.Errorf("%w: a string has no end", errFormat))
	return nil
}

func (x *Index) long(off int64) uint32 { return binary.BigEndian.Uint32(x.bytes(off, 4)) }

type indexValue struct {
	priority uint32
	value    string
}

// indexNode is one node; its children and values are read when they are needed.
type indexNode struct {
	prefix      []byte
	first, last int   // no children if first > last
	children    int64 // where their offsets are
	values      int64 // where the values are, 0 if there are none
}

// node reads the node at an offset; ok is false if there is none.
func (x *Index) node(offset uint32) (node indexNode, ok bool) {
	at := int64(offset & indexNodeMask)
	if at == 0 || !x.spend(1) {
		return node, false
	}
	if offset&indexNodePrefix != 0 {
		node.prefix = x.cstring(at)
		x.spend(len(node.prefix))
		at += int64(len(node.prefix)) + 1
	}
	node.first, node.last = 1, 0
	if offset&indexNodeChildren != 0 {
		span := x.bytes(at, 2)
		node.first, node.last = int(span[0]), int(span[1])
		node.children = at + 2
		at = node.children + 4*int64(max(node.last-node.first+1, 0))
	}
	if offset&indexNodeValues != 0 {
		node.values = at
	}
	return node, x.err == nil
}

// valuesOf reads a node's values, by priority.
func (x *Index) valuesOf(n indexNode) (values []indexValue) {
	if n.values == 0 {
		return nil
	}
	count := x.long(n.values)
	if count > maxIndexValues {
		x.fail(fmt.Errorf("%w: too many values", errFormat))
	}
	at := n.values + 4
	for range count {
		priority, value := x.long(at), x.cstring(at+4)
		// Sorting them in is a matter of their number, too.
		if !x.spend(1 + len(value) + int(count)/64) {
			return nil
		}
		values = addIndexValue(values, indexValue{priority, string(value)})
		at += 4 + int64(len(value)) + 1
	}
	return values
}

// addIndexValue keeps values sorted by priority; of equal ones the later comes
// first, as in the original (add_value).
func addIndexValue(values []indexValue, v indexValue) []indexValue {
	i, _ := slices.BinarySearchFunc(values, v.priority, func(have indexValue, p uint32) int { return cmp.Compare(have.priority, p) })
	return slices.Insert(values, i, v)
}

func (x *Index) child(n indexNode, c byte) (child indexNode, ok bool) {
	if int(c) < n.first || int(c) > n.last {
		return child, false
	}
	return x.node(x.long(n.children + 4*int64(int(c)-n.first)))
}

// Search finds the first value of exactly this key.
func (x *Index) Search(key string) (value string, found bool, err error) {
	x.err = nil
	node, ok := x.node(x.root)
	for depth := 0; ok && depth < maxIndexDepth; depth++ {
		if key, ok = strings.CutPrefix(key, string(node.prefix)); !ok {
			break
		}
		if key == "" {
			if values := x.valuesOf(node); len(values) > 0 && x.err == nil {
				return values[0].value, true, nil
			}
			break
		}
		node, ok = x.child(node, key[0])
		key = key[1:]
	}
	return "", false, x.err
}

// SearchWild finds the values of all keys that match name as fnmatch patterns,
// by priority (index_searchwild).
func (x *Index) SearchWild(name string) ([]string, error) {
	x.err = nil
	found := x.walk(name)
	if x.err != nil {
		return nil, x.err
	}
	values := make([]string, len(found))
	for i, v := range found {
		values[i] = v.value
	}
	return values, nil
}

// walk follows the name as long as the patterns have no wildcard.
func (x *Index) walk(name string) (found []indexValue) {
	node, ok := x.node(x.root)
	for depth := 0; ok && depth < maxIndexDepth; depth++ {
		for j, c := range node.prefix {
			if c == '*' || c == '?' || c == '[' {
				x.all(node, string(node.prefix[j:]), "", name[j:], 0, &found)
				return found
			}
			if j >= len(name) || name[j] != c {
				return found
			}
		}
		name = name[len(node.prefix):]
		for _, c := range []byte("*?[") {
			if child, ok := x.child(node, c); ok {
				x.all(child, string(child.prefix), string(c), name, 1, &found)
			}
		}
		if name == "" {
			x.addValuesOf(node, &found)
			break
		}
		node, ok = x.child(node, name[0])
		name = name[1:]
	}
	return found
}

// all walks everything below a wildcard; from here on patterns can only be
// tested whole.
func (x *Index) all(node indexNode, prefix, pattern, name string, depth int, found *[]indexValue) {
	if depth > maxIndexDepth || len(pattern) > maxIndexString {
		x.fail(fmt.Errorf("%w: too deep", errFormat))
	}
	pattern += prefix
	for c := node.first; c <= node.last && x.spend(1); c++ {
		if child, ok := x.child(node, byte(c)); ok && x.spend(len(pattern)) {
			x.all(child, string(child.prefix), pattern+string([]byte{byte(c)}), name, depth+1, found)
		}
	}
	if node.values == 0 || x.err != nil {
		return
	}
	if matches := fnmatch.Within(pattern, name, &x.budget); x.spend(0) && matches {
		x.addValuesOf(node, found)
	}
}

func (x *Index) addValuesOf(node indexNode, found *[]indexValue) {
	for _, v := range x.valuesOf(node) {
		if !x.spend(1 + len(*found)/64) {
			return
		}
		*found = addIndexValue(*found, v)
	}
}
