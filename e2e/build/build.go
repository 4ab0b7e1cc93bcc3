// Package build builds the programs of containerd that the guests run, with containerd's own store
// and with this one.
package build

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pool-metadata/pool-metadata/e2e/guest"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
)

// A Store says with which store containerd is built.
type Store string

// The stores.
const (
	Stock Store = "stock"
	Swap  Store = "swap"
)

// Versions returns the versions of containerd that are tested, the older one first.
func Versions() ([]string, error) {
	top, err := guest.Top()
	if err != nil {
		return nil, err
	}
	list, err := goTool(filepath.Join(top, "go-binding", "containerdtest"), "list", "-m",
		"-f", "{{.Version}}", "github.com/containerd/containerd", "github.com/containerd/containerd/v2")
	return strings.Fields(list), err
}

// Containerd is the source of one version, and the overlays for it.
type Containerd struct {
	top, dir    string
	real, tests *containerd.Overlay
}

// New fetches a version.
func New(version string) (*Containerd, error) {
	top, err := guest.Top()
	if err != nil {
		return nil, err
	}
	c := &Containerd{top: top, dir: filepath.Join(top, "target", "e2e", "containerd", version)}
	binding := filepath.Join(top, "go-binding")
	if c.real, err = containerd.Write(containerd.Config{
		Source: version, Out: filepath.Join(c.dir, "build"), Binding: binding,
	}); err != nil {
		return nil, err
	}
	c.tests, err = containerd.Write(containerd.Config{
		Source: c.real.Source, Out: filepath.Join(c.dir, "test"), Binding: binding, Tests: true,
	})
	return c, err
}

// Tests builds the tests of the snapshotter, or of a package below it, and returns the program's
// path.
func (c *Containerd) Tests(store Store, below string) (string, error) {
	name := "devmapper"
	if below != "" {
		name = below
	}
	return c.build(store, c.tests, name+".test", "test", "-c",
		"./"+filepath.Join(c.real.Package, below))
}

// Program builds a program of containerd's directory cmd and returns its path.
func (c *Containerd) Program(store Store, name string) (string, error) {
	return c.build(store, c.real, name, "build", "./cmd/"+name)
}

// build builds one program. The command is the go command's first words, and the last is what to
// build.
func (c *Containerd) build(
	store Store, overlay *containerd.Overlay, name string, command ...string,
) (string, error) {
	dir := filepath.Join(c.dir, string(store))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	// The go command would not link it again if only the archive has changed.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	flags := []string{"-o", path, "-ldflags=-s -w"}
	if store == Swap {
		flag, err := headerFlag(c.top)
		if err != nil {
			return "", err
		}
		flags = append(flags, "-overlay="+overlay.JSON, flag)
	}
	last := len(command) - 1
	arguments := append(append(command[:last:last], flags...), command[last])
	_, err := goTool(c.real.Source, arguments...)
	return path, err
}

// Cases builds the program that works with containerd in the guest.
func Cases() (string, error) { return own("cases") }

// Powerloss builds the program that works on a store on a block device without power.
func Powerloss() (string, error) { return own("powerloss") }

// own builds a program of this module.
func own(name string) (string, error) {
	top, err := guest.Top()
	if err != nil {
		return "", err
	}
	path := filepath.Join(top, "target", "e2e", name)
	// As in build, because of the archive.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	flag, err := headerFlag(top)
	if err != nil {
		return "", err
	}
	_, err = goTool(filepath.Join(top, "e2e"), "build", "-o", path, "-ldflags=-s -w", flag, "./"+name)
	return path, err
}

// Proxy returns the path of the proxy, which `make proxy` has built.
func Proxy() (string, error) {
	top, err := guest.Top()
	if err != nil {
		return "", err
	}
	return made("proxy", filepath.Join(top, "target", "proxy", "devmapper-snapshotter"))
}

// Pmctl returns the path of pmctl, which `make pmctl` has built where cargo builds.
func Pmctl() (string, error) {
	top, err := guest.Top()
	if err != nil {
		return "", err
	}
	built := os.Getenv("CARGO_TARGET_DIR")
	if built == "" {
		built = "target"
	}
	if !filepath.IsAbs(built) {
		built = filepath.Join(top, built)
	}
	return made("pmctl", filepath.Join(built, "pmctl", "release", "pmctl"))
}

// made returns the path of what a target of make has built.
func made(target, path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; run: make %s", err, target)
	}
	return path, nil
}

// headerFlag returns a build flag that changes with the C header, so that the go command compiles
// again what includes it: its cache ignores files outside of packages. The compiler ignores the
// value.
func headerFlag(top string) (string, error) {
	header, err := os.ReadFile(filepath.Join(top, "include", "pool_metadata.h"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("-gcflags=%s=-D=header-%08x", containerd.Module, crc32.ChecksumIEEE(header)),
		nil
}

func goTool(dir string, arguments ...string) (string, error) {
	command := exec.Command("go", arguments...)
	command.Dir = dir
	command.Env = append(os.Environ(), "PWD="+dir, "GOWORK=off", "GOFLAGS=-buildvcs=false",
		"CGO_CFLAGS=")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("go %s, in %s: %w\n%s%s", strings.Join(arguments, " "), dir, err,
			&stderr, &stdout)
	}
	return stdout.String(), nil
}
