package sctp

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// Counter is one of a network namespace's, such as "SctpInSCTPPacks".
type Counter struct {
	Name  string
	Value int64
}

// Counters reads a file as /proc/net/sctp/snmp (net/sctp/proc.c, sctp_snmp_list;
// RFC 3873). Without the module there is no such file.
func Counters(path string) (list []Counter, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// 31 lines of some 40 bytes.
	lines := bufio.NewScanner(io.LimitReader(f, 64<<10))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err == nil && strings.HasPrefix(name, "Sctp") {
			list = append(list, Counter{name, n})
		}
	}
	return list, lines.Err()
}
