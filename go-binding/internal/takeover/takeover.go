// Package takeover replaces a bbolt file by a new store, so that at any moment one of the two is in
// force.
//
// For a file P the steps are:
//
//  1. lock P, and read and check all of it;
//  2. make the new store under the temporary name P.migrating-R, where R is a random number;
//  3. link P to a second name, P.bbolt, and flush the directory;
//  4. rename P.migrating-R to P, and flush the directory.
//
// P exists at every moment, and its kind says which step is done. As long as it is a bbolt file,
// the old store is in force: a P.migrating-R beside it is a temporary file that nothing finishes,
// and a P.bbolt that is the same file is a name and not a copy. The next process that opens P
// repeats all steps. From the rename on, the new store is in force, and there is nothing left to
// do.
//
// Nobody chooses a name with a random number for a file of his own, so whatever has such a name was
// left by a migration that was killed.
package takeover

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	"golang.org/x/sys/unix"
)

// Names beside the file.
const (
	tempSuffix = ".migrating-"
	keptSuffix = ".bbolt"
)

// lockSuffix is the end of the name of the temporary file's lock file.
const lockSuffix = "-lock"

// tempEnds are the ends of the names of the temporary file, its lock file, and the store's own
// temporary file, after the random number.
var tempEnds = []string{"", lockSuffix, ".new"}

// randomLen is how many hexadecimal digits the random number in a name has.
const randomLen = 16

// maxKept is how many old files are kept before Run fails because their names are taken.
const maxKept = 1000

// ErrBusy says that another process is migrating the file.
var ErrBusy = errors.New("another process is migrating the file")

// ErrReplaced says that another process was faster and has replaced the file.
var ErrReplaced = errors.New("the file was replaced")

// ErrUnflushed says that the new store is in place, and that a power cut could undo that.
var ErrUnflushed = errors.New(
	"the new store is in place, and its name could not be flushed to disk")

// Step is called before each step. Tests stop the process in it.
var Step = func(name string) {}

// Build makes the new store at the path temp from the old file, and fsyncs it.
type Build func(old *boltfile.File, temp string) error

// Run replaces the bbolt file at path and returns the new name of the old file. On an error, the
// old file is still in force, and the new one is removed, except with ErrUnflushed.
func Run(path string, wait time.Duration, build Build) (kept string, err error) {
	// A symbolic link stays; the file that it leads to is replaced.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	Step("claim")
	claim, err := claimFile(path, wait)
	if err != nil {
		return "", err
	}
	defer claim.Close()
	old, err := boltfile.Open(path, wait)
	if err != nil {
		return "", err
	}
	// Open until all is done: no process may write to the old file what the new store would lack.
	defer old.Close()
	t := takeover{path: path, temp: path + tempSuffix + randomName(), old: old}
	defer func() { // also if build panics
		if !t.replaced {
			kept, err = "", errors.Join(err, t.discard())
		}
	}()
	if err := t.makeTemp(build); err != nil {
		return "", err
	}
	if err := t.keep(); err != nil {
		return "", err
	}
	return t.kept, t.replace()
}

type takeover struct {
	path, temp string
	old        *boltfile.File
	// kept is the second name of the old file, once it is known; linked is whether this run made
	// it.
	kept   string
	linked bool
	// replaced is whether the new store is in force.
	replaced bool
}

// makeTemp makes the new store in a temporary file beside the old one.
func (t *takeover) makeTemp(build Build) error {
	Step("discard")
	if err := t.discard(); err != nil {
		return err
	}
	Step("build")
	if err := build(t.old, t.temp); err != nil {
		return err
	}
	Step("unlock")
	// The temporary file is closed, and its lock file would stay after the rename.
	if err := remove(t.temp + lockSuffix); err != nil {
		return err
	}
	Step("permissions")
	return t.sameAccess(t.temp)
}

// discard removes the temporary files of this run and of those that were killed, and a second name
// that this run has made.
func (t *takeover) discard() error {
	entries, err := os.ReadDir(filepath.Dir(t.path))
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if entry.Type().IsRegular() && isTemp(filepath.Base(t.path), entry.Name()) {
			errs = append(errs, remove(filepath.Join(filepath.Dir(t.path), entry.Name())))
		}
	}
	if t.linked {
		errs = append(errs, remove(t.kept))
	}
	return errors.Join(errs...)
}

// isTemp reports whether a file of that name beside the file base is one of a migration.
func isTemp(base, name string) bool {
	rest, ok := strings.CutPrefix(name, base+tempSuffix)
	if !ok || len(rest) < randomLen || strings.Trim(rest[:randomLen], "0123456789abcdef") != "" {
		return false
	}
	return slices.Contains(tempEnds, rest[randomLen:])
}

func randomName() string {
	var number [randomLen / 2]byte
	_, _ = rand.Read(number[:]) // it never fails
	return hex.EncodeToString(number[:])
}

// remove removes a file, if there is one.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sameAccess gives the temporary file the owner and the permissions of the old file, and fsyncs it.
func (t *takeover) sameAccess(temp string) error {
	info, err := t.old.Stat()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(temp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	var was, is unix.Stat_t
	if err := errors.Join(t.old.Fstat(&was), unix.Fstat(int(file.Fd()), &is)); err != nil {
		return err
	}
	if was.Uid != is.Uid || was.Gid != is.Gid {
		if err := file.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return err
		}
	}
	if err := file.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return file.Sync()
}

// keep gives the old file its second name, with a number if an earlier file has that name.
func (t *takeover) keep() error {
	Step("link")
	info, err := t.old.Stat()
	if err != nil {
		return err
	}
	for n := range maxKept {
		t.kept = t.path + keptSuffix
		if n > 0 {
			t.kept = fmt.Sprintf("%s%s.%d", t.path, keptSuffix, n)
		}
		switch err := boltfile.Link(t.path, t.kept); {
		case err == nil:
			t.linked = true
			Step("flush link")
			return boltfile.SyncDirectory(t.path)
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("keeping the old file: %w", err)
		}
		if other, err := os.Lstat(t.kept); err == nil && os.SameFile(info, other) {
			// A run that was killed has made the link.
			Step("flush link")
			return boltfile.SyncDirectory(t.path)
		}
	}
	return fmt.Errorf("%s%s and %d numbered names are in use: move some", t.path, keptSuffix,
		maxKept-1)
}

// replace puts the new store in force.
func (t *takeover) replace() error {
	Step("rename")
	if err := os.Rename(t.temp, t.path); err != nil {
		return err
	}
	t.replaced = true
	Step("flush rename")
	if err := boltfile.SyncDirectory(t.path); err != nil {
		return fmt.Errorf("%w: %w", ErrUnflushed, err)
	}
	return nil
}
