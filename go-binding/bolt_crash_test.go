package poolmetadata

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	"github.com/pool-metadata/pool-metadata/go-binding/internal/takeover"
)

// A process that a test has started with this variable set opens the store at that path, and exits
// before TestMain.
const (
	openVariable  = "PM_TEST_OPEN"  // the path
	stopVariable  = "PM_TEST_STOP"  // the step of a migration in which the process is killed
	addVariable   = "PM_TEST_ADD"   // a device to add
	tmpfsVariable = "PM_TEST_TMPFS" // size of a disk to make for the store
	fromVariable  = "PM_TEST_FROM"  // what to copy there
)

func init() {
	path := os.Getenv(openVariable)
	if path == "" {
		return
	}
	if err := openInChild(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func openInChild(path string) error {
	stop, _ := strconv.Atoi(os.Getenv(stopVariable))
	takeover.Step = func(string) {
		if stop--; stop == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if size := os.Getenv(tmpfsVariable); size != "" {
		return openOnFullDisk(path, size)
	}
	store, err := NewPoolMetadata(path)
	if err != nil {
		return err
	}
	if name := os.Getenv(addVariable); name != "" {
		err = store.AddDevice(ctx, &DeviceInfo{Name: name})
	}
	return errors.Join(err, store.Close())
}

// opener returns a command that opens a store in a process of its own.
func opener(path string, variables ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), openVariable+"="+path), variables...)
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, isStatus := exit.Sys().(syscall.WaitStatus)
	return isStatus && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// expectInForce checks that the file at the path, a bbolt file or a store, has the contents of the
// old bbolt file, and reports whether it is a store. It changes nothing.
func expectInForce(t *testing.T, path string, want *boltfile.Contents) (isStore bool) {
	t.Helper()
	store, err := Open(path, WithReadOnly())
	if err == nil {
		got, err := contentsOf(store)
		ok(t, errors.Join(err, store.Close()))
		if d := boltfile.Difference(want, got); d != "" {
			t.Errorf("the new store is in force, and has %s", d)
		}
		return true
	}
	wantError(t, err, ErrBboltFile)
	got, err := readBbolt(path, "", nil)
	ok(t, err)
	if d := boltfile.Difference(want, got); d != "" {
		t.Errorf("the old file is in force, and has %s", d)
	}
	return false
}

// A process is killed before each step: the next one that opens the store finds all of it, and no
// file of the first.
func TestMigrationKilledAtEachStepLeavesOneStore(t *testing.T) {
	var inForce []bool
	for step := 1; ; step++ {
		path := fixture(t, "pool")
		before, err := os.ReadFile(path)
		ok(t, err)
		want, err := readBbolt(path, "", nil)
		ok(t, err)
		cmd := opener(path, fmt.Sprint(stopVariable, "=", step))
		err = cmd.Run()
		if err == nil {
			break
		}
		if !killed(err) {
			t.Fatalf("step %d: %v\n%s", step, err, cmd.Stderr)
		}
		isStore := expectInForce(t, path, want)
		inForce = append(inForce, isStore)
		// Killing another process in that step changes nothing more.
		if err := opener(path, fmt.Sprint(stopVariable, "=", step)).Run(); err != nil && !killed(err) {
			t.Fatalf("step %d, again: %v", step, err)
		}
		expectInForce(t, path, want)
		store, err := NewPoolMetadata(path)
		ok(t, err)
		got, err := contentsOf(store)
		ok(t, err)
		if d := boltfile.Difference(want, got); d != "" {
			t.Errorf("step %d: %s", step, d)
		}
		checkSound(t, store)
		ok(t, store.Close())
		expectFiles(t, path, "metadata.db", "metadata.db-lock", "metadata.db.bbolt")
		if kept, err := os.ReadFile(path + ".bbolt"); err != nil || !bytes.Equal(kept, before) {
			t.Errorf("step %d: the old file was not kept as it was: %v", step, err)
		}
	}
	// claim, discard, build, unlock, permissions, link, flush, rename | flush
	want := []bool{false, false, false, false, false, false, false, false, true}
	if !slices.Equal(inForce, want) {
		t.Errorf("after each step the new store was in force: %v", inForce)
	}
}

// After a kill an operator may go back to the stock containerd at once, and migrate later.
func TestKilledMigrationLeavesFileForContainerd(t *testing.T) {
	for step := 1; step <= 8; step++ {
		path := fixture(t, "pool")
		if err := opener(path, fmt.Sprint(stopVariable, "=", step)).Run(); !killed(err) {
			t.Fatalf("step %d: %v", step, err)
		}
		file := editBolt(t, path, "state-created", `{"device_id":3,"size":77,"name":"state-created"}`)
		store, err := NewPoolMetadata(path)
		ok(t, err)
		expect(t, store, DeviceInfo{DeviceID: 3, Size: 77, Name: "state-created"})
		ok(t, store.Close())
		if kept, err := os.ReadFile(path + ".bbolt"); err != nil || !bytes.Equal(kept, file) {
			t.Errorf("step %d: what is kept is not what containerd wrote last: %v", step, err)
		}
	}
}

// Kills at random moments rather than between two steps.
func TestMigrationKilledAtRandomMomentLeavesOneStore(t *testing.T) {
	from := largeBolt(t, 3000)
	want, err := readBbolt(from, "", nil)
	ok(t, err)
	start := time.Now()
	ok(t, opener(copyOf(t, from)).Run())
	took := time.Since(start)
	stores, kills := 0, 0
	const rounds = 25
	for i := range rounds {
		path := copyOf(t, from)
		cmd := opener(path)
		ok(t, cmd.Start())
		time.Sleep(took * time.Duration(i) / rounds)
		_ = cmd.Process.Kill()
		if killed(cmd.Wait()) {
			kills++
		}
		if expectInForce(t, path, want) {
			stores++
		}
		store, err := NewPoolMetadata(path)
		ok(t, err)
		checkSound(t, store)
		ok(t, store.Close())
		expectFiles(t, path, "metadata.db", "metadata.db-lock", "metadata.db.bbolt")
	}
	t.Logf("%d processes of %d were killed in time; afterwards the new store was in force %d times",
		kills, rounds, stores)
	if kills == 0 {
		t.Error("no process was killed before it was through")
	}
}

// Several processes find the same bbolt file; one migrates it, and all of them use the store.
func TestConcurrentProcessesMigrateOnce(t *testing.T) {
	for range 3 {
		path := fixture(t, "pool")
		want := len(containerdSays(t, "pool"))
		const processes = 6
		var group sync.WaitGroup
		for i := range processes {
			group.Add(1)
			go func() {
				defer group.Done()
				cmd := opener(path, fmt.Sprint(addVariable, "=added-", i))
				if err := cmd.Run(); err != nil {
					t.Errorf("%v\n%s", err, cmd.Stderr)
				}
			}()
		}
		group.Wait()
		store := openStore(t, path)
		devices, _, err := store.Snapshot()
		ok(t, err)
		if len(devices) != want+processes {
			t.Errorf("%d devices, not %d and %d", len(devices), want, processes)
		}
		expectFiles(t, path, "metadata.db", "metadata.db-lock", "metadata.db.bbolt")
	}
}

// Within one process, one goroutine gets the store, and the others ErrAlreadyOpen.
func TestConcurrentGoroutinesMigrateOnce(t *testing.T) {
	path := fixture(t, "pool")
	var (
		group  sync.WaitGroup
		opened = make(chan *PoolMetadata, 8)
	)
	for range cap(opened) {
		group.Add(1)
		go func() {
			defer group.Done()
			store, err := NewPoolMetadata(path)
			if err == nil {
				opened <- store
				return
			}
			wantError(t, err, ErrAlreadyOpen)
		}()
	}
	group.Wait()
	close(opened)
	if len(opened) != 1 {
		t.Errorf("%d goroutines have the store", len(opened))
	}
	for store := range opened {
		checkSound(t, store)
		ok(t, store.Close())
	}
	expectFiles(t, path, "metadata.db", "metadata.db-lock", "metadata.db.bbolt")
}

// Another process completes the migration after this one has found a bbolt file and before it has
// claimed it.
func TestMigrationByAnotherProcessIsUsed(t *testing.T) {
	defer func(step func(string)) { takeover.Step = step }(takeover.Step)
	another := func(path string) {
		takeover.Step = func(string) {
			takeover.Step = func(string) {}
			if cmd := opener(path); cmd.Run() != nil {
				t.Errorf("%s", cmd.Stderr)
			}
		}
	}
	path := fixture(t, "pool")
	another(path)
	store, err := NewPoolMetadata(path)
	ok(t, err)
	ok(t, store.Close())
	path = fixture(t, "pool")
	another(path)
	_, err = Migrate(path)
	wantError(t, err, ErrConflict)
}

func TestMigrateWithoutPermissionFails(t *testing.T) {
	for name, forbid := range map[string]func(path string) error{
		"the file":      func(path string) error { return os.Chmod(path, 0o400) },
		"the directory": func(path string) error { return os.Chmod(filepath.Dir(path), 0o500) },
	} {
		t.Run(name, func(t *testing.T) {
			path := fixture(t, "pool")
			before, err := os.ReadFile(path)
			ok(t, err)
			const nobody = 65534
			if os.Geteuid() == 0 {
				ok(t, errors.Join(os.Chown(path, nobody, nobody), os.Chown(filepath.Dir(path), nobody, nobody)))
			}
			ok(t, forbid(path))
			asNobody(nobody, func() { _, err = NewPoolMetadata(path) })
			wantError(t, err, ErrPermission)
			ok(t, os.Chmod(filepath.Dir(path), 0o700))
			expectUntouched(t, path, before)
		})
	}
}

// asNobody runs do without root's privileges over files; for other users it changes nothing.
func asNobody(user uintptr, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The goroutine does not unlock its thread, so the thread ends with it.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, user, 0, 0)
		}
		do()
	}()
	<-done
}
