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
	blocks blockReader
	root   uint32
	// budget bounds what one index may make us read, copy and compare, in
	// bytes or so: offsets can form a loop.
	budget int
}

func (x *Index) spend(n int) error {
	if x.budget -= n; x.budget < 0 {
		return errNoEnd
	}
	return nil
}

// New takes a file of a known size for an index. errFormat, where it is none.
func New(r io.ReaderAt, size int64) (*Index, error) {
	x := &Index{blocks: blockReader{r: r, size: size}, budget: maxIndexWork}
	head, err := x.blocks.bytes(0, 12)
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(head[0:]) != indexMagic || binary.BigEndian.Uint32(head[4:])>>16 != indexMajor {
		return nil, errFormat
	}
	x.root = binary.BigEndian.Uint32(head[8:])
	return x, nil
}

// blockReader reads a file of a known size in blocks and keeps them: the nodes
// of a trie that a few lookups touch share most of them. It is bounded: a
// hostile index only makes it slower. What it returns is not to be written to.
type blockReader struct {
	r      io.ReaderAt
	size   int64
	blocks map[int64][]byte
	reads  int // of blocks, so far
}

const (
	blockSize = 2048
	maxBlocks = 256
	maxReads  = 100_000
)

// from returns the bytes from a position to the end of its block, at least one.
func (b *blockReader) from(off int64) ([]byte, error) {
	if off >= b.size {
		return nil, fmt.Errorf("%w: it ends inside a node", errFormat)
	}
	start := off &^ (blockSize - 1)
	block, ok := b.blocks[start]
	if !ok {
		if b.reads++; b.reads > maxReads {
			return nil, errNoEnd
		}
		block = make([]byte, min(blockSize, b.size-start))
		if n, err := b.r.ReadAt(block, start); n < len(block) {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: it became shorter meanwhile", errFormat)
			}
			return nil, err
		}
		if b.blocks == nil || len(b.blocks) >= maxBlocks {
			b.blocks = map[int64][]byte{}
		}
		b.blocks[start] = block
	}
	return block[off-start:], nil
}

// bytes returns count bytes.
func (b *blockReader) bytes(off int64, count int) ([]byte, error) {
	have, err := b.from(off)
	if err != nil || len(have) >= count {
		return have[:min(len(have), count)], err
	}
	joined := append(make([]byte, 0, count), have...)
	for len(joined) < count {
		more, err := b.from(off + int64(len(joined)))
		if err != nil {
			return nil, err
		}
		joined = append(joined, more[:min(len(more), count-len(joined))]...)
	}
	return joined, nil
}

// cstring returns the bytes up to a NUL.
func (b *blockReader) cstring(off int64) ([]byte, error) {
	have, err := b.from(off)
	if err != nil {
		return nil, err
	}
	if end := bytes.IndexByte(have, 0); end >= 0 {
		return have[:end], nil
	}
	joined := bytes.Clone(have)
	for len(joined) <= maxIndexString {
		more, err := b.from(off + int64(len(joined)))
		if err != nil {
			return nil, err
		}
		if end := bytes.IndexByte(more, 0); end >= 0 {
			return append(joined, more[:end]...), nil
		}
		joined = append(joined, more...)
	}
	return nil, fmt.Errorf("%w: a string has no end", errFormat)
}

func (b *blockReader) long(off int64) (uint32, error) {
	word, err := b.bytes(off, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(word), nil
}

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
func (x *Index) node(offset uint32) (node indexNode, ok bool, err error) {
	at := int64(offset & indexNodeMask)
	if at == 0 {
		return node, false, nil
	}
	if err := x.spend(1); err != nil {
		return node, false, err
	}
	if offset&indexNodePrefix != 0 {
		prefix, err := x.blocks.cstring(at)
		if err != nil {
			return node, false, err
		}
		if err := x.spend(len(prefix)); err != nil {
			return node, false, err
		}
		node.prefix = prefix
		at += int64(len(prefix)) + 1
	}
	node.first, node.last = 1, 0
	if offset&indexNodeChildren != 0 {
		span, err := x.blocks.bytes(at, 2)
		if err != nil {
			return node, false, err
		}
		node.first, node.last = int(span[0]), int(span[1])
		node.children = at + 2
		at = node.children + 4*int64(max(node.last-node.first+1, 0))
	}
	if offset&indexNodeValues != 0 {
		node.values = at
	}
	return node, true, nil
}

// valuesOf reads a node's values, by priority.
func (x *Index) valuesOf(n indexNode) ([]indexValue, error) {
	if n.values == 0 {
		return nil, nil
	}
	count, err := x.blocks.long(n.values)
	if err != nil {
		return nil, err
	}
	if count > maxIndexValues {
		return nil, fmt.Errorf("%w: too many values", errFormat)
	}
	var values []indexValue
	at := n.values + 4
	for range count {
		priority, err := x.blocks.long(at)
		if err != nil {
			return nil, err
		}
		value, err := x.blocks.cstring(at + 4)
		if err != nil {
			return nil, err
		}
		// Sorting them in is a matter of their number, too.
		if err := x.spend(1 + len(value) + int(count)/64); err != nil {
			return nil, err
		}
		values = addIndexValue(values, indexValue{priority, string(value)})
		at += 4 + int64(len(value)) + 1
	}
	return values, nil
}

// addIndexValue keeps values sorted by priority; of equal ones the later comes
// first, as in the original (add_value).
func addIndexValue(values []indexValue, v indexValue) []indexValue {
	i, _ := slices.BinarySearchFunc(values, v.priority, func(have indexValue, p uint32) int { return cmp.Compare(have.priority, p) })
	return slices.Insert(values, i, v)
}

func (x *Index) child(n indexNode, c byte) (child indexNode, ok bool, err error) {
	if int(c) < n.first || int(c) > n.last {
		return child, false, nil
	}
	offset, err := x.blocks.long(n.children + 4*int64(int(c)-n.first))
	if err != nil {
		return child, false, err
	}
	return x.node(offset)
}

// Search finds the first value of exactly this key.
func (x *Index) Search(key string) (value string, found bool, err error) {
	node, ok, err := x.node(x.root)
	for depth := 0; ok && err == nil && depth < maxIndexDepth; depth++ {
		n := len(node.prefix)
		if len(key) < n || key[:n] != string(node.prefix) {
			return "", false, nil
		}
		if key = key[n:]; key == "" {
			values, err := x.valuesOf(node)
			if err != nil || len(values) == 0 {
				return "", false, err
			}
			return values[0].value, true, nil
		}
		c := key[0]
		key = key[1:]
		node, ok, err = x.child(node, c)
	}
	return "", false, err
}

// SearchWild finds the values of all keys that match name as fnmatch patterns,
// by priority (index_searchwild).
func (x *Index) SearchWild(name string) ([]string, error) {
	var found []indexValue
	node, ok, err := x.node(x.root)
	if err != nil {
		return nil, err
	}
	rest := name
walk:
	for depth := 0; ok && depth < maxIndexDepth; depth++ {
		for j := 0; j < len(node.prefix); j++ {
			c := node.prefix[j]
			if c == '*' || c == '?' || c == '[' {
				if err := x.all(node, string(node.prefix[j:]), "", rest[j:], 0, &found); err != nil {
					return nil, err
				}
				break walk
			}
			if j >= len(rest) || rest[j] != c {
				break walk
			}
		}
		rest = rest[len(node.prefix):]
		for _, c := range []byte("*?[") {
			child, ok, err := x.child(node, c)
			if err != nil {
				return nil, err
			}
			if ok {
				if err := x.all(child, string(child.prefix), string(c), rest, 1, &found); err != nil {
					return nil, err
				}
			}
		}
		if rest == "" {
			if err := x.addValuesOf(node, &found); err != nil {
				return nil, err
			}
			break
		}
		c := rest[0]
		rest = rest[1:]
		if node, ok, err = x.child(node, c); err != nil {
			return nil, err
		}
	}
	values := make([]string, len(found))
	for i, v := range found {
		values[i] = v.value
	}
	return values, nil
}

// all walks everything below a wildcard; from here on patterns can only be
// tested whole.
func (x *Index) all(node indexNode, prefix, pattern, name string, depth int, found *[]indexValue) error {
	if depth > maxIndexDepth || len(pattern) > maxIndexString {
		return fmt.Errorf("%w: too deep", errFormat)
	}
	pattern += prefix
	for c := node.first; c <= node.last; c++ {
		if err := x.spend(1); err != nil {
			return err
		}
		child, ok, err := x.child(node, byte(c))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := x.spend(len(pattern)); err != nil {
			return err
		}
		if err := x.all(child, string(child.prefix), pattern+string([]byte{byte(c)}), name, depth+1, found); err != nil {
			return err
		}
	}
	if node.values == 0 {
		return nil
	}
	matches := fnmatch.Within(pattern, name, &x.budget)
	if err := x.spend(0); err != nil || !matches {
		return err
	}
	return x.addValuesOf(node, found)
}

func (x *Index) addValuesOf(node indexNode, found *[]indexValue) error {
	values, err := x.valuesOf(node)
	if err != nil {
		return err
	}
	for _, v := range values {
		if err := x.spend(1 + len(*found)/64); err != nil {
			return err
		}
		*found = addIndexValue(*found, v)
	}
	return nil
}
