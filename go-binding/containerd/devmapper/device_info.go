//go:build linux

package devmapper

import poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"

// DeviceInfo is the record of one device.
type DeviceInfo = poolmetadata.DeviceInfo

// DeviceState is the state of a device.
type DeviceState = poolmetadata.DeviceState

// The states of a device.
const (
	Unknown      = poolmetadata.Unknown
	Creating     = poolmetadata.Creating
	Created      = poolmetadata.Created
	Activating   = poolmetadata.Activating
	Activated    = poolmetadata.Activated
	Suspending   = poolmetadata.Suspending
	Suspended    = poolmetadata.Suspended
	Resuming     = poolmetadata.Resuming
	Resumed      = poolmetadata.Resumed
	Deactivating = poolmetadata.Deactivating
	Deactivated  = poolmetadata.Deactivated
	Removing     = poolmetadata.Removing
	Removed      = poolmetadata.Removed
	Faulty       = poolmetadata.Faulty
)
