package guest

import (
	"context"
	"strings"
	"testing"
	"time"
)

// boot boots a guest with a script.
func boot(t *testing.T, script string, sizes ...int64) *Machine {
	t.Helper()
	image, err := NewImage(script)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := NewMachine(t.TempDir(), image, sizes...)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestGuestHasThinPoolAndReturnsFiles(t *testing.T) {
	machine := boot(t, `set -eux
truncate -s 64M /tmp/data /tmp/meta
data=$(losetup --find --show /tmp/data)
meta=$(losetup --find --show /tmp/meta)
dmsetup create pool --table "0 131072 thin-pool $meta $data 128 0"
dmsetup message pool 0 'create_thin 7'
dmsetup create thin --table '0 65536 thin /dev/mapper/pool 7'
mkfs.ext4 -q /dev/mapper/thin
mkdir -p /mnt
mount -t ext4 /dev/mapper/thin /mnt
echo written >/mnt/file
umount /mnt
mount -t ext4 -o ro /dev/mapper/thin /mnt
cp /mnt/file /results/file
dmsetup status pool >/results/status
`)
	result, err := machine.Run(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if result.Files["file"] != "written\n" || !strings.Contains(result.Files["status"], "thin-pool") {
		t.Errorf("%q", result.Files)
	}
}

func TestScriptThatFailsIsAnError(t *testing.T) {
	_, err := boot(t, "exit 3\n").Run(limited(t))
	if err == nil || !strings.Contains(err.Error(), `the script ended with "3`) {
		t.Error(err)
	}
}

func TestRestartLosesWhatWasNotSynced(t *testing.T) {
	machine := boot(t, `set -eu
mkdir -p /mnt
if mount -t ext4 /dev/vdb /mnt; then
    ls /mnt >/results/list
    exit
fi
mkfs.ext4 -q /dev/vdb
mount -t ext4 -o commit=3600 /dev/vdb /mnt
echo 1 >/mnt/synced
sync
echo 1 >/mnt/lost
echo b >/proc/sysrq-trigger
sleep 60
`, 64)
	first, err := machine.Boot(limited(t))
	if err != nil || first.Ended {
		t.Fatalf("%v, %v\n%s", first.Ended, err, first.Tail())
	}
	second, err := machine.Run(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(second.Files["list"]); len(got) != 2 || got[1] != "synced" {
		t.Errorf("on the disk: %q", got)
	}
}
