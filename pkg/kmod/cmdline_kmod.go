package kmod

import "strings"

// procCmdline is how reports name the kernel command line.
const procCmdline = "/proc/cmdline"

// kmodCmdlineLimit is what libkmod reads of the kernel command line
// (KCMD_LINE_SIZE, one byte of it for the NUL).
const kmodCmdlineLimit = 4095

// parseKmodCmdline adds what libkmod takes from the kernel command line:
// modprobe.blacklist=, verbatim, without turning dashes into underscores
// (libkmod-config.c, kmod_config_parse_kcmdline; documented in modprobe(8)).
// kmod 29 brought a new parser.
func (p *policy) parseKmodCmdline(line string) {
	line = line[:min(len(line), kmodCmdlineLimit)]
	line = cString(line)
	if p.kmod <= 28 {
		p.parseKmodCmdline28(line)
	} else {
		p.parseKmodCmdline29(line)
	}
}

func (p *policy) addCmdlineItem(token, module, param, value string) {
	if module != "modprobe" || !strings.HasPrefix(param, "blacklist=") {
		return
	}
	if !strings.Contains(token, `"`) {
		token = strings.Fields(token)[0] // for kmod 28 it goes on after a tab, for the kernel it does not
	}
	src := source{file: procCmdline, line: 1, text: token}
	for name := range strings.SplitSeq(value, ",") {
		p.blacklists = append(p.blacklists, blacklistRule{src, name})
	}
}

// parseKmodCmdline29 is the state machine of kmod 29 and later. An item is
// MODULE.PARAM[=VALUE]; a quote may start an item or be in a value, elsewhere the
// item is ignored; blanks count as part of a value inside quotes.
func (p *policy) parseKmodCmdline29(line string) {
	const (
		ignore = iota
		inModule
		inParam
		inValue
	)
	state, quoted := inModule, false
	var module, param, value int // where these start
	var dot int
	quoteStart := -1
	// The original runs over the terminating NUL as one more separator.
	for i := 0; i <= len(line); i++ {
		c := byte(0)
		if i < len(line) {
			c = line[i]
		}
		switch {
		case c == '"':
			quoted = !quoted
			if quoted && state == inModule && i == module {
				quoteStart = i
				module = i + 1
			} else if state != inValue {
				state = ignore
			}
		case c == 0 || isSpace(c):
			switch {
			case quoted && state == inValue:
			case quoted:
				state = ignore
			case state == inValue || state == inParam:
				start := module
				val := ""
				if state == inValue {
					val = line[value:i]
				}
				if quoteStart >= 0 {
					start = quoteStart
					// A quote before the item is moved before the value.
					val = `"` + val
				}
				p.addCmdlineItem(line[start:i], line[module:dot], line[param:i], val)
				module, state, quoteStart = i+1, inModule, -1
			default:
				module, state, quoteStart = i+1, inModule, -1
			}
		case c == '.':
			switch state {
			case inModule:
				dot, param, state = i, i+1, inParam
			case inParam:
				state = ignore
			}
		case c == '=':
			switch state {
			case inParam:
				value, state = i+1, inValue
			case inModule:
				state = ignore
			}
		}
	}
}

// parseKmodCmdline28 is the parser up to kmod 28: only blanks separate, nothing
// is looked at inside quotes, a line feed ends the line, and of several '=' in
// one item the last one starts the value.
func (p *policy) parseKmodCmdline28(line string) {
	line, _, _ = strings.Cut(line, "\n")
	quoted, isModule := false, true
	module, dot, param, value := 0, -1, -1, -1
	item := func(end int) {
		if !isModule || param < 0 {
			return
		}
		val := ""
		if value >= 0 {
			val = line[value:end]
		}
		p.addCmdlineItem(line[module:end], line[module:dot], line[param:end], val)
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '"' {
			quoted = !quoted
			if quoted {
				isModule = false
			} else if param >= 0 && value >= 0 {
				isModule = true
			}
			continue
		}
		if quoted {
			continue
		}
		switch c {
		case ' ':
			item(i)
			module, dot, param, value, isModule = i+1, -1, -1, -1, true
		case '.':
			if param < 0 {
				dot, param = i, i+1
			}
		case '=':
			if param >= 0 {
				value = i + 1
			} else {
				isModule = false
			}
		}
	}
	item(len(line))
}
