package takeover

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// claimByte is the byte of the old file that the one who replaces it has locked. It is far beyond
// the file's end; bbolt, which locks files as a whole and in another way, takes no notice, and
// should the file be a store by then, it is none of the bytes that stores lock.
const claimByte = 1 << 60

const claimPoll = 20 * time.Millisecond

// claimFile keeps other processes, and other callers in this one, from replacing the file until the
// claim is closed.
func claimFile(path string, wait time.Duration) (*os.File, error) {
	// For writing, since the lock asks for it; and who may not write to the old file has no
	// business replacing it.
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := claim(file, path, wait); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func claim(file *os.File, path string, wait time.Duration) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Start: claimByte, Len: 1}
	for end := time.Now().Add(wait); ; time.Sleep(claimPoll) {
		err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &lock)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("locking %s: %w", path, err)
		}
		if !time.Now().Before(end) {
			return ErrBusy
		}
	}
	// Whoever had the lock before may have replaced the file.
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	now, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(opened, now) {
		return ErrReplaced
	}
	return nil
}
