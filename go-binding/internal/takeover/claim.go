package takeover

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	"golang.org/x/sys/unix"
)

// claimByte is the byte of the old file that the replacing process has locked. It is far beyond the
// file's end. It does not conflict with bbolt, which locks whole files and in another way, nor with
// the bytes that stores lock, if the file is a store by then.
const claimByte = 1 << 60

const claimPoll = 20 * time.Millisecond

// claimFile prevents other processes, and other callers in this process, from replacing the file
// until the claim is closed.
func claimFile(path string, wait time.Duration) (*os.File, error) {
	// For writing, since the lock needs it; and a process without permission to write to the old
	// file must not replace it.
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
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) ||
				errors.Is(err, unix.EOPNOTSUPP) {
				err = fmt.Errorf("locks of open file descriptions (F_OFD_SETLK): %w (%w)",
					boltfile.ErrUnsupported, err)
			}
			return fmt.Errorf("locking %s: %w", path, err)
		}
		if !time.Now().Before(end) {
			return ErrBusy
		}
	}
	// The last owner of the lock may have replaced the file.
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
