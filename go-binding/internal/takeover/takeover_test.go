package takeover

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	"golang.org/x/sys/unix"
)

// oldFile makes a bbolt file, and returns its bytes.
func oldFile(t *testing.T) (path string, content []byte) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "testdata", "pool.bolt"))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// newFile makes a file in the place of a store, with the files beside it.
func newFile(_ *boltfile.File, temp string) error {
	return errors.Join(os.WriteFile(temp, []byte("new"), 0o600),
		os.WriteFile(temp+"-lock", nil, 0o600))
}

func expectFiles(t *testing.T, path string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("there are the files %q, not %q", got, want)
	}
}

func expectContent(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, not the %d it should have; %v", path, len(got), len(want), err)
	}
}

func TestRun(t *testing.T) {
	path, old := oldFile(t)
	for _, end := range tempEnds { // of a process that was killed
		name := path + tempSuffix + "0123456789abcdef" + end
		if err := os.WriteFile(name, []byte("stale"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(path, path+keptSuffix); err != nil {
		t.Fatal(err)
	}
	kept, err := Run(path, time.Second, newFile)
	if err != nil || kept != path+".bbolt" {
		t.Fatalf("%q, %v", kept, err)
	}
	expectFiles(t, path, "f", "f.bbolt")
	expectContent(t, path, []byte("new"))
	expectContent(t, kept, old)
}

// Whatever a migration has not made stays, also under names that are like its own.
func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	path, _ := oldFile(t)
	theirs := []string{".migrating", ".migrating-lock", ".migrating.new", ".migrating-1",
		".migrating-0123456789ABCDEF", ".migrating-0123456789abcdef-old", ".new", ".migrating-"}
	for _, suffix := range theirs {
		if err := os.WriteFile(path+suffix, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	strange := path + tempSuffix + "0123456789abcdef"
	if err := errors.Join(os.Mkdir(strange, 0o700), os.Symlink("nowhere", strange+"-lock"),
		unix.Mkfifo(strange+".new", 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(path, time.Second, newFile); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range theirs {
		expectContent(t, path+suffix, []byte("precious"))
	}
	for _, end := range tempEnds {
		if _, err := os.Lstat(strange + end); err != nil {
			t.Error(err)
		}
	}
}

func TestFailedStepIsUndone(t *testing.T) {
	failure := errors.New("no")
	cases := map[string]struct {
		build Build
		want  error
	}{
		"nothing is made": {func(*boltfile.File, string) error { return failure }, failure},
		"half is made": {func(old *boltfile.File, temp string) error {
			return errors.Join(newFile(old, temp), os.WriteFile(temp+".new", nil, 0o600), failure)
		}, failure},
		"the temporary file is gone": {func(*boltfile.File, string) error { return nil },
			fs.ErrNotExist},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path, old := oldFile(t)
			_, err := Run(path, time.Second, c.build)
			if !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
			expectFiles(t, path, "f")
			expectContent(t, path, old)
		})
	}
}

// Also after the second name was made.
func TestFailedRenameIsUndone(t *testing.T) {
	path, old := oldFile(t)
	defer func(step func(string)) { Step = step }(Step)
	Step = func(name string) {
		if name == "rename" {
			temps, err := filepath.Glob(path + tempSuffix + "*")
			if err != nil || len(temps) != 1 {
				t.Fatalf("%q, %v", temps, err)
			}
			if err := os.Remove(temps[0]); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Run(path, time.Second, newFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	expectFiles(t, path, "f")
	expectContent(t, path, old)
}

// If the last fsync fails, the new store must not be used: a power cut could lose it, and later
// writes with it.
func TestFailedLastFsyncIsReported(t *testing.T) {
	path, old := oldFile(t)
	moved := filepath.Join(t.TempDir(), "moved")
	defer func(step func(string)) { Step = step }(Step)
	Step = func(name string) {
		if name == "flush rename" {
			if err := os.Rename(filepath.Dir(path), moved); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Run(path, time.Second, newFile); !errors.Is(err, ErrUnflushed) {
		t.Errorf("%v", err)
	}
	expectContent(t, filepath.Join(moved, "f"), []byte("new"))
	expectContent(t, filepath.Join(moved, "f.bbolt"), old)
}

func TestRunIsExclusive(t *testing.T) {
	path, _ := oldFile(t)
	_, err := Run(path, time.Second, func(old *boltfile.File, temp string) error {
		if _, err := Run(path, 50*time.Millisecond, newFile); !errors.Is(err, ErrBusy) {
			t.Errorf("%v", err)
		}
		return newFile(old, temp)
	})
	if err != nil {
		t.Error(err)
	}
}

// The call that waited finds another file at the path.
func TestSecondRunFindsFileReplaced(t *testing.T) {
	path, _ := oldFile(t)
	second := make(chan error, 1)
	_, err := Run(path, time.Second, func(old *boltfile.File, temp string) error {
		go func() {
			_, err := Run(path, time.Minute, newFile)
			second <- err
		}()
		time.Sleep(200 * time.Millisecond)
		return newFile(old, temp)
	})
	if err != nil {
		t.Error(err)
	}
	// It has opened the old file, or is so late that it finds the new one, which is not a bbolt
	// file.
	if err := <-second; !errors.Is(err, ErrReplaced) && !errors.Is(err, boltfile.ErrDamaged) {
		t.Errorf("%v", err)
	}
	expectFiles(t, path, "f", "f.bbolt")
}
