//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/containerd/errdefs"
)

// Code is a status of the C library. Codes never change their meaning.
type Code int32

// The statuses that a call of this package can fail with. Each has an error value for [errors.Is].
const (
	CodeNotFound        Code = C.PM_ERR_NOT_FOUND
	CodeAlreadyExists   Code = C.PM_ERR_ALREADY_EXISTS
	CodeInvalidArgument Code = C.PM_ERR_INVALID_ARGUMENT
	CodeInvalidName     Code = C.PM_ERR_INVALID_NAME
	CodeInvalidState    Code = C.PM_ERR_INVALID_STATE
	CodeTooLong         Code = C.PM_ERR_TOO_LONG
	CodeIdentityChanged Code = C.PM_ERR_IDENTITY_CHANGED
	CodeIDsExhausted    Code = C.PM_ERR_IDS_EXHAUSTED
	CodeConflict        Code = C.PM_ERR_CONFLICT
	CodeTimeout         Code = C.PM_ERR_TIMEOUT
	CodeClosed          Code = C.PM_ERR_CLOSED
	CodeBusy            Code = C.PM_ERR_BUSY
	CodeForked          Code = C.PM_ERR_FORKED
	CodeReadOnly        Code = C.PM_ERR_READ_ONLY
	CodeAlreadyOpen     Code = C.PM_ERR_ALREADY_OPEN
	CodeInvalidPath     Code = C.PM_ERR_INVALID_PATH
	CodeNoSuchFile      Code = C.PM_ERR_NO_SUCH_FILE
	CodePermission      Code = C.PM_ERR_PERMISSION
	CodeNotRegularFile  Code = C.PM_ERR_NOT_REGULAR_FILE
	CodeNotAStore       Code = C.PM_ERR_NOT_A_STORE
	CodeBboltFile       Code = C.PM_ERR_BBOLT_FILE
	CodeForeignLMDB     Code = C.PM_ERR_FOREIGN_LMDB
	CodeNewerFormat     Code = C.PM_ERR_NEWER_FORMAT
	CodeCorrupt         Code = C.PM_ERR_CORRUPT
	CodeDiskFull        Code = C.PM_ERR_DISK_FULL
	CodeMapFull         Code = C.PM_ERR_MAP_FULL
	CodeReadersFull     Code = C.PM_ERR_READERS_FULL
	CodeIO              Code = C.PM_ERR_IO
	CodeWritesStopped   Code = C.PM_ERR_WRITES_STOPPED
	CodeNoMemory        Code = C.PM_ERR_NO_MEMORY
	CodeInternal        Code = C.PM_ERR_INTERNAL
	CodeNotEmpty        Code = C.PM_ERR_NOT_EMPTY
	CodeFileExists      Code = C.PM_ERR_FILE_EXISTS
	CodeTooManyChanges  Code = C.PM_ERR_TOO_MANY_CHANGES
	CodeOtherLMDB       Code = C.PM_ERR_OTHER_LMDB
	CodeReadOnlyFS      Code = C.PM_ERR_READ_ONLY_FS
	CodeUnsupported     Code = C.PM_ERR_UNSUPPORTED
	CodeIDInUse         Code = C.PM_ERR_ID_IN_USE
	CodeIDNotFaulty     Code = C.PM_ERR_ID_NOT_FAULTY
	CodeOtherPool       Code = C.PM_ERR_OTHER_POOL
	CodeTooManyIntents  Code = C.PM_ERR_TOO_MANY_INTENTS
	CodePIDInUse        Code = C.PM_ERR_PID_IN_USE
	CodeLocksLost       Code = C.PM_ERR_LOCKS_LOST
	CodePinned          Code = C.PM_ERR_PINNED
	CodeUnfinished      Code = C.PM_ERR_UNFINISHED
)

// String returns the name that the C header has for the code, such as "PM_ERR_CORRUPT".
func (c Code) String() string {
	return C.GoString(C.pm_status_name(C.int32_t(c)))
}

var (
	// ErrNotFound says that the store has no device of that name. It is returned itself, as by
	// containerd's own store, so that comparing with == works too.
	ErrNotFound = errdefs.ErrNotFound
	// ErrAlreadyExists says that the store has a device of that name, which is not faulty.
	ErrAlreadyExists = errdefs.ErrAlreadyExists
	// ErrInvalidArgument is a required argument that is nil, or an option out of its range.
	ErrInvalidArgument = errdefs.ErrInvalidArgument
)

// Errors for [errors.Is]. Each also matches a class of github.com/containerd/errdefs, or of io/fs,
// where one fits.
var (
	// ErrInvalidName is a name of a device or parent that is empty, too long, or has a NUL byte.
	ErrInvalidName error = &sentinel{"invalid device name", errdefs.ErrInvalidArgument}
	// ErrInvalidState is a number that is not a DeviceState.
	ErrInvalidState error = &sentinel{"invalid device state", errdefs.ErrInvalidArgument}
	// ErrTooLong is an error text of more than MaxErrorLen bytes.
	ErrTooLong error = &sentinel{"error text too long", errdefs.ErrInvalidArgument}
	// ErrIdentityChanged is an update that gave the device another name or id.
	ErrIdentityChanged error = &sentinel{"device name or id changed by an update",
		errdefs.ErrInvalidArgument}
	// ErrIDsExhausted says that every device id is taken or faulty.
	ErrIDsExhausted error = &sentinel{"no device id left", errdefs.ErrResourceExhausted}
	// ErrConflict says that another process changed the device during an update, or any writer did
	// since the record of a ChangeUpdate was read: read it again and retry.
	ErrConflict error = &sentinel{"device changed by another process", errdefs.ErrConflict}
	// ErrTimeout says that a call has waited for a lock or another resource for the lock wait.
	ErrTimeout error = &sentinel{"lock wait exceeded", errdefs.ErrUnavailable}
	// ErrClosed says that the store has been closed, or is being closed.
	ErrClosed error = &sentinel{"store closed", fs.ErrClosed}
	// ErrBusy says that calls in progress did not end within the lock wait of Close, or that what was
	// deferred could not be flushed, since another process did not end its write.
	ErrBusy error = &sentinel{"store in use", errdefs.ErrUnavailable}
	// ErrForked says that the store was opened before a fork, and this is the child process.
	ErrForked error = &sentinel{"store of the parent process", errdefs.ErrFailedPrecondition}
	// ErrReadOnly is a write to a store that was opened read-only.
	ErrReadOnly error = &sentinel{"store opened read-only", errdefs.ErrFailedPrecondition}
	// ErrAlreadyOpen says that this process, or another one by another path, has the file open
	// already; or that another one has, while the file has to be upgraded or the disk has lost
	// pages of its newest commit.
	ErrAlreadyOpen error = &sentinel{"store already open", errdefs.ErrFailedPrecondition}
	// ErrInvalidPath is a path that cannot name a store.
	ErrInvalidPath error = &sentinel{"invalid path", errdefs.ErrInvalidArgument}
	// ErrNoSuchFile says that there is no store and none may be created, or that the directory is
	// missing.
	ErrNoSuchFile error = &sentinel{"no such file", fs.ErrNotExist}
	// ErrPermission says that this process has no permission to use the file.
	ErrPermission error = &sentinel{"permission denied", errdefs.ErrPermissionDenied}
	// ErrNotRegularFile is a path of a directory, a device or the like.
	ErrNotRegularFile error = &sentinel{"not a regular file", errdefs.ErrFailedPrecondition}
	// ErrNotAStore is a file of another kind.
	ErrNotAStore error = &sentinel{"not a pool-metadata store", errdefs.ErrFailedPrecondition}
	// ErrBboltFile is a bbolt file, such as the one of containerd's own store.
	ErrBboltFile error = &sentinel{"bbolt file", errdefs.ErrFailedPrecondition}
	// ErrForeignLMDB is another program's LMDB file.
	ErrForeignLMDB error = &sentinel{"another program's LMDB file", errdefs.ErrFailedPrecondition}
	// ErrNewerFormat is a store of a format that is newer than the library.
	ErrNewerFormat error = &sentinel{"store of a newer format", errdefs.ErrFailedPrecondition}
	// ErrCorrupt says that the file is damaged.
	ErrCorrupt error = &sentinel{"store damaged", errdefs.ErrDataLoss}
	// ErrDiskFull says that the disk or the user's quota is full; nothing was written.
	ErrDiskFull error = &sentinel{"disk full", errdefs.ErrResourceExhausted}
	// ErrMapFull says that the memory map is full and cannot grow.
	ErrMapFull error = &sentinel{"memory map full", errdefs.ErrResourceExhausted}
	// ErrReadersFull says that every slot of the reader table is in use.
	ErrReadersFull error = &sentinel{"reader table full", errdefs.ErrResourceExhausted}
	// ErrIO is an error of the system; errors.As finds its syscall.Errno.
	ErrIO error = &sentinel{"input/output error", errdefs.ErrUnknown}
	// ErrWritesStopped says that an fsync failed earlier, or that the file system takes no more
	// writes: reopen the store.
	ErrWritesStopped error = &sentinel{"writes stopped", errdefs.ErrFailedPrecondition}
	// ErrNoMemory says that memory or address space has run out.
	ErrNoMemory error = &sentinel{"out of memory", errdefs.ErrResourceExhausted}
	// ErrInternal is a defect of the library. A write that fails with it may have been made: read
	// to find out.
	ErrInternal error = &sentinel{"internal error", errdefs.ErrInternal}
	// ErrNotEmpty says that Import needs an empty store.
	ErrNotEmpty error = &sentinel{"store not empty", errdefs.ErrFailedPrecondition}
	// ErrFileExists says that a file exists at the path of a new file.
	ErrFileExists error = &sentinel{"file exists", fs.ErrExist}
	// ErrTooManyChanges says that a list is more than one commit can take: split it.
	ErrTooManyChanges error = &sentinel{"too many changes", errdefs.ErrOutOfRange}
	// ErrOtherLMDB says that another release of LMDB is in this process, or that a program that
	// uses one has the store open.
	ErrOtherLMDB error = &sentinel{"another release of LMDB", errdefs.ErrFailedPrecondition}
	// ErrReadOnlyFS says that the file system is mounted read-only.
	ErrReadOnlyFS error = &sentinel{"read-only file system", errdefs.ErrFailedPrecondition}
	// ErrIDInUse says that a device has the id, so that it cannot be freed.
	ErrIDInUse error = &sentinel{"device id in use", errdefs.ErrFailedPrecondition}
	// ErrIDNotFaulty says that the id is free, or was never assigned.
	ErrIDNotFaulty error = &sentinel{"device id not faulty", errdefs.ErrFailedPrecondition}
	// ErrOtherPool says that the store belongs to another pool than the one of [WithIdentity].
	ErrOtherPool error = &sentinel{"store of another pool", errdefs.ErrFailedPrecondition}
	// ErrTooManyIntents says that 65536 intents have begun and are not finished.
	ErrTooManyIntents error = &sentinel{"too many intents", errdefs.ErrResourceExhausted}
	// ErrUnsupported says that the file system, the kernel or a sandbox lacks what a store needs.
	ErrUnsupported error = &sentinel{"unsupported file system", errdefs.ErrNotImplemented}
	// ErrPIDInUse says that a process of this one's id has the store open: this process itself,
	// through another copy of the library, or a process in another PID namespace.
	ErrPIDInUse error = &sentinel{"process id in use", errdefs.ErrFailedPrecondition}
	// ErrLocksLost says that a process that has the store open has lost LMDB's locks, because code
	// in it has opened and closed the lock file.
	ErrLocksLost error = &sentinel{"locks of another process lost", errdefs.ErrFailedPrecondition}
	// ErrPinned says that running reads keep more freed pages from being reused than
	// [WithMaxPinnedGrowth] allows; the message names the process of the oldest read.
	ErrPinned error = &sentinel{"freed pages held by reads", errdefs.ErrResourceExhausted}
	// ErrUnfinished says that the newest commit of a backup is half written, as a power cut leaves
	// it. Opening the file as a store undoes that commit.
	ErrUnfinished error = &sentinel{"unfinished commit", errdefs.ErrFailedPrecondition}
)

// sentinels maps each code to its error value.
var sentinels = map[Code]error{
	CodeNotFound: ErrNotFound, CodeAlreadyExists: ErrAlreadyExists,
	CodeInvalidArgument: ErrInvalidArgument, CodeInvalidName: ErrInvalidName,
	CodeInvalidState: ErrInvalidState, CodeTooLong: ErrTooLong,
	CodeIdentityChanged: ErrIdentityChanged, CodeIDsExhausted: ErrIDsExhausted,
	CodeConflict: ErrConflict, CodeTimeout: ErrTimeout, CodeClosed: ErrClosed, CodeBusy: ErrBusy,
	CodeForked: ErrForked, CodeReadOnly: ErrReadOnly, CodeAlreadyOpen: ErrAlreadyOpen,
	CodeInvalidPath: ErrInvalidPath, CodeNoSuchFile: ErrNoSuchFile, CodePermission: ErrPermission,
	CodeNotRegularFile: ErrNotRegularFile, CodeNotAStore: ErrNotAStore, CodeBboltFile: ErrBboltFile,
	CodeForeignLMDB: ErrForeignLMDB, CodeNewerFormat: ErrNewerFormat, CodeCorrupt: ErrCorrupt,
	CodeDiskFull: ErrDiskFull, CodeMapFull: ErrMapFull, CodeReadersFull: ErrReadersFull,
	CodeIO: ErrIO, CodeWritesStopped: ErrWritesStopped, CodeNoMemory: ErrNoMemory,
	CodeInternal: ErrInternal, CodeNotEmpty: ErrNotEmpty, CodeFileExists: ErrFileExists,
	CodeTooManyChanges: ErrTooManyChanges, CodeOtherLMDB: ErrOtherLMDB,
	CodeReadOnlyFS: ErrReadOnlyFS, CodeUnsupported: ErrUnsupported,
	CodeIDInUse: ErrIDInUse, CodeIDNotFaulty: ErrIDNotFaulty, CodeOtherPool: ErrOtherPool,
	CodeTooManyIntents: ErrTooManyIntents,
	CodePIDInUse:       ErrPIDInUse, CodeLocksLost: ErrLocksLost, CodePinned: ErrPinned,
	CodeUnfinished: ErrUnfinished,
}

// sentinel is a kind of error, which belongs to a wider class.
type sentinel struct {
	text  string
	class error
}

func (s *sentinel) Error() string { return s.text }

func (s *sentinel) Unwrap() error { return s.class }

// Error is the error of every method, except ErrNotFound and a callback's error, which are returned
// themselves. (Apply wraps them in a [ChangeError].) [errors.Is] matches the value for its code,
// and its Errno.
type Error struct {
	// Code is the library's status.
	Code Code
	// Op is the method that failed, such as "AddDevice".
	Op string
	// Message says what is wrong, with which name or path, and what to do about it.
	Message string
	// Errno is the system's error behind it, or 0.
	Errno syscall.Errno

	// doing is what the method was to do, for the start of the text.
	doing string
}

// Error returns what the method was to do and the message.
func (e *Error) Error() string {
	return "failed to " + e.doing + ": " + e.Message
}

// Unwrap returns the error values that e stands for.
func (e *Error) Unwrap() []error {
	var all []error
	if kind := sentinels[e.Code]; kind != nil {
		all = append(all, kind)
	}
	if e.Errno != 0 {
		all = append(all, e.Errno)
	}
	return all
}

// newError makes the error for a failure that was found in Go.
func newError(code Code, op, doing, message string) error {
	return &Error{Code: code, Op: op, Message: message, doing: doing}
}

// failure makes the error for a status of the library and its report. It must be called for every
// call that failed, since it frees the report, which is C memory.
func failure(status C.int32_t, detail C.uintptr_t, op, doing string) error {
	if status == C.PM_ERR_NOT_FOUND && detail == 0 {
		return ErrNotFound
	}
	e := &Error{Code: Code(status), Op: op, doing: doing}
	if detail == 0 {
		e.Message = "the library reports " + e.Code.String()
		return e
	}
	var from C.pmgo_detail
	C.pmgo_take_detail(detail, &from)
	e.Message = C.GoStringN(&from.message[0], C.int(from.message_len))
	e.Errno = syscall.Errno(from.os_error)
	if status == C.PM_ERR_NOT_FOUND {
		return ErrNotFound
	}
	return e
}

// errNoCallback is the error for a nil callback.
func errNoCallback(op, doing string) error {
	return newError(CodeInvalidArgument, op, doing, "the callback is nil")
}

// errClosed is the error for a call that comes after Close has begun.
func errClosed(op, doing string) error {
	return newError(CodeClosed, op, doing, "the store is closed")
}

// isClosed reports whether err is of a call that came after Close.
func isClosed(err error) bool {
	return errors.Is(err, ErrClosed)
}
