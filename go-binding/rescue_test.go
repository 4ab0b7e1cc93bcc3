package poolmetadata

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRescueBboltMakesAStoreOfWhatIsWhole(t *testing.T) {
	path := fixture(t, "pool")
	content, err := os.ReadFile(path)
	ok(t, err)
	before, err := InspectBbolt(path)
	ok(t, err)
	// No record of the file is JSON any more in one place.
	content = bytes.ReplaceAll(content, []byte(`"device_id":1,`), []byte(`"device_id":x,`))
	ok(t, os.WriteFile(path, content, 0o600))
	_, err = Migrate(path)
	wantError(t, err, ErrCorrupt)
	to := filepath.Join(t.TempDir(), "rescued.db")
	done, err := RescueBbolt(path, to)
	ok(t, err)
	if done.Devices != before.Devices-1 || !strings.Contains(done.Notes[0], "left out") {
		t.Errorf("%d devices of %d, %q", done.Devices, before.Devices, done.Notes)
	}
	store := openStore(t, to)
	names, err := store.GetDeviceNames(ctx)
	ok(t, err)
	if len(names) != done.Devices {
		t.Errorf("%d names", len(names))
	}
	ok(t, store.Close())
	files, err := os.ReadDir(filepath.Dir(to))
	ok(t, err)
	for _, file := range files {
		if name := file.Name(); name != "rescued.db" && name != "rescued.db-lock" {
			t.Errorf("%s is left", name)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after, content) {
		t.Errorf("%v: the damaged file was changed", err)
	}
	_, err = RescueBbolt(path, to)
	wantError(t, err, ErrFileExists)
	_, err = RescueBbolt(filepath.Join(t.TempDir(), "none"), to+"2")
	wantError(t, err, ErrNoSuchFile)
	ok(t, os.WriteFile(path, []byte("this is no bbolt file"), 0o600))
	_, err = RescueBbolt(path, to+"2")
	wantError(t, err, ErrCorrupt)
}
