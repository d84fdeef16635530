// Package test holds what proves the product where it matters: guests with a
// real kernel, a real control plane, the real kmod and systemd.
package test
