//go:build linux

// Package recovery brings the store, the snapshotter's own metadata and the thin-pool into step
// when the snapshotter starts.
//
// The snapshotter commits to two files. While it prepares a snapshot, the device is committed to
// the store first, and the snapshot's number to metadata.db last. If it is killed in between, or
// the power fails, the number is given out again, and with it the device's name: every later
// prepare fails, because the store has that device already. A third place is the kernel's
// thin-pool, which has a list of device ids of its own.
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
	"sync"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// metadataFile is the snapshotter's own metadata, beside the store.
const metadataFile = "metadata.db"

// stopWait limits how long Stop waits for a comparison to end.
const stopWait = 10 * time.Second

// Recovery is what keeps an open store in step.
type Recovery struct {
	pool     thinPool
	store    *poolmetadata.PoolMetadata
	path     string
	metadata string
	unmount  func(device string) error
	lookPath func(program string) (string, error)
	log      *slog.Logger

	// background is what CompareInBackground has started.
	background sync.WaitGroup
	stop       context.CancelFunc
}

// Start compares the store at a path, POOL.db in the snapshotter's directory, with the
// snapshotter's metadata. The device that an interrupted prepare has left is taken back:
// deactivated, deleted in the pool and removed from the store. Any other device without a snapshot
// is kept, and logged.
//
// Nothing is taken back when the metadata is missing, empty, in use, or older than the store. A
// recovery that fails is logged; it does not keep the snapshotter from starting, which then behaves
// as it would without it.
func Start(ctx context.Context, path string, store *poolmetadata.PoolMetadata) *Recovery {
	r := newRecovery(path, store)
	if err := r.takeBackLeftover(ctx); err != nil {
		r.log.Warn("the store was not compared with the snapshotter's metadata", "store", path,
			"error", err)
	}
	return r
}

func newRecovery(path string, store *poolmetadata.PoolMetadata) *Recovery {
	return &Recovery{
		pool: thinPool{
			name: strings.TrimSuffix(filepath.Base(path), ".db"), run: run,
			notes: &notes{path: path + noteSuffix}, sysfs: "/sys/dev/block", boot: bootID(),
		},
		store: store, path: path, metadata: filepath.Join(filepath.Dir(path), metadataFile),
		unmount: unmount, lookPath: exec.LookPath, log: slog.Default(), stop: func() {},
	}
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Stop ends a comparison that runs in the background, and notes how far the snapshotter's metadata
// has come. Call it when the snapshotter has closed its metadata, before the store is closed.
func (r *Recovery) Stop() {
	r.stop()
	ended := make(chan struct{})
	go func() {
		r.background.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(stopWait):
		r.log.Warn("a comparison of the store with the pool still waits for a tool")
	}
	if err := r.noteSnapshots(); err != nil && !errors.Is(err, poolmetadata.ErrClosed) {
		r.log.Warn("it was not noted how far the snapshotter's metadata has come", "error", err)
	}
}

// noteSnapshots notes the last number that the snapshotter's metadata has committed.
func (r *Recovery) noteSnapshots() error {
	// A pool that was never used has no metadata yet.
	if _, err := os.Stat(r.metadata); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	known, err := readSnapshots(r.metadata)
	if err != nil {
		return err
	}
	last := known.last
	if err := known.close(); err != nil {
		return err
	}
	stats, err := r.store.Stats()
	if err != nil {
		return err
	}
	return r.pool.notes.change(func(n *note) { n.raise(last, stats.Commits) })
}

func (r *Recovery) takeBackLeftover(ctx context.Context) (err error) {
	var devices []poolmetadata.DeviceInfo
	for device, err := range r.store.Devices() {
		if err != nil {
			return err
		}
		devices = append(devices, device)
	}
	// A pool that was never used has no metadata yet.
	if _, err := os.Stat(r.metadata); len(devices) == 0 && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	known, err := readSnapshots(r.metadata)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, known.close()) }()
	p := makePlan(r.pool.name, devices, known)
	err = r.keepAcknowledged(&p, known)
	for _, k := range p.kept {
		r.log.Warn("a device of the store has no snapshot; it is kept", "device", k.Name,
			"id", k.DeviceID, "state", k.State.String(), "why", k.why)
	}
	for _, key := range p.bare {
		r.log.Warn("a snapshot has no device in the store: it cannot be used, nor removed",
			"key", key)
	}
	if p.leftover == nil || err != nil {
		return err
	}
	return r.takeBack(ctx, p.leftover, known.last)
}

// takeBack removes a device in an order that can be interrupted and run again: its record is the
// last to go.
func (r *Recovery) takeBack(
	ctx context.Context, device *poolmetadata.DeviceInfo, last uint64,
) error {
	log := r.log.With("device", device.Name, "id", device.DeviceID,
		"state", device.State.String(), "last_snapshot", last)
	// dmsetup info fails for a device that is not active.
	if _, err := r.pool.dmsetup(ctx, "info", device.Name); err == nil {
		if err := r.unmount("/dev/mapper/" + device.Name); err != nil {
			return fmt.Errorf("a prepare was interrupted, and its device is mounted: %w", err)
		}
		if _, err := r.pool.dmsetup(ctx, "remove", "--retry", device.Name); err != nil {
			return fmt.Errorf("a prepare was interrupted, and its device cannot be deactivated: %w",
				err)
		}
		log.Warn("deactivated a device that an interrupted prepare has left")
	}
	_, err := r.pool.dmsetup(ctx, "message", r.pool.path(), "0",
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
