package systemdunit

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// harmless are the settings that neither stop a unit's commands, nor keep them from
// loading a module, nor pull in another unit (systemd.unit(5), systemd.service(5),
// systemd.exec(5), systemd.kill(5)).
func harmless(key string) bool {
	switch key {
	case "Description", "Documentation", "SourcePath", "PartOf", "OnFailureJobMode", "OnSuccessJobMode", "StartLimitIntervalSec", "StartLimitInterval", "StartLimitBurst",
		"StartLimitAction", "IgnoreOnIsolate", "StopWhenUnneeded", "RefuseManualStart",
		"RefuseManualStop", "AllowIsolate", "CollectMode", "PropagatesReloadTo", "ReloadPropagatedFrom",
		"PropagatesStopTo", "StopPropagatedFrom", "RequiresMountsFor", "WantsMountsFor", "SurviveFinalKillSignal",
		"JobTimeoutSec", "JobRunningTimeoutSec", "JobTimeoutAction", "FailureAction", "SuccessAction",
		"PIDFile", "GuessMainPID", "NotifyAccess",
		"FileDescriptorStoreMax", "ExecReload", "RestartSec", "RestartSteps",
		"RestartMaxDelaySec", "RestartPreventExitStatus", "TimeoutSec", "TimeoutStartSec",
		"TimeoutStopSec", "TimeoutAbortSec", "RuntimeMaxSec", "WatchdogSec", "SuccessExitStatus", "NonBlocking",
		"OOMPolicy", "SyslogIdentifier", "SyslogFacility",
		"SyslogLevel", "SyslogLevelPrefix", "LogLevelMax", "LogRateLimitIntervalSec", "LogRateLimitBurst",
		"TTYReset", "TTYVHangup", "TTYVTDisallocate", "PassEnvironment", "UnsetEnvironment", "UMask",
		"Nice", "OOMScoreAdjust", "LimitNPROC", "LimitCORE",
		"LimitMEMLOCK", "LimitFSIZE", "LimitRSS", "LimitRTPRIO", "LimitCPU",
		"CPUSchedulingPolicy", "CPUSchedulingPriority", "CPUAccounting", "CPUWeight", "CPUShares", "CPUQuota",
		"AllowedCPUs", "MemoryAccounting", "MemoryMin", "MemoryLow", "MemoryHigh",
		"MemorySwapMax", "TasksAccounting", "TasksMax", "IOAccounting", "IOWeight",
		"BlockIOAccounting", "BlockIOWeight", "IPAccounting", "IOSchedulingClass", "IOSchedulingPriority",
		"Delegate", "KillMode", "KillSignal", "FinalKillSignal", "RestartKillSignal", "SendSIGKILL", "SendSIGHUP",
		"RuntimeDirectory", "RuntimeDirectoryMode", "RuntimeDirectoryPreserve", "StateDirectory",
		"StateDirectoryMode", "CacheDirectory", "CacheDirectoryMode", "LogsDirectory", "LogsDirectoryMode",
		"ConfigurationDirectory", "ConfigurationDirectoryMode", "NoNewPrivileges", "PrivateTmp", "PrivateNetwork",
		"ProtectHome", "ProtectHostname", "ProtectClock", "ProtectControlGroups", "ProtectKernelLogs",
		"ProtectKernelTunables", "ReadWritePaths", "LockPersonality", "RestrictRealtime", "RestrictSUIDSGID",
		"MemoryDenyWriteExecute", "KeyringMode", "TimeoutStartFailureMode", "TimeoutStopFailureMode", "RestartMode",
		"FailureActionExitStatus", "SuccessActionExitStatus", "RebootArgument", "ReloadSignal", "IgnoreSIGPIPE", "CoredumpFilter",
		"LogExtraFields", "LogFilterPatterns", "TTYRows", "TTYColumns", "UtmpIdentifier", "UtmpMode", "TimerSlackNSec", "CPUQuotaPeriodSec",
		"CPUSchedulingResetOnFork", "AllowedMemoryNodes", "MemoryZSwapMax", "MemoryPressureWatch", "ManagedOOMSwap",
		"ManagedOOMMemoryPressure", "ManagedOOMPreference", "IPAddressAllow", "IPAddressDeny", "RestrictAddressFamilies", "DeviceAllow",
		"DevicePolicy", "ProtectProc", "RestrictNamespaces", "LimitNICE", "LimitSIGPENDING", "LimitMSGQUEUE", "LimitLOCKS",
		"LimitRTTIME", "FileDescriptorStorePreserve", "SetLoginEnvironment", "JoinsNamespaceOf", "PrivateMounts", "MountFlags", "PrivateIPC",
		"StandardInputText", "StandardInputData", "TimeoutCleanSec", "DelegateSubgroup", "DisableControllers", "MemoryKSM", "IODeviceWeight":
		return true
	}
	return strings.HasPrefix(key, "X-") || strings.HasPrefix(key, "Startup") || strings.HasPrefix(key, "IOReadBandwidth") || strings.HasPrefix(key, "IOWriteBandwidth")
}

// modprobeOptions is the variable whose options modprobe takes before its own
// (modprobe(8)).
const modprobeOptions = "MODPROBE_OPTIONS"

// Hindrance is a setting of a unit, conditions apart, that may keep its commands
// from being run, or keep them from loading a module: another user, fewer
// capabilities, a unit that it requires and that is not there, one that it conflicts
// with, or that conflicts with it (of those that Started has seen). A setting that
// nothing is known of is one.
func (s *Set) Hindrance(u *Unit) (by Setting, found bool) {
	return s.HindranceOf(u, Setting{})
}

// HindranceOf is the same for one of the unit's commands, which may have more rights
// than the others.
func (s *Set) HindranceOf(u *Unit, command Setting) (by Setting, found bool) {
	rights := ""
	if list, _ := u.Commands(command.Value); len(list) == 1 {
		rights = command.prefixes()
	}
	// Not documented any more, and in force (src/core/service.c, permissions_start_only).
	if only, _ := u.boolean("Service", "PermissionsStartOnly", false); only && command.Key != "ExecStart" && command.Key != "" {
		rights += "+"
	}
	for _, v := range u.Settings {
		if s.hinders(v) && !s.lifted(v, rights) {
			return v, true
		}
	}
	if v := s.doubt(u); v != nil {
		return *v, true
	}
	return Setting{}, false
}

// lifted reports whether a setting does not apply to a command with these prefixes: "+"
// has all privileges, "!" only lifts the user (systemd.service(5), Table 1; the user has
// to be there all the same: src/core/execute.c, get_fixed_user and apply_mount_namespace).
func (s *Set) lifted(v Setting, rights string) bool {
	switch v.Key {
	case "User":
		return (strings.Contains(rights, "+") || strings.Count(rights, "!") == 1) && s.hasName("passwd", v.Value)
	case "CapabilityBoundingSet", "SecureBits", "SystemCallFilter", "SystemCallArchitectures", "SystemCallErrorNumber", "SystemCallLog", "ProtectKernelModules",
		"PrivateDevices", "PrivateUsers", "AppArmorProfile", "SELinuxContext", "SmackProcessLabel", "InaccessiblePaths", "ReadOnlyPaths":
		return strings.Contains(rights, "+")
	}
	return false
}

// doubt is why a boot that comes to a unit may not start it, nil if nothing is
// known of that.
func (s *Set) doubt(u *Unit) *Setting {
	if by, known := s.doubts[u.Name]; known {
		return by
	}
	if s.doubts == nil {
		s.doubts = map[string]*Setting{}
	}
	s.doubts[u.Name] = nil // units may require each other
	by := s.refused(u)
	if v, ok := s.against[u.Name]; ok {
		by = &v
	}
	for _, v := range u.Settings {
		if v.Section == "Unit" && v.Key == "Requisite" && v.Value != "" || v.Key == badLine {
			by = &v
		}
	}
	for _, v := range s.required(u) {
		if slices.Contains(perpetual, v.Value) {
			continue
		}
		other := s.Load(s.AliasOf(v.Value))
		missing := other.File == "" && !slices.Contains(early, v.Value) // not all of a host is in each root
		if kind := path.Ext(v.Value); kind == ".slice" {
			missing = strings.Contains("-"+strings.TrimSuffix(v.Value, kind)+"-", "--") // systemd makes the others
		} else if !slices.Contains(kinds, kind) {
			missing = missing || !v.Vendor // a device, say, which may not be there
		}
		if other.Masked || other.Err != nil || missing || s.doubt(other) != nil || s.failsBefore(other, u, v.Key) {
			by = &v
			break
		}
	}
	s.doubts[u.Name] = by
	return by
}

// failsBefore reports whether a unit that another one requires by a setting fails, or may
// fail by a script of the host's own, and the other one waits for it: it is not started
// then. One that is bound to it needs it to be running, besides.
func (s *Set) failsBefore(u, other *Unit, setting string) bool {
	named := func(of *Unit, key, name string) bool {
		return slices.ContainsFunc(s.named(of, key), func(v Setting) bool { return s.AliasOf(v.Value) == name })
	}
	if !named(other, "After", u.Name) && !named(u, "Before", other.Name) {
		return false
	}
	holds := func(prefix string) bool {
		var list []Setting
		for _, v := range u.Settings {
			if v.Section == "Unit" && strings.HasPrefix(v.Key, prefix) && strings.Contains(v.Value, "/") {
				list = append(list, v)
			}
		}
		all, _ := s.conditions(list, prefix, nil)
		return all != No
	}
	runs, oneshot := holds("Condition"), u.kind() == "oneshot"
	if setting == "BindsTo" && (!runs || oneshot && !u.remains()) {
		return true
	}
	commands := u.Values("Service", "ExecStartPre")
	if oneshot {
		commands = append(commands, u.Values("Service", "ExecStart")...)
	}
	return runs && (!holds("Assert") || slices.ContainsFunc(commands, func(v Setting) bool {
		list, _ := u.Commands(v.Value)
		return !v.Ignored() && slices.ContainsFunc(list, func(args []string) bool {
			_, err := s.files.Stat(args[0])
			return path.Base(args[0]) == "false" || path.IsAbs(args[0]) && hostroot.Absent(err) && !s.partial() || !v.Vendor && ownProgram(args[0])
		})
	}))
}

// ownProgram reports whether a program is no distribution's, or a shell, which does
// anything.
func ownProgram(name string) bool {
	dir, base := path.Split(name)
	return !slices.Contains([]string{"/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"}, dir) && !strings.HasPrefix(dir, "/usr/lib") || strings.HasSuffix(base, "sh")
}

// perpetual are the units that systemd has whatever files of them there are
// (src/core/slice.c, mount.c and scope.c).
var perpetual = []string{"-.slice", "system.slice", "-.mount", "init.scope"}

// inSlice is the slice that a unit is in, which it requires (systemd.slice(5)), if
// that is no perpetual one.
func (s *Set) inSlice(u *Unit) (list []Setting) {
	name, isSlice := strings.CutSuffix(u.Name, ".slice")
	prefix, _, isInstance := strings.Cut(u.Name, "@")
	switch dash := strings.LastIndexByte(name, '-'); {
	case isSlice && dash > 0:
		list = []Setting{{Key: "Slice", Value: name[:dash] + ".slice", File: u.File}}
	case isSlice:
	case isInstance:
		list = []Setting{{Key: "Slice", Value: "system-" + strings.ReplaceAll(prefix, "-", `\x2d`) + ".slice", File: u.File}}
	}
	for _, v := range s.named(u, "Slice") {
		if path.Ext(v.Value) == ".slice" {
			list = []Setting{v} // the last one counts
		}
	}
	return list
}

// refused is why systemd refuses to load a service (src/core/service.c,
// service_verify), nil if it is not known to.
func (s *Set) refused(u *Unit) *Setting {
	if path.Ext(u.Name) != ".service" || u.File == "" || u.Masked || u.alias != "" {
		return nil
	}
	kind, commands := u.kind(), 0
	for _, v := range u.Settings {
		if v.Section != "Service" || v.Key != "ExecStart" || v.Value == "" {
			continue
		}
		if list, _ := u.Commands(v.Value); len(list) == 0 {
			return &v // no name of a program, which another ExecStart= does not make good
		}
	}
	start := u.Values("Service", "ExecStart")
	for _, v := range start {
		list, _ := u.Commands(v.Value)
		commands += len(list)
	}
	var restart, exit Setting
	for _, v := range u.Values("Service", "Restart") {
		restart = v
	}
	for _, v := range u.Values("Service", "ExitType") {
		exit = v
	}
	switch force := u.Values("Service", "RestartForceExitStatus"); {
	case kind == "dbus" && len(u.Values("Service", "BusName")) == 0:
		return &Setting{Section: "Service", Key: "BusName", File: u.File}
	case commands == 0:
		return &Setting{Section: "Service", Key: "ExecStart", File: u.File}
	case kind != "oneshot" && commands > 1:
		return &start[len(start)-1]
	case kind == "oneshot" && (restart.Value == "always" || restart.Value == "on-success"):
		return &restart
	case kind == "oneshot" && len(force) > 0:
		return &force[0]
	case kind == "oneshot" && exit.Value == "cgroup":
		return &exit
	}
	return nil
}

// kind is a service's type.
func (u *Unit) kind() string {
	kind := "simple"
	for _, v := range u.Values("Service", "Type") {
		if slices.Contains([]string{"simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle"}, v.Value) {
			kind = v.Value
		}
	}
	return kind
}

// remains reports whether a service counts as running when its commands have ended.
func (u *Unit) remains() bool {
	remains, _ := u.boolean("Service", "RemainAfterExit", false)
	return remains
}

// Ends reports whether a unit ends by itself as soon as its commands have been run:
// systemd then runs those that stop it (systemd.service(5), RemainAfterExit=).
func (u *Unit) Ends() bool {
	ends := u.kind() == "oneshot"
	for _, v := range u.Values("Service", "ExecStart") {
		list, _ := u.Commands(v.Value)
		ends = ends || len(list) > 0 && path.Base(list[len(list)-1][0]) == "modprobe"
	}
	return ends && !u.remains()
}

func (s *Set) hinders(v Setting) bool {
	switch key := v.Key; {
	case v.Section == "Install", key == "Type", key == "Restart", key == "RestartForceExitStatus", key == "ExitType", key == "DefaultDependencies",
		key == "Requires", key == "BindsTo", key == "Slice", key == "Conflicts", key == "Before", key == "After", key == "Requisite", key == "PermissionsStartOnly":
		return false // see doubt and HindranceOf
	case key == "CapabilityBoundingSet":
		return takesModules(v.Value)
	case key == "User":
		return v.Value != "" && v.Value != "root" && v.Value != "0"
	case key == "LimitNOFILE", key == "MemoryMax", key == "MemoryLimit":
		return scarce(v.Value)
	case v.Value == "", isNo(v.Value) && (harmless(key) || !strings.HasPrefix(key, "Limit")):
		return false
	case strings.HasPrefix(key, "Condition"), strings.HasPrefix(key, "Assert"), key == "Wants", key == "Sockets", key == "Upholds", key == "OnSuccess", key == "OnFailure",
		key == "ExecCondition", key == "ExecStartPre", key == "ExecStart", key == "ExecStartPost", key == "ExecStop", key == "ExecStopPost", key == "RemainAfterExit", key == "BusName":
		return false
	case key == "Environment":
		return strings.Contains(v.Value, modprobeOptions)
	case key == "EnvironmentFile":
		name, optional := strings.CutPrefix(v.Value, "-")
		data, _, err := s.read(name)
		return err != nil && !(optional && hostroot.Absent(err)) || bytes.Contains(data, []byte(modprobeOptions))
	case key == "WorkingDirectory":
		_, err := s.files.Stat(v.Value)
		return err != nil && !strings.HasPrefix(v.Value, "-")
	case key == "Group", key == "SupplementaryGroups":
		return slices.ContainsFunc(words(v.Value), func(name string) bool { return !s.hasGroup(name) })
	case key == "StandardInput", key == "StandardOutput", key == "StandardError":
		return s.lacksFile(v)
	case key == "AmbientCapabilities", key == "ProtectSystem":
		return false // they add, and make files read-only
	}
	return true
}

// hasGroup reports whether the host surely has a group: without it, a service is not run
// (systemd.exec(5), 216/GROUP).
func (s *Set) hasGroup(name string) bool {
	if _, err := strconv.ParseUint(name, 10, 32); err == nil || name == "root" {
		return true
	}
	return s.hasName("group", name)
}

// hasName reports whether a line of the passwd or group file is that of a name.
func (s *Set) hasName(file, name string) bool {
	return slices.ContainsFunc([]string{"/etc/", "/usr/lib/"}, func(dir string) bool { // the second with nss-altfiles
		data, _, err := s.read(dir + file)
		return err == nil && bytes.Contains(append([]byte("\n"), data...), []byte("\n"+name+":"))
	})
}

// lacksFile reports whether what a service is to read from or write to is not there, as
// far as that is a file (208/STDIN and 209/STDOUT).
func (s *Set) lacksFile(v Setting) bool {
	how, name, ok := strings.Cut(v.Value, ":")
	if !ok || !slices.Contains([]string{"file", "append", "truncate"}, how) {
		return how == "socket" || how == "fd"
	}
	if v.Key != "StandardInput" {
		name = path.Dir(name)
	}
	_, err := s.files.Stat(name)
	return err != nil
}

// scarce reports whether a limit, of files or of bytes, has at most two digits and no
// unit: no program starts with so little.
func scarce(value string) bool {
	soft, _, _ := strings.Cut(value, ":")
	_, err := strconv.ParseUint(soft, 10, 64)
	return err == nil && len(soft) <= 2
}

// takesModules says whether a CapabilityBoundingSet= takes CAP_SYS_MODULE away.
func takesModules(value string) bool {
	list, inverted := strings.CutPrefix(value, "~")
	return slices.Contains(strings.Fields(strings.ToUpper(list)), "CAP_SYS_MODULE") == inverted
}

// isNo reports whether a value is false (src/basic/parse-util.c, parse_boolean).
func isNo(value string) bool {
	return slices.Contains([]string{"0", "no", "n", "false", "f", "off"}, strings.ToLower(value))
}

func isYes(value string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(value))
}

// boolean is what the last valid assignment of a setting makes of it, and that
// assignment, if there is one: systemd ignores the others, an empty one included
// (src/shared/conf-parser.c, config_parse_bool).
func (u *Unit) boolean(section, key string, otherwise bool) (value bool, by Setting) {
	value = otherwise
	for _, v := range u.Settings {
		if yes := isYes(v.Value); v.Section == section && v.Key == key && (yes || isNo(v.Value)) {
			value, by = yes, v
		}
	}
	return value, by
}
