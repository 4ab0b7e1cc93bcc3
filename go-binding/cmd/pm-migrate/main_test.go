package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	bolt "go.etcd.io/bbolt"
)

// invoke runs the command and checks its exit status.
func invoke(t *testing.T, want int, args ...string) (out, log string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(args, &stdout, &stderr); got != want {
		t.Errorf("%q: exit status %d, not %d\n%s%s", args, got, want, &stdout, &stderr)
	}
	return stdout.String(), stderr.String()
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "..", "testdata", name+".bolt"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "metadata.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func expectText(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in\n%s", word, text)
		}
	}
}

func TestThereAndBack(t *testing.T) {
	path := fixture(t, "pool")
	out, _ := invoke(t, 0, "check", path)
	expectText(t, out, "devices 56, ids up to 74", "16 free, 4 faulty",
		"is a bbolt file, and can be migrated")
	out, _ = invoke(t, 0, "to", path)
	expectText(t, out, "devices 56, ids up to 74", path+".bbolt")
	out, _ = invoke(t, 0, "check", path)
	expectText(t, out, "devices 56, ids up to 74: 16 free, 4 faulty", "is a store, and sound")
	out, _ = invoke(t, 0, "check", path, path+".bbolt")
	expectText(t, out, "has the same contents")
	out, _ = invoke(t, 0, "from", path, path+".back")
	expectText(t, out, path+".back has the contents of "+path)
	out, _ = invoke(t, 0, "check", path, path+".back")
	expectText(t, out, "has the same contents")
	_, log := invoke(t, 1, "to", path)
	expectText(t, log, "it is a store already")
	_, log = invoke(t, 1, "from", path, path+".back")
	expectText(t, log, "exists already")
	_, log = invoke(t, 1, "check", path, fixture(t, "odd"))
	expectText(t, log, "differ: 56 devices against 11")
}

// picture describes every file beside path: its name, identity, owner, mode, times and content. Of
// the lock file it leaves out the last two: a process that reads the store is registered in it.
func picture(t *testing.T, path string) string {
	t.Helper()
	var all strings.Builder
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(filepath.Dir(path), file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		system := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&all, "%s %d %d:%d %v", file.Name(), system.Ino, system.Uid, system.Gid, info.Mode())
		if !strings.HasSuffix(file.Name(), "-lock") {
			fmt.Fprintf(&all, " %v %v %x", system.Mtim, system.Ctim, sha256.Sum256(content))
		}
		fmt.Fprintln(&all)
	}
	return all.String()
}

func TestCheckChangesNothing(t *testing.T) {
	path := fixture(t, "pool")
	unchanged := func(args ...string) {
		t.Helper()
		before := picture(t, path)
		invoke(t, 0, append([]string{"check"}, args...)...)
		if after := picture(t, path); after != before {
			t.Errorf("%q: there was\n%sand is\n%s", args, before, after)
		}
	}
	unchanged(path)
	invoke(t, 0, "to", path)
	// Without a lock file, none is made, whoever owns the store.
	if _, err := os.Lstat(path + "-lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the migration has left a lock file: %v", err)
	}
	unchanged(path)
	unchanged(path, path+".bbolt")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	unchanged(path)
	unchanged(path, path+".bbolt")
	// With one, as the daemon has left it.
	store, err := poolmetadata.NewPoolMetadata(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path + "-lock"); err != nil {
		t.Fatal(err)
	}
	unchanged(path)
	unchanged(path, path+".bbolt")
}

func TestNotesArePrinted(t *testing.T) {
	path := fixture(t, "odd")
	for _, command := range []string{"check", "to"} {
		out, _ := invoke(t, 0, command, path)
		expectText(t, out, "note: 1 ids are free in the list of ids, and devices have them: taken (5)")
	}
}

func TestSnapshotsAreNamedAsTheirDevices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() // as a running containerd has it open
	err = db.Update(func(tx *bolt.Tx) error {
		version, err := tx.CreateBucket([]byte("v1"))
		if err != nil {
			return err
		}
		all, err := version.CreateBucket([]byte("snapshots"))
		if err != nil {
			return err
		}
		for number, key := range []string{"default/1/a", "default/2/b"} {
			snapshot, err := all.CreateBucket([]byte(key))
			if err != nil {
				return err
			}
			if err := snapshot.Put([]byte("id"), []byte{byte(number + 9)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out, _ := invoke(t, 0, "snapshots", path, "thin")
	if out != "thin-snap-9\nthin-snap-10\n" {
		t.Errorf("%q", out)
	}
	_, log := invoke(t, 1, "snapshots", fixture(t, "pool"), "thin")
	expectText(t, log, "no metadata.db of a snapshotter")
}

func TestRescue(t *testing.T) {
	path := fixture(t, "pool")
	to := filepath.Join(t.TempDir(), "rescued")
	out, _ := invoke(t, 0, "rescue", path, to)
	expectText(t, out, "devices ", to+" is a store of what is whole in "+path)
	out, _ = invoke(t, 0, "check", to, path)
	expectText(t, out, "has the same contents")
	_, log := invoke(t, 1, "rescue", path, to)
	expectText(t, log, "exists already")
}

func TestFailures(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, args := range [][]string{{"to", missing}, {"from", missing, missing + "2"},
		{"check", missing}, {"rescue", missing, missing + "2"}} {
		_, log := invoke(t, 1, args...)
		expectText(t, log, "pm-migrate: ", missing)
	}
	path := fixture(t, "unfit")
	_, log := invoke(t, 1, "to", path)
	expectText(t, log, "has a NUL byte", "512 bytes")
	_, log = invoke(t, 1, "from", path, missing)
	expectText(t, log, "bbolt")
}

func TestLockedFile(t *testing.T) {
	path := fixture(t, "pool")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, command := range []string{"to", "check"} {
		_, log := invoke(t, 1, "-wait", "50ms", command, path)
		expectText(t, log, "locked by another process, most likely a running containerd")
	}
}

// Output that cannot be written is a failure.
func TestUnwritableOutputIsFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var log bytes.Buffer
	if status := run([]string{"check", fixture(t, "pool")}, full, &log); status != 1 {
		t.Errorf("exit status %d", status)
	}
	expectText(t, log.String(), "cannot be written", "no space left")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"to"}, {"to", "a", "b"}, {"from", "a"}, {"check"},
		{"what", "a"}, {"-what"}} {
		_, log := invoke(t, 2, args...)
		expectText(t, log, "usage: pm-migrate")
	}
	_, log := invoke(t, 0, "-h")
	expectText(t, log, "usage: pm-migrate", "-wait")
}

func TestBar(t *testing.T) {
	var line bytes.Buffer
	b := bar{to: &line}
	b.show("reading", 0, 10)
	b.end()
	if line.Len() > 0 {
		t.Errorf("drawn at once: %q", &line)
	}
	before := time.Now()
	b.drawn = before.Add(-time.Second)
	b.show("reading", 5, 10)
	expectText(t, line.String(), "\rreading   ["+
		strings.Repeat("#", 20)+strings.Repeat(".", 20)+"] 5 of 10 devices")
	if b.drawn.Before(before) {
		t.Error("it does not know when it was drawn")
	}
	// However long the machine has delayed this process.
	b.drawn = time.Now().Add(time.Hour)
	b.show("reading", 6, 10)
	b.show("reading", 10, 10)
	b.end()
	b.end()
	expectText(t, line.String(), strings.Repeat("#", 40)+"] 10 of 10 devices")
	if n := strings.Count(line.String(), "\r"); n != 2 || strings.Count(line.String(), "\n") != 1 {
		t.Errorf("%d drawings: %q", n, &line)
	}
	b.drawn = time.Now().Add(-time.Second)
	b.show("writing", 0, 0)
	expectText(t, line.String(), "0 of 0 devices")
}
