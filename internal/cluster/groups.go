package cluster

import "iter"

// Groups are lists by a key, in the order in which the keys came.
type Groups[K comparable, V any] struct {
	keys []K
	by   map[K][]V
}

// Add adds a value to the list of a key.
func (g *Groups[K, V]) Add(key K, value V) {
	if g.by == nil {
		g.by = map[K][]V{}
	}
	if g.by[key] == nil {
		g.keys = append(g.keys, key)
	}
	g.by[key] = append(g.by[key], value)
}

// All are the keys with their lists.
func (g *Groups[K, V]) All() iter.Seq2[K, []V] {
	return func(yield func(K, []V) bool) {
		for _, key := range g.keys {
			if !yield(key, g.by[key]) {
				return
			}
		}
	}
}
