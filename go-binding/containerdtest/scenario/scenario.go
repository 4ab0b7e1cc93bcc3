// Package scenario runs containerd's devmapper snapshotter on a fake device mapper, with this
// module's store and with containerd's own.
//
// The scenarios are tests inside the snapshotter's package, where an overlay puts them.
package scenario

import (
	"embed"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/settings"
)

//go:embed dmsetup.sh scenario_test.go.txt cycle_test.go.txt
var files embed.FS

// Write makes two overlays in a directory, for `go test` of the snapshotter's package in a source
// for which there is an overlay already. Both have the scenarios in the place of the package's own
// tests, one of which reads containerd's own store; ours has our store as well, and stock is the
// path of the other one's file. The binding is that of [containerd.Config].
func Write(
	source *containerd.Overlay, out, binding string,
) (ours *containerd.Overlay, stock string, err error) {
	own, err := filepath.Glob(filepath.Join(source.Source, source.Package, "*_test.go"))
	if err != nil {
		return nil, "", err
	}
	added := map[string][]byte{}
	for _, path := range own {
		added[filepath.Base(path)] = nil
	}
	for _, name := range []string{"scenario", "cycle"} {
		text, err := files.ReadFile(name + "_test.go.txt")
		if err != nil {
			return nil, "", err
		}
		added["swap_"+name+"_test.go"] = text
	}
	ours, err = containerd.Write(containerd.Config{
		Source: source.Source, Out: out, Binding: binding, Files: added,
	})
	if err != nil {
		return nil, "", err
	}
	stock = filepath.Join(out, "stock.json")
	return ours, stock, writeStock(ours.JSON, stock)
}

// writeStock keeps, of an overlay's files, only the tests.
func writeStock(ours, stock string) error {
	text, err := os.ReadFile(ours)
	if err != nil {
		return err
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &overlay); err != nil {
		return err
	}
	for path := range overlay.Replace {
		if !strings.HasSuffix(path, "_test.go") {
			delete(overlay.Replace, path)
		}
	}
	if text, err = json.Marshal(overlay); err != nil {
		return err
	}
	return os.WriteFile(stock, text, 0o600)
}

// FakePool makes the fake device mapper in an empty directory, and returns the environment in which
// the snapshotter uses it. It cannot list the pool's devices for a comparison with the store, whose
// calls would come between the others.
func FakePool(dir string) (environment []string, err error) {
	dmsetup, err := files.ReadFile("dmsetup.sh")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"devices", "ids", "bin"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	for name, text := range map[string][]byte{
		"bin/dmsetup": dmsetup, "bin/blkdiscard": dmsetup,
		"bin/mkfs.ext4": []byte("#!/bin/sh\n"), "devices/pool": nil,
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), text, 0o700))
	}
	return []string{
		settings.ComparePool + "=off", "DM=" + dir,
		"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"),
	}, err
}
