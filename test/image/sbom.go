package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// SBOMPath is where the bill of materials of an image archive lies.
func SBOMPath(archive string) string { return strings.TrimSuffix(archive, ".tar") + ".cdx.json" }

// writeSBOMOf writes the bill of materials of an archive's program beside it.
func writeSBOMOf(archive, program string) error {
	binaryPath := BinaryPath(program)
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return fmt.Errorf("reading %s: %w", archive, err)
	}
	files := mutate.Extract(img)
	defer files.Close()
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if err != nil {
			return fmt.Errorf("looking for %s in %s: %w", binaryPath, archive, err)
		}
		if h.Name != binaryPath {
			continue
		}
		binary, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("reading %s in %s: %w", binaryPath, archive, err)
		}
		out, err := os.Create(SBOMPath(archive))
		if err != nil {
			return err
		}
		return errors.Join(WriteSBOM(out, program, bytes.NewReader(binary), int64(len(binary))), out.Close())
	}
}

// BinaryPath is where a program lies in its image.
func BinaryPath(program string) string { return "usr/bin/" + program }

// WriteSBOM writes the bill of materials of a Go binary, as CycloneDX JSON: the
// modules that the linker put into it, by what the binary itself says.
func WriteSBOM(w io.Writer, program string, binary io.ReaderAt, size int64) error {
	info, err := buildinfo.Read(binary)
	if err != nil {
		return fmt.Errorf("reading what the binary was built from: %w", err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(binary, 0, size)); err != nil {
		return fmt.Errorf("hashing the binary: %w", err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	bom := cdx.NewBOM()
	main := cdx.Component{
		BOMRef: info.Main.Path, Type: cdx.ComponentTypeApplication, Name: program, Version: info.Main.Version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum.Sum(nil))}},
		Properties: &[]cdx.Property{
			{Name: "go:GOOS", Value: settings["GOOS"]}, {Name: "go:GOARCH", Value: settings["GOARCH"]},
			{Name: "go:CGO_ENABLED", Value: settings["CGO_ENABLED"]},
		},
	}
	bom.Metadata = &cdx.Metadata{Component: &main}
	components := []cdx.Component{{
		BOMRef: "std", Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion,
		PackageURL: "pkg:golang/std@" + info.GoVersion[len("go"):],
	}}
	refs := []string{"std"}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		purl := "pkg:golang/" + m.Path + "@" + m.Version
		components = append(components, cdx.Component{
			BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl,
			// The module's hash of go.sum (golang.org/x/mod/sumdb/dirhash), which
			// is no hash of a file.
			Properties: &[]cdx.Property{{Name: "go:h1", Value: m.Sum}},
		})
		refs = append(refs, purl)
	}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	if err := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return fmt.Errorf("writing the bill of materials: %w", err)
	}
	return nil
}
