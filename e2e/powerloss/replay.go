package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// sizes of the disks, in MiB: each file system has a smallest one.
var sizes = map[string]int64{"ext4": 64, "xfs": 300, "btrfs": 128}

// marked is the start of the mark for an acknowledged operation, which its number follows. A mark
// is one word.
const marked = "acknowledged-"

// begin is the mark after which the power may fail.
const begin = "begin"

// replayer cuts the power at every flush of recorded work.
type replayer struct {
	fs, dir  string
	work     *work
	steps    int
	every    int
	relaxed  bool
	disk     *disk
	logDisk  *disk
	logImage *os.File
	entries  []entry
}

// record does the work on a device that logs its writes.
func (r *replayer) record() (err error) {
	if r.disk, err = newDisk(r.dir, "recorded", sizes[r.fs]); err != nil {
		return err
	}
	if r.logDisk, err = newDisk(r.dir, "log", 2*sizes[r.fs]+256); err != nil {
		return err
	}
	both := r.disk.device + " " + r.logDisk.device
	if err := create("logged", r.disk.sectors, "log-writes", both); err != nil {
		return err
	}
	if err := makeFS(r.fs, mapped("logged")); err != nil {
		return err
	}
	if err := r.recordWork(); err != nil {
		return err
	}
	if err := unmap("logged"); err != nil {
		return err
	}
	if err := r.disk.remove(); err != nil {
		return err
	}
	// The loop device may have the log's end in its cache.
	if _, err := command("sync"); err != nil {
		return err
	}
	if r.logImage, err = os.Open(r.logDisk.file); err != nil {
		return err
	}
	r.entries, err = readLog(r.logImage)
	return err
}

func (r *replayer) recordWork() (err error) {
	dir := filepath.Join(r.dir, "mounted")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := mountAt(r.fs, mapped("logged"), dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount(dir)) }()
	if err := mark(begin); err != nil {
		return err
	}
	level := poolmetadata.DurabilityFull
	if r.relaxed {
		level = poolmetadata.DurabilityRelaxed
	}
	r.work.store, err = poolmetadata.Open(filepath.Join(dir, "pool.db"),
		poolmetadata.WithDurability(level))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.work.store.Close()) }()
	for n := range r.steps + 1 {
		// The first acknowledgement is that of the store's creation.
		if n > 0 {
			if err := r.work.step(); err != nil {
				return err
			}
		}
		if err := mark(marked + strconv.Itoa(n)); err != nil {
			return err
		}
	}
	return nil
}

func mark(text string) error {
	_, err := command("dmsetup", "message", "logged", "0", "mark "+text)
	return err
}

// replay cuts the power at every flush and acknowledgement, or at one of so many: what is durable
// by then is there, and in a second run at the same point some of the writes after it too.
func (r *replayer) replay() (points int, err error) {
	all, err := cuts(r.entries, begin)
	if err != nil {
		return 0, err
	}
	replayed, err := newDisk(r.dir, "replayed", sizes[r.fs])
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, replayed.remove()) }()
	scratch, err := newDisk(r.dir, "scratch", 64)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, scratch.remove()) }()
	image, err := os.OpenFile(replayed.file, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer image.Close()
	applied, acknowledged := 0, -1
	for i, c := range all {
		for ; applied < c.entries; applied++ {
			e := &r.entries[applied]
			if err := e.apply(r.logImage, image); err != nil {
				return points, err
			}
			if number, ok := strings.CutPrefix(e.mark, marked); ok {
				if acknowledged, err = strconv.Atoi(number); err != nil {
					return points, err
				}
			}
		}
		if i%r.every != 0 && i != len(all)-1 {
			continue
		}
		for _, torn := range []bool{false, true} {
			points++
			if err := r.fail(replayed, scratch, c, acknowledged, torn); err != nil {
				return points, fmt.Errorf("power cut %d of %d (after entry %d; later writes: %v): %w", i,
					len(all), c.entries, torn, err)
			}
		}
	}
	// A log that was full would end early.
	if acknowledged != r.steps {
		return points, fmt.Errorf("the log ends at operation %d of %d", acknowledged, r.steps)
	}
	return points, nil
}

// fail checks the store as it is after a loss of power. The file system recovers on a snapshot of
// the disk, which goes on as it was.
func (r *replayer) fail(replayed, scratch *disk, c cut, acknowledged int, torn bool) (err error) {
	file, err := os.OpenFile(scratch.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// A snapshot whose scratch area begins with zeroes is a new one.
	if _, err = file.Write(make([]byte, 4096)); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := create("failed", replayed.sectors, "snapshot",
		replayed.device+" "+scratch.device+" N 8"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmap("failed")) }()
	if torn {
		if err := r.tear(c); err != nil {
			return err
		}
	}
	dir := filepath.Join(r.dir, "mounted")
	if err := mountAt(r.fs, mapped("failed"), dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount(dir)) }()
	return r.work.check(filepath.Join(dir, "pool.db"), acknowledged, 1)
}

// tear applies about half of the writes between a cut and the next.
func (r *replayer) tear(c cut) (err error) {
	image, err := os.OpenFile(mapped("failed"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Sync(), image.Close()) }()
	for i := c.entries; i < c.next; i++ {
		// The flush itself did not complete: with its data, everything before it would be there.
		if r.entries[i].flags&flagFlush == 0 && r.work.random.IntN(2) == 0 {
			if err := r.entries[i].apply(r.logImage, image); err != nil {
				return err
			}
		}
	}
	return nil
}

// close removes what is left.
func (r *replayer) close() error {
	return errors.Join(r.logImage.Close(), r.logDisk.remove())
}
