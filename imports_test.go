// Package imports_test holds the architecture: what must not be linked into
// what, on which system.
package imports_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sctp-agent/sctp-agent/"

// barred is a package, with all below it, that must not be linked.
type barred struct {
	path string
	// alone: what is below it may be.
	alone bool
	// example is a package to import, where path is none.
	example string
}

var (
	engine       = barred{path: module + "pkg/probe", alone: true}
	sockets      = barred{path: module + "internal/sctp"}
	ishidawataru = barred{path: "github.com/ishidawataru/sctp"}
	netlink      = barred{path: "github.com/vishvananda/netlink"}
	systemd      = barred{path: "github.com/coreos/go-systemd", example: "github.com/coreos/go-systemd/v22/dbus"}
	agent        = barred{path: module + "internal/agent"}

	kubernetes = barred{path: "k8s.io", example: "k8s.io/api/core/v1"}
	objects    = barred{path: "k8s.io/api", example: "k8s.io/api/core/v1"}
	clientGo   = barred{path: "k8s.io/client-go", example: "k8s.io/client-go/rest"}
	cliRuntime = barred{path: "k8s.io/cli-runtime", example: "k8s.io/cli-runtime/pkg/genericclioptions"}

	audit   = barred{path: module + "internal/audit"}
	cleanup = barred{path: module + "internal/cleanup"}
	cluster = barred{path: module + "internal/cluster"}
	verify  = barred{path: module + "internal/verify", alone: true}
	// unlisted is what no row allows.
	unlisted = barred{path: "github.com/spf13/cobra"}
)

var (
	everywhere = []string{"linux", "darwin", "windows"}
	onDesks    = []string{"darwin", "windows"}
)

// arrows are the imports that must not be, of a package itself or of one that
// it links.
var arrows = []struct {
	why   string
	from  []string
	on    []string
	never []barred
	// only, where given, is all that may be linked besides the standard
	// library and this module.
	only []string
	// portable: no package is linked that has no file for the system.
	portable bool
}{
	{
		why:   "who judges results opens no socket",
		from:  []string{"pkg/verdict", "pkg/nodelabel", "pkg/machineconfig", "internal/audit"},
		on:    everywhere,
		never: []barred{engine, sockets, ishidawataru, netlink},
	},
	{
		why:   "node and judgement know nothing of Kubernetes",
		from:  []string{"pkg/kmod", "pkg/probe", "pkg/probe/result", "pkg/verdict"},
		on:    everywhere,
		never: []barred{kubernetes},
	},
	{
		why:   "a library brings no Kubernetes client",
		from:  []string{"pkg/nodelabel", "pkg/machineconfig"},
		on:    everywhere,
		never: []barred{clientGo, objects},
	},
	{
		why:      "a MachineConfig is judged on any system",
		from:     []string{"pkg/verdict", "pkg/machineconfig"},
		on:       onDesks,
		only:     []string{"sigs.k8s.io/yaml", "go.yaml.in/yaml"},
		portable: true,
	},
	{
		why:      "a library builds on any system",
		from:     []string{"pkg/kmod", "pkg/probe", "pkg/probe/result", "pkg/nodelabel"},
		on:       onDesks,
		portable: true,
	},
	{
		why:      "the administrator's program needs nothing of a node",
		from:     []string{"cmd/kubectl-sctp"},
		on:       everywhere,
		never:    []barred{engine, sockets, ishidawataru, netlink, systemd, agent},
		portable: true,
	},
	{
		why:      "what a node of the mesh sees is read on any system",
		from:     []string{"internal/mesh/picture"},
		on:       onDesks,
		only:     []string{},
		portable: true,
	},
	{
		why:   "the mesh's conclusions need no socket and no cluster",
		from:  []string{"internal/mesh", "internal/mesh/conclusion", "internal/mesh/ring", "internal/mesh/ask"},
		on:    everywhere,
		never: []barred{engine, sockets, ishidawataru, netlink, kubernetes},
	},
	{
		why:   "the mesh's program is no agent, and no administrator's",
		from:  []string{"cmd/sctp-mesh"},
		on:    []string{"linux"},
		never: []barred{agent, audit, cleanup, cluster, verify, clientGo, objects, cliRuntime},
	},
	{
		why:   "the node's program deletes no namespace and creates no pod, and makes its few requests itself",
		from:  []string{"cmd/sctp-agent"},
		on:    []string{"linux"},
		never: []barred{audit, cleanup, cluster, verify, clientGo, objects, cliRuntime},
	},
}

// linked is a package as go list describes it.
type linked struct {
	ImportPath, Name, Dir string
	Standard              bool
	Imports               []string
	GoFiles, CgoFiles     []string
}

// list is the packages of this module and all that they link on a system, by
// import path; overlay is a file for -overlay, or "".
func list(t *testing.T, system, overlay string) map[string]*linked {
	t.Helper()
	args := []string{"list", "-e", "-deps", "-json=ImportPath,Name,Dir,Standard,Imports,GoFiles,CgoFiles"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./...")...)
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	packages := map[string]*linked{}
	for lines := json.NewDecoder(out); ; {
		var p linked
		if err := lines.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = &p
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return packages
}

// chains are the shortest ways from a package to those that are found, not past
// them.
func chains(packages map[string]*linked, from string, found func(*linked) bool) (all [][]string) {
	ways := [][]string{{from}}
	seen := map[string]bool{from: true}
	for len(ways) > 0 {
		way := ways[0]
		ways = ways[1:]
		p := packages[way[len(way)-1]]
		if p == nil || p.Standard {
			continue
		}
		if len(way) > 1 && found(p) {
			all = append(all, way)
			continue
		}
		for _, next := range p.Imports {
			if !seen[next] {
				seen[next] = true
				ways = append(ways, append(slices.Clone(way), next))
			}
		}
	}
	return all
}

func (b barred) is(p *linked) bool {
	return p.ImportPath == b.path || !b.alone && within(p.ImportPath, b.path)
}

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func (b barred) imported() string {
	if b.example != "" {
		return b.example
	}
	return b.path
}

// offences are the chains that break the arrows on a system.
func offences(packages map[string]*linked, system string) (all [][]string) {
	for _, row := range arrows {
		if !slices.Contains(row.on, system) {
			continue
		}
		for _, from := range row.from {
			tests := []func(*linked) bool{}
			for _, b := range row.never {
				tests = append(tests, b.is)
			}
			if row.only != nil {
				tests = append(tests, func(p *linked) bool {
					return !strings.HasPrefix(p.ImportPath, module) && !slices.ContainsFunc(row.only, func(root string) bool { return within(p.ImportPath, root) })
				})
			}
			if row.portable {
				tests = append(tests, func(p *linked) bool { return len(p.GoFiles)+len(p.CgoFiles) == 0 })
			}
			for _, found := range tests {
				all = append(all, chains(packages, module+from, found)...)
			}
		}
	}
	return all
}

// No arrow exists that must not; with a file in the package that adds one, each
// is found.
func TestImports(t *testing.T) {
	// A result of go test is cached by what the test itself reads: go list
	// reads go.mod and every directory with a package, and so does this.
	for _, dir := range []string{"go.mod", "cmd", "internal", "pkg"} {
		if err := filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
	for _, system := range everywhere {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			packages := list(t, system, "")
			for _, way := range offences(packages, system) {
				t.Errorf("must not be linked: %s", strings.Join(way, "\n\timports "))
			}
			added := map[string][]string{} // package → imports
			for _, row := range arrows {
				if !slices.Contains(row.on, system) {
					continue
				}
				for _, from := range row.from {
					if packages[module+from] == nil {
						t.Fatalf("there is no %s on %s", from, system)
					}
					for _, b := range row.never {
						added[from] = append(added[from], b.imported())
					}
					if row.only != nil {
						added[from] = append(added[from], unlisted.path)
					}
					if row.portable {
						added[from] = append(added[from], sockets.path)
					}
				}
			}
			found := map[string]bool{}
			for _, way := range offences(list(t, system, overlay(t, packages, added)), system) {
				if len(way) == 2 {
					found[way[0]+" "+way[1]] = true
				}
			}
			for from, imports := range added {
				for _, path := range imports {
					if !found[module+from+" "+path] {
						t.Errorf("%s imports %s, and it is not found", from, path)
					}
				}
			}
		})
	}
}

// overlay writes the file for -overlay with which packages have the imports.
func overlay(t *testing.T, packages map[string]*linked, added map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for from, imports := range added {
		p := packages[module+from]
		text := "package " + p.Name + "\n"
		for _, path := range imports {
			text += fmt.Sprintf("import _ %q\n", path)
		}
		file := filepath.Join(dir, strings.ReplaceAll(from, "/", "-")+".go")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(p.Dir, "zz_forbidden.go")] = file
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
