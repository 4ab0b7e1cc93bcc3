//go:build linux && cgo

package poolmetadata

import "strconv"

// Limits of the store. A call with a longer value fails; nothing is truncated.
const (
	// MaxNameLen is the longest name of a device or of its parent, in bytes.
	MaxNameLen = 511
	// MaxErrorLen is the longest error text of a device, in bytes: 1 MiB.
	MaxErrorLen = 1 << 20
	// MaxDeviceID is the highest device id; the lowest is 1.
	MaxDeviceID = 0xfffffe
)

// DeviceState is the state of a device. The numbers are those in the file.
type DeviceState int

// The states of a device. States in -ing are written before an operation of the device mapper, the
// others after it, so that a crash between the two leaves a trace.
const (
	// Unknown is the state of a device before its first operation.
	Unknown DeviceState = iota
	// Creating is written before the device is made in the pool.
	Creating
	// Created devices exist in the pool.
	Created
	// Activating is written before the device gets its block device.
	Activating
	// Activated devices have a block device.
	Activated
	// Suspending is written before the device's I/O is suspended.
	Suspending
	// Suspended devices queue their I/O.
	Suspended
	// Resuming is written before a suspended device is resumed.
	Resuming
	// Resumed devices are active again.
	Resumed
	// Deactivating is written before the block device is removed.
	Deactivating
	// Deactivated devices exist in the pool and have no block device any more.
	Deactivated
	// Removing is written before the device is deleted from the pool.
	Removing
	// Removed devices are gone from the pool and still in the store.
	Removed
	// Faulty devices were left incomplete by a failure; neither they nor their ids can be trusted.
	Faulty
)

var stateNames = [...]string{
	"", "Creating", "Created", "Activating", "Activated", "Suspending", "Suspended",
	"Resuming", "Resumed", "Deactivating", "Deactivated", "Removing", "Removed", "Faulty",
}

// String returns the state's name, or "unknown" and the number for Unknown and numbers that are not
// states.
func (s DeviceState) String() string {
	if s > Unknown && s <= Faulty {
		return stateNames[s]
	}
	return "unknown " + strconv.Itoa(int(s))
}

// DeviceInfo is the record of one thin device. Its JSON form is the one that containerd stores.
type DeviceInfo struct {
	// DeviceID is the device's number in the pool, 1 to MaxDeviceID. The store assigns it.
	DeviceID uint32 `json:"device_id"`
	// Size is the device's virtual size in bytes.
	Size uint64 `json:"size"`
	// Name is the device's name below /dev/mapper, unique in the store: 1 to MaxNameLen bytes, none
	// of them NUL. They need not be UTF-8.
	Name string `json:"name"`
	// ParentName is the device that this one is a snapshot of; "" if it is not a snapshot.
	ParentName string `json:"parent_name"`
	// State is the device's state.
	State DeviceState `json:"state"`
	// Error says what failed last, in at most MaxErrorLen bytes; "" if nothing failed.
	Error string `json:"error"`
}

// DeviceInfoCallback is what UpdateDevice calls with a copy of the record to change.
type DeviceInfoCallback func(deviceInfo *DeviceInfo) error
