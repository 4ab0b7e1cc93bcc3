//go:build linux

// Package recovery brings the store and the snapshotter's own metadata into step when the
// snapshotter starts.
//
// The snapshotter commits to two files. While it prepares a snapshot, the device is committed to
// the store first, and the snapshot's number to metadata.db last. If it is killed in between, or
// the power fails, the number is given out again, and with it the device's name: every later
// prepare fails, because the store has that device already.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"golang.org/x/sys/unix"
)

// metadataFile is the snapshotter's own metadata, beside the store.
const metadataFile = "metadata.db"

// patience limits each call of dmsetup.
const patience = 30 * time.Second

// Run compares the store at a path, POOL.db in the snapshotter's directory, with the snapshotter's
// metadata. The device that an interrupted prepare has left is taken back: deactivated, deleted in
// the pool and removed from the store. Any other device without a snapshot is kept, and logged.
//
// Nothing is taken back when the metadata is missing, empty, in use, or older than the store. A
// recovery that fails is logged; it does not keep the snapshotter from starting, which then behaves
// as it would without it.
func Run(ctx context.Context, path string, store *poolmetadata.PoolMetadata) {
	r := recovery{
		pool: strings.TrimSuffix(filepath.Base(path), ".db"), store: store, dmsetup: dmsetup,
		unmount: unmount, log: slog.Default(),
	}
	if err := r.run(ctx, filepath.Join(filepath.Dir(path), metadataFile)); err != nil {
		r.log.Warn("the store was not compared with the snapshotter's metadata", "store", path,
			"error", err)
	}
}

type recovery struct {
	pool    string
	store   *poolmetadata.PoolMetadata
	dmsetup func(ctx context.Context, arguments ...string) error
	unmount func(device string) error
	log     *slog.Logger
}

func (r *recovery) run(ctx context.Context, metadata string) (err error) {
	var devices []poolmetadata.DeviceInfo
	for device, err := range r.store.Devices() {
		if err != nil {
			return err
		}
		devices = append(devices, device)
	}
	// A pool that was never used has no metadata yet.
	if _, err := os.Stat(metadata); len(devices) == 0 && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	known, err := readSnapshots(metadata)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, known.close()) }()
	p := makePlan(r.pool, devices, known)
	for _, k := range p.kept {
		r.log.Warn("a device of the store has no snapshot; it is kept", "device", k.Name,
			"id", k.DeviceID, "state", k.State.String(), "why", k.why)
	}
	for _, key := range p.bare {
		r.log.Warn("a snapshot has no device in the store: it cannot be used, nor removed",
			"key", key)
	}
	if p.leftover == nil {
		return nil
	}
	return r.takeBack(ctx, p.leftover, known.last)
}

// takeBack removes a device in an order that can be interrupted and run again: its record is the
// last to go.
func (r *recovery) takeBack(
	ctx context.Context, device *poolmetadata.DeviceInfo, last uint64,
) error {
	log := r.log.With("device", device.Name, "id", device.DeviceID,
		"state", device.State.String(), "last_snapshot", last)
	// dmsetup info fails for a device that is not active.
	if r.dmsetup(ctx, "info", device.Name) == nil {
		if err := r.unmount("/dev/mapper/" + device.Name); err != nil {
			return fmt.Errorf("a prepare was interrupted, and its device is mounted: %w", err)
		}
		if err := r.dmsetup(ctx, "remove", "--retry", device.Name); err != nil {
			return fmt.Errorf("a prepare was interrupted, and its device cannot be deactivated: %w",
				err)
		}
		log.Warn("deactivated a device that an interrupted prepare has left")
	}
	err := r.dmsetup(ctx, "message", "/dev/mapper/"+r.pool, "0",
		fmt.Sprintf("delete %d", device.DeviceID))
	// "No data available" says that the pool does not have it.
	if err != nil && !strings.Contains(err.Error(), "No data available") {
		return fmt.Errorf("a prepare was interrupted, and its device cannot be deleted: %w", err)
	}
	if err := r.store.RemoveDevice(ctx, device.Name); err != nil {
		return fmt.Errorf("a prepare was interrupted, and its device cannot be removed: %w", err)
	}
	log.Warn("took back a device that an interrupted prepare has left: it is deleted in the pool, " +
		"and removed from the store")
	return nil
}

// unmount unmounts a device where the snapshotter has mounted it: a new one, for a moment, in a
// temporary directory (containerd's WithTempMount), and tells nobody of it before the prepare has
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

// dmsetup runs the tool of that name.
func dmsetup(ctx context.Context, arguments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, "dmsetup", arguments...)
	command.Env = append(command.Environ(), "LC_ALL=C")
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("dmsetup %s: %w: %s", strings.Join(arguments, " "), err, output)
	}
	return nil
}
