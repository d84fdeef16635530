package kmod

import (
	"strings"
	"time"
)

// request is one name that systemd-modules-load asks libkmod for.
type request struct {
	source
	name  string
	mtime time.Time // of the file; zero for the command line
}

// modulesLoadLines reads a modules-load.d file (modules-load.d(5)): the whole
// line, stripped, is one name; lines that begin with '#' or ';' are comments.
// There are no trailing comments.
//
// systemd since 240 ends a line at "\n", "\r", NUL, or a pair of them
// (src/basic/fileio.c, read_line_full). systemd 239 calls fgets with a buffer
// of LINE_MAX bytes: only "\n" ends a line, a longer line is several, and a NUL
// hides the rest of its line.
func modulesLoadLines(data []byte, systemd int) []logicalLine {
	var lines []logicalLine
	add := func(number int, text string) {
		text = strings.Trim(text, " \t\n\r")
		if text == "" || text[0] == '#' || text[0] == ';' {
			return
		}
		lines = append(lines, logicalLine{number: number, text: text})
	}
	s := string(data)
	if systemd <= 239 {
		const lineMax = 2048
		for number := 1; s != ""; {
			n := min(len(s), lineMax-1)
			end := strings.IndexByte(s[:n], '\n')
			if end >= 0 {
				n = end + 1
			}
			add(number, cString(s[:n]))
			if end >= 0 {
				number++
			}
			s = s[n:]
		}
		return lines
	}
	for number := 1; s != ""; {
		end := strings.IndexAny(s, "\n\r\x00")
		if end < 0 {
			add(number, s)
			break
		}
		add(number, s[:end])
		// Two different end characters in a row are one end of line.
		n := end + 1
		newline := s[end] == '\n'
		for n < len(s) && n-end < 3 && isLineEnd(s[n]) && strings.IndexByte(s[end:n], s[n]) < 0 {
			newline = newline || s[n] == '\n'
			n++
		}
		if newline {
			number++
		}
		s = s[n:]
	}
	return lines
}

func isLineEnd(c byte) bool { return c == '\n' || c == '\r' || c == 0 }
