package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// always are the modules that every guest needs.
var always = []string{"virtio_pci", "virtio_blk", "loop", "crc32c_generic", "dm-thin-pool", "ext4"}

// modules returns the paths of the files in a directory that have to be loaded for some modules, in
// an order in which each comes after those that it needs. What the kernel has built in needs none.
func modules(dir string, wanted []string) ([]string, error) {
	files := map[string]string{} // by name, with "_" for "-", as in what others need
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []string
	var load func(name string) error
	load = func(name string) error {
		path, found := files[name]
		if !found {
			return nil // it is built in, or loaded already
		}
		delete(files, name)
		needs, err := needed(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, need := range needs {
			if err := load(need); err != nil {
				return err
			}
		}
		order = append(order, path)
		return nil
	}
	for _, name := range wanted {
		if err := load(strings.ReplaceAll(name, "-", "_")); err != nil {
			return nil, err
		}
	}
	if len(order) == 0 {
		return nil, fmt.Errorf("no modules in %s", dir)
	}
	return order, nil
}

// needed returns the names of the modules that one needs.
func needed(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("not a module: it has no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for line := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(line), "depends="); ok && list != "" {
			return strings.Split(strings.ReplaceAll(list, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
