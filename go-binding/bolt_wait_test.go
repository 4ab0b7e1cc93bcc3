package poolmetadata

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A containerd that still has its file open is waited for, as containerd's store waits, and the log
// says so once.
func TestNewPoolMetadataWaitsForProcessThatHasBboltFileOpen(t *testing.T) {
	const lockWait = 50 * time.Millisecond
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	path := fixture(t, "pool")
	db, err := bolt.Open(path, 0o600, nil)
	ok(t, err)
	_, err = openPatiently(path, lockWait, WithLockWait(lockWait))
	wantError(t, err, ErrTimeout)
	log.Reset()
	time.AfterFunc(8*lockWait, func() { _ = db.Close() })
	store, err := openPatiently(path, time.Minute, WithLockWait(lockWait))
	ok(t, err)
	ok(t, store.Close())
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "still waiting") {
		t.Fatalf("the log is %q", lines)
	}
	// What was taken over, with how many devices, and where the old file is.
	for _, want := range []string{"took over", "path=" + path + " ", "devices=", path + ".bbolt"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("%q is not in %q", want, lines[1])
		}
	}
}

// What could not be opened however long one waits fails at once.
func TestNewPoolMetadataDoesNotWaitForOwnProcess(t *testing.T) {
	path := newPath(t)
	store := openStore(t, path)
	start := time.Now()
	_, err := openPatiently(path, time.Minute, WithLockWait(time.Minute))
	wantError(t, err, ErrAlreadyOpen)
	if took := time.Since(start); took > time.Minute/4 {
		t.Errorf("it took %v", took)
	}
	ok(t, store.Close())
}
