package manifest

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

func inUTF16(order binary.AppendByteOrder, text string) string {
	out := order.AppendUint16(nil, 0xfeff)
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

func TestValues(t *testing.T) {
	const two = `{"a":"é"} {"b":"😀"}`
	for name, c := range map[string]struct{ text, want, err string }{
		"nothing":                       {"", "", ""},
		"only comments":                 {"# x\n---\n# y\n", "null null", ""},
		"JSON values":                   {"{\"a\":1}{\"b\":2}\n[3]", `{"a":1} {"b":2} [3]`, ""},
		"JSON that is YAML":             {"{a: 1, b: [x]}", `{"a":1,"b":["x"]}`, ""},
		"a list that is YAML":           {"[a, b]", `["a","b"]`, ""},
		"YAML documents":                {"%YAML 1.1\n--- # one\na: 1\n---\nb: |\n  --- no\n...\n--- {c: 3}\n", `{"a":1} {"b":"--- no\n"} {"c":3}`, ""},
		"a comment and a directive":     {"# x\n\n%YAML 1.1\n---\na: 1\n", `{"a":1}`, ""},
		"a marker in a text":            {"a: |\n  ---\nb: ---x\n", `{"a":"---\n","b":"---x"}`, ""},
		"lines of DOS":                  {"a: 1\r\n---\r\nb: 2\r\n", `{"a":1} {"b":2}`, ""},
		"a byte order mark":             {"\ufeff" + `{"a":1}`, `{"a":1}`, ""},
		"files with marks put together": {"\ufeffa: 1\n---\n\ufeffb: 2\n", `{"a":1} {"b":2}`, ""},
		"UTF-16, little-endian":         {inUTF16(binary.LittleEndian, two), two, ""},
		"UTF-16, big-endian":            {inUTF16(binary.BigEndian, "a: é\r\n---\r\nb: 😀\r\n"), two, ""},
		"half a character of UTF-16":    {"\xff\xfea\x00:\x00 \x001", `{"a":null}`, ""},
		"only a mark of UTF-16":         {"\xff\xfe", "", ""},
		"broken JSON after a value":     {`{"a":1}{"b":`, `{"a":1}`, "EOF"},
		"JSON that is cut short":        {`{"a":[1,`, "", "JSON that is cut short"},
		"YAML that is cut short":        {"{a: [1,", "", "yaml"},
		"broken YAML after a document":  {"a: 1\n---\n\t: {{{\n---\nb: 2", `{"a":1}`, "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			var failed error
			for raw, err := range Values([]byte(c.text)) {
				if failed = err; err == nil {
					got = append(got, string(raw))
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if (failed == nil) != (c.err == "") || failed != nil && !strings.Contains(failed.Error(), c.err) {
				t.Errorf("error %v, want one with %q", failed, c.err)
			}
		})
	}
}
