package poolmetadata

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// Once a flush has failed, no update begins: its callback would do what then cannot be written
// down.
func TestNoCallbackAfterAFailedFlush(t *testing.T) {
	path := newPath(t)
	add(t, openStore(t, path), DeviceInfo{Name: "dev"})
	inChild(t, "flush in vain", path, "dev")
}

// flushInVain does, in a process of its own, what TestNoCallbackAfterAFailedFlush is about.
func flushInVain(store *PoolMetadata, name string) error {
	if err := failFlushes(); err != nil {
		return fmt.Errorf("no flush can be made to fail: %w", err)
	}
	if err := store.MarkFaulty(ctx, name); !errors.Is(err, ErrIO) {
		return fmt.Errorf("a flush that failed ended in %v", err)
	}
	called := false
	err := store.UpdateDevice(ctx, name, func(*DeviceInfo) error { called = true; return nil })
	if !errors.Is(err, ErrWritesStopped) || called {
		return fmt.Errorf("the update ended in %v; was its callback called: %v", err, called)
	}
	if _, err := store.BeginUpdate(name); !errors.Is(err, ErrWritesStopped) {
		return fmt.Errorf("the update began, or ended in %v", err)
	}
	if err := store.RemoveDevice(ctx, name); !errors.Is(err, ErrWritesStopped) {
		return fmt.Errorf("the removal ended in %v", err)
	}
	return nil
}

// failFlushes lets every flush of this process to disk fail from now on, with EIO: a filter of the
// kernel's answers them.
func failFlushes() error {
	const (
		load, equal, give   = 0x20, 0x15, 0x06 // instructions of the filter
		allow, fail         = 0x7fff0000, 0x00050000
		noNewPrivileges     = 38 // of prctl
		setFilter, allTasks = 1, 1
	)
	calls := []uint32{syscall.SYS_FDATASYNC, syscall.SYS_FSYNC, syscall.SYS_MSYNC}
	type step struct {
		code            uint16
		ifSo, otherwise uint8
		value           uint32
	}
	filter := []step{{load, 0, 0, 0}}
	for i, call := range calls {
		filter = append(filter, step{equal, uint8(len(calls) - i), 0, call})
	}
	filter = append(filter, step{give, 0, 0, allow}, step{give, 0, 0, fail | uint32(syscall.EIO)})
	program := struct {
		count uint16
		steps *step
	}{uint16(len(filter)), &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, noNewPrivileges, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	_, _, errno := syscall.Syscall(sysSeccomp(), setFilter, allTasks, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

// sysSeccomp returns the number of a system call that syscall does not know everywhere.
func sysSeccomp() uintptr {
	if runtime.GOARCH == "amd64" {
		return 317
	}
	return 277 // arm64, riscv64 and what else has the common numbers
}
