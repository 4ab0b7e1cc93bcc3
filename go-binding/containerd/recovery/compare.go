//go:build linux

package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// maxLogged is the number of differences that are logged one by one.
const maxLogged = 10

// CompareInBackground compares as Compare does, while the snapshotter starts and works: now, if
// that is wanted, and after each signal. Stop ends it. Signals that come during a comparison lead
// to one more, if their channel keeps one.
func (r *Recovery) CompareInBackground(now bool, signals <-chan os.Signal) {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.background.Add(1)
	go func() {
		defer r.background.Done()
		if now {
			r.Compare(ctx)
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				r.Compare(ctx)
			}
		}
	}()
}

// Compare compares the device ids of the store with those of the pool, both ways, and logs what
// only one of them has, and how to bring them in step. It changes nothing, but that the pool has a
// metadata snapshot meanwhile. What keeps it from comparing is logged, and stops nothing else.
//
// It is for one goroutine at a time. The snapshotter may work meanwhile.
func (r *Recovery) Compare(ctx context.Context) {
	err := r.compare(ctx)
	stops := errors.Is(err, context.Canceled) || errors.Is(err, poolmetadata.ErrClosed)
	if err != nil && (!stops || errors.Is(err, errNotReleased)) {
		r.log.Warn("the store was not compared with the pool", "pool", r.pool.name, "error", err)
	}
}

func (r *Recovery) compare(ctx context.Context) error {
	if _, err := r.lookPath(thinLs); err != nil {
		return fmt.Errorf("%w; install the package thin-provisioning-tools, which some distributions "+
			"call device-mapper-persistent-data, or turn the comparison off", err)
	}
	stats, err := r.store.Stats()
	if err != nil {
		return err
	}
	device, err := r.pool.metadataDevice(ctx)
	if err != nil {
		return err
	}
	ids, err := r.pool.ids(ctx, device)
	if err != nil {
		return err
	}
	found, err := r.store.Reconcile(poolmetadata.PoolState{
		DeviceIDs: ids, Commit: &stats.Commits,
	})
	if err != nil {
		return err
	}
	r.report(found, r.pool.reconcileCommands(r.path, device))
	return nil
}

// report logs differences, of which there may be millions, in a few lines.
func (r *Recovery) report(found *poolmetadata.Reconciliation, commands string) {
	log := r.log.With("pool", r.pool.name)
	count := len(found.Differences)
	if count == 0 {
		log.Info("the store and the pool have the same devices", "devices", found.InBoth)
		return
	}
	if found.InBoth == 0 && onlyInStore(found) {
		log.Warn("the pool has none of the store's devices: it is another pool, or made anew",
			"differences", count, "run", commands)
		return
	}
	for i := range found.Differences[:min(count, maxLogged)] {
		log.Warn("the store and the pool differ", "what", found.Differences[i].Text)
	}
	log.Warn("the store and the pool differ; nothing was changed", "differences", count,
		"not_logged", max(0, count-maxLogged), "run", commands)
}

func onlyInStore(found *poolmetadata.Reconciliation) bool {
	for i := range found.Differences {
		if found.Differences[i].Kind == poolmetadata.OnlyInStore {
			return true
		}
	}
	return false
}
