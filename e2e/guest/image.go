package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tools are the programs of the host that every guest has, beside those of busybox.
var tools = []string{
	"dash", "mount", "umount", "losetup", "blkdiscard", "dmsetup", "mkfs.ext4", "mkfs.ext2",
	"mkfs.xfs", "mkfs.btrfs", "e2fsck", "xfs_repair", "btrfs", "thin_check", "thin_dump",
	"thin_ls", "thin_restore", "runc",
}

// An Image is what a guest boots: its root file system, in memory.
type Image struct {
	entries map[string]entry
}

// NewImage returns an image with the tools and the init, which loads the kernel's modules for
// device mapper and ext4, and further ones, and runs the script.
func NewImage(script string, more ...string) (*Image, error) {
	top, err := Top()
	if err != nil {
		return nil, err
	}
	i := &Image{entries: map[string]entry{
		"/init":      {host: filepath.Join(top, "e2e", "init")},
		"/e2e/run":   {text: "#!/bin/sh\n" + script, mode: 0o755},
		"/etc/hosts": {text: "127.0.0.1 localhost\n", mode: 0o644},
	}}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/var/lib"} {
		i.entries[dir] = entry{mode: 0o755}
	}
	if err := i.addModules(top, append(always, more...)); err != nil {
		return nil, err
	}
	if err := i.Program("/bin/busybox", "busybox"); err != nil {
		return nil, err
	}
	for _, name := range tools {
		if err := i.Program("/usr/sbin/"+name, name); err != nil {
			return nil, err
		}
	}
	i.entries["/usr/sbin/sh"] = entry{link: "dash"}
	i.entries["/bin/sh"] = entry{link: "../usr/sbin/dash"}
	return i, nil
}

func (i *Image) addModules(top string, wanted []string) error {
	paths, err := modules(filepath.Join(kernelDir(top), "lib", "modules"), wanted)
	if err != nil {
		return fmt.Errorf("%w; run: scripts/setup.sh e2e", err)
	}
	var list strings.Builder
	for _, path := range paths {
		name := "/lib/modules/" + filepath.Base(path)
		i.entries[name] = entry{host: path}
		fmt.Fprintln(&list, name)
	}
	i.entries["/e2e/modules"] = entry{text: list.String(), mode: 0o644}
	return nil
}

// Text adds a file.
func (i *Image) Text(name, text string, mode os.FileMode) {
	i.entries[name] = entry{text: text, mode: mode}
}

// Directory adds an empty directory.
func (i *Image) Directory(name string) {
	i.entries[name] = entry{mode: 0o755}
}

// File adds a copy of a file of the host.
func (i *Image) File(name, host string) {
	i.entries[name] = entry{host: host}
}

// Program adds a program of the host, which may be named as for exec.LookPath, and the libraries
// that it loads.
func (i *Image) Program(name, host string) error {
	path, err := lookPath(host)
	if err != nil {
		return fmt.Errorf("%w; run: scripts/setup.sh e2e", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	i.entries[name] = entry{host: path}
	libraries, err := libraries(path)
	if err != nil {
		return err
	}
	for _, library := range libraries {
		real, err := filepath.EvalSymlinks(library)
		if err != nil {
			return err
		}
		i.entries[library] = entry{host: real}
	}
	return nil
}

// lookPath also finds the tools of root, which are not on the PATH of everybody.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", err
}

// libraries returns the paths of the libraries that a program loads, the loader's included.
func libraries(path string) (list []string, err error) {
	output, err := exec.Command("ldd", path).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, nil // a static program, or a script
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, "not found") {
			return nil, fmt.Errorf("%s needs a library: %s", path, strings.TrimSpace(line))
		}
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "/") {
				list = append(list, word)
				break
			}
		}
	}
	return list, nil
}

// write writes the image to a file.
func (i *Image) write(path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return writeCpio(file, i.entries)
}
