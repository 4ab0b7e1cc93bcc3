// Package takeover puts a new store in the place of a bbolt file, so that at any moment one of the
// two is in force.
//
// For a file P the steps are:
//
//  1. lock P, and read and check all of it;
//  2. make the new store under the name P.migrating;
//  3. link P to a second name, P.bbolt, and flush the directory;
//  4. rename P.migrating to P, and flush the directory.
//
// P is there at every moment, and what it is says how far things are. As long as it is a bbolt
// file, the old store is in force: a P.migrating beside it is a draft that nobody will finish, and
// a P.bbolt that is the same file is a name and not a copy. Whoever opens P next does all steps
// anew. From the rename on, the new store is in force, and there is nothing left to do.
package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	"golang.org/x/sys/unix"
)

// Names beside the file.
const (
	draftSuffix = ".migrating"
	keptSuffix  = ".bbolt"
)

// draftFiles are the draft, its lock file, and what the draft itself is drafted under.
var draftFiles = []string{draftSuffix, draftSuffix + "-lock", draftSuffix + ".new"}

// maxKept is how many old files are kept before it is an error that the names are in use.
const maxKept = 1000

// ErrBusy says that another process is at it.
var ErrBusy = errors.New("another process is migrating the file")

// ErrReplaced says that the file is another by now: another process was faster.
var ErrReplaced = errors.New("the file was replaced")

// ErrUnflushed says that the new store is in the old file's place, and that a power cut might undo
// that.
var ErrUnflushed = errors.New(
	"the new store is in place, and its name could not be flushed to disk")

// Step is called before each step. Tests stop the process in it.
var Step = func(name string) {}

// Build makes the new store at the path draft, whole and on the disk, out of the old file.
type Build func(old *boltfile.File, draft string) error

// Run replaces the bbolt file at path and returns the name that the old file is kept under. On an
// error, the old file is in force as it was, and there is no trace of the new one, except with
// ErrUnflushed.
func Run(path string, wait time.Duration, build Build) (kept string, err error) {
	// A link to the file stays one; the new store comes to be where the file is.
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
	t := takeover{path: path, old: old}
	defer func() { // also when build does not return
		if !t.replaced {
			kept, err = "", errors.Join(err, t.discard())
		}
	}()
	if err := t.draft(build); err != nil {
		return "", err
	}
	if err := t.keep(); err != nil {
		return "", err
	}
	return t.kept, t.replace()
}

type takeover struct {
	path string
	old  *boltfile.File
	// kept is the second name of the old file, once it is found; linked is whether this run made
	// it.
	kept   string
	linked bool
	// replaced is whether the new store is in force.
	replaced bool
}

// draft makes the new store beside the old one.
func (t *takeover) draft(build Build) error {
	Step("discard")
	if err := t.discard(); err != nil {
		return err
	}
	Step("build")
	draft := t.path + draftSuffix
	if err := build(t.old, draft); err != nil {
		return err
	}
	Step("unlock")
	// Nobody has the draft open any more, and the lock file would stay when the draft is renamed.
	if err := remove(t.path + draftFiles[1]); err != nil {
		return err
	}
	Step("permissions")
	return t.sameAccess(draft)
}

// discard removes the draft of this run or of one that was killed, and a second name that this run
// has made.
func (t *takeover) discard() error {
	var errs []error
	for _, suffix := range draftFiles {
		errs = append(errs, remove(t.path+suffix))
	}
	if t.linked {
		errs = append(errs, remove(t.kept))
	}
	return errors.Join(errs...)
}

// remove removes a file, if there is one. Something else under that name is not of this package's
// making.
func remove(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is in the way, and is no regular file: move it", path)
	}
	return os.Remove(path)
}

// sameAccess gives the draft the owner and the permissions of the old file, and flushes it.
func (t *takeover) sameAccess(draft string) error {
	info, err := t.old.Stat()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(draft, os.O_RDWR, 0)
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

// keep gives the old file its second name. An old file that was kept earlier is never touched: then
// the name gets a number.
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
		switch err := os.Link(t.path, t.kept); {
		case err == nil:
			t.linked = true
			Step("flush link")
			return boltfile.SyncDirectory(t.path)
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("keeping the old file: %w", err)
		}
		if other, err := os.Lstat(t.kept); err == nil && os.SameFile(info, other) {
			// A run that was killed came as far.
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
	if err := os.Rename(t.path+draftSuffix, t.path); err != nil {
		return err
	}
	t.replaced = true
	Step("flush rename")
	if err := boltfile.SyncDirectory(t.path); err != nil {
		return fmt.Errorf("%w: %w", ErrUnflushed, err)
	}
	return nil
}
