//go:build linux

package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// A kept device has no snapshot and stays.
type kept struct {
	poolmetadata.DeviceInfo
	why string
}

// plan is what the comparison of the store with the snapshotter's metadata gives.
type plan struct {
	// leftover is the device that an interrupted prepare has left, which is in the way of every
	// later one.
	leftover *poolmetadata.DeviceInfo
	kept     []kept
	// beyond says that there are devices beyond the last snapshot, and reached is the last number
	// that the snapshotter's metadata must have committed, now or before.
	beyond  bool
	reached uint64
	// bare are the keys of snapshots that have no device, sorted. An interrupted removal leaves
	// such a snapshot.
	bare []string
}

// makePlan compares the devices of a pool with the snapshots.
//
// The snapshotter numbers snapshots in order and makes one at a time: in one transaction of its
// metadata it takes the next number, makes the device, and commits. If that is interrupted, the
// store has at most one device beyond the last number, and it is the very next one. If there are
// more, or others, then the metadata is older than the store (someone has put a backup in its
// place), and they are not leftovers: nothing is taken back. A single one may still be of a prepare
// that has ended; see acknowledged.
func makePlan(pool string, devices []poolmetadata.DeviceInfo, known *snapshots) plan {
	p := plan{reached: known.last}
	var beyond []poolmetadata.DeviceInfo
	parents := map[string]string{}
	bare := maps.Clone(known.keys)
	for _, device := range devices {
		parents[device.ParentName] = device.Name
		number, ok := snapshotNumber(pool, device.Name)
		if ok {
			delete(bare, number)
		}
		switch {
		case !ok:
			p.keep(device, "its name is not that of a snapshot's device")
		case number > known.last:
			beyond = append(beyond, device)
			// The number before was committed, or it would have been given out again.
			p.reached = max(p.reached, number-1)
		case known.keys[number] == "" && device.State != poolmetadata.Removed:
			// With async_remove, devices in state Removed wait for containerd's clean-up.
			p.keep(device, "no snapshot has it")
		}
	}
	p.bare = slices.Sorted(maps.Values(bare))
	p.beyond = len(beyond) > 0
	if !p.beyond {
		return p
	}
	device := beyond[0]
	child, hasChild := parents[device.Name]
	number, _ := snapshotNumber(pool, device.Name)
	switch {
	case len(beyond) > 1 || number != known.last+1:
		for _, device := range beyond {
			p.keep(device, older(known.last, "it is not as an interrupted prepare leaves it"))
		}
	case len(known.keys) == 0 && known.last == 0:
		p.keep(device, "the snapshotter's metadata has had no snapshot yet")
	case hasChild:
		p.keep(device, fmt.Sprintf("the device %q is a snapshot of it", child))
	case !made(device.State):
		// The snapshotter itself marks it as faulty, and makes it again with another id.
	default:
		p.leftover = &device
	}
	return p
}

// older is why a device beyond the last snapshot is kept.
func older(last uint64, because string) string {
	return fmt.Sprintf("it is beyond the last snapshot, %d, and the snapshotter's metadata is older "+
		"than the store: %s", last, because)
}

func (p *plan) keep(device poolmetadata.DeviceInfo, why string) {
	p.kept = append(p.kept, kept{device, why})
}

// made says whether a device of a state has been made in the pool with its id. Before that, the id
// could be that of another device.
func made(state poolmetadata.DeviceState) bool {
	switch state {
	case poolmetadata.Unknown, poolmetadata.Creating, poolmetadata.Faulty:
		return false
	}
	return true
}

// snapshotNumber returns the number in the name of a snapshot's device, POOL-snap-NUMBER.
func snapshotNumber(pool, name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, pool+"-snap-")
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil && strconv.FormatUint(number, 10) == digits
}
