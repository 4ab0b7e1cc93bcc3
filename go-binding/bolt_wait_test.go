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
	_, err = openPatiently(path, lockWait, lockWait)
	wantError(t, err, ErrTimeout)
	log.Reset()
	time.AfterFunc(8*lockWait, func() { _ = db.Close() })
	store, err := openPatiently(path, lockWait, time.Minute)
	ok(t, err)
	ok(t, store.Close())
	text := log.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, path) {
		t.Errorf("the log is %q", text)
	}
}

// What could not be opened however long one waits fails at once.
func TestNewPoolMetadataDoesNotWaitForOwnProcess(t *testing.T) {
	path := newPath(t)
	store := openStore(t, path)
	start := time.Now()
	_, err := openPatiently(path, time.Minute, time.Minute)
	wantError(t, err, ErrAlreadyOpen)
	if took := time.Since(start); took > time.Minute/4 {
		t.Errorf("it took %v", took)
	}
	ok(t, store.Close())
}
