// Package chart tests the Helm chart with Helm itself, and the placement
// policies, which kustomize and the chart install, on a real kube-apiserver with
// its controllers.
package chart
