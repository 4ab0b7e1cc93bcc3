package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// command runs a program and returns its output, without the newline at its end.
func command(name string, arguments ...string) (string, error) {
	output, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, output)
	}
	return strings.TrimSpace(string(output)), nil
}

// A disk is a loop device of a sparse file in memory.
type disk struct {
	file, device string
	sectors      int64
}

func newDisk(dir, name string, mib int64) (*disk, error) {
	d := &disk{file: filepath.Join(dir, name), sectors: mib << 20 / sectorUnit}
	if err := os.WriteFile(d.file, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.file, mib<<20); err != nil {
		return nil, err
	}
	var err error
	d.device, err = command("losetup", "--find", "--show", d.file)
	return d, err
}

func (d *disk) remove() error {
	if _, err := command("losetup", "--detach", d.device); err != nil {
		return err
	}
	return os.Remove(d.file)
}

// mapped is the path of a device of device mapper.
func mapped(name string) string { return "/dev/mapper/" + name }

// create makes a device of device mapper with one target.
func create(name string, sectors int64, target, arguments string) error {
	_, err := command("dmsetup", "create", name, "--table",
		fmt.Sprintf("0 %d %s %s", sectors, target, arguments))
	return err
}

// reload gives a device another table. It is suspended without a flush of what is mounted on it.
func reload(name string, sectors int64, target string) error {
	if _, err := command("dmsetup", "reload", name, "--table",
		fmt.Sprintf("0 %d %s", sectors, target)); err != nil {
		return err
	}
	if _, err := command("dmsetup", "suspend", "--nolockfs", "--noflush", name); err != nil {
		return err
	}
	_, err := command("dmsetup", "resume", name)
	return err
}

// unmap removes a device of device mapper.
func unmap(name string) error {
	_, err := command("dmsetup", "remove", "--retry", name)
	return err
}

// makeFS makes a file system.
func makeFS(fs, device string) error {
	arguments := map[string][]string{
		"ext4": {"-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"}, "xfs": {"-q"}, "btrfs": {"-q"},
	}[fs]
	if arguments == nil {
		return fmt.Errorf("no file system is named %q", fs)
	}
	_, err := command("mkfs."+fs, append(arguments, device)...)
	return err
}

// mountAt mounts a file system, which must not be mounted already.
func mountAt(fs, device, dir string) error {
	_, err := command("mount", "-t", fs, device, dir)
	return err
}

func unmount(dir string) error {
	_, err := command("umount", dir)
	return err
}
