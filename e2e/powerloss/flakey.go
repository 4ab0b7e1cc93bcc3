package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// flakey does work on a device that at some moment begins to fail or to drop every write, and works
// again after a restart. What was acknowledged before that moment has to be there, and what was
// acknowledged later, too, if writes failed: a store must notice. Dropped writes are those of a
// drive that loses its power, of which nothing can be noticed.
func flakey(fs, dir string, w *work, steps int, feature string) (err error) {
	d, err := newDisk(dir, "flakey", sizes[fs])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	if err := create("flakey", d.sectors, "linear", d.device+" 0"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmap("flakey")) }()
	if err := makeFS(fs, mapped("flakey")); err != nil {
		return err
	}
	mounted := filepath.Join(dir, "mounted")
	if err := os.MkdirAll(mounted, 0o755); err != nil {
		return err
	}
	acknowledged, err := flakeyWork(fs, mounted, w, steps, func() error {
		return reload("flakey", d.sectors, "flakey "+d.device+" 0 0 1 1 "+feature)
	}, feature == "error_writes")
	if err != nil {
		return err
	}
	if err := reload("flakey", d.sectors, "linear "+d.device+" 0"); err != nil {
		return err
	}
	if err := mountAt(fs, mapped("flakey"), mounted); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount(mounted)) }()
	running := 1
	if feature == "drop_writes" {
		// The operation whose writes were dropped must not be there: else they were not.
		running = 0
	}
	return w.check(filepath.Join(mounted, "pool.db"), acknowledged, running)
}

// flakeyWork works, calls fail, and works on. It returns how many operations must be there.
func flakeyWork(
	fs, mounted string, w *work, steps int, fail func() error, noticed bool,
) (acknowledged int, err error) {
	if err := mountAt(fs, mapped("flakey"), mounted); err != nil {
		return 0, err
	}
	// A file system that has noticed reports it here, too.
	defer func() {
		if unmountErr := unmount(mounted); unmountErr != nil {
			err = errors.Join(err, unmountErr)
		}
	}()
	if w.store, err = poolmetadata.NewPoolMetadata(filepath.Join(mounted, "pool.db")); err != nil {
		return 0, err
	}
	defer w.store.Close()
	for range steps {
		if err := w.step(); err != nil {
			return 0, err
		}
		acknowledged++
	}
	if err := fail(); err != nil {
		return 0, err
	}
	if !noticed {
		return acknowledged, w.step()
	}
	if err := w.step(); err == nil {
		return 0, errors.New("an operation whose writes failed was acknowledged")
	}
	fmt.Printf("    refused: %v\n", err)
	return acknowledged, nil
}
