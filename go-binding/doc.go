//go:build linux && cgo

// Package poolmetadata is the metadata store of a device-mapper thin-pool: which thin devices the
// pool has, with their ids, sizes, parents, states and last errors, and which of the pool's device
// ids are free, taken or faulty. It replaces the store in containerd's devmapper snapshotter,
// method for method, and keeps its data in one LMDB file, through the C library pool_metadata,
// which is written in Rust.
//
// # Getting started
//
//	store, err := poolmetadata.NewPoolMetadata("/var/lib/containerd/devmapper/pool.db")
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	info := &poolmetadata.DeviceInfo{Name: "base", Size: 10 << 30, State: poolmetadata.Creating}
//	if err := store.AddDevice(ctx, info); err != nil {
//		return err
//	}
//	// info.DeviceID is the id to give to the device mapper.
//
// # What holds
//
//   - A write that returns nil survives a power cut (see [WithDurability]), unless it is deferred
//     (see [PoolMetadata.Deferred] and [WithDeferredStates]). A write that returns an error has
//     changed nothing, except after [ErrInternal].
//   - Reads are MVCC snapshots: they see the store as of one moment and never wait for writers. A
//     checksum guards each record: damage is [ErrCorrupt] and never a wrong answer.
//   - Other processes may have the file open at the same time, for reading and for writing. A
//     process with the same process id in another PID namespace cannot, nor can another copy of the
//     library in this process: Open fails with [ErrPIDInUse].
//   - A call waits for other goroutines, for its device and for its turn to write together, no
//     longer than the lock wait (see [WithLockWait]); an update, no longer than that before its
//     callback, and again after it. For other processes it waits in the library, no longer than
//     that at a time. Where a wait for other goroutines would end while a write of the store is in
//     the library, since the disk stalls, say, it begins anew.
//
// # Many goroutines
//
// Concurrent writes share a group commit: they go to the library in one call and to the disk in one
// commit, and each gets its own result. Sixty-four goroutines that write do not take sixty-four
// times as long as one. Waiting goroutines block no thread; only one goroutine at a time is in C. A
// list of writes needs no goroutines: [PoolMetadata.ApplyEach] makes each by itself, and
// [PoolMetadata.Apply] all or none. [PoolMetadata.Stats] says how many operations the commits had.
//
// # Contexts
//
// Methods that containerd's store has take a context, as they do there. It is ignored: the
// snapshotter rolls back with contexts that have been cancelled, and must still write. The other
// methods take no context.
//
// # Callbacks
//
// C calls no callback. UpdateDevice and WalkDevices call theirs on the caller's own goroutine, as
// any Go function does, with no C frames on the stack and no transaction open. A panic reaches the
// caller with its own value and stack, and runtime.Goexit (and with it testing's FailNow) ends the
// goroutine. Either way the update is aborted and the store stays usable.
//
// The C library refuses writes from inside an update's callback, which it knows by the thread.
// Goroutines have no such identity, so here a callback may write other devices at once. The device
// under update is locked until the callback returns: a write of it fails with [ErrTimeout] after
// the lock wait.
//
// # Errors
//
// A missing device is [ErrNotFound] itself. A callback's error is returned itself. For a list of
// changes, a [ChangeError] says which was refused, and wraps the reason. Everything else is an
// [*Error] with the library's code and message, for errors.Is with [ErrAlreadyExists], [ErrClosed],
// [ErrCorrupt] and so on. ErrNotFound and ErrAlreadyExists are those of
// github.com/containerd/errdefs, and the others belong to its classes where one fits.
//
// # Building
//
// The package needs cgo. In a checkout of the project it links the archive that `make` builds
// there, and the program needs nothing at run time. With the build tag pm_pkgconfig it links the
// library that `make install` has installed, as pkg-config finds it; with the tag static_build in
// addition, it links what a fully static program needs. Go's build cache does not notice when a C
// library changes, nor when pkg-config finds it elsewhere: after that, build with -a, or with
// another value in CGO_CFLAGS.
package poolmetadata
