package systemdunit

import (
	"slices"
	"strings"
)

// harmless says of a setting that it neither keeps a unit's commands from being
// run nor from loading a module, and that it brings no other unit along
// (systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5)).
func harmless(key string) bool {
	switch key {
	case "Description", "Documentation", "SourcePath", "After", "Before", "PartOf", "OnFailure", "OnSuccess",
		"OnFailureJobMode", "OnSuccessJobMode", "StartLimitIntervalSec", "StartLimitInterval", "StartLimitBurst",
		"StartLimitAction", "DefaultDependencies", "IgnoreOnIsolate", "StopWhenUnneeded", "RefuseManualStart",
		"RefuseManualStop", "AllowIsolate", "CollectMode", "PropagatesReloadTo", "ReloadPropagatedFrom",
		"PropagatesStopTo", "StopPropagatedFrom", "RequiresMountsFor", "WantsMountsFor", "SurviveFinalKillSignal",
		"JobTimeoutSec", "JobRunningTimeoutSec", "JobTimeoutAction", "FailureAction", "SuccessAction", "Type",
		"RemainAfterExit", "ExitType", "PIDFile", "GuessMainPID", "BusName", "NotifyAccess", "Sockets",
		"FileDescriptorStoreMax", "ExecReload", "ExecStop", "ExecStopPost", "Restart", "RestartSec", "RestartSteps",
		"RestartMaxDelaySec", "RestartForceExitStatus", "RestartPreventExitStatus", "TimeoutSec", "TimeoutStartSec",
		"TimeoutStopSec", "TimeoutAbortSec", "RuntimeMaxSec", "WatchdogSec", "SuccessExitStatus", "NonBlocking",
		"OOMPolicy", "StandardInput", "StandardOutput", "StandardError", "SyslogIdentifier", "SyslogFacility",
		"SyslogLevel", "SyslogLevelPrefix", "LogLevelMax", "LogRateLimitIntervalSec", "LogRateLimitBurst",
		"TTYPath", "TTYReset", "TTYVHangup", "TTYVTDisallocate", "PassEnvironment", "UnsetEnvironment", "UMask",
		"Group", "SupplementaryGroups", "Nice", "OOMScoreAdjust", "LimitNOFILE", "LimitNPROC", "LimitCORE",
		"LimitMEMLOCK", "LimitSTACK", "LimitAS", "LimitDATA", "LimitFSIZE", "LimitRSS", "LimitRTPRIO", "LimitCPU",
		"CPUSchedulingPolicy", "CPUSchedulingPriority", "CPUAccounting", "CPUWeight", "CPUShares", "CPUQuota",
		"CPUAffinity", "AllowedCPUs", "MemoryAccounting", "MemoryMin", "MemoryLow", "MemoryHigh", "MemoryMax",
		"MemoryLimit", "MemorySwapMax", "TasksAccounting", "TasksMax", "IOAccounting", "IOWeight",
		"BlockIOAccounting", "BlockIOWeight", "IPAccounting", "IOSchedulingClass", "IOSchedulingPriority", "Slice",
		"Delegate", "KillMode", "KillSignal", "FinalKillSignal", "RestartKillSignal", "SendSIGKILL", "SendSIGHUP",
		"RuntimeDirectory", "RuntimeDirectoryMode", "RuntimeDirectoryPreserve", "StateDirectory",
		"StateDirectoryMode", "CacheDirectory", "CacheDirectoryMode", "LogsDirectory", "LogsDirectoryMode",
		"ConfigurationDirectory", "ConfigurationDirectoryMode", "NoNewPrivileges", "PrivateTmp", "PrivateNetwork",
		"ProtectHome", "ProtectHostname", "ProtectClock", "ProtectControlGroups", "ProtectKernelLogs",
		"ProtectKernelTunables", "ReadWritePaths", "LockPersonality", "RestrictRealtime", "RestrictSUIDSGID",
		"MemoryDenyWriteExecute", "KeyringMode":
		return true
	}
	return strings.HasPrefix(key, "X-")
}

// atShutdown are units that are not there while a system boots.
var atShutdown = []string{"shutdown.target", "umount.target", "reboot.target", "initrd-switch-root.target"}

// Hindrance is a setting of a unit, conditions apart, that may keep its commands
// from being run, or keep them from loading a module: another user, fewer
// capabilities, a unit that it requires and that is not there. A setting that
// nothing is known of is one.
func (s *Set) Hindrance(u *Unit) (by Setting, found bool) {
	for _, v := range u.Settings {
		if s.hinders(u, v) {
			return v, true
		}
	}
	return Setting{}, false
}

func (s *Set) hinders(u *Unit, v Setting) bool {
	words := strings.Fields(v.Value)
	switch key := v.Key; {
	case v.Section == "Install":
		return false
	case key == "CapabilityBoundingSet":
		return strings.HasPrefix(v.Value, "~") || !slices.Contains(words, "CAP_SYS_MODULE")
	case v.Value == "", slices.Contains([]string{"no", "false", "off", "0"}, strings.ToLower(v.Value)):
		return false
	case strings.HasPrefix(key, "Condition"), strings.HasPrefix(key, "Assert"), key == "Wants", key == "Upholds",
		key == "ExecStartPre", key == "ExecStart", key == "ExecStartPost":
		return false
	case key == "Environment":
		return strings.Contains(v.Value, "MODPROBE_OPTIONS")
	case key == "EnvironmentFile":
		return !strings.HasPrefix(v.Value, "-")
	case key == "WorkingDirectory":
		return v.Value != "/" && !strings.HasPrefix(v.Value, "-")
	case key == "User":
		return v.Value != "root"
	case key == "AmbientCapabilities", key == "ProtectSystem":
		return false // they add, and make files read-only
	case key == "Conflicts":
		return slices.ContainsFunc(words, func(name string) bool { return !slices.Contains(atShutdown, name) })
	case key == "Requires", key == "BindsTo":
		return slices.ContainsFunc(words, func(name string) bool {
			name, known := u.expand(name)
			if !strings.HasSuffix(name, ".service") && !strings.HasSuffix(name, ".target") {
				return !known
			}
			other := s.Load(name)
			return !known || other.Masked || other.File == ""
		})
	}
	return true
}
