package cluster

import (
	"regexp"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// takesPrefix finds the commands that have --prefix.
var takesPrefix = regexp.MustCompile(`\bkubectl sctp (?:audit|verify|mesh|cleanup)\b`)

// ForPrefix is text with commands and labels for people, where the keys have
// another prefix than the default one.
func ForPrefix(keys nodelabel.Keys, text string) string {
	if keys.Prefix() == nodelabel.DefaultPrefix {
		return text
	}
	text = takesPrefix.ReplaceAllString(text, "$0 --prefix "+keys.Prefix())
	return strings.ReplaceAll(text, "{"+nodelabel.Keys{}.Ready(), "{"+keys.Ready())
}
