package machineconfig

import (
	"maps"
	"slices"
)

// Config is what one MachineConfig (or plain Ignition configuration) does to a
// host, as far as it bears on a module.
type Config struct {
	// Name of the MachineConfig; for one without a name, and for a plain Ignition
	// configuration, the name of its source.
	Name string
	// Role is the pool it is for, "" when it has no role label.
	Role string
	// RenderedFor is the pool of which this is all configurations merged, by the
	// machine-config-operator: a MachineConfigPool owns it, and it has no role
	// label. "" for every other one.
	RenderedFor string
	Files       []HostFile
	Links       []Link
	// KernelArguments are added to the kernel command line.
	KernelArguments []string
	Units           []Unit
	// Unread is what could not be decoded, and why.
	Unread []Unread
	// Notes are what else is worth knowing before it is applied.
	Notes []string
	// unfit is what Ignition takes and the machine-config-operator does not.
	unfit []string
	// firstBoot is what only a node's first boot applies.
	firstBoot []firstBootPart
	// beside are notes on what else the stream has.
	beside []string
	// ofOperator: it is a MachineConfig; named: its name is its own, as are labels.
	ofOperator, named bool
	labels            map[string]string
	// selects is not nil for a MachineConfigPool, of which nothing else is set but
	// its name.
	selects *selector
}

// firstBootPart is something that the machine-config-operator refuses on nodes that were
// not installed with it: a section, and what it is about.
type firstBootPart struct{ section, name string }

// HostFile is a decoded file.
type HostFile struct {
	Path     string
	Contents []byte
	// Keeps: the file has no contents here; those of an earlier configuration stay.
	Keeps bool
	// Err is why its contents are not known, where only a reader of the file may
	// need them.
	Err error
	// noSource: its source is empty, which is an empty file for Ignition.
	noSource bool
}

// Unit is a configuration's entry about a systemd unit.
type Unit struct {
	Name string
	// Contents is the unit's own file, nil if there is none. An empty one is not
	// written.
	Contents *string
	// DropIns by their names.
	DropIns map[string]string
	// Enabled and Masked are nil where they are not set.
	Enabled, Masked *bool
}

// texts are the unit's own file and its drop-ins.
func (u *Unit) texts() []string {
	list := slices.Collect(maps.Values(u.DropIns))
	if u.Contents != nil {
		list = append(list, *u.Contents)
	}
	return list
}

// Link is a symbolic link.
type Link struct {
	Path, Target string
	overwrite    bool
}

// Unread is something that stayed unknown.
type Unread struct {
	// Path of the file on the host; "" for the whole configuration.
	Path string
	Err  error
}
