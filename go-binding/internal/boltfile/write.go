package boltfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Export writes the contents to a new bbolt file that containerd can use, and reads it back. It has
// the owner and mode of the file at like, if there is one, as far as this process may set them. An
// existing file is never overwritten. A process that is killed meanwhile leaves no file at the
// path, and a temporary file beside it whose name begins with that path and ".exporting".
func Export(path, like string, c *Contents, progress Progress) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".exporting")
	if err != nil {
		return err
	}
	defer temp.Close()
	written := false
	defer func() { // also if progress panics
		if !written {
			os.Remove(temp.Name())
		}
	}()
	if err := write(temp.Name(), c, progress); err != nil {
		return fmt.Errorf("writing %s: %w", temp.Name(), err)
	}
	if err := verify(temp.Name(), c); err != nil {
		return err
	}
	if err := followAccess(temp, like); err != nil {
		return err
	}
	if err := RenameNew(temp.Name(), path); err != nil {
		return err
	}
	written = true
	return SyncDirectory(path)
}

// followAccess gives the file the owner, group and mode of the file at like, if there is one. Only
// root may give a file to another user, and a user only to groups of his own: without the group,
// the mode allows the group nothing.
func followAccess(file *os.File, like string) error {
	const ownerMode, groupMode = 0o600, 0o070
	var was, is unix.Stat_t
	switch err := unix.Stat(like, &was); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("looking at the owner of %s: %w", like, err)
	}
	if err := unix.Fstat(int(file.Fd()), &is); err != nil {
		return fmt.Errorf("looking at the owner of %s: %w", file.Name(), err)
	}
	mode := os.FileMode(was.Mode)&os.ModePerm | ownerMode
	if was.Uid != is.Uid {
		_ = file.Chown(int(was.Uid), -1)
	}
	if was.Gid != is.Gid && file.Chown(-1, int(was.Gid)) != nil {
		mode &^= groupMode
	}
	return errors.Join(file.Chmod(mode), file.Sync())
}

// write fills an empty file, and fsyncs it.
func write(path string, c *Contents, progress Progress) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockPoll, OpenFile: openExisting})
	if err != nil {
		return err
	}
	defer db.Close() // if progress panics
	err = db.Update(func(tx *bolt.Tx) error {
		return errors.Join(writeDevices(tx, c, progress), writeIDs(tx, c))
	})
	return errors.Join(err, db.Close())
}

// openExisting keeps bbolt from creating the file again if it was deleted.
func openExisting(path string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag&^os.O_CREATE, mode)
}

// Rows come in the order of their keys, and few writes follow, so pages are filled well.
const fill = 0.9

func writeDevices(tx *bolt.Tx, c *Contents, progress Progress) error {
	bucket, err := tx.CreateBucket(devicesBucket)
	if err != nil {
		return err
	}
	bucket.FillPercent = fill
	for i := range c.Devices {
		record, err := json.Marshal(&c.Devices[i])
		if err != nil {
			return err
		}
		if err := bucket.Put([]byte(c.Devices[i].Name), record); err != nil {
			return fmt.Errorf("device %q: %w", c.Devices[i].Name, err)
		}
		progress.report(i+1, len(c.Devices))
	}
	return nil
}

func writeIDs(tx *bolt.Tx, c *Contents) error {
	bucket, err := tx.CreateBucket(idsBucket)
	if err != nil {
		return err
	}
	bucket.FillPercent = fill
	states := make([]byte, c.LastID+1)
	for id := range states {
		states[id] = stateTaken
	}
	for _, id := range c.Free {
		states[id] = stateFree
	}
	for _, id := range c.Faulty {
		states[id] = stateFaulty
	}
	keys := make([]string, 0, c.LastID)
	for id := uint64(1); id <= uint64(c.LastID); id++ {
		keys = append(keys, strconv.FormatUint(id, 10))
	}
	slices.Sort(keys)
	for _, key := range keys {
		id, err := strconv.Atoi(key)
		if err != nil {
			return err
		}
		if err := bucket.Put([]byte(key), states[id:id+1]); err != nil {
			return fmt.Errorf("device id %s: %w", key, err)
		}
	}
	return bucket.SetSequence(uint64(c.LastID))
}

// verify reads back a file that was written from c.
func verify(path string, c *Contents) error {
	file, err := Open(path, lockPoll)
	if err != nil {
		return err
	}
	got, err := file.Read(nil)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("reading %s back: %w", path, err)
	}
	want := *c
	want.Devices = slices.Clone(c.Devices)
	for i := range want.Devices {
		// JSON replaces bytes that are not valid UTF-8, in containerd's own files too.
		want.Devices[i].ParentName = throughJSON([]byte(want.Devices[i].ParentName))
		want.Devices[i].Error = throughJSON([]byte(want.Devices[i].Error))
	}
	if difference := Difference(&want, got); difference != "" {
		return fmt.Errorf("%s is not what was written: %s", path, difference)
	}
	return nil
}

// Difference describes how two contents differ, or returns "". Notes are ignored.
func Difference(a, b *Contents) string {
	if len(a.Devices) != len(b.Devices) {
		return fmt.Sprintf("%d devices against %d", len(a.Devices), len(b.Devices))
	}
	for i := range a.Devices {
		if d := a.Devices[i].difference(&b.Devices[i]); d != "" {
			return d
		}
	}
	switch {
	case a.LastID != b.LastID:
		return fmt.Sprintf("last id %d against %d", a.LastID, b.LastID)
	case !slices.Equal(a.Free, b.Free):
		return fmt.Sprintf("%d free ids against %d, or others", len(a.Free), len(b.Free))
	case !slices.Equal(a.Faulty, b.Faulty):
		return fmt.Sprintf("%d faulty ids against %d, or others", len(a.Faulty), len(b.Faulty))
	}
	return ""
}

// difference describes how two devices differ, or returns "".
func (d *Device) difference(other *Device) string {
	if d.Name != other.Name {
		return fmt.Sprintf("device %s against %s", shown(d.Name), shown(other.Name))
	}
	var all []string
	for _, number := range []struct {
		what string
		a, b uint64
	}{
		{"id", uint64(d.DeviceID), uint64(other.DeviceID)},
		{"size", d.Size, other.Size},
		{"state", uint64(d.State), uint64(other.State)},
	} {
		if number.a != number.b {
			all = append(all, fmt.Sprintf("%s %d against %d", number.what, number.a, number.b))
		}
	}
	for _, text := range []struct{ what, a, b string }{
		{"parent", d.ParentName, other.ParentName},
		{"error text", d.Error, other.Error},
	} {
		if text.a != text.b {
			all = append(all, fmt.Sprintf("%s %s against %s", text.what, shown(text.a), shown(text.b)))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("device %s with %s", shown(d.Name), strings.Join(all, ", "))
}

// shown returns a text for a message: of a long one, its start and its length.
func shown(text string) string {
	const most = 80
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return fmt.Sprintf("%q... (%d bytes)", text[:most], len(text))
}

// RenameNew renames a file unless a file exists at the new path.
func RenameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if lacks(err) {
		// Neither the file system nor a sandbox need know it. A link refuses an existing name as
		// well.
		if err = Link(from, to); err == nil {
			return os.Remove(from)
		}
	}
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already, and is not overwritten: %w", to, os.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("renaming %s to %s: %w", from, to, strippedOf(err))
	}
	return nil
}

// Link gives a file a second name, unless a file has it. Where the file system has no links, the
// error is also ErrUnsupported.
func Link(from, to string) error {
	err := os.Link(from, to)
	if lacks(err) {
		return fmt.Errorf("hard links: %w (%w); use a file system that has them", ErrUnsupported,
			strippedOf(err))
	}
	return err
}

// lacks reports whether a call with a file that this process may write failed because the system
// does not support it. File systems without links say that those are not permitted.
func lacks(err error) bool {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// strippedOf returns the system's error without the paths that os.LinkError repeats.
func strippedOf(err error) error {
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}

// SyncDirectory makes the names in the directory of path durable.
func SyncDirectory(path string) error {
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err := directory.Sync(); err != nil {
		directory.Close()
		return err
	}
	return directory.Close()
}
