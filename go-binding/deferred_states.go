//go:build linux && cgo

package poolmetadata

// WithDeferredStates lets [PoolMetadata.UpdateDevice] commit a change of state without a flush of
// its own ([PoolMetadata.Deferred]) where containerd's devmapper snapshotter recovers alike,
// whether that change is on disk or not. It is for that snapshotter, and for programs that mean the
// same by the states. All other writes are flushed as without it.
//
// When it starts, the snapshotter activates the devices in state Activated, leaves those in
// Suspended, Resumed, Deactivated, Removed and Faulty as they are, and marks all others as faulty.
// A power cut ends what the kernel has of a device: whether it is active, and whether it is
// suspended. So these changes are deferred, if nothing but the state and the error text changes:
//
//   - between two states in which the device would be marked as faulty;
//   - from Activated, Suspended, Resumed or Deactivated to Activating, Suspending or Resuming. If
//     it is undone, the device is as it was before;
//   - from Suspended, Resumed or Deactivated to Deactivating. The snapshotter may discard the
//     device's blocks then. Undone, the device is in one of three states that are alike, of which
//     Deactivated is the one that it is in with its blocks discarded;
//   - from Suspending to Suspended, and from Removing to Removed: a flushed write follows before
//     the snapshotter's call returns without an error;
//   - from Removed to Removing. Undone, the device is Removed, and deleted in the pool, as before
//     its record goes.
//
// It includes [WithExpectDeferred].
//
// In every other case one of the two outcomes would be new: a device that was acknowledged would be
// marked as faulty, or a device would stay in use that is deleted in the pool.
func WithDeferredStates() Option {
	return func(o *options) {
		o.deferredStates = true
		WithExpectDeferred()(o)
	}
}

// What the snapshotter does at its start with a device, by the device's state.
const (
	marksFaulty = iota // the states of a change that has not ended
	activates
	leaves
	waitsForRemoval // left as it is, and removed by the snapshotter's clean-up
	isFaulty        // left as it is, and replaced when it is added again
)

func recoveryOf(state DeviceState) int {
	switch state {
	case Activated:
		return activates
	case Suspended, Resumed, Deactivated:
		return leaves
	case Removed:
		return waitsForRemoval
	case Faulty:
		return isFaulty
	default:
		return marksFaulty
	}
}

// isDeferrable says whether a change of state is one of those that WithDeferredStates lists.
func isDeferrable(from, to DeviceState) bool {
	if recoveryOf(from) == marksFaulty && recoveryOf(to) == marksFaulty {
		return true
	}
	switch to {
	case Activating, Suspending, Resuming:
		return recoveryOf(from) == activates || recoveryOf(from) == leaves
	case Deactivating:
		return recoveryOf(from) == leaves
	case Suspended:
		return from == Suspending
	case Removing:
		return from == Removed
	case Removed:
		return from == Removing
	}
	return false
}

// writerFor returns the store, or its handle for deferred writes where a change may be deferred.
func (m *PoolMetadata) writerFor(u *begun, to *DeviceInfo) *PoolMetadata {
	if m.states && to.Size == u.size && to.ParentName == u.parent &&
		isDeferrable(u.state, to.State) {
		return m.Deferred()
	}
	return m
}
