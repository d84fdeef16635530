package machineconfig

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// resource is what an Ignition configuration says of contents.
type resource struct {
	Source      *string `json:"source"`
	Compression string  `json:"compression"`
	Headers     []any   `json:"httpHeaders"`
	Verify      struct {
		Hash *string `json:"hash"`
	} `json:"verification"`
	Redacted string `json:"_REDACTED"`
	// Butane's, in the place of a source.
	Inline json.RawMessage `json:"inline"`
	Local  json.RawMessage `json:"local"`
}

// hash is how a resource's may be written: sha256 is of specification 3.1.
var hash = pattern.MustCompile(`^(?:sha512-.{128}|sha256-.{64})$`)

// refused is why Ignition does not take a resource, whatever its contents are.
func (r resource) refused() error {
	if r.Compression != "" && r.Compression != "gzip" {
		return fmt.Errorf("unknown compression %q", clip(r.Compression))
	}
	if h := r.Verify.Hash; h != nil && (r.Source == nil || !hash().MatchString(*h)) {
		return fmt.Errorf("verification.hash %s is not that of a source", clip(*h))
	}
	if r.Source == nil || *r.Source == "" {
		return nil
	}
	u, err := url.Parse(*r.Source)
	switch {
	case err != nil:
		return fmt.Errorf("not a URL: %s", clip(*r.Source))
	case u.Scheme == "http", u.Scheme == "https":
		return nil
	case len(r.Headers) > 0:
		return fmt.Errorf("httpHeaders for %s", clip(*r.Source))
	case u.Scheme == "data":
		_, err = decodeDataURL(*r.Source)
		return err
	case !slices.Contains([]string{"tftp", "s3", "gs", "arn"}, u.Scheme):
		return fmt.Errorf("a source of no scheme that Ignition knows: %s", clip(*r.Source))
	}
	return nil
}

// isOther reports whether a hash is not that of these contents.
func (r resource) isOther(data []byte) bool {
	h := r.Verify.Hash
	return h != nil && *h != fmt.Sprintf("sha512-%x", sha512.Sum512(data)) && *h != fmt.Sprintf("sha256-%x", sha256.Sum256(data))
}

// encodedOnceMore is how contents about sctp are still encoded after all that their
// source names was undone, "" if they are not.
func encodedOnceMore(data []byte) string {
	text, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(data)))
	switch {
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return "compressed data: \"compression\": \"gzip\" is missing"
	case err == nil && bytes.Contains(text, []byte("sctp")):
		return fmt.Sprintf("the base64 text of %q: \";base64\" is missing in its source, or it was encoded twice", clip(string(text)))
	}
	return ""
}

// redacted is the field that the machine-config-operator's mco-sanitize puts in place of
// contents of files, units and drop-ins (devex/cmd/mco-sanitize/redactor.go).
const redacted = "_REDACTED"

var errRedacted = errors.New("its contents were redacted (mco-sanitize): ask for the MachineConfig itself")

// decode reads a resource that carries its own contents.
func (r resource) decode() ([]byte, error) {
	if r.Source == nil || *r.Source == "" {
		return nil, nil
	}
	data, err := decodeDataURL(*r.Source)
	if err != nil {
		return nil, err
	}
	switch r.Compression {
	case "":
	case "gzip":
		data, err = gunzip(data)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
	default:
		return nil, fmt.Errorf("unknown compression %q", clip(r.Compression))
	}
	if len(data) > maxContents {
		return nil, fmt.Errorf("more than %d KiB", maxContents>>10)
	}
	return data, nil
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxContents+1))
}

// token is a name in a media type.
const token = "[!#$%&'*+.0-9A-Z^_`a-z{|}~-]"

// mediaType and urlText are what may stand before, and after, the comma of a data URL
// for Ignition and the machine-config-operator (github.com/vincent-petithory/dataurl,
// lex.go), which take no blanks and no line breaks.
var (
	mediaType = pattern.MustCompile(`^(?:(?:text|image|audio|video|application|message|multipart|[xX]-)` + token + `*/` + token + `*)?(?:;` + token + `+=(?:` + token + `+|"[^"\\]*"))*(?:;base64)?$`)
	urlText   = pattern.MustCompile("^[^\\x00- <>#\"{}|\\\\^\\[\\]`\\x7f-\\x{10ffff}]*$")
)

// decodeDataURL reads a URL of RFC 2397: data:[<mediatype>][;base64],<data>.
func decodeDataURL(source string) ([]byte, error) {
	rest, found := strings.CutPrefix(source, "data:")
	if !found {
		if !strings.Contains(source, ":") {
			return nil, fmt.Errorf(`not a URL, which Ignition refuses (contents begin with "data:,"): %s`, clip(source))
		}
		return nil, fmt.Errorf("its contents are elsewhere: %s", clip(source))
	}
	kind, encoded, found := strings.Cut(rest, ",")
	if !found {
		return nil, fmt.Errorf("not a data URL (no comma): %s", clip(source))
	}
	if !mediaType().MatchString(kind) || !urlText().MatchString(encoded) {
		return nil, fmt.Errorf("a data URL with what must be escaped, or is no media type: %s", clip(source))
	}
	if strings.HasSuffix(kind, ";base64") {
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("data URL: %w", err)
		}
		return data, nil
	}
	data, err := url.PathUnescape(encoded)
	if err != nil {
		return nil, fmt.Errorf("data URL: %w", err)
	}
	return []byte(data), nil
}
