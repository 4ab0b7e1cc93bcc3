//go:build linux

package recovery

import (
	"fmt"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// acknowledged says why the prepare of the one device beyond the last snapshot must have ended, or
// "" if nothing shows it.
//
// If it has ended, then the snapshotter's metadata had the snapshot once and is now older. With one
// snapshot less, it looks as after an interrupted prepare. What happened in the store after the
// prepare gives it away, and so does a number that the metadata is known to have reached. If there
// is neither, the two files are the same in both cases, byte by byte.
func (r *Recovery) acknowledged(
	device *poolmetadata.DeviceInfo, known *snapshots, noted uint64,
) (string, error) {
	if noted > known.last {
		return fmt.Sprintf("the metadata has had the snapshot %d", noted), nil
	}
	if used(device.State) {
		return fmt.Sprintf("no prepare leaves it in state %s", device.State), nil
	}
	record, err := r.store.GetRecord(device.Name)
	if err != nil {
		return "", err
	}
	changes, err := r.store.ChangesSince(record.Generation)
	if err != nil {
		return "", err
	}
	// The snapshotter commits and removes snapshots in transactions of its metadata, one at a time
	// as well. So a metadata that lacks what happened to another snapshot after the device was
	// written also lacks the end of the prepare.
	for _, other := range changes.Written {
		number, _ := snapshotNumber(r.pool.name, other.Name)
		isCommitted := used(other.State) && !known.committed[number]
		if known.keys[number] != "" && (isCommitted || removed(other.State)) {
			return fmt.Sprintf("%q was written later, in state %s", other.Name, other.State), nil
		}
	}
	for _, removal := range changes.Removed {
		number, _ := snapshotNumber(r.pool.name, removal.Name)
		if known.keys[number] != "" {
			return fmt.Sprintf("%q was removed later", removal.Name), nil
		}
	}
	return "", nil
}

// keepAcknowledged keeps the device that seems to be left over if its prepare has ended, and notes
// how far the snapshotter's metadata has come.
func (r *Recovery) keepAcknowledged(p *plan, known *snapshots) error {
	stats, err := r.store.Stats()
	if err != nil {
		return err
	}
	before, err := r.pool.notes.read()
	if err != nil {
		r.log.Warn("what was noted before this start is not known", "error", err)
	}
	noted := before.known(stats.Commits)
	if device := p.leftover; device != nil {
		why, err := r.acknowledged(device, known, noted)
		if err != nil {
			p.leftover = nil
			return err
		}
		if why != "" {
			p.leftover = nil
			p.keep(*device, older(known.last, why))
			// The start that follows may hide what has shown it.
			p.reached, _ = snapshotNumber(r.pool.name, device.Name)
		}
	}
	err = r.pool.notes.change(func(n *note) {
		// With no device beyond it, nothing is older than the store: the metadata was made anew.
		if !p.beyond && n.LastSnapshot > p.reached {
			n.LastSnapshot = 0
		}
		n.raise(p.reached, stats.Commits)
	})
	if err != nil {
		r.log.Warn("it was not noted how far the snapshotter's metadata has come", "error", err)
	}
	return nil
}

// used says whether a device was brought into a state by a commit or a removal of its snapshot, or,
// once that is committed, by the prepare of another one on top of it.
func used(state poolmetadata.DeviceState) bool {
	switch state {
	case poolmetadata.Suspending, poolmetadata.Suspended, poolmetadata.Resuming,
		poolmetadata.Resumed, poolmetadata.Deactivating, poolmetadata.Deactivated:
		return true
	}
	return false
}

// removed says whether a device in a state is on its way out. A prepare that fails undoes itself
// that way, too.
func removed(state poolmetadata.DeviceState) bool {
	return state == poolmetadata.Removing || state == poolmetadata.Removed
}
