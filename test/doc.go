// Package test is the root of the module of tests with guests that have a real
// kernel, a real control plane, the real kmod and systemd.
package test
