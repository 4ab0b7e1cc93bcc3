//go:build linux

package recovery

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// unmount unmounts a device where the snapshotter has mounted it: a new one, for a moment, in a
// temporary directory (containerd's WithTempMount), which no caller knows of before the prepare has
// ended. A device that is mounted elsewhere is in use, and so not what a prepare has left.
func unmount(device string) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	points, err := temporaryMounts(string(table), device)
	if err != nil {
		return err
	}
	for _, point := range points {
		if err := unix.Unmount(point, 0); err != nil {
			return fmt.Errorf("umount %s: %w", point, err)
		}
	}
	return nil
}

// temporaryMounts returns where a device is mounted, from a table like /proc/self/mounts, or an
// error if one of these is no temporary directory of the snapshotter.
func temporaryMounts(table, device string) ([]string, error) {
	// The kernel writes these four bytes in octal.
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != device {
			continue
		}
		point := plain.Replace(fields[1])
		if !strings.HasPrefix(filepath.Base(point), "containerd-mount") {
			return nil, fmt.Errorf("it is in use at %s", point)
		}
		points = append(points, point)
	}
	return points, nil
}
