package poolmetadata

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// On a full disk the migration fails and leaves no file, whether there is room for a part of it or
// not.
func TestDiskFullWhileMigrating(t *testing.T) {
	from := largeBolt(t, 3000)
	info, err := os.Stat(from)
	ok(t, err)
	for _, room := range []int64{16 << 10, 300 << 10, 500 << 10} {
		path := newPath(t)
		variables := []string{fromVariable + "=" + from, fmt.Sprint(tmpfsVariable, "=", info.Size()+room)}
		cmd := opener(path, variables...)
		cmd.SysProcAttr = ownMounts()
		err := cmd.Start()
		if err != nil {
			// Some containers forbid it.
			cmd = opener(path, variables...)
			ok(t, cmd.Start())
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("with %d bytes left: %v\n%s", room, err, cmd.Stderr)
		}
	}
}

// ownMounts are the attributes of a process with a mount namespace of its own.
func ownMounts() *syscall.SysProcAttr {
	if os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// limitDisk limits the space in the directory of path, and returns the error that a migration must
// return.
func limitDisk(path, size string) error {
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("tmpfs", filepath.Dir(path), "tmpfs", 0, "size="+size)
	}
	if err == nil {
		return ErrDiskFull
	}
	// Without the right to mount, a limit on file sizes keeps files smaller than a new store.
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 200 << 10, Max: 200 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	return syscall.EFBIG
}

// openOnFullDisk is the part of TestDiskFullWhileMigrating that needs a process of its own.
func openOnFullDisk(path, size string) error {
	file, err := os.ReadFile(os.Getenv(fromVariable))
	if err != nil {
		return err
	}
	want := limitDisk(path, size)
	if want == syscall.EFBIG {
		if file, err = os.ReadFile(filepath.Join("testdata", "pool.bolt")); err != nil {
			return err
		}
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	for range 2 {
		if _, err := NewPoolMetadata(path); !errors.Is(err, want) ||
			!strings.Contains(err.Error(), path) {
			return fmt.Errorf("the error was %v, not %v", err, want)
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			return err
		}
		if len(entries) != 1 {
			return fmt.Errorf("there are the files %v", entries)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, file) {
			return fmt.Errorf("the file was changed, or cannot be read: %v", err)
		}
	}
	return nil
}
