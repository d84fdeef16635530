// Package apiserver tests the writer and the agent's loop against a real
// kube-apiserver, with the agent's real rights: its service-account token, its
// RBAC and its admission policy.
package apiserver
