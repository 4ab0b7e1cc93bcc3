package boltfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExportReadsBackEqual(t *testing.T) {
	for _, name := range []string{"empty", "pool", "odd"} {
		want, err := readFile(testdata(name + ".bolt"))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "out.bolt")
		reported := 0
		if err := Export(path, "", want, func(done, total int) { reported = done }); err != nil {
			t.Fatal(err)
		}
		if reported != len(want.Devices) {
			t.Errorf("%s: progress of %d devices of %d", name, reported, len(want.Devices))
		}
		got, err := readFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := Difference(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if len(got.Notes) != 0 {
			t.Errorf("%s: what was written is odd: %q", name, got.Notes)
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
			t.Errorf("%s: %v", name, left)
		}
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
	}
}

func TestExportOverwritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.bolt")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Export(path, "", &Contents{}, nil); !errors.Is(err, os.ErrExist) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, []byte("mine")) {
		t.Errorf("%q", now)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("a temporary file was left: %v", left)
	}
	if err := Export(filepath.Join(path, "below-a-file"), "", &Contents{}, nil); err == nil {
		t.Error("no error for a path below a file")
	}
}

func TestDifferenceSeesEverything(t *testing.T) {
	base := func() *Contents {
		return &Contents{Devices: []Device{{DeviceID: 1, Name: "a"}}, LastID: 4, Free: []uint32{2},
			Faulty: []uint32{3, 4}}
	}
	if d := Difference(base(), base()); d != "" {
		t.Error(d)
	}
	for name, change := range map[string]func(*Contents){
		"devices": func(c *Contents) { c.Devices = nil },
		"device":  func(c *Contents) { c.Devices[0].Error = "x" },
		"last id": func(c *Contents) { c.LastID++ },
		"free":    func(c *Contents) { c.Free[0] = 1 },
		"faulty":  func(c *Contents) { c.Faulty = nil },
	} {
		other := base()
		change(other)
		if d := Difference(base(), other); d == "" {
			t.Errorf("%s: no difference seen", name)
		}
	}
}

// Whoever can use the store can use what is exported of it.
func TestExportHasOwnerAndModeOfTheStore(t *testing.T) {
	const owner, group = 65534, 4711
	directory := t.TempDir()
	like, path := filepath.Join(directory, "store"), filepath.Join(directory, "out.bolt")
	if err := os.WriteFile(like, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	if root {
		if err := os.Chown(like, owner, group); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(like, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Export(path, like, &Contents{}, nil); err != nil {
		t.Fatal(err)
	}
	var is unix.Stat_t
	if err := unix.Stat(path, &is); err != nil {
		t.Fatal(err)
	}
	if mode := is.Mode & 0o7777; mode != 0o640 {
		t.Errorf("the mode is %o", mode)
	}
	if root && (is.Uid != owner || is.Gid != group) {
		t.Errorf("it belongs to %d:%d", is.Uid, is.Gid)
	}
}
