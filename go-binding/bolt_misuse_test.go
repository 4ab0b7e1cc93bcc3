package poolmetadata

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// reporting has the calls that report progress, and their stages.
var reporting = map[string]struct {
	stages []string
	call   func(t *testing.T, bolt string, option MigrateOption) (beside string, err error)
}{
	"Migrate": {[]string{"reading", "writing", "verifying"},
		func(_ *testing.T, bolt string, o MigrateOption) (string, error) {
			_, err := Migrate(bolt, o)
			return bolt, err
		}},
	"InspectBbolt": {[]string{"reading"},
		func(_ *testing.T, bolt string, o MigrateOption) (string, error) {
			_, err := InspectBbolt(bolt, o)
			return bolt, err
		}},
	"ExportBbolt": {[]string{"writing"},
		func(t *testing.T, _ string, o MigrateOption) (string, error) {
			store := newStore(t)
			livedIn(t, store)
			path := newPath(t)
			return path, store.ExportBbolt(path, o)
		}},
}

// A panic in the caller's own function reaches the caller, and is not taken for damage of the file.
// The operation is undone.
func TestPanicAndGoexitInProgressUndoMigration(t *testing.T) {
	for name, c := range reporting {
		for _, stage := range c.stages {
			path := fixture(t, "pool")
			value := &oddError{"thrown"}
			beside := path
			report := func(end func()) MigrateOption {
				return MigrateProgress(func(now string, _, _ int) {
					if now == stage {
						end()
					}
				})
			}
			func() {
				defer func() {
					if got := recover(); got != any(value) {
						t.Errorf("%s, %s: recovered %v", name, stage, got)
					}
				}()
				_, err := c.call(t, path, report(func() { panic(value) }))
				t.Errorf("%s, %s: the panic was swallowed: %v", name, stage, err)
			}()
			expectUnlocked(t, path)
			returned := false
			within(t, func() {
				_, _ = c.call(t, path, report(func() { new(testing.T).FailNow() }))
				returned = true
			})
			if returned {
				t.Errorf("%s, %s: the goroutine went on", name, stage)
			}
			expectUnlocked(t, path)
			expectFiles(t, beside, "metadata.db")
		}
	}
}

// expectUnlocked checks that a containerd could open the bbolt file.
func expectUnlocked(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Errorf("%s is still locked: %v", path, err)
		return
	}
	ok(t, db.Close())
}

// An aborted export leaves neither a file nor an open descriptor.
func TestPanicInExportLeavesNoFile(t *testing.T) {
	store := newStore(t)
	livedIn(t, store)
	path := newPath(t)
	func() {
		defer func() { _ = recover() }()
		_ = store.ExportBbolt(path, MigrateProgress(func(string, int, int) { panic("thrown") }))
	}()
	expectFiles(t, path)
	descriptors, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	for _, fd := range descriptors {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, path) {
			t.Errorf("%s is still open", to)
		}
	}
	ok(t, store.ExportBbolt(path))
}

func TestNilProgressIsAllowed(t *testing.T) {
	for name, c := range reporting {
		if _, err := c.call(t, fixture(t, "pool"), MigrateProgress(nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Other files are not reported as damaged bbolt files, and a pipe does not block the call.
func TestInspectAndCompareOfOtherFilesFail(t *testing.T) {
	dir := t.TempDir()
	pipe, text := filepath.Join(dir, "pipe"), filepath.Join(dir, "text")
	ok(t, syscall.Mkfifo(pipe, 0o600))
	ok(t, os.WriteFile(text, []byte(strings.Repeat("some text\n", 999)), 0o600))
	other := newPath(t)
	ok(t, openStore(t, other).Close())
	store := newStore(t)
	for path, want := range map[string]error{
		dir:         ErrNotRegularFile,
		pipe:        ErrNotRegularFile,
		"/dev/zero": ErrNotRegularFile,
		text:        ErrNotAStore,
		other:       ErrInvalidArgument,
		"":          ErrInvalidPath,
		"a\x00b":    ErrInvalidPath,
	} {
		within(t, func() {
			_, inspected := InspectBbolt(path)
			_, compared := store.CompareBbolt(path)
			_, migrated := Migrate(path)
			for _, err := range []error{inspected, compared, migrated} {
				wantError(t, err, want)
			}
		})
	}
}

func TestExportToInvalidPathFails(t *testing.T) {
	store := newStore(t)
	for _, path := range []string{"", "a\x00b"} {
		err := store.ExportBbolt(path)
		wantError(t, err, ErrInvalidPath)
		if err == nil || strings.Contains(err.Error(), "\x00") {
			t.Errorf("%q", err)
		}
	}
}

// The message fits on a terminal, whatever the texts that differ.
func TestDifferencesAreShort(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "dev", ParentName: "\xff",
		Error: "\x1b[2J" + strings.Repeat("e", MaxErrorLen-4)})
	path := newPath(t)
	ok(t, store.ExportBbolt(path))
	ok(t, store.UpdateDevice(ctx, "dev", func(info *DeviceInfo) error {
		info.Size, info.State, info.Error = 7, Created, "\x1b[2J"+strings.Repeat("E", MaxErrorLen-4)
		return nil
	}))
	difference, err := store.CompareBbolt(path)
	ok(t, err)
	for _, word := range []string{`"dev"`, "size 7 against 0", "state 2 against 0",
		`parent "\xff" against`, "1048576 bytes"} {
		if !strings.Contains(difference, word) {
			t.Errorf("no %s in %.1000q", word, difference)
		}
	}
	if len(difference) > 1000 || strings.Contains(difference, "\x1b") {
		t.Errorf("%d bytes: %.1000q", len(difference), difference)
	}
}

// An error names its call.
func TestErrorsNameTheirCall(t *testing.T) {
	path := newPath(t)
	store := newStore(t)
	ok(t, store.Close())
	none := WithLockWait(0)
	_, opened := Open(path, none)
	_, checked := CheckFile(path, 0, none)
	_, salvaged := Salvage(path, path, 0, none)
	_, restored := Restore(path, path, none)
	_, record := store.GetRecord("dev")
	_, compared := store.CompareBbolt(fixture(t, "pool"))
	for want, err := range map[string]error{
		"Open": opened, "CheckFile": checked, "Salvage": salvaged,
		"Restore": restored, "GetRecord": record,
		"ExportBbolt": store.ExportBbolt(path), "CompareBbolt": compared,
	} {
		var e *Error
		if !errors.As(err, &e) || e.Op != want {
			t.Errorf("%+v is not of %s", e, want)
		}
	}
}
