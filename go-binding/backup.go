//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_backup
#cgo noescape pmgo_restore
#cgo noescape pmgo_path_take

#cgo nocallback pmgo_backup
#cgo nocallback pmgo_restore
#cgo nocallback pmgo_path_take

#include "backup.h"
*/
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// BackupOption changes how [PoolMetadata.Backup] makes a backup.
type BackupOption func(*C.uint32_t)

// BackupCompact leaves free pages out: a smaller file, and more work.
func BackupCompact() BackupOption {
	return func(flags *C.uint32_t) { *flags |= C.PM_BACKUP_COMPACT }
}

// BackupOverwrite replaces the store that is at the backup's path, if there is one that nobody has open. Without it, a
// path where anything is fails with [ErrFileExists].
func BackupOverwrite() BackupOption {
	return func(flags *C.uint32_t) { *flags |= C.PM_BACKUP_OVERWRITE }
}

// BackupUnchecked does not check the copy, so that a store that does not pass Verify can be backed up too.
func BackupUnchecked() BackupOption {
	return func(flags *C.uint32_t) { *flags |= C.PM_BACKUP_UNCHECKED }
}

// Backup writes a copy of the store, as of this moment, to a new file at path: a store like this one, of mode 0600.
//
// The store stays in use meanwhile: nobody waits for a backup, except Close and the growth of the map, as for a walk. The
// copy is written to path with ".partial" behind it, checked as a whole, flushed, and only then renamed: whatever
// happens, what is at path is what was there before or a whole backup.
//
// The context is not looked at, as in the other methods.
func (m *PoolMetadata) Backup(_ context.Context, path string, opts ...BackupOption) error {
	const op, doing = "Backup", "back up the store"
	if m.calls.isShut() {
		return errClosed(op, doing)
	}
	var (
		flags C.uint32_t
		reply C.pmgo_reply
	)
	for _, apply := range opts {
		apply(&flags)
	}
	status := C.pmgo_backup(m.handle, text(path), size(path), flags, &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return failure(status, reply.detail, op, doing)
	}
	return nil
}

// Restore puts a copy of a backup at path, where a store, sound or not, may be that nobody has open, here or in another
// process ([ErrAlreadyOpen]). That one is kept, and where is returned: path with ".before-restore" behind it, and a
// number where that name is taken; "" if nothing was there. Of the options, only [WithLockWait] counts.
//
// The backup is checked as a whole before anything is touched ([ErrCorrupt]). Killed at any moment, this leaves the
// store as it was or the backup's in its place.
func Restore(backup, path string, opts ...Option) (kept string, err error) {
	const op, doing = "Restore", "restore the store"
	o := makeOptions(opts)
	native, err := o.native(op, doing)
	if err != nil {
		return "", err
	}
	var reply C.pmgo_reply
	status := C.pmgo_restore(text(backup), size(backup), text(path), size(path), &native, &reply)
	if status != C.PM_OK {
		return "", failure(status, reply.detail, op, doing)
	}
	return takePath(reply.handle, reply.size), nil
}

// takePath returns a path that the library has handed out, and frees it.
func takePath(handle C.uintptr_t, length C.uint64_t) string {
	if handle == 0 {
		return ""
	}
	// One byte more, so that there is an address in any case.
	path := make([]byte, length+1)
	C.pmgo_path_take(handle, (*C.char)(unsafe.Pointer(unsafe.SliceData(path))))
	return string(path[:length])
}
