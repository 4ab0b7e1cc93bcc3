package boltfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

var (
	devicesBucket = []byte("devices")
	idsBucket     = []byte("device_ids")
)

// lockPoll is the time between two attempts to get a lock that another process has.
const lockPoll = 20 * time.Millisecond

// File is a bbolt file that is open for reading. No process can write to it until it is closed.
type File struct {
	file *os.File
	db   *bolt.DB
}

// Open opens a file and checks its structure. It waits as long as wait for a process that has the
// file open for writing, such as a running containerd; then the error is ErrLocked.
func Open(path string, wait time.Duration) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{file: file}
	if err := f.open(path, wait); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func (f *File) open(path string, wait time.Duration) error {
	if err := lockShared(f.file, wait); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if err := checkStructure(f.file, info.Size()); err != nil {
		return err
	}
	// bbolt takes the lock once more, for a descriptor of its own; both are shared locks.
	var again *os.File
	options := bolt.Options{ReadOnly: true, Timeout: max(wait, lockPoll)}
	options.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		again, err = f.reopen(path, flag, mode)
		return again, err
	}
	err = guard(new(bool), func() error {
		f.db, err = bolt.Open(path, 0, &options)
		return err
	})
	if err != nil && again != nil {
		// Harmless if bbolt has closed it; if bbolt panicked, this ends the lock.
		again.Close()
	}
	if errors.Is(err, bolt.ErrTimeout) {
		return ErrLocked
	}
	return err
}

// reopen opens the same file once more for bbolt, even if its path now leads to another file.
func (f *File) reopen(path string, flag int, mode os.FileMode) (*os.File, error) {
	again, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	a, errA := f.file.Stat()
	b, errB := again.Stat()
	if err := errors.Join(errA, errB); err != nil {
		again.Close()
		return nil, err
	}
	if !os.SameFile(a, b) {
		again.Close()
		return nil, fmt.Errorf("%s was replaced by another file while it was being opened; retry", path)
	}
	return again, nil
}

// Stat returns the file's information.
func (f *File) Stat() (os.FileInfo, error) {
	return f.file.Stat()
}

// Fstat is Stat with the owner.
func (f *File) Fstat(stat *unix.Stat_t) error {
	return unix.Fstat(int(f.file.Fd()), stat)
}

// Close closes the file and releases its lock.
func (f *File) Close() error {
	return errors.Join(f.db.Close(), f.file.Close())
}

func lockShared(file *os.File, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(lockPoll) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("locking %s: %w", file.Name(), err)
		case !time.Now().Before(end):
			return ErrLocked
		}
	}
}

// guard runs code that reads through bbolt, and turns a fault in the map, which a disk that cannot
// read a page causes, into an error. A panic in the caller's own code, during which away is set,
// goes on to the caller.
func guard(away *bool, read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if *away {
			return
		}
		if cause := recover(); cause != nil {
			err = damaged("bbolt fails on it: %v", cause)
		}
	}()
	return read()
}

// Read reads the whole file.
func (f *File) Read(progress Progress) (*Contents, error) {
	var (
		c    *Contents
		away bool
	)
	report := func(done, total int) {
		away = true
		progress.report(done, total)
		away = false
	}
	err := guard(&away, func() error {
		return f.db.View(func(tx *bolt.Tx) (err error) {
			c, err = read(tx, report)
			return err
		})
	})
	return c, err
}

func read(tx *bolt.Tx, progress Progress) (*Contents, error) {
	devices, ids := tx.Bucket(devicesBucket), tx.Bucket(idsBucket)
	if err := checkBuckets(tx); err != nil {
		return nil, err
	}
	if devices == nil && ids == nil {
		// containerd was stopped before it had made the buckets.
		return &Contents{}, nil
	}
	records, err := readDevices(devices, progress)
	if err != nil {
		return nil, err
	}
	rows, err := readIDs(ids)
	if err != nil {
		return nil, err
	}
	return resolve(records, rows, ids.Sequence())
}

// checkBuckets makes sure that the file has the snapshotter's buckets and no others, which would be
// lost.
func checkBuckets(tx *bolt.Tx) error {
	var own int
	var others []string
	cursor := tx.Cursor()
	for name, _ := cursor.First(); name != nil; name, _ = cursor.Next() {
		if string(name) == string(devicesBucket) || string(name) == string(idsBucket) {
			own++
		} else {
			others = append(others, strconv.Quote(string(name)))
		}
	}
	switch {
	case len(others) > 0:
		return fmt.Errorf("%w: it has the buckets %s%s", ErrForeign, strings.Join(others, ", "),
			whose(others))
	case own == 1:
		return damaged("of the buckets \"devices\" and \"device_ids\" one is missing")
	}
	return nil
}

// whose says which file to use instead, if the foreign buckets show that: files beside the pool's
// are easily mistaken for it.
func whose(buckets []string) string {
	if slices.Equal(buckets, []string{strconv.Quote("v1")}) {
		return "; containerd's metadata.db and meta.db, which list snapshots and images, " +
			"have that one: the pool's file is " +
			"beside the snapshotter's metadata.db and is called as the pool is, with \".db\" behind it"
	}
	return ""
}

func readDevices(bucket *bolt.Bucket, progress Progress) ([]Device, error) {
	wrong, unfit := problems{kind: ErrDamaged}, newUnfit()
	total := countKeys(bucket)
	devices := make([]Device, 0, total)
	err := bucket.ForEach(func(key, value []byte) error {
		var device Device
		if value == nil {
			wrong.add("%q is a bucket among the devices", key)
		} else if err := json.Unmarshal(value, &device); err != nil {
			wrong.add("the record of device %q is not one: %v", key, err)
		} else if device.Name != string(key) && device.Name != throughJSON(key) {
			wrong.add("the record of device %q has the name %q", key, device.Name)
		} else {
			// JSON cannot represent a name that is not valid UTF-8; the key has it.
			device.Name = string(key)
			device.fits(&unfit)
		}
		devices = append(devices, device)
		progress.report(len(devices), total)
		return nil
	})
	return devices, errors.Join(err, wrong.err(), unfit.err())
}

func countKeys(bucket *bolt.Bucket) (n int) {
	cursor := bucket.Cursor()
	for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
		n++
	}
	return n
}

// throughJSON returns a name as containerd has it after writing and reading a record.
func throughJSON(name []byte) string {
	return strings.Map(func(r rune) rune { return r }, string(name))
}

// fits notes the values of a record that this store does not allow.
func (d *Device) fits(unfit *unfit) {
	for _, text := range []struct{ what, value string }{{"name", d.Name},
		{"parent's name", d.ParentName}} {
		if text.value == "" && text.what == "name" {
			unfit.names.add("a device has an empty name")
		}
		if len(text.value) > maxNameLen {
			unfit.names.add("the %s of device %q has %d bytes, and at most %d are allowed",
				text.what, d.Name, len(text.value), maxNameLen)
		}
		if strings.IndexByte(text.value, 0) >= 0 {
			unfit.names.add("the %s of device %q has a NUL byte", text.what, d.Name)
		}
	}
	if len(d.Error) > maxErrorLen {
		unfit.texts.add("the error text of device %q has %d bytes, and at most %d are allowed",
			d.Name, len(d.Error), maxErrorLen)
	}
	if d.State < 0 || d.State > maxState {
		unfit.states.add("the state of device %q is %d, and 0 to %d are allowed", d.Name, d.State,
			maxState)
	}
}

// row is an entry of the "device_ids" bucket.
type row struct {
	id    uint32
	state byte
}

// The states of a row.
const (
	stateFree = iota
	stateTaken
	stateFaulty
)

// readIDs returns the rows in ascending order.
func readIDs(bucket *bolt.Bucket) ([]row, error) {
	wrong := problems{kind: ErrDamaged}
	var rows []row
	err := bucket.ForEach(func(key, value []byte) error {
		id, err := strconv.ParseUint(string(key), 10, 32)
		switch {
		case err != nil || strconv.FormatUint(id, 10) != string(key) || id == 0 || id > maxDeviceID:
			wrong.add("there is a device id %q", key)
		case len(value) != 1 || value[0] > stateFaulty:
			wrong.add("device id %d has the state %q", id, value)
		default:
			rows = append(rows, row{uint32(id), value[0]})
		}
		return nil
	})
	slices.SortFunc(rows, func(a, b row) int { return int(a.id) - int(b.id) })
	return rows, errors.Join(err, wrong.err())
}
