package kmod

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
	maxIndexNodes  = 1 << 20
	maxIndexDepth  = 4096
)

var errBadIndex = errors.New("not a module index that depmod wrote")

// index reads an open index by position: a lookup touches the nodes on its way
// and nothing else.
type index struct {
	r    io.ReaderAt
	root uint32
	// budget bounds the nodes that one index may make us read: offsets can
	// form a loop.
	budget int
}

func newIndex(r io.ReaderAt) (*index, error) {
	var head [12]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			err = errBadIndex
		}
		return nil, err
	}
	if binary.BigEndian.Uint32(head[0:]) != indexMagic || binary.BigEndian.Uint32(head[4:])>>16 != indexMajor {
		return nil, errBadIndex
	}
	return &index{r: r, root: binary.BigEndian.Uint32(head[8:]), budget: maxIndexNodes}, nil
}

// blockReader keeps the blocks it has read. The nodes of a trie that a few
// lookups touch share most of them. It is bounded: a hostile index only makes
// it slower.
type blockReader struct {
	r      io.ReaderAt
	blocks map[int64][]byte
}

const (
	blockSize = 4096
	maxBlocks = 256
)

func (b *blockReader) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		block, err := b.block(at / blockSize)
		if err != nil {
			return done, err
		}
		within := int(at % blockSize)
		if within >= len(block) {
			return done, io.EOF
		}
		done += copy(p[done:], block[within:])
	}
	return done, nil
}

func (b *blockReader) block(n int64) ([]byte, error) {
	if block, ok := b.blocks[n]; ok {
		return block, nil
	}
	block := make([]byte, blockSize)
	got, err := b.r.ReadAt(block, n*blockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if b.blocks == nil || len(b.blocks) >= maxBlocks {
		b.blocks = map[int64][]byte{}
	}
	b.blocks[n] = block[:got]
	return b.blocks[n], nil
}

type indexValue struct {
	priority uint32
	value    string
}

type indexNode struct {
	prefix      string
	first, last int // no children if first > last
	children    []byte
	values      []indexValue
}

// nodeReader reads forward from one position in small blocks.
type nodeReader struct {
	r   io.ReaderAt
	off int64
	buf []byte
	mem [512]byte
}

func (n *nodeReader) fill(want int) error {
	if len(n.buf) >= want {
		return nil
	}
	size := max(want, len(n.mem))
	block := n.mem[:]
	if size > len(n.mem) {
		block = make([]byte, size)
	}
	start := n.off - int64(len(n.buf))
	got, err := n.r.ReadAt(block[:size], start)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if got < want {
		return fmt.Errorf("%w: it ends inside a node", errBadIndex)
	}
	n.buf = block[:got]
	n.off = start + int64(got)
	return nil
}

func (n *nodeReader) take(count int) ([]byte, error) {
	if err := n.fill(count); err != nil {
		return nil, err
	}
	b := n.buf[:count]
	n.buf = n.buf[count:]
	return b, nil
}

func (n *nodeReader) long() (uint32, error) {
	b, err := n.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (n *nodeReader) cstring() (string, error) {
	var s []byte
	for {
		if err := n.fill(1); err != nil {
			return "", err
		}
		for i, c := range n.buf {
			if c == 0 {
				s = append(s, n.buf[:i]...)
				n.buf = n.buf[i+1:]
				return string(s), nil
			}
		}
		s = append(s, n.buf...)
		n.buf = nil
		if len(s) > maxIndexString {
			return "", fmt.Errorf("%w: a string has no end", errBadIndex)
		}
	}
}

func (x *index) node(offset uint32) (*indexNode, error) {
	if offset&indexNodeMask == 0 {
		return nil, nil
	}
	if x.budget--; x.budget < 0 {
		return nil, fmt.Errorf("%w: too many nodes", errBadIndex)
	}
	in := nodeReader{r: x.r, off: int64(offset & indexNodeMask)}
	node := &indexNode{first: 1, last: 0}
	var err error
	if offset&indexNodePrefix != 0 {
		if node.prefix, err = in.cstring(); err != nil {
			return nil, err
		}
	}
	if offset&indexNodeChildren != 0 {
		span, err := in.take(2)
		if err != nil {
			return nil, err
		}
		node.first, node.last = int(span[0]), int(span[1])
		if node.first <= node.last {
			b, err := in.take(4 * (node.last - node.first + 1))
			if err != nil {
				return nil, err
			}
			node.children = append([]byte(nil), b...)
		}
	}
	if offset&indexNodeValues != 0 {
		count, err := in.long()
		if err != nil {
			return nil, err
		}
		if count > maxIndexValues {
			return nil, fmt.Errorf("%w: too many values", errBadIndex)
		}
		for range count {
			priority, err := in.long()
			if err != nil {
				return nil, err
			}
			value, err := in.cstring()
			if err != nil {
				return nil, err
			}
			node.values = addIndexValue(node.values, indexValue{priority, value})
		}
	}
	return node, nil
}

// addIndexValue keeps values sorted by priority; of equal ones the later comes
// first, as in the original (add_value).
func addIndexValue(values []indexValue, v indexValue) []indexValue {
	i := 0
	for i < len(values) && values[i].priority < v.priority {
		i++
	}
	values = append(values, indexValue{})
	copy(values[i+1:], values[i:])
	values[i] = v
	return values
}

func (x *index) child(n *indexNode, c byte) (*indexNode, error) {
	if int(c) < n.first || int(c) > n.last {
		return nil, nil
	}
	return x.node(binary.BigEndian.Uint32(n.children[4*(int(c)-n.first):]))
}

// search finds the first value of exactly this key.
func (x *index) search(key string) (value string, found bool, err error) {
	node, err := x.node(x.root)
	for depth := 0; node != nil && err == nil && depth < maxIndexDepth; depth++ {
		if len(key) < len(node.prefix) || key[:len(node.prefix)] != node.prefix {
			return "", false, nil
		}
		key = key[len(node.prefix):]
		if key == "" {
			if len(node.values) == 0 {
				return "", false, nil
			}
			return node.values[0].value, true, nil
		}
		c := key[0]
		key = key[1:]
		node, err = x.child(node, c)
	}
	return "", false, err
}

// searchWild finds the values of all keys that match name as fnmatch patterns,
// by priority (index_searchwild).
func (x *index) searchWild(name string) ([]string, error) {
	var found []indexValue
	node, err := x.node(x.root)
	if err != nil {
		return nil, err
	}
	rest := name
walk:
	for depth := 0; node != nil && depth < maxIndexDepth; depth++ {
		for j := 0; j < len(node.prefix); j++ {
			c := node.prefix[j]
			if c == '*' || c == '?' || c == '[' {
				err := x.all(node, node.prefix[j:], "", rest[j:], 0, &found)
				if err != nil {
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
			child, err := x.child(node, c)
			if err != nil {
				return nil, err
			}
			if child != nil {
				if err := x.all(child, child.prefix, string(c), rest, 1, &found); err != nil {
					return nil, err
				}
			}
		}
		if rest == "" {
			for _, v := range node.values {
				found = addIndexValue(found, v)
			}
			break
		}
		c := rest[0]
		rest = rest[1:]
		if node, err = x.child(node, c); err != nil {
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
func (x *index) all(node *indexNode, prefix, pattern, name string, depth int, found *[]indexValue) error {
	if depth > maxIndexDepth || len(pattern) > maxIndexString {
		return fmt.Errorf("%w: too deep", errBadIndex)
	}
	pattern += prefix
	for c := node.first; c <= node.last; c++ {
		child, err := x.child(node, byte(c))
		if err != nil {
			return err
		}
		if child == nil {
			continue
		}
		if err := x.all(child, child.prefix, pattern+string([]byte{byte(c)}), name, depth+1, found); err != nil {
			return err
		}
	}
	if len(node.values) > 0 && fnmatch(pattern, name) {
		for _, v := range node.values {
			*found = addIndexValue(*found, v)
		}
	}
	return nil
}
