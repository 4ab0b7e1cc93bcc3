//go:build linux && cgo

package poolmetadata

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	"github.com/pool-metadata/pool-metadata/go-binding/internal/takeover"
)

// Migration describes the contents of a bbolt file.
type Migration struct {
	// Kept is where the bbolt file is now: its path with ".bbolt" appended, and a number if that
	// name was taken. It is "" if the file was only read.
	Kept string `json:"kept"`
	// Devices is how many devices there are.
	Devices int `json:"devices"`
	// IDs is the state of all device ids.
	IDs DeviceIDs `json:"ids"`
	// Notes say which ids and records contradicted each other, and how each contradiction was
	// resolved.
	Notes []string `json:"notes"`
}

// MigrateOption changes how a bbolt file is read or written.
type MigrateOption func(*migrateOptions)

type migrateOptions struct {
	wait     time.Duration
	progress func(stage string, done, total int)
}

// MigrateLockWait sets how long to wait for a process that has the bbolt file open, such as a
// running containerd. The default is [DefaultLockWait].
func MigrateLockWait(wait time.Duration) MigrateOption {
	return func(o *migrateOptions) { o.wait = wait }
}

// MigrateProgress sets a function that is called now and then with the current stage and the number
// of devices done; nil disables it. If it panics or ends its goroutine, the operation is undone as
// on an error.
func MigrateProgress(report func(stage string, done, total int)) MigrateOption {
	return func(o *migrateOptions) { o.progress = report }
}

func migrateOptionsOf(opts []MigrateOption) migrateOptions {
	o := migrateOptions{wait: DefaultLockWait}
	for _, apply := range opts {
		apply(&o)
	}
	if o.progress == nil {
		o.progress = func(string, int, int) {}
	}
	return o
}

func (o *migrateOptions) stage(name string) boltfile.Progress {
	return func(done, total int) { o.progress(name, done, total) }
}

// Migrate replaces the bbolt file at path, which containerd's devmapper snapshotter has written, by
// a store with every device, the state of every device id, and the highest id so far.
// NewPoolMetadata does so by itself.
//
// The store is made as a temporary file beside the bbolt file, read back, and renamed to path, so
// that a crash at any moment leaves one of the two in force: until the rename the bbolt file is
// unchanged, and the next attempt starts anew; after the rename the migration is done. The bbolt
// file is kept under another name, which is returned. While Migrate reads the file, no containerd
// can write to it. Migrate waits for a containerd that has it open, and fails with [ErrTimeout]
// after the time that MigrateLockWait sets.
//
// A file that is damaged ([ErrCorrupt]), that belongs to another program ([ErrBboltFile]), or that
// has values which a store cannot have ([ErrInvalidName], [ErrInvalidState], [ErrTooLong]) is left
// as it is, and the message names everything that is wrong.
func Migrate(path string, opts ...MigrateOption) (*Migration, error) {
	const op, doing = "Migrate", "migrate the bbolt file "
	if err := expectBbolt(path, op, doing); err != nil {
		return nil, err
	}
	done, err := migrate(path, migrateOptionsOf(opts))
	if err == nil {
		return done, nil
	}
	if errors.Is(err, takeover.ErrUnflushed) {
		return nil, boltError(err, op, doing+path)
	}
	if store, now := Open(path, WithReadOnly(), WithVerify(VerifyNone)); now == nil {
		return nil, errors.Join(newError(CodeConflict, op, doing+path,
			"another process has migrated it meanwhile"), store.Close())
	}
	return nil, boltError(err, op, doing+path)
}

// expectBbolt fails if there is no bbolt file at path. A store and any other file get a better
// error than bbolt's.
func expectBbolt(path, op, doing string) error {
	store, err := Open(path, WithReadOnly(), WithVerify(VerifyNone))
	if err == nil {
		return errors.Join(newError(CodeInvalidArgument, op, doing+path, "it is a store already"),
			store.Close())
	}
	if errors.Is(err, ErrBboltFile) {
		return nil
	}
	return err
}

// newPoolMetadataWait is how long NewPoolMetadata waits for other processes.
const newPoolMetadataWait = 5 * time.Minute

// openPatiently opens a store, and migrates a bbolt file first. Where containerd's store would wait
// for another process without an end, it tries again until patience is over, and says so in the log
// after the first try, which lasts for the lock wait.
func openPatiently(path string, patience time.Duration, opts ...Option) (*PoolMetadata, error) {
	began, logged := time.Now(), false
	lockWait := makeOptions(opts).lockWait
	for {
		start := time.Now()
		m, err := openOrMigrate(path, opts)
		if err == nil {
			logUndone(m, path)
		}
		if err == nil || time.Since(began) >= patience ||
			!hasWaited(err, time.Since(start), lockWait) {
			return m, err
		}
		if !logged {
			logged = true
			slog.Warn("still waiting for another process to release the store", "path", path,
				"waited", time.Since(began).Round(time.Millisecond), "longest", patience, "error", err)
		}
	}
}

// logUndone says in the log if opening the store has undone a commit that a power cut had left half
// written. Nobody was told that it was made.
func logUndone(m *PoolMetadata, path string) {
	if stats, err := m.Stats(); err == nil && stats.UndoneCommits > 0 {
		slog.Warn("undid a commit of the store that a power cut had left half written", "path", path)
	}
}

// hasWaited reports whether opening failed because another process has the file, and took so long
// about it that it waited for that. A store that this process has open fails at once.
func hasWaited(err error, took, lockWait time.Duration) bool {
	return errors.Is(err, ErrTimeout) || errors.Is(err, ErrReadersFull) ||
		errors.Is(err, ErrAlreadyOpen) && took >= lockWait/2
}

// openOrMigrate opens a store, and migrates a bbolt file first, unless the store is opened
// read-only.
func openOrMigrate(path string, opts []Option) (*PoolMetadata, error) {
	open := func() (*PoolMetadata, error) { return Open(path, opts...) }
	o := makeOptions(opts)
	m, err := open()
	if !errors.Is(err, ErrBboltFile) || o.isReadOnly() {
		return m, err
	}
	done, failed := migrate(path, migrateOptionsOf([]MigrateOption{MigrateLockWait(o.lockWait)}))
	if failed == nil {
		slog.Info("took over the pool metadata of containerd's own store", "path", path,
			"devices", done.Devices, "last id", done.IDs.LastID, "free ids", len(done.IDs.Free),
			"faulty ids", len(done.IDs.Faulty), "notes", done.Notes, "bbolt file kept as", done.Kept)
	}
	failure := boltError(failed, "NewPoolMetadata", "migrate the bbolt file "+path)
	if errors.Is(failed, takeover.ErrUnflushed) {
		return nil, failure
	}
	if m, err = open(); failed != nil && errors.Is(err, ErrBboltFile) {
		return nil, failure
	}
	// If the migration failed because another process was faster, this is that process's store.
	return m, err
}

func migrate(path string, o migrateOptions) (*Migration, error) {
	var found *Migration
	kept, err := takeover.Run(path, o.wait, func(old *boltfile.File, temp string) error {
		contents, err := old.Read(o.stage("reading"))
		if err != nil {
			return err
		}
		found = migrationOf(contents)
		return build(temp, contents, o)
	})
	if err != nil {
		return nil, err
	}
	found.Kept = kept
	return found, nil
}

func migrationOf(c *boltfile.Contents) *Migration {
	return &Migration{
		Devices: len(c.Devices),
		IDs:     DeviceIDs{LastID: c.LastID, Free: c.Free, Faulty: c.Faulty},
		Notes:   c.Notes,
	}
}

// build makes a store with the given contents, and reads it back from the file.
func build(path string, contents *boltfile.Contents, o migrateOptions) error {
	devices := make([]DeviceInfo, len(contents.Devices))
	for i, d := range contents.Devices {
		devices[i] = DeviceInfo{d.DeviceID, d.Size, d.Name, d.ParentName, DeviceState(d.State), d.Error}
	}
	o.progress("writing", 0, len(devices))
	store, err := Open(path, WithVerify(VerifyNone))
	if err != nil {
		return err
	}
	ids := DeviceIDs{LastID: contents.LastID, Free: contents.Free, Faulty: contents.Faulty}
	if err := errors.Join(store.Import(devices, ids), store.Close()); err != nil {
		return err
	}
	o.progress("writing", len(devices), len(devices))
	o.progress("verifying", 0, len(devices))
	if store, err = Open(path, WithReadOnly(), WithVerify(VerifyFull)); err != nil {
		return err
	}
	written, err := contentsOf(store)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	if difference := boltfile.Difference(contents, written); difference != "" {
		return newError(CodeInternal, "Migrate", "migrate",
			"the new store reads back differently: "+difference)
	}
	o.progress("verifying", len(devices), len(devices))
	return nil
}

func contentsOf(m *PoolMetadata) (*boltfile.Contents, error) {
	devices, ids, err := m.Snapshot()
	if err != nil {
		return nil, err
	}
	c := &boltfile.Contents{LastID: ids.LastID, Free: ids.Free, Faulty: ids.Faulty}
	c.Devices = make([]boltfile.Device, len(devices))
	for i, d := range devices {
		c.Devices[i] = boltfile.Device{
			DeviceID: d.DeviceID, Size: d.Size, Name: d.Name, ParentName: d.ParentName,
			State: int(d.State), Error: d.Error,
		}
	}
	return c, nil
}

// ExportBbolt writes the whole store, as of one moment, to a new bbolt file at path that
// containerd's own store can open and continue: every device, the state of every id, and the next
// id. It is written to a temporary file beside path, fsynced, read back and then renamed; an
// existing file is not overwritten. It has the store's owner and mode, as far as this process may
// set them. The store may be in use meanwhile.
//
// The records are JSON, as in the files that containerd writes: there, names and texts that are not
// valid UTF-8 do not keep their bytes. The keys, by which devices are looked up, do.
func (m *PoolMetadata) ExportBbolt(path string, opts ...MigrateOption) error {
	const op, doing = "ExportBbolt", "export the store to the bbolt file "
	if path == "" || strings.IndexByte(path, 0) >= 0 {
		return newError(CodeInvalidPath, op, doing+strconv.Quote(path), "not a usable path")
	}
	o := migrateOptionsOf(opts)
	contents, err := contentsOf(m)
	if err != nil {
		return boltError(err, op, doing+path)
	}
	err = boltfile.Export(path, m.path, contents, o.stage("writing"))
	return boltError(err, op, doing+path)
}

// InspectBbolt reads the bbolt file at path and returns what Migrate would make of it. It fails
// where Migrate would fail, and changes nothing.
func InspectBbolt(path string, opts ...MigrateOption) (*Migration, error) {
	contents, err := readBbolt(path, "InspectBbolt", opts)
	if err != nil {
		return nil, err
	}
	return migrationOf(contents), nil
}

// CompareBbolt describes how the store and the bbolt file at path differ, or returns "" if they do
// not.
func (m *PoolMetadata) CompareBbolt(path string, opts ...MigrateOption) (string, error) {
	const op, doing = "CompareBbolt", "compare the store with the bbolt file "
	theirs, err := readBbolt(path, op, opts)
	if err != nil {
		return "", err
	}
	ours, err := contentsOf(m)
	if err != nil {
		return "", boltError(err, op, doing+path)
	}
	return boltfile.Difference(ours, theirs), nil
}

func readBbolt(path, op string, opts []MigrateOption) (*boltfile.Contents, error) {
	const doing = "read the bbolt file "
	if err := expectBbolt(path, op, doing); err != nil {
		return nil, err
	}
	o := migrateOptionsOf(opts)
	file, err := boltfile.Open(path, o.wait)
	if err != nil {
		return nil, boltError(err, op, doing+path)
	}
	defer file.Close() // if o.progress panics
	contents, err := file.Read(o.stage("reading"))
	return contents, boltError(errors.Join(err, file.Close()), op, doing+path)
}
