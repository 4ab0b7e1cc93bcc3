package boltfile

// Limits of this store, which a bbolt file need not keep.
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

// Contents is all that a file says, put so that it is a sound whole: each id from 1 to LastID is
// free, or faulty, or belongs to one device; a faulty one may belong to one as well.
type Contents struct {
	// Devices are in the byte order of their names.
	Devices []Device
	// LastID is the highest id that was ever given out, 0 for none.
	LastID uint32
	// Free and Faulty are in ascending order.
	Free, Faulty []uint32
	// Notes say what in the file did not go together and how it was settled. They are no part of
	// what is written.
	Notes []string
}

// Progress is told how much of something is done. It may be nil.
type Progress func(done, total int)

// progressStep is how many devices pass between two calls of a Progress.
const progressStep = 1000

func (p Progress) tell(done, total int) {
	if p != nil && (done%progressStep == 0 || done == total) {
		p(done, total)
	}
}
