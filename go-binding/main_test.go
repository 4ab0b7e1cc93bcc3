package poolmetadata

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

var ctx = context.Background()

// TestMain runs the tests, or, in a child process, the child's part of
// TestNoCallbackAfterFailedFsync.
func TestMain(m *testing.M) {
	if os.Getenv("PM_TEST_CHILD") != "" {
		if err := failFlushInChild(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// patience is how long anything may take on a busy machine. A call that takes longer hangs.
const patience = 3 * time.Minute

// newPath returns a path for a new store.
func newPath(t testing.TB) string {
	return filepath.Join(t.TempDir(), "metadata.db")
}

// newStore makes a store that is checked and closed at the end of the test. Its default lock wait
// is so long that a slow disk does not make calls time out.
func newStore(t testing.TB, opts ...Option) *PoolMetadata {
	t.Helper()
	return openStore(t, newPath(t), opts...)
}

func openStore(t testing.TB, path string, opts ...Option) *PoolMetadata {
	t.Helper()
	store, err := Open(path, append([]Option{WithLockWait(patience)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !store.calls.isShut() {
			checkSound(t, store)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// checkSound checks what must hold after every write.
func checkSound(t testing.TB, store *PoolMetadata) {
	t.Helper()
	if err := store.Verify(); err != nil {
		t.Error(err)
	}
	stats, err := store.Stats()
	if err != nil {
		t.Error(err)
	}
	if all := stats.TakenIDs + stats.FreeIDs + stats.FaultyIDs; all != stats.LastID {
		t.Errorf("%d ids are accounted for, %d were assigned", all, stats.LastID)
	}
	if stats.TakenIDs > stats.Devices || stats.Devices > stats.TakenIDs+stats.FaultyIDs {
		t.Errorf("%d devices cannot own %d taken and %d faulty ids", stats.Devices, stats.TakenIDs,
			stats.FaultyIDs)
	}
}

// add adds a device and returns the record that the store must then have.
func add(t testing.TB, store *PoolMetadata, info DeviceInfo) DeviceInfo {
	t.Helper()
	if err := store.AddDevice(ctx, &info); err != nil {
		t.Fatal(err)
	}
	return info
}

// expect checks a device's record.
func expect(t testing.TB, store *PoolMetadata, want DeviceInfo) {
	t.Helper()
	got, err := store.GetDevice(ctx, want.Name)
	if err != nil {
		t.Errorf("%q: %v", want.Name, err)
	} else if *got != want {
		t.Errorf("the store has %.200v, not %.200v", *got, want)
	}
}

// ok fails the test on an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks which error came back.
func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got the error %v, not %v", err, want)
	}
}

// within fails the test if do does not end, instead of hanging.
func within(t testing.TB, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("still not done after %v:\n%s", patience, buf[:runtime.Stack(buf, true)])
	}
}

// changing is a change of a device for a list.
func changing(kind ChangeKind, record *Record) Change { return Change{Kind: kind, Record: record} }
