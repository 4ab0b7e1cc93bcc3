//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"math"
	"time"
)

// DefaultLockWait is the lock wait of a store that is opened without [WithLockWait].
const DefaultLockWait = 10 * time.Second

// Option changes how [Open] opens a store.
type Option func(*options)

type options struct {
	flags      C.uint32_t
	maxReaders uint32
	mapSize    uint64
	lockWait   time.Duration
	verify     VerifyLevel
	durability Durability
	identity   string

	maxPinnedGrowth uint64
	deferredStates  bool
	deferredCommits uint64
	deferredAge     time.Duration
}

func makeOptions(opts []Option) options {
	o := options{lockWait: DefaultLockWait}
	for _, apply := range opts {
		apply(&o)
	}
	o.lockWait = wholeMilliseconds(o.lockWait)
	o.deferredAge = wholeMilliseconds(o.deferredAge)
	return o
}

// wholeMilliseconds rounds a duration up, since the library counts in milliseconds. The longest
// cannot be rounded up.
func wholeMilliseconds(d time.Duration) time.Duration {
	if part := d % time.Millisecond; part > 0 && d < math.MaxInt64-time.Millisecond {
		d += time.Millisecond - part
	}
	return d
}

// WithReadOnly opens the store for reading only: it must exist, and every write fails with
// [ErrReadOnly]. Nothing is made or changed.
//
// The store is read in place, and each call sees the newest commit, where the process can tell
// writers what it reads: in the lock file, which must be there and writable. Otherwise a private
// copy is read, as of when the store was opened, and no other process notices: Stats.IsCopy says
// so, and opening the store again shows what has changed. The copy takes memory as large as the
// store. It is also read in a container (a PID namespace other than the machine's first), unless
// the store is open in that container and in no other, and on overlayfs, unless another process has
// the store open.
func WithReadOnly() Option {
	return func(o *options) { o.flags |= C.PM_OPEN_READ_ONLY }
}

// WithMaxReaders sets the number of slots in the reader table, which all processes share: at most
// 1,048,576. Numbers below 128 are raised to 128; 0 stands for the default of 1024. The first
// process that opens the store decides.
func WithMaxReaders(n uint32) Option {
	return func(o *options) { o.maxReaders = n }
}

// WithMapSize sets the size of the memory map in bytes: address space, not memory or disk. It grows
// by itself; 0 stands for the default of 16 GiB.
func WithMapSize(bytes uint64) Option {
	return func(o *options) { o.mapSize = bytes }
}

// WithLockWait sets how long a call may wait for other goroutines of this process, in all, and at
// each place in the library for other processes, before it fails with [ErrTimeout], and how long
// Close waits before it fails with [ErrBusy]. It is counted in milliseconds, rounded up, and must
// be positive.
func WithLockWait(wait time.Duration) Option {
	return func(o *options) { o.lockWait = wait }
}

// WithVerify sets how much of the store is checked when it is opened.
func WithVerify(level VerifyLevel) Option {
	return func(o *options) { o.verify = level }
}

// WithDurability sets whether a write is on disk when it returns.
func WithDurability(level Durability) Option {
	return func(o *options) { o.durability = level }
}

// WithMaxPinnedGrowth limits how many bytes of freed pages running reads, in any process, may keep
// from being reused while the file grows: a write of this process that would make the file longer
// beyond that fails with [ErrPinned]. 0, the default, stands for no limit.
func WithMaxPinnedGrowth(bytes uint64) Option {
	return func(o *options) { o.maxPinnedGrowth = bytes }
}

// WithDeferredCommits limits how many deferred commits may be left unflushed: the next one is
// flushed, with all before it. The pages that they free are not used again before the flush after
// the next, so this also limits by how much the file grows. 0 stands for the default of 1000; more
// than 2^32 count as that.
func WithDeferredCommits(n uint64) Option {
	return func(o *options) { o.deferredCommits = n }
}

// WithExpectDeferred makes the flush that deferred writes need when the store is opened, which then
// stays ready for them while nobody writes. Without it, the second of several deferred writes makes
// that flush, and so does the second after the time of [WithDeferredAge] without any. The first
// write of another process makes two flushes more than otherwise. A store that is opened read-only
// ignores it.
func WithExpectDeferred() Option {
	return func(o *options) { o.flags |= C.PM_OPEN_EXPECT_DEFERRED }
}

// WithDeferredAge limits how long a deferred commit may be left unflushed: a thread of the library
// flushes it then. It is counted in milliseconds, rounded up; 0 stands for the default of a second.
func WithDeferredAge(age time.Duration) Option {
	return func(o *options) { o.deferredAge = max(age, 0) }
}

// WithIdentity says which pool the store has to belong to: 1 to 255 bytes of the caller's choice,
// such as the UUID of the pool's metadata device. The store keeps it when it is first opened for
// writing with one; from then on another one fails with [ErrOtherPool]. "" stands for none.
func WithIdentity(identity string) Option {
	return func(o *options) { o.identity = identity }
}

// VerifyLevel is how much of a store is checked when it is opened.
type VerifyLevel int32

const (
	// VerifyDefault is VerifyFull.
	VerifyDefault VerifyLevel = C.PM_VERIFY_DEFAULT
	// VerifyNone checks only the kind of the file, and that it is not truncated. A damaged page can
	// crash the process.
	VerifyNone VerifyLevel = C.PM_VERIFY_NONE
	// VerifyQuick also checks the free list, and the numbers of rows against the header, with a few
	// reads. A damaged page among the others can crash the process.
	VerifyQuick VerifyLevel = C.PM_VERIFY_QUICK
	// VerifyFull also checks every page and every row, and that they agree: then no damage to the
	// file can make LMDB crash the process.
	VerifyFull VerifyLevel = C.PM_VERIFY_FULL
)

// Durability says whether a write is on disk when it returns.
type Durability int32

const (
	// DurabilityFull: a write that has returned survives a power cut.
	DurabilityFull Durability = C.PM_DURABILITY_FULL
	// DurabilityRelaxed: every write is deferred, so a power cut may undo the writes of the last
	// second, and no more than 1,000 commits, last ones first and each as a whole: the store is
	// never damaged by that. See [PoolMetadata.Deferred].
	DurabilityRelaxed Durability = C.PM_DURABILITY_RELAXED
)

func (o *options) isReadOnly() bool { return o.flags&C.PM_OPEN_READ_ONLY != 0 }

// native returns the options in C's form.
func (o *options) native(op, doing string) (C.pm_options, error) {
	if o.lockWait <= 0 {
		return C.pm_options{}, newError(CodeInvalidArgument, op, doing,
			"the lock wait is "+o.lockWait.String()+"; it must be positive")
	}
	return C.pm_options{
		struct_size:  C.sizeof_pm_options,
		flags:        o.flags,
		max_readers:  C.uint32_t(o.maxReaders),
		map_size:     C.uint64_t(o.mapSize),
		lock_wait_ms: C.uint64_t(o.lockWait / time.Millisecond),
		verify:       C.int32_t(o.verify),
		durability:   C.int32_t(o.durability),

		max_pinned_growth: C.uint64_t(o.maxPinnedGrowth),
		deferred_commits:  C.uint64_t(o.deferredCommits),
		deferred_age_ms:   C.uint64_t(o.deferredAge / time.Millisecond),
	}, nil
}
