// Package ring decides who probes whom: each node the next ten on a ring of
// hashes of names, and besides, in turn, everyone else.
//
// Every node has exactly ten probers, whatever the cluster's size, and one that
// is removed changes ten pairs. Rendezvous hashing, with ten peers each, leaves
// some nodes of 5,000 with fewer than three.
package ring

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Peers is how many others each node probes all the time.
const Peers = 10

// Ring is the nodes in the ring's order.
type Ring struct {
	names []string
	at    map[string]int
}

// New puts nodes on the ring. Nodes that know the same names, in any order, get the
// same ring.
func New(names []string) Ring {
	type point struct {
		hash uint64
		name string
	}
	points := make([]point, len(names))
	for i, name := range names {
		sum := sha256.Sum256([]byte(name))
		points[i] = point{binary.BigEndian.Uint64(sum[:]), name}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.name, b.name))
	})
	points = slices.Compact(points)
	r := Ring{at: make(map[string]int, len(points))}
	for i, p := range points {
		r.names = append(r.names, p.name)
		r.at[p.name] = i
	}
	return r
}

// Size is the number of nodes.
func (r Ring) Size() int { return len(r.names) }

// Next are the nodes that a node probes, in the ring's order; none if the node is
// not on the ring.
func (r Ring) Next(name string) []string { return r.neighbours(name, 1) }

// Probers is who probes a node, the nearest first.
func (r Ring) Probers(name string) []string { return r.neighbours(name, -1) }

func (r Ring) neighbours(name string, step int) (list []string) {
	at, found := r.at[name]
	if !found {
		return nil
	}
	for i := range min(Peers, len(r.names)-1) {
		list = append(list, r.name(at+step*(i+1)))
	}
	return list
}

// Roaming is whom a node probes besides in a turn, "" where [Ring.Next] is all.
// In turns that follow each other it is each of the others once; in one turn,
// no two nodes have the same.
func (r Ring) Roaming(name string, turn int64) string {
	at, found := r.at[name]
	others := len(r.names) - 1 - Peers
	if !found || others <= 0 {
		return ""
	}
	return r.name(at + Peers + 1 + int(turn%int64(others)))
}

// name at a distance that may be beyond either end.
func (r Ring) name(at int) string {
	n := len(r.names)
	return r.names[((at%n)+n)%n]
}
