package node

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// ImageConfig is how the programs of an image are run.
type ImageConfig struct {
	Entrypoint []string
	User       string
}

// WriteImage writes an image archive that holds the given programs (path in
// the image to path on this machine) and nothing else, for nodes to import.
func WriteImage(path, ref string, cfg ImageConfig, programs map[string]string) error {
	if err := writeImage(path, ref, cfg, programs); err != nil {
		return fmt.Errorf("writing the image %s: %w", ref, err)
	}
	return nil
}

func writeImage(path, ref string, cfg ImageConfig, programs map[string]string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, to := range slices.Sorted(maps.Keys(programs)) {
		if err := addFile(w, programs[to], to); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = "amd64", "linux"
	file.Config = v1.Config{Entrypoint: cfg.Entrypoint, User: cfg.User}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return err
	}
	return tarball.WriteToFile(path, tag, img)
}
