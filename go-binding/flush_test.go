package poolmetadata

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// After fsyncs that have failed again and again no update begins: its callback would have side
// effects that cannot be written down. The fsyncs of a whole process fail, so the test needs a
// process of its own.
func TestNoCallbackAfterFailedFsync(t *testing.T) {
	path := newPath(t)
	add(t, openStore(t, path), DeviceInfo{Name: "dev"})
	cmd := exec.Command(os.Args[0], path, "dev")
	cmd.Env = append(os.Environ(), "PM_TEST_CHILD=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the child process: %v\n%s", err, out)
	}
}

func failFlushInChild(path, name string) error {
	store, err := Open(path)
	if err != nil {
		return err
	}
	return errors.Join(writeAfterFailedFsync(store, name), store.Close())
}

func writeAfterFailedFsync(store *PoolMetadata, name string) error {
	if err := failFlushes(); err != nil {
		return fmt.Errorf("fsync cannot be made to fail: %w", err)
	}
	for range 8 {
		if err := store.MarkFaulty(ctx, name); !errors.Is(err, ErrIO) {
			return fmt.Errorf("a write whose fsync failed returned %v", err)
		}
	}
	called := false
	err := store.UpdateDevice(ctx, name, func(*DeviceInfo) error { called = true; return nil })
	if !errors.Is(err, ErrWritesStopped) || called {
		return fmt.Errorf("the update returned %v; callback called: %v", err, called)
	}
	if _, err := store.BeginUpdate(name); !errors.Is(err, ErrWritesStopped) {
		return fmt.Errorf("BeginUpdate returned %v", err)
	}
	if err := store.RemoveDevice(ctx, name); !errors.Is(err, ErrWritesStopped) {
		return fmt.Errorf("the removal returned %v", err)
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
	_, _, errno := syscall.Syscall(sysSeccomp(), setFilter, allTasks,
		uintptr(unsafe.Pointer(&program)))
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
