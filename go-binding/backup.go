//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_backup
#cgo noescape pmgo_restore
#cgo noescape pmgo_compact
#cgo noescape pmgo_path_take

#cgo nocallback pmgo_backup
#cgo nocallback pmgo_restore
#cgo nocallback pmgo_compact
#cgo nocallback pmgo_path_take

#include "backup.h"
*/
import "C"

import (
	"context"
	"unsafe"
)

// BackupOption changes how [PoolMetadata.Backup] makes a backup.
type BackupOption func(*C.uint32_t)

// BackupCompact leaves free pages out: a smaller file, and more work.
func BackupCompact() BackupOption {
	return func(flags *C.uint32_t) { *flags |= C.PM_BACKUP_COMPACT }
}

// BackupOverwrite replaces a store at the backup's path, provided that no process has it open.
// Without it, a path at which a file exists fails with [ErrFileExists].
func BackupOverwrite() BackupOption {
	return func(flags *C.uint32_t) { *flags |= C.PM_BACKUP_OVERWRITE }
}

// BackupUnchecked does not check the copy, so that a store that fails Verify can be backed up too.
func BackupUnchecked() BackupOption {
	return func(flags *C.uint32_t) { *flags |= C.PM_BACKUP_UNCHECKED }
}

// Backup writes a copy of the store, as of this moment, to a new file at path: a store like this
// one, with its owner and mode as far as the process may set them, or with those of the file that
// it overwrites.
//
// The store stays in use meanwhile. Only Close and the growth of the map wait for a backup, as they
// do for a walk. The copy is written to a temporary file, path with ".partial-" and a random number
// appended, checked as a whole, fsynced, and only then renamed: whatever happens, path has its old
// contents or a whole backup.
//
// The context is ignored, as in the other methods.
func (m *PoolMetadata) Backup(_ context.Context, path string, opts ...BackupOption) error {
	var flags C.uint32_t
	for _, apply := range opts {
		apply(&flags)
	}
	return m.call("Backup", "back up the store", func(reply *C.pmgo_reply) C.int32_t {
		return C.pmgo_backup(m.handle, text(path), size(path), flags, reply)
	})
}

// Restored is the result of [Restore]: what it has put in place, and how old that is.
//
// The pool does not go back with its store. If the content is older than the pool, ids that are
// free in it, and all above LastID, may belong to data of the pool by now.
// [PoolMetadata.Reconcile] finds those in a list of the pool's devices. Without such a list,
// [PoolMetadata.MarkIDsFaultyUpTo] the highest id that may have been assigned keeps all of them out
// of use: ReplacedLastID, or more if that store was not the newest either.
type Restored struct {
	// Kept is the path under which the store before is kept, "" if there was none.
	Kept string `json:"kept"`
	// Commits is how many commits the content has seen, as in [Stats]. A store that [Salvage] has
	// made counts from the beginning.
	Commits uint64 `json:"commits"`
	// LastID is the highest device id that the restored store had ever assigned, 0 for none.
	LastID uint32 `json:"last_id"`
	// ReplacedCommits is how many commits the store before had seen. If the backup is one of that
	// store, the difference says how much is missing in the backup. 0 if there was no store, if its
	// header cannot be read, or if nothing was ever written to it.
	ReplacedCommits uint64 `json:"replaced_commits"`
	// ReplacedLastID is the highest device id that the store before had ever assigned, 0 for none,
	// and if there was no store or its header cannot be read.
	ReplacedLastID uint32 `json:"replaced_last_id"`
}

// Restore puts a copy of a backup at path. A store at path, sound or not, must not be open, in this
// process or another ([ErrAlreadyOpen]). It is kept as path with ".before-restore" appended, and a
// number if that name is taken. The new file has the owner and mode of the old one; else those of
// the backup, as far as the process may set them. Of the options, only [WithLockWait] has an
// effect.
//
// The backup is checked as a whole before anything changes ([ErrCorrupt]). A kill at any moment
// leaves either the old store or the backup's copy at path.
//
// The pool does not go back with its store, which then assigns ids that devices made since the
// backup have. Compare the two before the store is used: [PoolMetadata.Reconcile]. [Restored] says
// how old the backup is and which ids are in doubt.
func Restore(backup, path string, opts ...Option) (*Restored, error) {
	const op, doing = "Restore", "restore the store"
	o := makeOptions(opts)
	native, err := o.native(op, doing)
	if err != nil {
		return nil, err
	}
	var (
		restored C.pm_restored
		reply    C.pmgo_reply
	)
	status := C.pmgo_restore(text(backup), size(backup), text(path), size(path), &native,
		&restored, &reply)
	if status != C.PM_OK {
		return nil, failure(status, reply.detail, op, doing)
	}
	return &Restored{
		Kept:            takePath(reply.handle, reply.size),
		Commits:         uint64(restored.commits),
		LastID:          uint32(restored.last_id),
		ReplacedCommits: uint64(restored.replaced_commits),
		ReplacedLastID:  uint32(restored.replaced_last_id),
	}, nil
}

// Compact rewrites the store at path without its free pages, and returns the length of its file in
// bytes before and after. LMDB uses free pages again and never gives them back, so a file that a
// stalled read has let grow stays long. The store must not be open, in this process or another
// ([ErrAlreadyOpen]). Of the options, only [WithLockWait] has an effect.
//
// The copy is checked as a whole before it takes the store's place, with its owner and mode. A kill
// at any moment leaves either the store as it was or the shorter one at path.
func Compact(path string, opts ...Option) (before, after uint64, err error) {
	const op, doing = "Compact", "compact the store"
	o := makeOptions(opts)
	native, err := o.native(op, doing)
	if err != nil {
		return 0, 0, err
	}
	var reply C.pmgo_reply
	status := C.pmgo_compact(text(path), size(path), &native, &reply)
	if status != C.PM_OK {
		return 0, 0, failure(status, reply.detail, op, doing)
	}
	return uint64(reply.size), uint64(reply.count), nil
}

// takePath returns a path that the library has allocated, and frees it.
func takePath(handle C.uintptr_t, length C.uint64_t) string {
	if handle == 0 {
		return ""
	}
	// One more byte, so that the slice has an address even if it would be empty.
	path := make([]byte, length+1)
	C.pmgo_path_take(handle, (*C.char)(unsafe.Pointer(unsafe.SliceData(path))))
	return string(path[:length])
}
