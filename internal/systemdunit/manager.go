package systemdunit

import (
	"path"
	"strings"
)

const managerSection = "Manager"

// ManagerHindrance is a setting of systemd itself (systemd-system.conf(5)) that may
// keep every unit, and the kernel's own helper, from loading a module: it takes the
// capability from all of them, or gives modprobe options.
func (s *Set) ManagerHindrance() (by Setting, found bool) {
	for _, file := range s.managerFiles() {
		data, _, err := s.read(file)
		if err != nil {
			continue
		}
		for _, v := range s.parse(file, data) {
			switch {
			case v.Section != managerSection:
			case v.Key == "CapabilityBoundingSet" && takesModules(v.Value),
				(v.Key == "DefaultEnvironment" || v.Key == "ManagerEnvironment") && strings.Contains(v.Value, modprobeOptions):
				return v, true
			}
		}
	}
	return Setting{}, false
}

// managerFiles are the first system.conf, and drop-ins: of one name the first.
func (s *Set) managerFiles() (files []string) {
	taken := map[string]bool{}
	for _, dir := range []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"} {
		if file := path.Join(dir, "system.conf"); !taken[""] {
			if _, err := s.files.Stat(file); err == nil {
				taken[""] = true
				files = append(files, file)
			}
		}
		entries, err := s.files.ReadDir(path.Join(dir, "system.conf.d"))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name, ".conf") && !taken[e.Name] {
				taken[e.Name] = true
				files = append(files, path.Join(dir, "system.conf.d", e.Name))
			}
		}
	}
	return files
}
