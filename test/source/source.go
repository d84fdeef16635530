// Package source finds the product's source code.
package source

import (
	"fmt"
	"os"
	"path/filepath"
)

// Root is the directory of the product's module, which has that of the tests below it.
// It is looked for from the working directory upwards: tests run in their package's
// directory, programs are started from somewhere in the tree.
func Root() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "test/go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("the product's source code is not in %s or above", wd)
		}
	}
}
