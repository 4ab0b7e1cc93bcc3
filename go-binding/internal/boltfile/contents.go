package boltfile

// Limits of this store. A bbolt file may exceed them.
const (
	maxNameLen  = 511
	maxErrorLen = 1 << 20
	maxDeviceID = 0xfffffe
	maxState    = 13
)

// Device is a device's record, as containerd writes it: the fields, their order and their names.
type Device struct {
	DeviceID   uint32 `json:"device_id"`
	Size       uint64 `json:"size"`
	Name       string `json:"name"`
	ParentName string `json:"parent_name"`
	State      int    `json:"state"`
	Error      string `json:"error"`
}

// Contents is everything in a file, with contradictions resolved: each id from 1 to LastID is free,
// or faulty, or belongs to one device; a faulty id may belong to one as well.
type Contents struct {
	// Devices are in the byte order of their names.
	Devices []Device
	// LastID is the highest id that was ever assigned, 0 for none.
	LastID uint32
	// Free and Faulty are in ascending order.
	Free, Faulty []uint32
	// Notes say what in the file was contradictory and how it was resolved. They are not written to
	// files.
	Notes []string
}

// Progress is called with how much of a stage is done. It may be nil.
type Progress func(done, total int)

// progressStep is the number of devices between two calls of a Progress.
const progressStep = 1000

func (p Progress) report(done, total int) {
	if p != nil && (done%progressStep == 0 || done == total) {
		p(done, total)
	}
}
