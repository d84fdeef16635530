// Package bootloader reads what a host's next boot may start: the kernels that the
// boot loader has, and their arguments. Names in it are as the host has them, of any
// bytes. Not looked at are what is in the initial RAM disk, and variables of the firmware.
package bootloader

import (
	"bytes"
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/fnmatch"
	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// Where the next boot's arguments are.
const (
	bootDir       = "/boot"
	entriesDir    = "/boot/loader/entries"
	defaultGrub   = "/etc/default/grub"
	grubDir       = "/etc/default/grub.d" // Debian and Ubuntu
	kernelCmdline = "/etc/kernel/cmdline"
	vendorCmdline = "/usr/lib/kernel/cmdline" // where that is not there
	bootcKargs    = "/usr/lib/bootc/kargs.d"
	// StagedDeployment is one of OSTree that the next boot brings.
	StagedDeployment = "/run/ostree/staged-deployment"
	// Where it is, the menu of /boot is not the one that is booted (proxmox-boot-tool).
	proxmoxBoot = "/etc/kernel/proxmox-boot-uuids"
	grubESP     = "/boot/efi/EFI" // a grub.cfg for each vendor; until RHEL 8 the only one
)

var (
	// grubMenus are GRUB's own configuration. Where it has entries of the Boot
	// Loader Specification, it has no others.
	grubMenus        = []string{"/boot/grub2/grub.cfg", "/boot/grub/grub.cfg"}
	grubEnvironments = []string{"/boot/grub2/grubenv", "/boot/grub/grubenv"}
	// cmdlines are files of arguments alone: kernel-install(8), and the Raspberry
	// Pi's firmware.
	cmdlines = []string{kernelCmdline, vendorCmdline, "/boot/firmware/cmdline.txt", "/boot/cmdline.txt"}
	// otherLoaders are configurations of other boot loaders, of which not all is known:
	// Flatcar's GRUB, extlinux, U-Boot of Armbian and BeagleBoard; systemd-boot's are in esps.
	otherLoaders = []string{"/oem/grub.cfg", "/usr/share/oem/grub.cfg", "/boot/extlinux/extlinux.conf", "/boot/armbianEnv.txt", "/boot/uEnv.txt"}
	// sources are what other configurations and unified images are made from: ukify(1), zipl(8),
	// u-boot-update(8), flash-kernel(8), mkinitcpio(8); tuned writes its file for grub-mkconfig.
	sources    = []string{"/etc/kernel/uki.conf", "/etc/zipl.conf", "/etc/default/u-boot", "/etc/default/flash-kernel", "/etc/tuned/bootcmdline"}
	cmdlineDir = "/etc/cmdline.d"
	esps       = []string{"/efi", "/boot/efi"}
)

// Limits on what is read of it.
const (
	maxFile      = 256 << 10
	maxEntries   = 64
	maxGrubItems = 256
	maxVendors   = 8
	maxWords     = 100
)

// Sources is where the next boot's arguments come from. Its zero value is a host without
// any.
type Sources struct {
	// Entries are those of which the next boot takes one; Sure: the only one;
	// Complete: all could be read.
	Entries        []Entry
	Sure, Complete bool
	// Want is what GRUB boots by default: a name, a title or a number, "" the first.
	Want string
	// Hints are arguments of files from which entries are made, and of a staged
	// deployment; Elsewhere is the first file of another boot loader that has some.
	Hints     []Argument
	Elsewhere string
	Staged    bool // there is a StagedDeployment
	// Unseen are files and directories that matter and could not be read.
	Unseen []string

	env   map[string]grubVariable
	files []Entry // those of entriesDir
}

// Arguments are those of one of the entries. missing is a variable of GRUB in them that may
// be set in a file that was not read. known is false where there is such a one, and where
// the kernel brings arguments of its own.
func (s *Sources) Arguments(e Entry) (list []Argument, missing string, known bool) {
	return e.arguments(s.env)
}

// reader reads a host's files.
type reader struct {
	*hostroot.Tree
	unseen []string
}

// read is a file's text, nil if it is not there or cannot be read.
func (r *reader) read(name string) []byte {
	f, err := r.Open(name)
	var data []byte
	if err == nil {
		data, err = f.ReadAll(maxFile)
		f.Close()
	}
	if err != nil && !hostroot.Absent(err) && !errors.Is(err, hostroot.ErrNotMounted) {
		r.unseen = append(r.unseen, name)
	}
	return data
}

// there: a file is there; absent: it surely is not.
func (r *reader) there(name string) bool { _, err := r.Stat(name); return err == nil }

func (r *reader) absent(name string) bool {
	_, err := r.Stat(name)
	return hostroot.Absent(err) && !r.MayHave(name)
}

// Read reads what there is, for a machine of this name (uname(2)), "" if it is not known.
func Read(tree *hostroot.Tree, machine string) Sources {
	r := &reader{Tree: tree}
	s := Sources{env: map[string]grubVariable{}}
	bootSeen := !r.NotEntered(bootDir) && (r.there(bootDir) || r.absent(bootDir))
	if bootSeen {
		s.readBoot(r)
	} else {
		r.unseen = append(r.unseen, bootDir)
	}
	sdBoot := s.readSystemdBoot(r, bootSeen)
	if data := r.read(StagedDeployment); data != nil {
		s.Staged, s.Sure = true, false
		s.Hints = append(s.Hints, parseStaged(StagedDeployment, data)...)
	}
	unseen := len(r.unseen)
	s.Complete = unseen == 0 && !s.Staged
	grub := grubDefaults{}
	grub.parse(defaultGrub, r.read(defaultGrub))
	addHints := func(dir, suffix string, parse func(file string, data []byte) []Argument) {
		list, _ := r.ReadDir(dir)
		for i, e := range list {
			if name := dir + "/" + e.Name; strings.HasSuffix(name, suffix) && i < maxEntries {
				s.Hints = append(s.Hints, parse(name, r.read(name))...)
			}
		}
	}
	addHints(grubDir, ".cfg", grub.parse)
	addHints(cmdlineDir, ".conf", parseKernelCmdline)
	for _, name := range sources {
		s.Hints = append(s.Hints, parseOtherLoader(name, r.read(name))...)
	}
	s.Hints = append(s.Hints, grub.arguments()...)
	other := func(name string, list []Argument) []Argument {
		if s.Elsewhere == "" && len(list) > 0 {
			s.Elsewhere = name
		}
		return list
	}
	otherLoader := func(name string, data []byte) []Argument { return other(name, parseOtherLoader(name, data)) }
	for _, name := range otherLoaders {
		s.Hints = append(s.Hints, otherLoader(name, r.read(name))...)
	}
	// Kernels that bring their own arguments, and other boot loaders, which do not read GRUB's menu.
	menu := slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.menu })
	images := func(esp string) bool {
		if len(s.Entries) == 0 {
			return false
		}
		if menu && r.there(esp+"/EFI/systemd") {
			return true
		}
		list, _ := r.ReadDir(esp + "/EFI/Linux")
		return slices.ContainsFunc(list, func(e hostroot.Entry) bool { return strings.HasSuffix(e.Name, ".efi") })
	}
	unified := images(bootDir) || len(s.Entries) > 0 && r.there(proxmoxBoot)
	for _, esp := range esps {
		if !r.NotEntered(esp) && r.there(esp) {
			if !sdBoot {
				addHints(esp+"/loader/entries", ".conf", otherLoader)
			}
			unified = unified || images(esp)
		}
	}
	for _, name := range cmdlines {
		inBoot := strings.HasPrefix(name, bootDir+"/")
		if name == vendorCmdline && !r.absent(kernelCmdline) || inBoot && !bootSeen {
			continue
		}
		list := parseKernelCmdline(name, r.read(name))
		if inBoot {
			list = other(name, list)
		}
		s.Hints = append(s.Hints, list...)
	}
	if unified || menu && s.Elsewhere != "" {
		s.Sure, s.Complete = false, false
	}
	addHints(bootcKargs, ".toml", func(file string, data []byte) []Argument { return parseKargs(file, data, machine) })
	s.Unseen = r.unseen
	if s.Sure {
		s.Unseen = r.unseen[:unseen] // entries are made from the others; the boot uses the entry
	}
	return s
}

// readSystemdBoot reports whether the host has systemd-boot, and adds the entries of the
// EFI partition, which it shows beside those of /boot. Which one it boots, variables of the
// firmware decide, too (loader.conf(5), "default"; bootctl(1), set-default): if there are
// several, that is not known, whatever GRUB's environment says.
func (s *Sources) readSystemdBoot(r *reader, bootSeen bool) (found bool) {
	wants, entries := "", slices.Clone(s.files)
	if bootSeen {
		found = r.there(bootDir+"/EFI/systemd") || r.there(bootDir+"/loader/loader.conf")
		wants = loaderDefault(r.read(bootDir + "/loader/loader.conf"))
	}
	for _, esp := range esps {
		if r.NotEntered(esp) || !r.there(esp) {
			continue
		}
		found = found || r.there(esp+"/EFI/systemd") || r.there(esp+"/loader/loader.conf")
		wants = cmp.Or(wants, loaderDefault(r.read(esp+"/loader/loader.conf")))
		for _, e := range r.entries(esp + "/loader/entries") {
			if !slices.ContainsFunc(entries, func(o Entry) bool { return o.id == e.id }) {
				entries = append(entries, e)
			}
		}
	}
	if !found || len(entries) == 0 || slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.menu }) {
		return found
	}
	usual := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.rescue() && !fnmatch.Match(wants, path.Base(e.File)) })
	if len(usual) == 0 {
		usual = entries
	}
	s.Entries, s.Want = usual, ""
	s.Sure = len(usual) == 1 && len(r.unseen) == 0
	return true
}

// loaderDefault is the pattern of loader.conf's default entry, which may lack the file's suffix.
func loaderDefault(data []byte) (pattern string) {
	for _, text := range lines(data) {
		if fields := strings.Fields(text); len(fields) > 1 && fields[0] == "default" {
			pattern = fields[1]
		}
	}
	if pattern != "" && !strings.HasSuffix(pattern, ".conf") && !strings.HasSuffix(pattern, "*") {
		pattern += ".conf"
	}
	return pattern
}

// entries are those of a directory.
func (r *reader) entries(dir string) (entries []Entry) {
	list, err := r.ReadDir(dir)
	if err != nil && !hostroot.Absent(err) {
		r.unseen = append(r.unseen, dir)
	}
	for _, e := range list {
		if !strings.HasSuffix(e.Name, ".conf") {
			continue
		}
		if name := dir + "/" + e.Name; len(entries) < maxEntries {
			if data := r.read(name); data != nil {
				entries = append(entries, parseEntry(name, data))
			}
		}
	}
	return entries
}

// readBoot reads /boot: entries of the Boot Loader Specification, and GRUB's menus.
func (s *Sources) readBoot(r *reader) {
	s.readMenus(r, r.entries(entriesDir))
	// What could not be read may be the one.
	s.Sure = s.Sure && len(r.unseen) == 0
}

// readMenus reads GRUB's own configuration, and chooses among the entries of both.
func (s *Sources) readMenus(r *reader, files []Entry) {
	names := slices.Clone(grubMenus)
	if !r.NotEntered(path.Dir(grubESP)) {
		vendors, _ := r.ReadDir(grubESP)
		for _, e := range vendors[:min(len(vendors), maxVendors)] {
			names = append(names, grubESP+"/"+e.Name+"/grub.cfg")
		}
	}
	var menus []*grubMenu
	texts := map[string][]byte{}
	takesFiles := false
	entries := files
	for _, name := range names {
		data := r.read(name)
		if data == nil {
			continue
		}
		menu := parseGrubMenu(name, data)
		texts[name] = data
		takesFiles = takesFiles || bytes.Contains(data, []byte("blscfg"))
		if len(menu.items)+len(menu.kernels) > 0 { // else it leads to another one
			menus, entries = append(menus, menu), append(entries, menu.kernels...)
		}
	}
	for i := range files {
		entries[i].blscfg = takesFiles
	}
	files = entries[:len(files)]
	s.files = slices.Clone(files)
	if len(entries) > 0 {
		for _, name := range grubEnvironments {
			if data := r.read(name); len(data) > 0 {
				s.env = parseGrubEnvironment(name, data)
				break
			}
		}
		for _, name := range names {
			addGrubSets(s.env, entries, name, texts[name], r.read)
		}
	}
	s.Want = cmp.Or(s.env[nextEntry].value, s.env[savedEntry].value)
	var chosen []Entry
	certain := s.env[envBlock].value == "" || len(entries) < 2
	for _, menu := range menus {
		var known bool
		more := false
		for _, name := range menu.sources {
			name = path.Dir(menu.file) + "/" + name
			more = more || !r.absent(name)
			menu.vague = menu.vague || defaults(string(r.read(name))) > 0
		}
		s.Want, known = menu.wanted(s.env)
		certain = certain && known
		if e, ok := menu.chosen(s.env, files, more); ok {
			chosen = append(chosen, e)
		}
	}
	switch {
	case len(files) > 0 && len(files) < len(entries) && !takesFiles:
		s.Entries = entries // GRUB has a menu and does not read the files: they are another loader's, or old
	case len(chosen) > 0 && len(chosen) == len(menus) && !slices.ContainsFunc(chosen, func(e Entry) bool { return !e.same(chosen[0]) }):
		s.Entries, s.Sure = chosen[:1], true
	default:
		if s.Entries, s.Sure = defaultEntries(entries, s.Want); !certain {
			s.Sure = false
			if s.Want != "" {
				s.Entries = entries // it may be another one
			}
		}
	}
}
