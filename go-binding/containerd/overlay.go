// Package containerd makes the real devmapper snapshotter of containerd use this module's store.
//
// Two files of the snapshotter's package, metadata.go and device_info.go, are its store. [Write]
// makes an overlay for `go build -overlay` that replaces them by the few lines in the directory
// devmapper, and that adds this module to containerd's go.mod and go.sum. The source tree itself is
// only read. The command containerd-overlay is a front end for it.
package containerd

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Module is the path of the module that the overlay brings in.
const Module = "github.com/pool-metadata/pool-metadata/go-binding"

// Files that identify a directory of Write's: the last that it makes, and the first.
const (
	overlayFile = "overlay.json"
	outFile     = ".containerd-overlay"
)

// The files of the snapshotter's package that are its store. Their replacements have the same
// names.
const (
	metadataFile   = "metadata.go"
	deviceInfoFile = "device_info.go"
)

//go:embed devmapper/metadata.go devmapper/device_info.go testoverlay/metadata.go
var replacements embed.FS

// The directory of the snapshotter's package, by containerd's module path.
var packageDirs = map[string]string{
	"github.com/containerd/containerd":    "snapshots/devmapper",
	"github.com/containerd/containerd/v2": "plugins/snapshots/devmapper",
}

// Config is the input of [Write].
type Config struct {
	// Source is containerd's source: a directory with its go.mod, or a version or version query
	// such as "v2.4.2", "v1.7" or "latest". A version is fetched through the Go module proxy and
	// copied to the directory source in Out, because the go command replaces nothing inside its
	// module cache.
	Source string
	// Out is the directory for the overlay's files: a new or empty directory, or one that an
	// earlier Write has filled. The overlay names the files in it by their absolute paths, so it
	// has to stay where it is until the build is done.
	Out string
	// Binding says where this module comes from: a directory, or a version such as "v0.1.0".
	Binding string
	// Tests makes the overlay for `go test` and `go vet` of the snapshotter's package, which has a
	// test that reads containerd's own store: the store then has what that test reads. Not for a
	// program that runs.
	Tests bool
	// Files are the contents of further files of the snapshotter's package, by name, or of other
	// replacements. A nil removes the file from the package.
	Files map[string][]byte
}

// Overlay is the result of [Write].
type Overlay struct {
	// JSON is the path of the file for `go build -overlay`.
	JSON string
	// Source is the directory of containerd's source, in which to run the build.
	Source string
	// Module is containerd's module path, and Package the directory of the snapshotter below
	// Source.
	Module, Package string
	// Version and Revision are what a build without a git tree cannot find out, and kubelet refuses
	// a containerd without a version; "" for a directory, where the build finds them.
	Version, Revision string
	// Vendored says that the source has a vendor directory, which the build must ignore
	// (-mod=readonly).
	Vendored bool
}

// Write makes an overlay.
func Write(config Config) (*Overlay, error) {
	out, err := filepath.Abs(config.Out)
	if err != nil {
		return nil, err
	}
	if err := checkOut(out); err != nil {
		return nil, err
	}
	overlay, err := findSource(config.Source, out)
	if err != nil {
		return nil, err
	}
	overlay.JSON = filepath.Join(out, overlayFile)
	if err := overlay.inspectSource(); err != nil {
		return nil, err
	}
	if err := claimOut(out); err != nil {
		return nil, err
	}
	replace, err := writeFiles(overlay, out, &config)
	if err != nil {
		return nil, err
	}
	// The module's requirements are worked out with the new files in place and go.mod beside them;
	// the finished go.mod and go.sum then become part of the overlay, so that a build needs one
	// flag and can change neither.
	if err := writeJSON(overlay.JSON, replace); err != nil {
		return nil, err
	}
	if err := writeModFiles(overlay, out, config.Binding); err != nil {
		return nil, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		replace[filepath.Join(overlay.Source, name)] = filepath.Join(out, name)
	}
	if err := writeJSON(overlay.JSON, replace); err != nil {
		return nil, err
	}
	return overlay, nil
}

// inspectSource finds out what the source is, and refuses one that is not containerd's.
func (o *Overlay) inspectSource() (err error) {
	if o.Module, err = modulePath(o.Source); err != nil {
		return err
	}
	var known bool
	if o.Package, known = packageDirs[o.Module]; !known {
		return fmt.Errorf("%s is the module %s, not containerd", o.Source, o.Module)
	}
	for _, name := range []string{metadataFile, deviceInfoFile} {
		if _, err := os.Stat(filepath.Join(o.Source, o.Package, name)); err != nil {
			return fmt.Errorf("this containerd keeps its store elsewhere than expected: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Source, "vendor", "modules.txt")); err == nil {
		o.Vendored = true
	}
	return nil
}

// checkOut refuses a directory with other files, which Write could overwrite.
func checkOut(out string) error {
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); name == overlayFile || name == outFile {
			return nil
		}
	}
	return fmt.Errorf("%s has other files in it, such as %s: name an empty or a new directory", out,
		entries[0].Name())
}

// claimOut creates the directory.
func claimOut(out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, outFile), nil, 0o644)
}

// writeFiles puts the replacements into out and returns the overlay's table.
func writeFiles(overlay *Overlay, out string, config *Config) (map[string]string, error) {
	from := map[string]string{metadataFile: "devmapper/", deviceInfoFile: "devmapper/"}
	if config.Tests {
		from[metadataFile] = "testoverlay/"
	}
	files := make(map[string][]byte)
	for name, directory := range from {
		text, err := fs.ReadFile(replacements, directory+name)
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	for name, text := range config.Files {
		files[name] = text
	}
	replace := make(map[string]string)
	for name, text := range files {
		if name != filepath.Base(name) || !strings.HasSuffix(name, ".go") {
			return nil, fmt.Errorf("%q is not the name of a Go file", name)
		}
		path := ""
		if text != nil {
			path = filepath.Join(out, name)
			if err := os.WriteFile(path, text, 0o644); err != nil {
				return nil, err
			}
		}
		replace[filepath.Join(overlay.Source, overlay.Package, name)] = path
	}
	return replace, nil
}

// writeJSON writes the file that the go command reads.
func writeJSON(path string, replace map[string]string) error {
	text, err := json.MarshalIndent(struct{ Replace map[string]string }{replace}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// writeModFiles puts copies of containerd's go.mod and go.sum into out, with this module added.
// Containerd's own requirements stay as they are, unless this module needs newer versions.
func writeModFiles(overlay *Overlay, out, binding string) error {
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(overlay.Source, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
	}
	mod := filepath.Join(out, "go.mod")
	edits := []string{"-require=" + Module + "@" + binding}
	if info, err := os.Stat(binding); err == nil && info.IsDir() {
		dir, err := filepath.Abs(binding)
		if err != nil {
			return err
		}
		// With a directory, the version is only a name.
		edits = []string{"-require=" + Module + "@v0.0.0", "-replace=" + Module + "=" + dir}
	} else if !isVersion(binding) {
		return fmt.Errorf("%q is neither a directory nor a version of %s", binding, Module)
	}
	arguments := append(append([]string{"mod", "edit"}, edits...), mod)
	if _, err := goCommand(out, arguments...); err != nil {
		return err
	}
	_, err := goCommand(overlay.Source, "list", "-mod=mod", "-modfile="+mod, "-overlay="+overlay.JSON,
		"-deps", "-test",
		"./"+overlay.Package)
	return err
}

// isVersion reports whether a text is the version of a module.
func isVersion(text string) bool {
	return len(text) > 1 && text[0] == 'v' && text[1] >= '0' && text[1] <= '9'
}

// modulePath returns the path of the module in a directory.
func modulePath(dir string) (string, error) {
	text, err := goCommand(dir, "mod", "edit", "-json")
	if err != nil {
		return "", err
	}
	var file struct{ Module struct{ Path string } }
	if err := json.Unmarshal(text, &file); err != nil {
		return "", err
	}
	return file.Module.Path, nil
}
