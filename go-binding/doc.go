//go:build linux && cgo

// Package poolmetadata is the metadata store of a device-mapper thin-pool: which thin devices the pool has, with their
// ids, sizes, parents, states and last errors, and which of the pool's device ids are free, taken or faulty. It takes
// the place of the store in containerd's devmapper snapshotter, method for method, and keeps its data in one LMDB file
// by way of the C library pool_metadata, which is written in Rust.
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
//   - When a write returns nil it survives a power cut (see [WithDurability]); when it returns an error it has changed
//     nothing, unless that is [ErrInternal].
//   - Reads see one moment of the store, wait for no writer, and are checked against a checksum: damage is [ErrCorrupt]
//     and never a wrong answer.
//   - Other processes may have the file open at the same time, for reading and for writing. One that has the same process
//     id as this one, in another PID namespace, cannot: its Open is [ErrIO], with EAGAIN.
//   - A call waits for other goroutines, for its device and for its turn to write together, no longer
//     than the lock wait (see [WithLockWait]). For other processes it waits in the library, no longer
//     than that at a time.
//
// # Many goroutines
//
// Writes that meet go to the library in one call and to the disk in one commit, and each gets its own result: sixty-four
// goroutines that write do not take sixty-four times as long as one. They wait as goroutines do, and only one of them
// has a thread in C. Who has a list of writes needs no goroutines: [PoolMetadata.ApplyEach] makes each by itself, and
// [PoolMetadata.Apply] all or none. [PoolMetadata.Stats] tells how many operations the commits were for.
//
// # Contexts
//
// The methods of containerd's store take a context, and so do theirs here. It is not looked at: the snapshotter undoes
// what failed with contexts that have been cancelled, and those writes must be made. What that store does not have takes
// no context here.
//
// # Callbacks
//
// No callback is called from C. UpdateDevice and WalkDevices call theirs on the caller's own goroutine, as any Go
// function does, with nothing of C's on the stack and no transaction open: a panic goes on to the caller with its own
// value and stack, runtime.Goexit (and with it testing's FailNow) ends the goroutine, and either way the update is given
// up and the store stays usable.
//
// The C library refuses writes from inside an update's callback by the thread that it runs on. Goroutines have no such
// mark, so here a callback may write: other devices at once; the device under update not at all, since it is locked
// until the callback returns, and such a write fails with [ErrTimeout] after the lock wait.
//
// # Errors
//
// A missing device is [ErrNotFound] itself. A callback's error comes back as it is. Of a list of changes, a [ChangeError]
// says which was refused; errors.Is and errors.As find in it what was wrong. Everything else is an [*Error] with
// the library's code and message, to be asked with errors.Is for [ErrAlreadyExists], [ErrClosed], [ErrCorrupt] and so on.
// ErrNotFound and ErrAlreadyExists are those of github.com/containerd/errdefs, and the others belong to its classes where
// there is one that fits.
//
// # Building
//
// The package needs cgo. In a checkout of the project it links the archive that `make` builds there, and the program
// needs nothing at run time. With the build tag pm_pkgconfig it takes the library that `make install` has put in place,
// as pkg-config finds it; with the tag static_build in addition, it asks for what a fully static program needs. Go's
// build cache does not notice when a C library changes: after building it anew, build with -a, or with another value in
// CGO_CFLAGS.
package poolmetadata
