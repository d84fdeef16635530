// Package inguest is the mesh on a real kernel: a guest of its parent directory
// runs these tests.
package inguest
