//go:build linux

package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// thin is a thin-pool as the tools show it.
type thin struct {
	// status is what follows "thin-pool" in its status, with the block of the metadata snapshot as
	// its fourth field.
	status    []string
	suspended string
	// list is what thin_ls writes.
	list  string
	calls []string
	// before is called before each run of a tool, and its error is the tool's.
	before func(ctx context.Context, call string) error
}

const (
	reserve = "dmsetup message /dev/mapper/pool 0 reserve_metadata_snap"
	release = "dmsetup message /dev/mapper/pool 0 release_metadata_snap"
	list    = "thin_ls --metadata-snap --no-headers --format DEV /dev/loop7"
)

func (k *thin) run(
	ctx context.Context, program string, arguments ...string,
) (string, error) {
	call := strings.Join(append([]string{program}, arguments...), " ")
	k.calls = append(k.calls, call)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if k.before != nil {
		if err := k.before(ctx, call); err != nil {
			return "", fmt.Errorf("%s: %w", call, err)
		}
	}
	switch call {
	case "dmsetup table /dev/mapper/pool":
		return "0 2097152 thin-pool 7:7 7:0 128 0 1 skip_block_zeroing \n", nil
	case "dmsetup info -c --noheadings -o suspended /dev/mapper/pool":
		return k.suspended + "\n", nil
	case "dmsetup status --noflush /dev/mapper/pool":
		return "0 2097152 thin-pool " + strings.Join(k.status, " ") + " \n", nil
	case reserve:
		if k.status[3] != "-" {
			return "", errors.New("device-mapper: message ioctl failed: Device or resource busy")
		}
		k.status[3] = "25"
		return "", nil
	case release:
		if k.status[3] == "-" {
			return "", errors.New("device-mapper: message ioctl failed: Invalid argument")
		}
		k.status[3] = "-"
		return "", nil
	case list:
		if k.status[3] == "-" {
			return "", errors.New("no current metadata snap")
		}
		return k.list, nil
	}
	return "", fmt.Errorf("what is %q?", call)
}

// newThin is a recovery of a store with these devices, and its pool.
func newThin(t *testing.T, devices ...poolmetadata.DeviceInfo) (*pool, *thin) {
	t.Helper()
	p := newPool(t, devices...)
	k := &thin{suspended: "Active",
		status: strings.Fields("0 1651/16384 0/16384 - rw discard_passdown queue_if_no_space - 1024")}
	p.pool.run, p.pool.sysfs = k.run, t.TempDir()
	p.lookPath = func(string) (string, error) { return "/usr/sbin/thin_ls", nil }
	device := filepath.Join(p.pool.sysfs, "7:7")
	if err := os.Mkdir(device, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(device, "uevent"), "MAJOR=7\nMINOR=7\nDEVNAME=loop7\n")
	return p, k
}

// noSnapshot wants the pool, and the notes, to have no metadata snapshot.
func (p *pool) noSnapshot(t *testing.T, k *thin) {
	t.Helper()
	n, err := p.pool.notes.read()
	if err != nil || n.Reserved || n.Root != "" || k.status[3] != "-" {
		t.Errorf("the pool has the metadata snapshot %s; noted are %+v, %v", k.status[3], n, err)
	}
}
