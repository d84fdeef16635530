package kmod

// Userland is what tells one kind of host from another: who made it, and how
// it runs.
type Userland struct {
	// ID, VariantID, VersionID and OpenShiftVersion are the fields of
	// os-release(5), "" where they are not set.
	ID, VariantID, VersionID, OpenShiftVersion string
	// OSTree: /run/ostree-booted is there, so /usr is read-only and comes with
	// an image.
	OSTree bool
	// Container is the file that marks the root as a container's, "" if there
	// is none.
	Container string
	// ModuleDirectory says whether the root has the module directory of the
	// running kernel; "" is [AnswerUnknown].
	ModuleDirectory Answer
}
