package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pool-metadata/pool-metadata/e2e/build"
	"github.com/pool-metadata/pool-metadata/e2e/guest"
)

// fileSystems are those that a store is tested on.
var fileSystems = []string{"ext4", "xfs", "btrfs"}

// TestStoreSurvivesPowerLossAtEveryFlush records what a file system writes to its block device
// while a store works on it, and cuts the power at every flush of the record. The program is in
// powerloss/.
func TestStoreSurvivesPowerLossAtEveryFlush(t *testing.T) {
	arguments := "-steps 40 -every 1"
	if testing.Short() {
		arguments = "-steps 15 -every 3"
	}
	result := powerloss(t, func(fs string) string {
		return "-fs " + fs + " -test replay " + arguments
	})
	for _, fs := range fileSystems {
		if text := result.Files[fs]; !strings.Contains(text, "ok "+fs+" replay: ") {
			t.Errorf("%s: %s", fs, text)
		} else {
			t.Log(strings.TrimSpace(text))
		}
	}
}

// TestLossAtFlushIsNoticed proves that the test above can fail: the store is opened without fsync.
func TestLossAtFlushIsNoticed(t *testing.T) {
	result := powerloss(t, func(fs string) string {
		return "-fs " + fs + " -test replay -steps 15 -every 3 -relaxed"
	})
	for _, fs := range fileSystems {
		if text := result.Files[fs]; !strings.Contains(text, "acknowledged operations the store has") {
			t.Errorf("without fsync nothing is lost on %s: %s", fs, text)
		}
	}
}

// TestStoreOnFailingDevice makes every write of the block device fail, or be dropped, from some
// moment on.
func TestStoreOnFailingDevice(t *testing.T) {
	for _, test := range []string{"error_writes", "drop_writes"} {
		t.Run(test, func(t *testing.T) {
			result := powerloss(t, func(fs string) string {
				return "-fs " + fs + " -test " + test + " -steps 20"
			})
			for _, fs := range fileSystems {
				if text := result.Files[fs]; !strings.Contains(text, "ok "+fs+" "+test) {
					t.Errorf("%s: %s", fs, text)
				}
			}
		})
	}
}

// powerloss runs the program with the arguments for each file system. What it prints is a file of
// the file system's name.
func powerloss(t *testing.T, arguments func(fs string) string) *guest.Result {
	t.Helper()
	script := ""
	for _, fs := range fileSystems {
		script += fmt.Sprintf("/e2e/powerloss %s >/results/%s 2>&1; cat /results/%s\n", arguments(fs), fs,
			fs)
	}
	image, err := guest.NewImage(script+"dmesg >/results/dmesg\n", "dm-log-writes", "dm-flakey",
		"dm-snapshot", "xfs", "btrfs")
	if err != nil {
		t.Fatal(err)
	}
	program, err := build.Powerloss()
	if err == nil {
		err = image.Program("/e2e/powerloss", program)
	}
	if err != nil {
		t.Fatal(err)
	}
	return run(t, image)
}
